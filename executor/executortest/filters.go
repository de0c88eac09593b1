// Which events a query reads.

package executortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testFilters(t *testing.T, c Config) {
	c.run(t, "Each", filtersEach)
	c.run(t, "Overlap", filtersOverlap)
	c.run(t, "Most", filtersMost)
	c.run(t, "ManyKinds", filtersManyKinds)
	c.run(t, "Later", filtersLater)
	c.run(t, "Fresh", filtersFresh)
	c.run(t, "Refused", filtersRefused)
}

// fillGrid commits one event of every combination of two types, three ids
// and three names; the ids are routed to nowhere, left and right.
func fillGrid(ctx context.Context, t testing.TB, ex evento.Executor) model {
	t.Helper()
	for i, key := range []string{"", "left", "right"} {
		for _, typ := range []evento.AggregateType{thing, other} {
			a := to(fmt.Sprint("id ", i), 0, "Name0", "Name1", "Name2")
			a.AggregateType, a.RoutingKey = typ, key
			commit(ctx, t, ex, a)
		}
	}
	return readAll(ctx, t, ex, evento.Query{})
}

// Every combination of the fields of a filter, those that match nothing too.
func filtersEach(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fillGrid(ctx, t, ex)
	for _, q := range []evento.Query{{}, {Unrouted: true}, {RoutingKey: "left"}, {RoutingKey: "none"}} {
		m.wantPage(ctx, t, ex, q, cursor.Forward(len(m)+1, ""))
		for _, typ := range []evento.AggregateType{thing, other, "executortest/None"} {
			for _, id := range []string{"", "id 0", "id 1", "none"} {
				for _, name := range []string{"", "Name1", "None"} {
					q.Filters = []evento.Filter{{AggregateType: typ, AggregateID: id, Name: name}}
					m.wantPage(ctx, t, ex, q, cursor.Forward(len(m)+1, ""))
				}
			}
		}
	}
}

// An event that several filters match is read once, in its place.
func filtersOverlap(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fillGrid(ctx, t, ex)
	r := rand.New(rand.NewPCG(5, 6))
	for range 150 {
		q := filtered(randomFilters(r, 2+r.IntN(5))...)
		q.Unrouted = r.IntN(5) == 0
		if r.IntN(4) == 0 {
			q.Filters = append(q.Filters, q.Filters[0]) // the same twice
		}
		m.wantPage(ctx, t, ex, q, randomArgs(r, m))
	}
}

// As many filters as a query may have.
func filtersMost(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fillGrid(ctx, t, ex)
	ids, kinds := evento.Query{}, evento.Query{}
	for i := range evento.MaxFilters {
		ids.Filters = append(ids.Filters, evento.ByID(thing, fmt.Sprint("id ", 1+i*7)))
		kinds.Filters = append(kinds.Filters, evento.Filter{AggregateType: other, Name: fmt.Sprint("Name", 1+i)})
	}
	for _, q := range []evento.Query{ids, kinds, {Filters: append(ids.Filters[:500:500], kinds.Filters[:500]...)}} {
		for _, args := range []cursor.Args{cursor.Forward(4, ""), cursor.Onward(100, m[4].Cursor), cursor.Backward(2, "")} {
			m.wantPage(ctx, t, ex, q, args)
		}
	}
}

// A query for more kinds of events than can be looked up one by one.
func filtersManyKinds(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const kinds = 300
	names := make([]string, kinds)
	for i := range names {
		names[i] = fmt.Sprint("Name", i)
	}
	another := func(id string, n int) evento.Append {
		a := to(id, 0, slices.Repeat([]string{"Made"}, n)...)
		a.AggregateType = other
		return a
	}
	commit(ctx, t, ex, another("one", 50))
	commit(ctx, t, ex, routed("left", to("many", 0, names...)))
	commit(ctx, t, ex, another("two", 700))
	commit(ctx, t, ex, to("few", 0, "Name7", "Name299"))
	commit(ctx, t, ex, another("three", 3))
	m := model(readAll(ctx, t, ex, evento.Query{}))
	named := make([]evento.Filter, kinds-10)
	for i := range named {
		named[i] = evento.Filter{AggregateType: thing, Name: names[i]}
	}
	for _, filters := range [][]evento.Filter{
		{evento.ByType(thing)}, named, {evento.ByType(thing), evento.ByID(other, "one")}, append(slices.Clone(named), evento.ByType(other)),
	} {
		for _, q := range []evento.Query{{Filters: filters}, {Filters: filters, Unrouted: true}, {Filters: filters, RoutingKey: "left"}} {
			for _, at := range []cursor.Value{"", m[20].Cursor, m[700].Cursor, m[len(m)-2].Cursor} {
				m.wantPage(ctx, t, ex, q, cursor.Forward(10, at))
				m.wantPage(ctx, t, ex, q, cursor.Backward(1, at))
			}
			m.wantPage(ctx, t, ex, q, cursor.Forward(400, ""))
		}
	}
}

