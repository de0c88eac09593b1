// Pages, compared with those of a slice.

package executortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testPages(t *testing.T, c Config) {
	c.run(t, "Empty", pagesEmpty)
	c.run(t, "Walk", pagesWalk)
	c.run(t, "Model", pagesModel)
	c.run(t, "PastTheEnd", pagesPastTheEnd)
	c.run(t, "Bytes", pagesBytes)
	c.run(t, "Sizes", pagesSizes)
}

// model is a whole store as a slice.
type model []edge

// page is what Read returns, for events too small to cut a page short.
func (m model) page(q evento.Query, args cursor.Args) *page {
	at := 0 // how many events are before the place
	switch i := slices.IndexFunc(m, func(e edge) bool { return e.Cursor == args.At() }); {
	case args.At() == "" && args.IsBackward():
		at = len(m)
	case i >= 0 && args.IsBackward():
		at = i
	case i >= 0:
		at = i + 1
	}
	before, after := m[:at].matching(q), m[at:].matching(q)
	p := &page{}
	if args.IsBackward() {
		cut := max(0, len(before)-args.Limit())
		p.Edges = before[cut:]
		p.PageInfo.HasPreviousPage, p.PageInfo.HasNextPage = cut > 0, len(after) > 0
	} else {
		cut := min(len(after), args.Limit())
		p.Edges = after[:cut]
		p.PageInfo.HasPreviousPage, p.PageInfo.HasNextPage = len(before) > 0, cut < len(after)
	}
	switch n := len(p.Edges); {
	case n > 0:
		p.PageInfo.StartCursor, p.PageInfo.EndCursor = p.Edges[0].Cursor, p.Edges[n-1].Cursor
	case args.IsBackward() || len(m) == 0:
		p.PageInfo.StartCursor, p.PageInfo.EndCursor = args.At(), args.At()
	default:
		p.PageInfo.StartCursor, p.PageInfo.EndCursor = args.At(), m[len(m)-1].Cursor
	}
	return p
}

func (m model) matching(q evento.Query) []edge {
	var edges []edge
	for _, e := range m {
		if q.Matches(e.Node) {
			edges = append(edges, e)
		}
	}
	return edges
}

// wantPage compares a page of the store with the model's.
func (m model) wantPage(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, args cursor.Args) {
	t.Helper()
	samePage(t, q, args, read(ctx, t, ex, q, args), m.page(q, args))
}

func samePage(t testing.TB, q evento.Query, args cursor.Args, got, want *page) {
	t.Helper()
	what := fmt.Sprintf("Read(%s, %s)", showQuery(q), showArgs(args))
	sameEdges(t, what, got.Edges, want.Edges)
	if args.IsOnward() { // may leave it false
		got.PageInfo.HasPreviousPage = want.PageInfo.HasPreviousPage
	}
	if got.PageInfo != want.PageInfo {
		t.Fatalf("%s: got %d events with %+v, want %+v", what, len(got.Edges), got.PageInfo, want.PageInfo)
	}
}

// fill commits n events to a few aggregates of two types, some of them with a
// routing key, and returns the store as a model.
func fill(ctx context.Context, t testing.TB, ex evento.Executor, n int) model {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for n > 0 {
		events := min(n, 1+r.IntN(6))
		n -= events
		id := r.IntN(5)
		a := toAny(fmt.Sprint("id ", id))
		if r.IntN(3) == 0 {
			a.AggregateType = other
		}
		a.RoutingKey = []string{"", "", "left", "right", "left"}[id]
		for range events {
			a.Events = append(a.Events, event(fmt.Sprint("Name", r.IntN(3))))
		}
		commit(ctx, t, ex, a)
	}
	return readAll(ctx, t, ex, evento.Query{})
}

func pagesEmpty(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for _, args := range []cursor.Args{cursor.Forward(5, ""), cursor.Onward(5, ""), cursor.Backward(5, "")} {
		model{}.wantPage(ctx, t, ex, evento.Query{}, args)
		model{}.wantPage(ctx, t, ex, filtered(evento.ByType(thing)), args)
	}
}

// From page to page, by each size, from both ends.
func pagesWalk(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const n = 30
	m := fill(ctx, t, ex, n)
	checkLog(t, c, m)
	for _, size := range []int{1, 4, n / 2, n - 1, n, n + 1, cursor.MaxPage} {
		var got []edge
		for at := cursor.Value(""); ; {
			p := read(ctx, t, ex, evento.Query{}, cursor.Forward(size, at))
			samePage(t, evento.Query{}, cursor.Forward(size, at), p, m.page(evento.Query{}, cursor.Forward(size, at)))
			got = append(got, p.Edges...)
			if !p.PageInfo.HasNextPage {
				break
			}
			at = p.PageInfo.EndCursor
		}
		sameEdges(t, fmt.Sprintf("forward by %d", size), got, m)

		got = nil
		for at := cursor.Value(""); ; {
			p := read(ctx, t, ex, evento.Query{}, cursor.Backward(size, at))
			samePage(t, evento.Query{}, cursor.Backward(size, at), p, m.page(evento.Query{}, cursor.Backward(size, at)))
			got = append(slices.Clone(p.Edges), got...)
			if !p.PageInfo.HasPreviousPage {
				break
			}
			at = p.PageInfo.StartCursor
		}
		sameEdges(t, fmt.Sprintf("backward by %d", size), got, m)
	}
}

// Pages of random queries, sizes, places and directions.
func pagesModel(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 80)
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		m.wantPage(ctx, t, ex, randomQuery(r), randomArgs(r, m))
	}
}

