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
	if ex.err != nil {
		return nil, ex.err
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
	if args.IsBackward() {
		return m.backward(ctx)
	}
	return m.forward(ctx)
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

	// places are where the merge is in each member. Forward, what lies up to
	// there is before the next edge. Backward, it is the last event that is
	// not merged yet.
	places []place
	edge   int // whose place args.At is the edge of
	size   int // bytes of payload on the page
}

// source is what was read of a member and not merged yet.
type source struct {
	ex    evento.Executor
	edges []edge
	more  bool // there is more to read, in the direction of the page

	// beyond says that there are events on the far side of the place where
	// the page begins; passed is the end of what was looked at when there
	// was no event.
	beyond bool
	passed cursor.Value

	// waiting are the events that a transaction has yet to commit. They come
	// after all others and have no cursor.
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

// first reads what of a member comes first on the page.
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
	}
	return nil
}

// page reads from the member, and puts what waits aside.
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

// upTo reads the last events up to a place and the one there too, which
// Backward leaves out: those before the next event.
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
		// Were they up to the place, or did one come since we looked?
		if next, err = s.page(ctx, q, cursor.Onward(1, at)); err != nil || len(next.Edges) == 0 {
			return err
		}
	}
	return s.read(ctx, q, cursor.Backward(ask, next.Edges[0].Cursor))
}

// forward takes the earliest of the sources' first events, again and again.
func (m *merge) forward(ctx context.Context) (*page, error) {
	p := &page{}
	for _, s := range m.sources {
		p.PageInfo.HasPreviousPage = p.PageInfo.HasPreviousPage || s.beyond && !m.args.IsOnward()
	}
	for len(p.Edges) < m.args.Limit() {
		next := noEdge
		for i := range m.sources {
			s := &m.sources[i]
			if len(s.edges) == 0 && s.more {
				if err := m.refill(ctx, i, cursor.Onward(m.ask, m.places[i].value)); err != nil {
					return nil, err
				}
			}
			if len(s.edges) > 0 && (next == noEdge || s.edges[0].Node.Timestamp.Before(m.sources[next].edges[0].Node.Timestamp)) {
				next = i
			}
		}
		if next == noEdge {
			break
		}
		s := &m.sources[next]
		if m.full(p, s.edges[0]) {
			break
		}
		m.places[next] = newPlace(s.edges[0].Cursor)
		if err := m.add(p, next, s.edges[0]); err != nil {
			return nil, err
		}
		s.edges = s.edges[1:]
	}
	p.PageInfo.HasNextPage = m.more()
	if len(p.Edges) > 0 {
		m.finish(p)
	} else {
		end, err := m.passed()
		if err != nil {
			return nil, err
		}
		p.PageInfo.StartCursor, p.PageInfo.EndCursor = m.args.At(), end
	}
	if m.args.IsOnward() && !p.PageInfo.HasNextPage {
		for _, s := range m.sources {
			p.Edges = append(p.Edges, s.waiting...)
		}
	}
	return p, nil
}

// passed is the place after all that was looked at and had no event.
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
	// Where one member alone has events, the place is that of its last, as in
	// any store. Among several it is after the last of each.
	if met > 1 {
		only = noEdge
	}
	return encode(m.places, only)
}

// backward takes the latest of the sources' last events, again and again.
func (m *merge) backward(ctx context.Context) (*page, error) {
	p := &page{}
	for _, s := range m.sources {
		p.PageInfo.HasNextPage = p.PageInfo.HasNextPage || s.beyond
	}
	for len(p.Edges) < m.args.Limit() {
		next := noEdge
		for i := range m.sources {
			s := &m.sources[i]
			if len(s.edges) == 0 && s.more {
				// The places of the edge to come need to be known, too.
				if err := m.refill(ctx, i, cursor.Backward(m.ask, m.places[i].value)); err != nil {
					return nil, err
				}
				m.behind(i)
			}
			if len(s.edges) > 0 && (next == noEdge || !s.last().Node.Timestamp.Before(m.sources[next].last().Node.Timestamp)) {
				next = i
			}
		}
		if next == noEdge {
			break
		}
		s := &m.sources[next]
		if m.full(p, s.last()) {
			break
		}
		if err := m.add(p, next, s.last()); err != nil {
			return nil, err
		}
		s.edges = s.edges[:len(s.edges)-1]
		if len(s.edges) > 0 || !s.more {
			m.behind(next)
		} // else the place is where to read on from
	}
	slices.Reverse(p.Edges)
	p.PageInfo.HasPreviousPage = m.more()
	if len(p.Edges) > 0 {
		return m.finish(p), nil
	}
	p.PageInfo.StartCursor, p.PageInfo.EndCursor = m.args.At(), m.args.At()
	return p, nil
}

func (s *source) last() edge { return s.edges[len(s.edges)-1] }

// behind sets a place to the last event that was read and not merged: the
// beginning, when there is none.
func (m *merge) behind(i int) {
	if m.places[i] = (place{}); len(m.sources[i].edges) > 0 {
		m.places[i] = newPlace(m.sources[i].last().Cursor)
	}
}

// refill reads on in a member of which all that was read is merged.
func (m *merge) refill(ctx context.Context, i int, args cursor.Args) error {
	s := &m.sources[i]
	if err := s.read(ctx, m.q, args); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return memberError(i, err)
	}
	if len(s.edges) == 0 && s.more {
		return memberError(i, errors.New("an empty page that says there are more events"))
	}
	return nil
}

// full reports whether one more event would make the page too large.
func (m *merge) full(p *page, e edge) bool {
	m.size += len(e.Node.Data)
	return len(p.Edges) > 0 && m.size > evento.PageBytes
}

// add puts a member's event on the page. The places are those of its cursor.
func (m *merge) add(p *page, member int, e edge) error {
	at, err := encode(m.places, member)
	p.Edges = append(p.Edges, edge{Cursor: at, Node: e.Node})
	return err
}

// more reports whether events are left in the direction of the page.
func (m *merge) more() bool {
	return slices.ContainsFunc(m.sources, func(s source) bool { return len(s.edges) > 0 || s.more })
}

// finish fills in the cursors of a page that has events.
func (m *merge) finish(p *page) *page {
	p.PageInfo.StartCursor = p.Edges[0].Cursor
	p.PageInfo.EndCursor = p.Edges[len(p.Edges)-1].Cursor
	return p
}