// What a query did not know when it was made first is found when it comes.
func filtersLater(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("early", 0, "Made"))
	a, b := routed("late", to("late", 0, "Late")), to("one", 0, "Made")
	b.AggregateType = "executortest/Late"
	later := []struct {
		query evento.Query
		want  []evento.RawEvent
	}{
		{filtered(evento.ByType(b.AggregateType)), raws(b, 1, "")},
		{filtered(evento.ByID(thing, "late")), raws(a, 1, "late")},
		{filtered(evento.Filter{AggregateType: thing, Name: "Late"}), raws(a, 1, "late")},
		{evento.Query{RoutingKey: "late"}, raws(a, 1, "late")},
	}
	for _, tt := range later {
		wantEvents(ctx, t, ex, tt.query, nil)
	}
	commit(ctx, t, ex, a)
	commit(ctx, t, ex, b)
	for _, tt := range later {
		wantEvents(ctx, t, ex, tt.query, tt.want)
	}
}

// A query that names what cannot be stored is refused, so that a mistake does
// not look like an empty store.
func filtersRefused(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fillGrid(ctx, t, ex)
	long, over := strings.Repeat("x", evento.MaxName+1), make([]evento.Filter, evento.MaxFilters+1)
	for i := range over {
		over[i] = evento.ByType(thing)
	}
	for _, q := range []evento.Query{
		filtered(evento.Filter{}),
		filtered(evento.Filter{AggregateID: "id 0"}),
		filtered(evento.Filter{Name: "Name0"}),
		filtered(evento.ByType(thing), evento.Filter{}),
		filtered(evento.ByType("a\x00b")),
		filtered(evento.ByType(evento.AggregateType(long))),
		filtered(evento.ByID(thing, long)),
		filtered(evento.ByID(thing, "a\nb")),
		filtered(evento.Filter{AggregateType: thing, Name: "\xff"}),
		filtered(over...),
		{RoutingKey: long},
		{RoutingKey: "a\tb"},
		{RoutingKey: "left", Unrouted: true},
	} {
		wantError(t, discard(ex.Read(ctx, q, cursor.Forward(1, ""))), evento.ErrInvalid, "Read(%.300s)", showQuery(q))
	}
}

// freshRounds is how often each query meets a name that is just being made. A
// store that looks names up at another moment than it reads fails in a few.
const freshRounds = 60

// Who waits for an aggregate, event name, type or routing key that does not
// exist yet gets its first event: it is never passed over as unknown by a read
// that goes on beyond it.
func filtersFresh(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for round := range freshRounds {
		id := fmt.Sprint("fresh ", round)
		a := routed(id, to(id, 0, fmt.Sprint("Fresh", round)))
		a.AggregateType = evento.AggregateType(fmt.Sprint("executortest/Fresh", round))
		queries := []evento.Query{
			filtered(evento.ByID(a.AggregateType, id)),
			filtered(evento.Filter{AggregateType: a.AggregateType, Name: a.Events[0].Name}),
			filtered(evento.ByType(a.AggregateType)),
			{RoutingKey: id},
			filtered(evento.ByID(thing, "another"), evento.ByID(a.AggregateType, id)),
		}
		waitForFresh(ctx, t, ex, queries[round%len(queries)], a) // each round makes its names once
	}
}

// waitForFresh reads on and on while a is committed, and wants to meet it.
func waitForFresh(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, a evento.Append) {
	t.Helper()
	reading := make(chan struct{})
	var committed atomic.Bool
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		<-reading
		commit(ctx, t, ex, a)
		committed.Store(true)
	}}, goroutines{1, func(t testing.TB, _ int) {
		begin := sync.OnceFunc(func() { close(reading) })
		defer begin()
		for at := cursor.Value(""); ; {
			last := committed.Load()
			p := read(ctx, t, ex, q, cursor.Onward(10, at))
			begin()
			if len(p.Edges) > 0 {
				return
			}
			if last {
				t.Fatalf("Read(%s) went on to %q past a commit that it matches: %s", showQuery(q), p.PageInfo.EndCursor, show(write(a)))
			}
			at = p.PageInfo.EndCursor
		}
	}})
}
