// Routing keys: an aggregate's is that of its first event.

package executortest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/evento-go/evento"
)

func testRouting(t *testing.T, c Config) {
	c.run(t, "FirstEventDecides", routingFirstEventDecides)
	c.run(t, "Several", routingSeveral)
	c.run(t, "Queries", routingQueries)
	c.run(t, "Concurrent", routingConcurrent)
}

func routed(key string, a evento.Append) evento.Append {
	a.RoutingKey = key
	return a
}

// Within the first append, and against whatever key later ones come with.
func routingFirstEventDecides(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	var want []evento.RawEvent
	for _, first := range []string{"", "left"} {
		id := "id " + first
		n := uint64(0)
		for _, a := range []evento.Append{
			routed(first, to(id, 0, "A", "B")),
			routed("", to(id, 2, "C")),
			routed("right", to(id, 3, "D", "E")),
			routed("right", toAny(id, "F")),
			routed("left", toAny(id, "G")),
		} {
			commit(ctx, t, ex, a)
			want = append(want, raws(a, n+1, first)...)
			n += uint64(len(a.Events))
		}
	}
	// The same id under another type is another aggregate.
	a := routed("right", to("id left", 0, "A"))
	a.AggregateType = other
	commit(ctx, t, ex, a)
	want = append(want, raws(a, 1, "right")...)

	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
	for _, q := range []evento.Query{{Unrouted: true}, {RoutingKey: "left"}, {RoutingKey: "right"}} {
		matching := slices.DeleteFunc(slices.Clone(want), func(e evento.RawEvent) bool { return !q.Matches(e) })
		wantEvents(ctx, t, ex, q, matching)
	}
}

// Each append of a write has its own.
func routingSeveral(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	first := []evento.Append{routed("left", to("a", 0, "A", "B")), to("b", 0, "A"), routed("right", toAny("c", "A", "B"))}
	commit(ctx, t, ex, first...)
	second := []evento.Append{to("a", 2, "C"), routed("left", to("b", 1, "B")), routed("left", to("d", 0, "A")), routed("left", toAny("c", "C"))}
	commit(ctx, t, ex, second...)
	want := slices.Concat(
		raws(first[0], 1, "left"), raws(first[1], 1, ""), raws(first[2], 1, "right"),
		raws(second[0], 3, "left"), raws(second[1], 2, ""), raws(second[2], 1, "left"), raws(second[3], 3, "right"))
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
}

// Keys are compared bytewise.
func routingQueries(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	keys := []string{"", "key", "KEY", "key ", " key", "key%", "k_y", "ke", "keyy", "kéy", "ke\u0301y"}
	var m []evento.RawEvent
	for i, key := range keys {
		a := routed(key, to(fmt.Sprint(i), 0, "A"))
		commit(ctx, t, ex, a)
		m = append(m, raws(a, 1, key)...)
	}
	wantEvents(ctx, t, ex, evento.Query{}, m)
	wantEvents(ctx, t, ex, evento.Query{Unrouted: true}, m[:1])
	for i, key := range keys[1:] {
		wantEvents(ctx, t, ex, evento.Query{RoutingKey: key}, m[i+1:i+2])
		wantEvents(ctx, t, ex, evento.Query{RoutingKey: key, Filters: []evento.Filter{evento.ByID(thing, "0")}}, nil)
	}
}

// Of several first appends at once, the one that is stored first decides.
func routingConcurrent(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, rounds = 6, 5
	keys := map[evento.ID]string{} // what the event was given
	for round := range rounds {
		appends := make([]evento.Append, writers)
		for i := range appends {
			key := fmt.Sprint("key ", i)
			if i == round {
				key = ""
			}
			appends[i] = routed(key, toAny(fmt.Sprint(round), "A", "B"))
			keys[appends[i].Events[0].ID] = key
		}
		together(t, writers, func(t testing.TB, i int) { commit(ctx, t, ex, appends[i]) })
	}
	for _, e := range wantStore(ctx, t, c, ex, 2*writers*rounds) { // every event has the key of the first
		if want := keys[e.Node.ID]; e.Node.Version == 1 && e.Node.RoutingKey != want {
			t.Errorf("the first event of %q has the routing key %q, want %q, which its append gave", e.Node.AggregateID, e.Node.RoutingKey, want)
		}
	}
}
