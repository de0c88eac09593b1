// Pages, compared with those of a slice, and ranging over events.

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
	p.PageInfo.StartCursor, p.PageInfo.EndCursor = args.At(), args.At()
	switch n := len(p.Edges); {
	case n > 0:
		p.PageInfo.StartCursor, p.PageInfo.EndCursor = p.Edges[0].Cursor, p.Edges[n-1].Cursor
	case !args.IsBackward() && len(m) > 0:
		p.PageInfo.EndCursor = m[len(m)-1].Cursor
	}
	return p
}

// everyWay is reading n events from a place, in each way.
func everyWay(n int, at cursor.Value) []cursor.Args {
	return []cursor.Args{cursor.Forward(n, at), cursor.Onward(n, at), cursor.Backward(n, at)}
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
		events, id := min(n, 1+r.IntN(6)), r.IntN(5)
		n -= events
		a := routed([]string{"", "", "left", "right", "left"}[id], toAny(fmt.Sprint("id ", id), randomNames(r, events)...))
		if r.IntN(3) == 0 {
			a.AggregateType = other
		}
		for i := range a.Events {
			a.Events[i].Tags = randomTags(r)
		}
		commit(ctx, t, ex, a)
	}
	return readAll(ctx, t, ex, evento.Query{})
}

// randomNames are n names of events.
func randomNames(r *rand.Rand, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("Name", r.IntN(3))
	}
	return names
}

func pagesEmpty(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for _, args := range everyWay(5, "") {
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
		for _, way := range []func(int, cursor.Value) cursor.Args{cursor.Forward, cursor.Backward} {
			got := walk(ctx, t, ex, func(at cursor.Value) cursor.Args { return way(size, at) }, func(args cursor.Args, p *page) {
				samePage(t, evento.Query{}, args, p, m.page(evento.Query{}, args))
			})
			sameEdges(t, "page after page, as "+showArgs(way(size, "")), got, m)
		}
	}
}

// walk reads the whole store from page to page, the way that args has, and
// returns its events in order. Check looks at each page.
func walk(ctx context.Context, t testing.TB, ex evento.Executor, args func(at cursor.Value) cursor.Args, check func(cursor.Args, *page)) []edge {
	t.Helper()
	var all []edge
	for a, more := args(""), true; more; {
		p := read(ctx, t, ex, evento.Query{}, a)
		check(a, p)
		if a.IsBackward() {
			all = slices.Concat(p.Edges, all)
			a, more = args(p.PageInfo.StartCursor), p.PageInfo.HasPreviousPage
		} else {
			all = append(all, p.Edges...)
			a, more = args(p.PageInfo.EndCursor), p.PageInfo.HasNextPage
		}
	}
	return all
}

// randomFilters are filters for what fill commits, and for some that it does not.
func randomFilters(r *rand.Rand, n int) []evento.Filter {
	filters := make([]evento.Filter, n)
	for i := range filters {
		filters[i].AggregateType = []evento.AggregateType{thing, other}[r.IntN(2)]
		if r.IntN(2) == 0 {
			filters[i].AggregateID = fmt.Sprint("id ", r.IntN(6))
		}
		if r.IntN(3) == 0 {
			filters[i].Name = fmt.Sprint("Name", r.IntN(4))
		}
		if r.IntN(4) == 0 {
			filters[i].Tags = randomTags(r)
		}
		if len(filters[i].Tags) > 0 && r.IntN(2) == 0 {
			filters[i] = evento.ByTags(filters[i].Tags...)
		}
	}
	return filters
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
	q := filtered(randomFilters(r, r.IntN(4))...)
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
		for _, args := range everyWay(5, at) {
			m.wantPage(ctx, t, ex, q, args)
		}
	}
	m.wantPage(ctx, t, ex, evento.Query{}, cursor.Forward(5, end))
	m.wantPage(ctx, t, ex, evento.Query{}, cursor.Backward(5, m[0].Cursor))

	commit(ctx, t, ex, to("late", 0, "Made"))
	m = readAll(ctx, t, ex, evento.Query{})
	for _, args := range append(everyWay(5, end), cursor.Backward(5, "")) {
		m.wantPage(ctx, t, ex, q, args)
	}
}

