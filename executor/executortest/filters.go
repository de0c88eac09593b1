// Which events a query reads.

package executortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testFilters(t *testing.T, c Config) {
	c.run(t, "Each", filtersEach)
	c.run(t, "Overlap", filtersOverlap)
	c.run(t, "Most", filtersMost)
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
	for _, typ := range []evento.AggregateType{"", thing, other, "executortest/None"} {
		for _, id := range []string{"", "id 0", "id 1", "none"} {
			for _, name := range []string{"", "Name1", "None"} {
				for _, routing := range []evento.Query{{}, {Unrouted: true}, {RoutingKey: "left"}, {RoutingKey: "none"}} {
					q := routing
					if typ != "" {
						q.Filters = []evento.Filter{{AggregateType: typ, AggregateID: id, Name: name}}
					} else if id+name != "" {
						continue // no such filter
					}
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
		q := evento.Query{Unrouted: r.IntN(5) == 0}
		for range 2 + r.IntN(5) {
			f := evento.Filter{AggregateType: []evento.AggregateType{thing, other}[r.IntN(2)]}
			if r.IntN(2) == 0 {
				f.AggregateID = fmt.Sprint("id ", r.IntN(4))
			}
			if r.IntN(2) == 0 {
				f.Name = fmt.Sprint("Name", r.IntN(4))
			}
			q.Filters = append(q.Filters, f)
		}
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

// What a query did not know when it was made first is found when it comes.
func filtersLater(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("early", 0, "Made"))
	queries := []evento.Query{
		filtered(evento.ByType("executortest/Late")),
		filtered(evento.ByID(thing, "late")),
		filtered(evento.Filter{AggregateType: thing, Name: "Late"}),
		{RoutingKey: "late"},
	}
	a, b := to("late", 0, "Late"), to("one", 0, "Made")
	a.RoutingKey, b.AggregateType = "late", "executortest/Late"
	for _, q := range queries {
		wantEvents(ctx, t, ex, q, nil)
	}
	commit(ctx, t, ex, a)
	commit(ctx, t, ex, b)
	for i, q := range queries {
		want := raws(a, 1, "late")
		if i == 0 {
			want = raws(b, 1, "")
		}
		wantEvents(ctx, t, ex, q, want)
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
		{Filters: over},
		{RoutingKey: long},
		{RoutingKey: "a\tb"},
		{RoutingKey: "left", Unrouted: true},
	} {
		_, err := ex.Read(ctx, q, cursor.Forward(1, ""))
		wantError(t, err, evento.ErrInvalid, "Read(%.300s)", showQuery(q))
	}
}