// randomQuery is a query of what fill commits, and of some that it does not.
func randomQuery(r *rand.Rand) evento.Query {
	q := evento.Query{}
	for range r.IntN(4) {
		f := evento.Filter{AggregateType: thing}
		if r.IntN(3) == 0 {
			f.AggregateType = other
		}
		if r.IntN(2) == 0 {
			f.AggregateID = fmt.Sprint("id ", r.IntN(6))
		}
		if r.IntN(3) == 0 {
			f.Name = fmt.Sprint("Name", r.IntN(4))
		}
		q.Filters = append(q.Filters, f)
	}
	switch r.IntN(6) {
	case 0:
		q.Unrouted = true
	case 1:
		q.RoutingKey = "left"
	case 2:
		q.RoutingKey = []string{"right", "nowhere"}[r.IntN(2)]
	}
	return q
}

func randomArgs(r *rand.Rand, m model) cursor.Args {
	at := cursor.Value("")
	if len(m) > 0 && r.IntN(4) > 0 {
		at = m[r.IntN(len(m))].Cursor
	}
	n := 1 + r.IntN(12)
	if r.IntN(20) == 0 {
		n = cursor.MaxPage
	}
	switch r.IntN(5) {
	case 0, 1:
		return cursor.Backward(n, at)
	case 2:
		return cursor.Onward(n, at)
	}
	return cursor.Forward(n, at)
}

// A reader that found nothing goes on from the end of what it looked at, and
// finds what comes there.
func pagesPastTheEnd(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 20)
	q := filtered(evento.ByID(thing, "late"))
	end := m[len(m)-1].Cursor
	for _, at := range []cursor.Value{"", m[3].Cursor, end} {
		for _, args := range []cursor.Args{cursor.Forward(5, at), cursor.Onward(5, at), cursor.Backward(5, at)} {
			m.wantPage(ctx, t, ex, q, args)
		}
	}
	m.wantPage(ctx, t, ex, evento.Query{}, cursor.Forward(5, end))
	m.wantPage(ctx, t, ex, evento.Query{}, cursor.Backward(5, m[0].Cursor))

	commit(ctx, t, ex, to("late", 0, "Made"))
	m = readAll(ctx, t, ex, evento.Query{})
	for _, args := range []cursor.Args{cursor.Forward(5, end), cursor.Onward(5, end), cursor.Backward(5, ""), cursor.Backward(5, end)} {
		m.wantPage(ctx, t, ex, q, args)
	}
}

// A page ends early when its events are large, but not before the first.
func pagesBytes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	sizes := []int{
		evento.PageBytes / 2, evento.PageBytes / 2, // just fit
		evento.PageBytes + 1, evento.PageBytes + 1, // alone
		0, 10, evento.PageBytes / 3, evento.PageBytes / 3, evento.PageBytes / 3, 20,
	}
	for i, size := range sizes {
		a := to(fmt.Sprint(i), 0, "Made")
		a.Events[0].Data = make([]byte, size)
		commit(ctx, t, ex, a)
	}
	var forward, backward []edge
	check := func(p *page, args cursor.Args) {
		t.Helper()
		size, largest := 0, 0
		for _, e := range p.Edges {
			size, largest = size+len(e.Node.Data), max(largest, len(e.Node.Data))
		}
		switch {
		case len(p.Edges) == 0:
			t.Fatalf("Read(%s): got no events, want at least one", showArgs(args))
		case size-largest > evento.PageBytes:
			t.Errorf("Read(%s): got %d events of %d bytes, want the page cut at %d", showArgs(args), len(p.Edges), size, evento.PageBytes)
		}
	}
	for at, more := cursor.Value(""), true; more; {
		args := cursor.Forward(100, at)
		p := read(ctx, t, ex, evento.Query{}, args)
		at, more = p.PageInfo.EndCursor, p.PageInfo.HasNextPage
		check(p, args)
		if p.PageInfo.HasPreviousPage != (len(forward) > 0) {
			t.Errorf("Read(%s): got HasPreviousPage %t", showArgs(args), p.PageInfo.HasPreviousPage)
		}
		forward = append(forward, p.Edges...)
	}
	for at, more := cursor.Value(""), true; more; {
		args := cursor.Backward(100, at)
		p := read(ctx, t, ex, evento.Query{}, args)
		at, more = p.PageInfo.StartCursor, p.PageInfo.HasPreviousPage
		check(p, args)
		if p.PageInfo.HasNextPage != (len(backward) > 0) {
			t.Errorf("Read(%s): got HasNextPage %t", showArgs(args), p.PageInfo.HasNextPage)
		}
		backward = append(slices.Clone(p.Edges), backward...)
	}
	for i, size := range sizes {
		if i >= len(forward) || len(forward[i].Node.Data) != size {
			t.Fatalf("forward: got %d events, want %d of %v bytes", len(forward), len(sizes), sizes)
		}
	}
	sameEdges(t, "backward", backward, forward)

	small := read(ctx, t, ex, evento.Query{}, cursor.Forward(2, forward[3].Cursor))
	sameEdges(t, "two small events", small.Edges, forward[4:6])
}

func pagesSizes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fill(ctx, t, ex, 3)
	for _, n := range []int{0, -1, cursor.MaxPage + 1} {
		for _, args := range []cursor.Args{cursor.Forward(n, ""), cursor.Onward(n, ""), cursor.Backward(n, "")} {
			_, err := ex.Read(ctx, evento.Query{}, args)
			wantError(t, err, cursor.ErrInvalid, "Read(%s)", showArgs(args))
		}
	}
	_, err := ex.Read(ctx, evento.Query{}, cursor.Args{})
	wantError(t, err, cursor.ErrInvalid, "Read with the zero Args")
}
