// Package cursor is keyset pagination: pages of items, read forward or backward
// from a place, which an opaque text identifies.
//
// Its nouns are [Value] (the text of a place), [Args] (how many items, from which
// place, in which direction), and [Page] (the result, in the shape of the GraphQL
// cursor connections specification, in JSON too). [ArgsFrom] reads Args from a request, and
// [Map] makes a page of other items. An event store reads its events this way;
// [Reader] pages a slice in memory and [Keyset] pages a user's own SQL table, so
// that an application's lists have the same interface as its event log.
//
// Unlike an offset, a cursor stays at its place when items are added before it, and
// a page costs the same wherever it begins. The package cannot jump to "page 17".
//
// The shape of pages comes from https://relay.dev/graphql/connections.htm.
package cursor

import (
	"errors"
	"fmt"
)

// Value is the text of a place: opaque, URL-safe, at most 4 KiB (16 KiB of an
// executor/group). The empty Value is the beginning when reading forward and the end when
// reading backward.
//
// A Value is only for the reader that made it. It is neither secret nor signed: it
// identifies a place and grants no access.
type Value string

// ErrInvalid is matched by every error about a cursor or about the size of a page:
// errors.Is(err, cursor.ErrInvalid).
var ErrInvalid = errors.New("invalid cursor")

// Causes of [ErrInvalid] that a caller may want to tell apart.
var (
	// ErrMalformed: the text is not a cursor of this kind at all.
	ErrMalformed = fmt.Errorf("%w: malformed", ErrInvalid)
	// ErrForeign: a well-formed cursor, of another store or list.
	ErrForeign = fmt.Errorf("%w: of another store or list", ErrInvalid)
	// ErrBeyondHead: a cursor of this store, at a place that the store has not
	// reached, as after an older backup was restored.
	ErrBeyondHead = fmt.Errorf("%w: beyond the end of the store", ErrInvalid)
)

// Args says which page to read. [Forward], [Onward] and [Backward] make it; readers
// refuse the zero Args.
type Args struct {
	n        int
	at       Value
	backward bool
	onward   bool
}

// Forward asks for the first n items after a place; after "" is the beginning.
func Forward(n int, after Value) Args { return Args{n: n, at: after} }

// Backward asks for the last n items before a place; before "" is the end.
// The items of the page are still in ascending order.
func Backward(n int, before Value) Args { return Args{n: n, at: before, backward: true} }

// Onward is [Forward] for programs that only read forward: HasPreviousPage is not
// determined, which saves the reader a look before the page.
func Onward(n int, after Value) Args { return Args{n: n, at: after, onward: true} }

// MaxPage is the largest page that may be asked for.
const MaxPage = 10_000

// Check returns an error when the size of the page is not 1 to [MaxPage].
// Readers call it first.
func (a Args) Check() error {
	if a.n < 1 || a.n > MaxPage {
		return fmt.Errorf("%w: a page has 1 to %d items, not %d", ErrInvalid, MaxPage, a.n)
	}
	return nil
}

// Limit is the number of items asked for.
func (a Args) Limit() int { return a.n }

// At is the place to read from, exclusive: after it when reading forward,
// before it when reading backward.
func (a Args) At() Value { return a.at }

// IsBackward reports whether the page lies before [Args.At].
func (a Args) IsBackward() bool { return a.backward }

// IsOnward reports whether HasPreviousPage need not be determined.
func (a Args) IsOnward() bool { return a.onward }

// Edge is an item with the cursor of its place.
type Edge[T any] struct {
	Cursor Value `json:"cursor"`
	Node   T     `json:"node"`
}

// Edges are the items of a page. In JSON, none are [] rather than null, and [] is nil
// again.
//
// Why: docs/decisions.md, "JSON has the names of GraphQL, and positions are numbers".
type Edges[T any] []Edge[T]

// PageInfo describes what lies around a page.
type PageInfo struct {
	// HasPreviousPage: there are items before the first of the page or, if the page
	// is empty, before the place that it was read from.
	HasPreviousPage bool
	// HasNextPage is the same for the other end.
	HasNextPage bool
	// StartCursor and EndCursor are the cursors of the first and the last item. If
	// the page is empty, both are the place that it was read from. For an empty
	// forward page, a reader may instead set EndCursor to the last place that it
	// has examined, so that nothing is examined twice.
	StartCursor, EndCursor Value
}

// Page is a sequence of items in ascending order. Its JSON has the shape of a GraphQL
// cursor connection:
//
//	{"edges":[{"cursor":"…","node":…}],"pageInfo":{"hasNextPage":…,"hasPreviousPage":…,"startCursor":"…","endCursor":"…"}}
type Page[T any] struct {
	Edges    Edges[T] `json:"edges"`
	PageInfo PageInfo `json:"pageInfo"`
}

// Map returns the page with other items, made of its own by fn, at the same places: such
// as what a client is shown of events. It returns the first error of fn, unchanged.
func Map[T, U any](page *Page[T], fn func(T) (U, error)) (*Page[U], error) {
	mapped := &Page[U]{PageInfo: page.PageInfo}
	if len(page.Edges) > 0 {
		mapped.Edges = make(Edges[U], len(page.Edges))
	}
	for i, e := range page.Edges {
		node, err := fn(e.Node)
		if err != nil {
			return nil, err
		}
		mapped.Edges[i] = Edge[U]{e.Cursor, node}
	}
	return mapped, nil
}
