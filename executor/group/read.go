// Merging the members' pages.

package group

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Read implements [evento.Executor]. Pages are merged from the members' own;
// see the package comment for their order.
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if len(ex.members) == 0 {
		return ex.first.Read(ctx, q, args)
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := args.Check(); err != nil {
		return nil, err
	}
	m := &merge{q: q, args: args, edge: noEdge, places: make([]place, len(ex.members))}
	if args.At() != "" {
		var err error
		if m.places, m.edge, err = decode(args.At(), len(ex.members)); err != nil {
			return nil, err
		}
	}
	// Twice a member's share is mostly enough, and reads little in vain.
	m.ask = min(args.Limit(), 2*args.Limit()/len(ex.members)+1)
	for _, member := range ex.members {
		m.sources = append(m.sources, source{ex: member})
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	return m.page(ctx)
}

type (
	page = cursor.Page[evento.RawEvent]
	edge = cursor.Edge[evento.RawEvent]
)

// merge is one call of Read.
type merge struct {
	q       evento.Query
	args    cursor.Args
	ask     int // how many events of a member are read at a time
	sources []source

	// places are where the merge is in each member: forward the last event that
	// was merged, backward the last one that was not merged yet.
	places []place
	edge   int // the member whose event args.At is the cursor of
	size   int // bytes of payload on the page
}

// source is a member, with what was read of it and not merged yet.
type source struct {
	ex    evento.Executor
	edges []edge // the next of the page first
	more  bool   // there is more to read, in the direction of the page

	// beyond says that there are events before the page, or backward after it.
	// passed is the end of the page that was read.
	beyond bool
	passed cursor.Value

	// waiting are events of a transaction that is not committed yet. They come
	// after all others and have no cursors.
	waiting []edge
}

// begin reads from all members at once.
func (m *merge) begin(ctx context.Context) error {
	errs := make([]error, len(m.sources))
	var wg sync.WaitGroup
	for i := 1; i < len(m.sources); i++ {
		wg.Go(func() { errs[i] = m.first(ctx, i) })
	}
	errs[0] = m.first(ctx, 0)
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, err := range errs {
		if err != nil {
			return memberError(i, err)
		}
		if m.args.IsBackward() {
			m.behind(i)
		}
	}
	return nil
}

// first reads the first events of a member for the page.
func (m *merge) first(ctx context.Context, i int) error {
	s, at := &m.sources[i], m.places[i].value
	switch {
	case m.args.IsOnward():
		return s.read(ctx, m.q, cursor.Onward(m.ask, at))
	case !m.args.IsBackward():
		return s.read(ctx, m.q, cursor.Forward(m.ask, at))
	case m.args.At() == "" || i == m.edge:
		return s.read(ctx, m.q, cursor.Backward(m.ask, at))
	default:
		return s.upTo(ctx, m.q, m.ask, at)
	}
}

// read takes a page in.
func (s *source) read(ctx context.Context, q evento.Query, args cursor.Args) error {
	p, err := s.page(ctx, q, args)
	if err != nil {
		return err
	}
	s.edges, s.passed = p.Edges, p.PageInfo.EndCursor
	if s.more, s.beyond = p.PageInfo.HasNextPage, p.PageInfo.HasPreviousPage; args.IsBackward() {
		s.more, s.beyond = s.beyond, s.more
		slices.Reverse(s.edges)
	}
	return nil
}

// page reads from the member, and sets the events without cursors aside.
func (s *source) page(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
	p, err := s.ex.Read(ctx, q, args)
	if err != nil || !evento.WithinTx(ctx) {
		return p, err
	}
	n := len(p.Edges)
	for n > 0 && p.Edges[n-1].Cursor == "" {
		n--
	}
	p.Edges, s.waiting = p.Edges[:n], p.Edges[n:]
	return p, nil
}

// upTo reads the last events up to a place, with the event there. Backward leaves that
// out, so it reads those before the next event.
func (s *source) upTo(ctx context.Context, q evento.Query, ask int, at cursor.Value) error {
	next, err := s.page(ctx, q, cursor.Onward(1, at))
	if err != nil {
		return err
	}
	if at == "" {
		s.beyond = len(next.Edges) > 0
		return nil
	}
	if len(next.Edges) == 0 {
		if err := s.read(ctx, q, cursor.Backward(ask, "")); err != nil {
			return err
		}
		// An event after the place may have come since we looked.
		if next, err = s.page(ctx, q, cursor.Onward(1, at)); err != nil || len(next.Edges) == 0 {
			return err
		}
	}
	return s.read(ctx, q, cursor.Backward(ask, next.Edges[0].Cursor))
}

// page takes the first event of the sources, again and again, and makes the page.
func (m *merge) page(ctx context.Context) (*page, error) {
	p, backward := &page{}, m.args.IsBackward()
	beyond := slices.ContainsFunc(m.sources, func(s source) bool { return s.beyond }) // before any is refilled
	for len(p.Edges) < m.args.Limit() {
		next, err := m.next(ctx)
		if err != nil {
			return nil, err
		}
		if next == noEdge || m.full(p, m.sources[next].edges[0]) {
			break
		}
		s := &m.sources[next]
		e := s.edges[0]
		s.edges = s.edges[1:]
		if !backward {
			m.places[next] = newPlace(e.Cursor)
		}
		if e.Cursor, err = encode(m.places, next); err != nil {
			return nil, err
		}
		p.Edges = append(p.Edges, e)
		if backward && (len(s.edges) > 0 || !s.more) {
			m.behind(next)
		} // else the place is where to read on from
	}
	more := slices.ContainsFunc(m.sources, func(s source) bool { return len(s.edges) > 0 || s.more })
	return p, m.finish(p, more, beyond)
}

// finish fills in what a page says of itself, and adds the events that have yet to be
// committed.
func (m *merge) finish(p *page, more, beyond bool) (err error) {
	info := &p.PageInfo
	if info.HasNextPage, info.HasPreviousPage = more, beyond && !m.args.IsOnward(); m.args.IsBackward() {
		info.HasNextPage, info.HasPreviousPage = beyond, more
		slices.Reverse(p.Edges)
	}
	info.StartCursor, info.EndCursor = m.args.At(), m.args.At()
	if len(p.Edges) > 0 {
		info.StartCursor, info.EndCursor = p.Edges[0].Cursor, p.Edges[len(p.Edges)-1].Cursor
	} else if !m.args.IsBackward() {
		info.EndCursor, err = m.passed()
	}
	if m.args.IsOnward() && !more {
		for _, s := range m.sources {
			p.Edges = append(p.Edges, s.waiting...)
		}
	}
	return err
}

// next is the source whose first event comes next; noEdge when there is none. Of one
// time, the member with the lower number comes first, and backward the other.
func (m *merge) next(ctx context.Context) (int, error) {
	next := noEdge
	for i := range m.sources {
		s := &m.sources[i]
		if len(s.edges) == 0 && s.more {
			if err := m.refill(ctx, i); err != nil {
				return noEdge, err
			}
		}
		if len(s.edges) == 0 {
			continue
		}
		if next == noEdge || m.args.IsBackward() != s.edges[0].Node.Timestamp.Before(m.sources[next].edges[0].Node.Timestamp) {
			next = i
		}
	}
	return next, nil
}

// passed is where a page without events ends.
func (m *merge) passed() (cursor.Value, error) {
	moved, only, met := false, noEdge, 0
	for i, s := range m.sources {
		if s.passed != m.places[i].value {
			m.places[i], moved = newPlace(s.passed), true
		}
		if s.passed != "" {
			only = i
			met++
		}
	}
	if !moved {
		return m.args.At(), nil
	}
	// When one member alone has events, the cursor is that of its last, as in
	// any store. Otherwise it is of no event.
	if met > 1 {
		only = noEdge
	}
	return encode(m.places, only)
}

// behind sets a place to the first event that was read and not merged: the
// beginning, when there is none.
func (m *merge) behind(i int) {
	if m.places[i] = (place{}); len(m.sources[i].edges) > 0 {
		m.places[i] = newPlace(m.sources[i].edges[0].Cursor)
	}
}

// refill reads on in a member of which all that was read is merged.
func (m *merge) refill(ctx context.Context, i int) error {
	s, at := &m.sources[i], m.places[i].value
	args := cursor.Onward(m.ask, at)
	if m.args.IsBackward() {
		args = cursor.Backward(m.ask, at)
	}
	if err := s.read(ctx, m.q, args); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return memberError(i, err)
	}
	if len(s.edges) == 0 && s.more {
		return memberError(i, errors.New("an empty page that says there are more events"))
	}
	if m.args.IsBackward() { // the places of the edge to come need to be known, too
		m.behind(i)
	}
	return nil
}

// full reports whether one more event would make the page too large.
func (m *merge) full(p *page, e edge) bool {
	m.size += len(e.Node.Data)
	return len(p.Edges) > 0 && m.size > evento.PageBytes
}
