// Pages of events that no query selects alone.

package main

import (
	"context"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/seek"
)

// page reads a page of the wanted events. It keeps those of the page, and reads
// the others in flat memory.
func (s *session) page(ctx context.Context, w wanted, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if w.plain() {
		return s.ex.Read(ctx, w.query, args)
	}
	// An error about the place of the page is that of the store.
	if _, err := s.ex.Read(ctx, evento.Query{}, cursor.Onward(1, args.At())); err != nil {
		return nil, err
	}
	head, err := s.head(ctx)
	if err != nil || head.Cursor == "" {
		return &cursor.Page[evento.RawEvent]{}, err
	}
	in := &interval{s: s, wanted: w, head: head.Node.Position}
	if in.places, err = cursor.PositionsOf(head.Cursor); err != nil {
		return nil, err
	}
	if in.after, in.before, err = s.interval(ctx, w, in.head); err != nil {
		return nil, err
	}
	at := uint64(0)
	if args.At() != "" {
		if at, err = in.places.Position(args.At()); err != nil {
			return nil, err
		}
	}
	if args.IsBackward() {
		return in.backward(ctx, args, at)
	}
	return in.forward(ctx, args, at)
}

// interval returns the positions between which events of the wanted time are: behind
// after and before before. Timestamps never fall, so that they are searched for.
func (s *session) interval(ctx context.Context, w wanted, head uint64) (after, before uint64, err error) {
	before = head + 1
	if !w.until.IsZero() {
		if before, err = s.firstOf(ctx, w.until, head); err != nil {
			return 0, 0, err
		}
	}
	if !w.since.IsZero() {
		if after, err = s.firstOf(ctx, w.since, head); err == nil {
			after--
		}
	}
	return after, before, err
}

// firstOf returns the position that no event before a time has or is behind: that of the
// first event of the time or later, or one that is missing before it; behind the head
// where there is none.
func (s *session) firstOf(ctx context.Context, t time.Time, head uint64) (position uint64, err error) {
	behind, err := seek.First(ctx, s.ex, evento.Query{}, head, func(e *evento.RawEvent) bool { return !e.Timestamp.Before(t) })
	return behind + 1, err
}

// from returns the place behind which the wanted events are.
func (s *session) from(ctx context.Context, w wanted) (cursor.Value, error) {
	head, err := s.head(ctx)
	if err != nil || head.Cursor == "" || w.since.IsZero() {
		return "", err
	}
	first, err := s.firstOf(ctx, w.since, head.Node.Position)
	if err != nil {
		return "", err
	}
	return s.ex.CursorAt(first - 1)
}

// interval is a range of positions, both excluded, of which some events are wanted.
type interval struct {
	s             *session
	wanted        wanted
	places        cursor.Positions
	head          uint64
	after, before uint64
}

type edge = cursor.Edge[evento.RawEvent]

// forward reads the page behind a position.
func (in *interval) forward(ctx context.Context, args cursor.Args, at uint64) (*cursor.Page[evento.RawEvent], error) {
	edges, err := in.up(ctx, args.Limit()+1, at)
	if err != nil {
		return nil, err
	}
	page := pageOf(edges[:min(len(edges), args.Limit())], args)
	page.PageInfo.HasNextPage = len(edges) > args.Limit()
	if at <= in.after {
		return page, nil
	}
	first := at + 1
	if len(edges) > 0 {
		first = edges[0].Node.Position
	}
	edges, err = in.down(ctx, 1, first)
	page.PageInfo.HasPreviousPage = len(edges) > 0
	return page, err
}

// backward reads the page before a position; 0: before the end.
func (in *interval) backward(ctx context.Context, args cursor.Args, at uint64) (*cursor.Page[evento.RawEvent], error) {
	end := at
	if at == 0 || at > in.before {
		end = in.before
	}
	edges, err := in.down(ctx, args.Limit()+1, end)
	if err != nil {
		return nil, err
	}
	more := len(edges) - args.Limit()
	page := pageOf(edges[max(0, more):], args)
	page.PageInfo.HasPreviousPage = more > 0
	if end == in.before {
		return page, nil
	}
	last := end - 1
	if len(page.Edges) > 0 {
		last = page.Edges[len(page.Edges)-1].Node.Position
	}
	edges, err = in.up(ctx, 1, last)
	page.PageInfo.HasNextPage = len(edges) > 0
	return page, err
}

func pageOf(edges []edge, args cursor.Args) *cursor.Page[evento.RawEvent] {
	page := &cursor.Page[evento.RawEvent]{Edges: edges}
	page.PageInfo.StartCursor, page.PageInfo.EndCursor = args.At(), args.At()
	if len(edges) > 0 {
		page.PageInfo.StartCursor, page.PageInfo.EndCursor = edges[0].Cursor, edges[len(edges)-1].Cursor
	}
	return page
}

// size is how many events are read at once to find n.
func (in *interval) size(n int) int {
	if in.wanted.correlationID == "" { // all between the two positions are wanted
		return min(n, readPage)
	}
	return readPage
}

// up returns the first n wanted events behind a position.
func (in *interval) up(ctx context.Context, n int, at uint64) (edges []edge, err error) {
	for place := in.places.Value(max(at, in.after)); ; {
		page, err := in.s.ex.Read(ctx, in.wanted.query, cursor.Onward(in.size(n), place))
		if err != nil {
			return nil, err
		}
		for _, e := range page.Edges {
			if e.Node.Position >= in.before {
				return edges, nil
			}
			if in.wanted.matches(&e.Node) {
				if edges = append(edges, e); len(edges) == n {
					return edges, nil
				}
			}
		}
		if !page.PageInfo.HasNextPage {
			return edges, nil
		}
		place = page.PageInfo.EndCursor
	}
}

// down returns the last n wanted events before a position, in their order.
func (in *interval) down(ctx context.Context, n int, at uint64) (edges []edge, err error) {
	defer func() { slices.Reverse(edges) }()
	place := cursor.Value("") // the end
	if at = min(at, in.before); at <= in.head {
		place = in.places.Value(at)
	}
	for {
		page, err := in.s.ex.Read(ctx, in.wanted.query, cursor.Backward(in.size(n), place))
		if err != nil {
			return nil, err
		}
		for _, e := range slices.Backward(page.Edges) {
			if e.Node.Position <= in.after {
				return edges, nil
			}
			if e.Node.Position < at && in.wanted.matches(&e.Node) {
				if edges = append(edges, e); len(edges) == n {
					return edges, nil
				}
			}
		}
		if !page.PageInfo.HasPreviousPage {
			return edges, nil
		}
		place = page.PageInfo.StartCursor
	}
}
