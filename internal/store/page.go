// The beginning and the end of reading a page of events: Begin checks what was asked
// for, and Found.Page makes a page with cursors of what was found.
//
//	at, err := store.Begin(q, args, positions)
//	…
//	return store.Found{Edges: edges, More: more, At: at, Head: head}.Page(args, positions), nil

package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// most is beyond every event, and leaves room for the arithmetic of searches in
// signed numbers.
const most = 1 << 62

// CheckHead refuses the last position of a store that only somebody else can have
// written: what is committed behind it, no reader would see.
func CheckHead(position uint64) error {
	if position >= most {
		return fmt.Errorf("%w: the store's last event is at position %d", evento.ErrDamaged, position)
	}
	return nil
}

// Begin checks what Read was called with, and returns the position to read
// from, which is below 1<<62; 0: the beginning or, backward, the end.
func Begin(q evento.Query, args cursor.Args, p cursor.Positions) (at uint64, err error) {
	if err := q.Check(); err != nil {
		return 0, err
	}
	if err := args.Check(); err != nil {
		return 0, err
	}
	if at, err = p.Position(args.At()); err != nil {
		return 0, err
	}
	if at >= most {
		return 0, fmt.Errorf("%w: position %d", cursor.ErrBeyondHead, at)
	}
	return at, nil
}

// Found is what a read has found.
type Found struct {
	// Edges have the events in the order in which they were read, so the last
	// event comes first in a backward read, and no cursors.
	Edges []cursor.Edge[evento.RawEvent]
	// More says that there are events beyond them.
	More bool
	// Behind says that there are events on the other side of the place that
	// was read from.
	Behind bool
	// At is the position that was read from. Head is the last position that was
	// looked at, where a forward page without events ends.
	At, Head uint64
}

// From is where a search for a page begins that reads from a position: one that
// reads backward from no place begins behind the head.
func From(args cursor.Args, at, head int64) (from int64, backward bool) {
	backward = args.IsBackward()
	if backward && args.At() == "" {
		return head + 1, true
	}
	return at, backward
}

// LookBehind sets Behind, where the page is to tell. Find reports whether there is an
// event beyond a position.
func (f *Found) LookBehind(args cursor.Args, from int64, find func(from int64, backward bool) (bool, error)) (err error) {
	switch {
	case args.IsBackward():
		f.Behind, err = find(from-1, false)
	case !args.IsOnward():
		f.Behind, err = find(from+1, true)
	}
	return err
}

// Page makes a page. It keeps the edges of f, and changes them.
func (f Found) Page(args cursor.Args, p cursor.Positions) *cursor.Page[evento.RawEvent] {
	page := &cursor.Page[evento.RawEvent]{Edges: f.Edges}
	info, backward := &page.PageInfo, args.IsBackward()
	info.HasNextPage, info.HasPreviousPage = f.More, f.Behind
	if backward {
		info.HasNextPage, info.HasPreviousPage = f.Behind, f.More
	}
	if len(f.Edges) == 0 {
		info.StartCursor, info.EndCursor = args.At(), args.At()
		if !backward && f.Head > f.At {
			info.EndCursor = p.Value(f.Head)
		}
		return page
	}
	if backward {
		slices.Reverse(f.Edges)
	}
	setCursors(f.Edges, p)
	info.StartCursor, info.EndCursor = f.Edges[0].Cursor, f.Edges[len(f.Edges)-1].Cursor
	return page
}

// setCursors makes cursors that share one allocation.
func setCursors(edges []cursor.Edge[evento.RawEvent], p cursor.Positions) {
	var room [64]byte
	var b strings.Builder
	each := 0
	for i := range edges {
		one := p.AppendValue(room[:0], edges[i].Node.Position)
		if each == 0 {
			each = len(one)
			b.Grow(each * len(edges))
		}
		b.Write(one)
	}
	all := cursor.Value(b.String())
	for i := range edges {
		edges[i].Cursor = all[i*each : (i+1)*each]
	}
}