// A page ends early when its events are large, but not before the first.
func pagesBytes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	sizes := largeSizes()
	for i, size := range sizes {
		a := to(fmt.Sprint(i), 0, "Made")
		a.Events[0].Data = make([]byte, size)
		commit(ctx, t, ex, a)
	}
	check := func(args cursor.Args, p *page) {
		size, largest := 0, 0
		for _, e := range p.Edges {
			size, largest = size+len(e.Node.Data), max(largest, len(e.Node.Data))
		}
		before := p.PageInfo.HasPreviousPage
		if args.IsBackward() {
			before = p.PageInfo.HasNextPage
		}
		switch {
		case len(p.Edges) == 0:
			t.Fatalf("Read(%s): got no events, want at least one", showArgs(args))
		case size-largest > evento.PageBytes:
			t.Errorf("Read(%s): got %d events of %d bytes, want the page cut at %d", showArgs(args), len(p.Edges), size, evento.PageBytes)
		case before != (args.At() != ""):
			t.Errorf("Read(%s): got %+v, want every page but the first to have one before", showArgs(args), p.PageInfo)
		}
	}
	forward := walk(ctx, t, ex, func(at cursor.Value) cursor.Args { return cursor.Forward(100, at) }, check)
	backward := walk(ctx, t, ex, func(at cursor.Value) cursor.Args { return cursor.Backward(100, at) }, check)
	same(t, "forward", forward, sizes, func(got edge, size int) string {
		if len(got.Node.Data) == size {
			return ""
		}
		return fmt.Sprintf("got %d bytes, want %d", len(got.Node.Data), size)
	})
	sameEdges(t, "backward", backward, forward)

	small := read(ctx, t, ex, evento.Query{}, cursor.Forward(2, forward[3].Cursor))
	sameEdges(t, "two small events", small.Edges, forward[4:6])
}

// largeSizes are those of payloads of which some pages have to be cut.
func largeSizes() []int {
	return []int{
		evento.PageBytes / 2, evento.PageBytes / 2, // just fit
		evento.PageBytes + 1, evento.PageBytes + 1, // alone
		0, 10, evento.PageBytes / 3, evento.PageBytes / 3, evento.PageBytes / 3, 20,
	}
}

func pagesSizes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fill(ctx, t, ex, 3)
	for _, args := range slices.Concat(everyWay(0, ""), everyWay(-1, ""), everyWay(cursor.MaxPage+1, ""), []cursor.Args{{}}) {
		wantError(t, discard(ex.Read(ctx, evento.Query{}, args)), cursor.ErrInvalid, "Read(%s)", showArgs(args))
	}
}

func testIteration(t *testing.T, c Config) {
	c.run(t, "AllPages", iterationAllPages)
	c.run(t, "BreakAndClose", iterationBreakAndClose)
	c.run(t, "CommitWithin", iterationCommitWithin)
	c.run(t, "Ended", iterationEnded)
}

// More events than the library reads at a time.
func iterationAllPages(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const n = 2100
	a := to("one", 0, many(n, "Happened")...)
	commit(ctx, t, ex, a)
	got := 0
	for e, err := range evento.Events(ctx, ex, evento.Query{}) {
		must(t, err)
		if got == n || e.ID != a.Events[got].ID {
			t.Fatalf("event %d: got %s at position %d, want each of %d events once, in order", got+1, e.ID, e.Position, n)
		}
		got++
	}
	if got != n {
		t.Errorf("got %d events, want %d", got, n)
	}
}

// Breaking off leaves nothing open: the range can begin again, writes go on,
// and Close has nothing to wait for.
func iterationBreakAndClose(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 20)
	for i := range 20 {
		got := 0
		for e, err := range evento.Events(ctx, ex, evento.Query{}) {
			must(t, err)
			if diff := differ(e, m[got].Node); diff != "" {
				t.Fatalf("event %d: %s", got+1, diff)
			}
			if got++; got > i {
				break
			}
		}
		commit(ctx, t, ex, toAny("more", "Made"))
	}
	for _, err := range evento.Events(ctx, ex, evento.Query{}) {
		must(t, err)
		must(t, ex.Close()) // from within, too
		break
	}
}

// The loop's body may use the store, and what it commits is reached.
func iterationCommitWithin(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const n = 1500
	commit(ctx, t, ex, to("one", 0, many(n, "Happened")...))
	var got evento.RawEvent
	for e, err := range evento.Events(ctx, ex, filtered(evento.ByID(thing, "one"))) {
		must(t, err)
		if e.Version != got.Version+1 {
			t.Fatalf("got version %d after %d", e.Version, got.Version)
		}
		if got = e; e.Version == 500 {
			commit(ctx, t, ex, to("one", n, "Later"), toAny("other", "Later"))
		}
	}
	if got.Version != n+1 || got.Name != "Later" {
		t.Errorf("got version %d %q last, want %d, which was committed meanwhile", got.Version, got.Name, n+1)
	}
}

// At most one error, and it is last.
func iterationEnded(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fill(ctx, t, ex, 5)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	got := 0
	for _, err := range evento.Events(ctx, ex, evento.Query{}) {
		got++
		wantError(t, err, context.Canceled, "item %d with an ended context", got)
	}
	if got != 1 {
		t.Errorf("got %d items with an ended context, want the error", got)
	}
}
