// Args from outside: the arguments of GraphQL cursor connections, which are first and after,
// or last and before.

package cursor

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// PageSize says how many items a page has that a request asks for.
type PageSize struct {
	// Default is the size when the request does not say one. 0: 20, or Max if that is
	// less.
	Default int
	// Max is the largest size that a request may ask for, at most [MaxPage]. 0: 100, or
	// Default if that is more.
	Max int
}

const (
	defaultSize = 20
	defaultMax  = 100
)

// withDefaults returns the sizes with their defaults, or the mistake in them.
func (s PageSize) withDefaults() (PageSize, error) {
	if s.Max == 0 {
		s.Max = max(defaultMax, s.Default)
	}
	if s.Default == 0 {
		s.Default = min(defaultSize, s.Max)
	}
	if s.Default < 1 || s.Default > s.Max || s.Max > MaxPage {
		return s, fmt.Errorf("cursor: the size of a page is %d by default and at most %d; want 1 <= default <= max <= %d", s.Default, s.Max, MaxPage)
	}
	return s, nil
}

// ArgsFrom reads from the query of a URL, such as r.URL.Query(), or from a form, which page
// is asked for:
//
//	?first=N&after=CURSOR   the first N items after a place
//	?last=N&before=CURSOR   the last N items before a place
//
// All four may be left out. Without a number, a page has size.Default items; without a
// cursor, or with an empty one, it is the first or the last page; without all of them, the
// first. Other parameters are ignored.
//
// Its errors match [ErrInvalid], for an answer with status 400, and name the parameter: a size that is no number from
// 1 to size.Max, a parameter that is given twice, parameters of both directions, and a text
// that cannot be a cursor, which matches [ErrMalformed] too. A size that is too large is an
// error, as a page of fewer items than were asked for looks like the last. Whether a cursor
// is one of its list, the reader finds out. A mistake in size does not match ErrInvalid.
func ArgsFrom(query url.Values, size PageSize) (Args, error) {
	size, err := size.withDefaults()
	if err != nil {
		return Args{}, err
	}
	first, err1 := numberIn(query, "first", size.Max)
	after, err2 := cursorIn(query, "after")
	last, err3 := numberIn(query, "last", size.Max)
	before, err4 := cursorIn(query, "before")
	if err := cmp.Or(err1, err2, err3, err4); err != nil {
		return Args{}, err
	}
	return (&fields{First: first, After: after, Last: last, Before: before}).args(size.Default)
}

// numberIn returns the number of items in a parameter; nil: it is not given.
func numberIn(query url.Values, name string, most int) (*int, error) {
	text, err := textIn(query, name)
	if err != nil || text == nil {
		return nil, err
	}
	n, err := strconv.ParseUint(*text, 10, 31)
	if err != nil || n < 1 || n > uint64(most) {
		return nil, fmt.Errorf("%w: %s is %s, and a page has 1 to %d items", ErrInvalid, name, quote(Value(*text)), most)
	}
	return new(int(n)), nil
}

// cursorIn returns the cursor in a parameter; nil: it is not given.
func cursorIn(query url.Values, name string) (*Value, error) {
	text, err := textIn(query, name)
	if err != nil || text == nil {
		return nil, err
	}
	if strings.ContainsFunc(*text, notURLSafe) {
		return nil, fmt.Errorf("%w: %s is %s", ErrMalformed, name, quote(Value(*text)))
	}
	return new(Value(*text)), nil
}

func textIn(query url.Values, name string) (*string, error) {
	switch texts := query[name]; len(texts) {
	case 0:
		return nil, nil
	case 1:
		return &texts[0], nil
	default:
		return nil, fmt.Errorf("%w: %s is given %d times", ErrInvalid, name, len(texts))
	}
}

// notURLSafe reports whether a character would be escaped in a URL.
func notURLSafe(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("-_.~", r)
}

// fields are the arguments as they are given; nil: not at all.
type fields struct {
	First  *int   `json:"first,omitempty"`
	After  *Value `json:"after,omitempty"`
	Last   *int   `json:"last,omitempty"`
	Before *Value `json:"before,omitempty"`
	Onward bool   `json:"onward,omitempty"`
}

// args returns the Args that the fields stand for, of n items if they do not say how many.
func (f *fields) args(n int) (Args, error) {
	a, forward, backward := Args{n: n, onward: f.Onward}, "", ""
	if f.Onward {
		forward = "onward"
	}
	if f.After != nil && *f.After != "" {
		forward, a.at = "after", *f.After
	}
	if f.First != nil {
		forward, a.n = "first", *f.First
	}
	if f.Before != nil && *f.Before != "" {
		backward, a.at = "before", *f.Before
	}
	if f.Last != nil {
		backward, a.n = "last", *f.Last
	}
	if forward != "" && backward != "" {
		return Args{}, fmt.Errorf("%w: %s and %s are of two directions; give first and after, or last and before", ErrInvalid, forward, backward)
	}
	a.backward = backward != ""
	return a, nil
}
