package pebble_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// Queries that are dense in one part of a store and rare in another, so that
// reads change from scanning to merging, have the pages that the model has.
func TestSearch(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ex, model := openOn(t, vfs.NewMem()), memory.New(nil)
	defer closeAll(t, ex, model)
	for i := range 300 {
		w := evento.Write{}
		for j := range 1 + r.IntN(3) {
			a := anyVersion(fmt.Sprint(j, r.IntN(30)), 1+r.IntN(10))
			a.AggregateType = evento.AggregateType(fmt.Sprint("type ", r.IntN(2)))
			a.RoutingKey = []string{"", "left", "right"}[r.IntN(3)]
			for k := range a.Events {
				a.Events[k].Name = "Common"
				if i > 200 || r.IntN(40) == 0 {
					a.Events[k].Name = fmt.Sprint("Rare ", r.IntN(6))
				}
			}
			w.Appends = append(w.Appends, a)
		}
		for _, to := range []evento.Executor{ex, model} {
			if _, err := to.Write(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
	}
	head := uint64(count(t, ex))
	places := map[evento.Executor]func(uint64) cursor.Value{}
	for _, on := range []evento.Executor{ex, model} {
		page, err := on.Read(t.Context(), evento.Query{}, cursor.Forward(10_000, ""))
		if err != nil {
			t.Fatal(err)
		}
		places[on] = func(p uint64) cursor.Value {
			if p == 0 {
				return ""
			}
			return page.Edges[p-1].Cursor
		}
	}
	for range 1500 {
		q, n, at := randomQuery(r), 1+r.IntN(120), uint64(r.IntN(int(head+1)))
		for name, args := range map[string]func(int, cursor.Value) cursor.Args{"Forward": cursor.Forward, "Backward": cursor.Backward} {
			got, want := look(t, ex, q, args(n, places[ex](at))), look(t, model, q, args(n, places[model](at)))
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s(%d) at %d of %+v: got %v, want %v", name, n, at, q, got, want)
			}
		}
	}
}

func randomQuery(r *rand.Rand) evento.Query {
	q := evento.Query{}
	for range r.IntN(4) {
		f := evento.Filter{AggregateType: evento.AggregateType(fmt.Sprint("type ", r.IntN(3)))}
		if r.IntN(2) == 0 {
			f.AggregateID = fmt.Sprint(r.IntN(3), r.IntN(31))
		}
		if r.IntN(2) == 0 {
			f.Name = []string{"Common", "Rare 1", "Rare 2", "Never"}[r.IntN(4)]
		}
		q.Filters = append(q.Filters, f)
	}
	switch r.IntN(4) {
	case 0:
		q.RoutingKey = []string{"left", "right", "nowhere"}[r.IntN(3)]
	case 1:
		q.Unrouted = true
	}
	return q
}

// look tells what is compared of a page: its positions, and what is around it.
func look(t *testing.T, ex evento.Executor, q evento.Query, args cursor.Args) []any {
	t.Helper()
	page, err := ex.Read(t.Context(), q, args)
	if err != nil {
		t.Fatal(err)
	}
	all := []any{page.PageInfo.HasPreviousPage, page.PageInfo.HasNextPage}
	for _, e := range page.Edges {
		all = append(all, fmt.Sprint(e.Node.Position, e.Node.ID, e.Node.AggregateType, e.Node.AggregateID, e.Node.Version, e.Node.Name, e.Node.RoutingKey))
	}
	return all
}
