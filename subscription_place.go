// Places in the order: finding the place of the end or of a time, and comparing two
// places.

package evento

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/evento-go/evento/cursor"
)

// startPlace is where a new subscription begins; the zero value is the first event.
type startPlace struct {
	end   bool
	after uint64 // a position
	at    time.Time
}

// find returns the place, and the position of the event before it.
func (p startPlace) find(ctx context.Context, ex Executor) (cursor.Value, uint64, error) {
	switch {
	case p.end:
		return headOf(ctx, ex)
	case p.after > 0:
		return p.findAfter(ctx, ex)
	case p.at.IsZero():
		return "", 0, nil
	}
	return placeBefore(ctx, ex, p.at)
}

// findAfter returns the place after a position that the store has reached.
//
// Why: docs/decisions.md, "A subscription does not start beyond the end".
func (p startPlace) findAfter(ctx context.Context, ex Executor) (cursor.Value, uint64, error) {
	at, err := ex.CursorAt(p.after)
	if err != nil {
		return "", 0, err
	}
	switch _, err := ex.Read(ctx, Query{}, cursor.Onward(1, at)); {
	case err == nil:
		return at, p.after, nil
	case !errors.Is(err, cursor.ErrBeyondHead):
		return "", 0, err
	}
	_, last, err := headOf(ctx, ex)
	if err != nil {
		return "", 0, err
	}
	return "", 0, fmt.Errorf("%w StartAfter(%d): the last event has position %d", ErrInvalid, p.after, last)
}

// headOf returns the place and the position of the last event.
func headOf(ctx context.Context, ex Executor) (cursor.Value, uint64, error) {
	page, err := ex.Read(ctx, Query{}, cursor.Backward(1, ""))
	if err != nil || len(page.Edges) == 0 {
		return "", 0, err
	}
	return page.Edges[0].Cursor, page.Edges[0].Node.Position, nil
}

// placeAfter returns the place after a position, for a reset, and the position; beyond the
// last event, those of the end.
func placeAfter(ctx context.Context, ex Executor, position uint64) (cursor.Value, uint64, error) {
	head, last, err := headOf(ctx, ex)
	if err != nil {
		return "", 0, err
	}
	at, err := ex.CursorAt(position)
	switch {
	case err != nil:
		return "", 0, err
	case position > last:
		return head, last, nil
	}
	return at, position, nil
}

// reached returns a place or, if it is beyond the end of the store, the end. The error is
// one of the store, or matches [cursor.ErrInvalid].
func reached(ctx context.Context, ex Executor, at cursor.Value) (cursor.Value, error) {
	if at == "" {
		return "", nil
	}
	_, err := ex.Read(ctx, Query{}, cursor.Onward(1, at))
	if errors.Is(err, cursor.ErrBeyondHead) {
		at, _, err = headOf(ctx, ex)
	}
	return at, err
}

// placeBefore returns the place before the first event with this timestamp or a
// later one. It uses binary search, as timestamps never decrease along the
// positions; without a total order of positions, it reads all events before.
func placeBefore(ctx context.Context, ex Executor, t time.Time) (cursor.Value, uint64, error) {
	head, last, err := headOf(ctx, ex)
	if err != nil || head == "" {
		return "", 0, err
	}
	if _, err := ex.CursorAt(last); errors.Is(err, errors.ErrUnsupported) {
		return walkBefore(ctx, ex, t)
	}
	// The event at position n+1 or, if it is missing, the next one.
	at := sort.Search(int(last), func(n int) bool {
		if err != nil {
			return true
		}
		var from cursor.Value
		if from, err = ex.CursorAt(uint64(n)); err != nil {
			return true
		}
		var page *cursor.Page[RawEvent]
		if page, err = ex.Read(ctx, Query{}, cursor.Onward(1, from)); err != nil {
			return true
		}
		return len(page.Edges) == 0 || !page.Edges[0].Node.Timestamp.Before(t)
	})
	if err != nil {
		return "", 0, err
	}
	place, err := ex.CursorAt(uint64(at))
	return place, uint64(at), err
}

// walkBefore is placeBefore by reading all events before the place.
func walkBefore(ctx context.Context, ex Executor, t time.Time) (at cursor.Value, position uint64, err error) {
	for {
		page, err := ex.Read(ctx, Query{}, cursor.Onward(streamPage, at))
		if err != nil {
			return "", 0, err
		}
		for i := range page.Edges {
			if !page.Edges[i].Node.Timestamp.Before(t) {
				return at, position, nil
			}
			at, position = page.Edges[i].Cursor, page.Edges[i].Node.Position
		}
		if !page.PageInfo.HasNextPage {
			return at, position, nil
		}
	}
}

// notAfter reports whether a place is at or before another.
func notAfter(ex Executor, a, b cursor.Value) (bool, error) {
	first, err := ex.Earlier(a, b)
	return err == nil && first == a, err
}

// laterOf returns the later of two places; a if neither is.
func laterOf(ex Executor, a, b cursor.Value) (cursor.Value, error) {
	first, err := ex.Earlier(a, b)
	if err == nil && first == a {
		return b, nil
	}
	return a, err
}
