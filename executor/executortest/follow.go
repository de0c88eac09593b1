// Following queries.

package executortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testFollow(t *testing.T, c Config) {
	c.run(t, "Feed", followFeed)
	c.run(t, "Random", func(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
		followRandom(ctx, t, []evento.Executor{ex})
	})
	c.run(t, "FallBehind", followFallBehind)
	c.run(t, "Bytes", followBytes)
	c.run(t, "Ended", followEnded)
	c.run(t, "Closed", followClosed)
	if c.Share != nil {
		c.run(t, "Shared", func(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
			followRandom(ctx, t, []evento.Executor{ex, c.share(t, ex)})
		})
	}
}

// An executor has one feed, which stays the same.
func followFeed(_ context.Context, t *testing.T, _ Config, ex evento.Executor) {
	feed := ex.Feed()
	if feed == nil {
		t.Fatal("Feed: got nil")
	}
	if again := ex.Feed(); again != feed {
		t.Errorf("Feed: got %p and then %p, want one", feed, again)
	}
	must(t, ex.Close())
	if again := ex.Feed(); again != feed {
		t.Errorf("Feed after Close: got %p, want %p as before", again, feed)
	}
}

// followed is what one range of Follow was asked for, and gave.
type followed struct {
	query evento.Query
	after cursor.Value
	got   []evento.RawEvent
	ended bool // by the event that is last for the query
}

// lastKeys are the routing keys of the events at which followers end, which are of
// one write, in this order.
var lastKeys = []string{"right", "left", ""}

func lastOf(key string) string { return "the last " + key }

// followRandom lets followers of all kinds of queries come and go while writers
// commit. Writers and followers are spread over the executors.
func followRandom(ctx context.Context, t *testing.T, exs []evento.Executor) {
	const writers, followers = 4, 8
	var runs [followers][]followed
	var writing sync.WaitGroup
	writing.Add(writers)
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		writing.Wait()
		var last []evento.Append
		for _, key := range lastKeys {
			last = append(last, routed(key, to(lastOf(key), 0, "Ended")))
		}
		commit(ctx, t, exs[0], last...)
	}}, goroutines{writers, func(t testing.TB, i int) {
		defer writing.Done()
		followWrite(ctx, t, exs[i%len(exs)], rand.New(rand.NewPCG(uint64(i), 0)))
	}}, goroutines{followers, func(t testing.TB, i int) {
		runs[i] = followSome(ctx, t, exs[i%len(exs)], rand.New(rand.NewPCG(uint64(i), 1)))
	}})
	log := readAll(ctx, t, exs[0], evento.Query{})
	for _, run := range slices.Concat(runs[:]...) {
		checkFollowed(t, log, run)
	}
}

func followWrite(ctx context.Context, t testing.TB, ex evento.Executor, r *rand.Rand) {
	t.Helper()
	for range 30 {
		var appends []evento.Append
		for _, n := range r.Perm(6)[:1+r.IntN(2)] {
			a := routed([]string{"", "left", "right"}[n%3], toAny(fmt.Sprint("id ", n), randomNames(r, 1+r.IntN(3))...))
			if n > 3 {
				a.AggregateType = other
			}
			appends = append(appends, a)
		}
		commit(ctx, t, ex, appends...)
	}
}

// followSome follows some queries, and breaks off, until it has come to the end of
// one.
func followSome(ctx context.Context, t testing.TB, ex evento.Executor, r *rand.Rand) (runs []followed) {
	t.Helper()
	for n := 0; ; n++ {
		run := followed{query: followQuery(r)}
		last := lastOf(run.query.RoutingKey)
		if r.IntN(2) == 0 {
			run.after = read(ctx, t, ex, evento.Query{}, cursor.Onward(1+r.IntN(100), "")).PageInfo.EndCursor
		}
		most := -1
		if n < 4 {
			most = r.IntN(80)
		}
		for e, err := range evento.Follow(ctx, ex, run.query, run.after) {
			if err != nil {
				t.Fatalf("following %s after %d events: %v", showQuery(run.query), len(run.got), err)
			}
			if r.IntN(8) == 0 { // is slow
				read(ctx, t, ex, evento.Query{}, cursor.Backward(50, ""))
			}
			run.got = append(run.got, e)
			if run.ended = e.AggregateID == last; run.ended || len(run.got) == most {
				break
			}
		}
		if runs = append(runs, run); run.ended {
			return runs
		}
	}
}

// followQuery is a query that has the last event of its routing.
func followQuery(r *rand.Rand) evento.Query {
	var q evento.Query
	switch r.IntN(4) {
	case 0:
		q.RoutingKey = lastKeys[r.IntN(2)]
	case 1:
		q.Unrouted = true
	}
	if n := r.IntN(4); n > 0 {
		q.Filters = append(randomFilters(r, n), evento.ByID(thing, lastOf(q.RoutingKey)))
	}
	return q
}

// checkFollowed compares what a follower was given with the whole store.
func checkFollowed(t testing.TB, log []edge, run followed) {
	t.Helper()
	from := 1 + slices.IndexFunc(log, func(e edge) bool { return e.Cursor == run.after })
	want := model(log[from:]).matching(run.query)
	if !run.ended { // broke off somewhere
		want = want[:min(len(want), len(run.got))]
	}
	what := fmt.Sprintf("following %s from the event %d on", showQuery(run.query), from+1)
	same(t, what, run.got, want, func(got evento.RawEvent, want edge) string { return differ(got, want.Node) })
}

// A follower who is slow is given everything in the end, and does not hold up
// another one.
func followFallBehind(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const n = 2500
	begun, caughtUp := make(chan struct{}), make(chan struct{})
	follow := func(t testing.TB, first func()) {
		t.Helper()
		version := uint64(0)
		for e, err := range evento.Follow(ctx, ex, filtered(evento.ByID(thing, "one")), "") {
			must(t, err)
			if version++; e.Version != version {
				t.Fatalf("got version %d, want %d", e.Version, version)
			}
			switch version {
			case 1:
				first()
			case n:
				return
			}
		}
	}
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		follow(t, func() {
			close(begun)
			await(ctx, t, caughtUp, "the other follower")
		})
	}}, goroutines{1, func(t testing.TB, _ int) {
		follow(t, func() {})
		close(caughtUp)
	}}, goroutines{1, func(t testing.TB, _ int) {
		commit(ctx, t, ex, to("one", 0, "Happened"))
		await(ctx, t, begun, "the slow follower")
		for at := 1; at < n; at += 100 {
			commit(ctx, t, ex, to("one", uint64(at), many(min(100, n-at), "Happened")...))
		}
	}})
}

// What one follower does to its events is nothing to another.
func followBytes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const followers, rounds = 4, 10
	turns := make(chan struct{}, followers) // of a round: all of them share the feed
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		for n := range uint64(rounds) {
			a := to("one", n, "Happened")
			a.Metadata.Values = map[string]string{"n": "value"}
			commit(ctx, t, ex, a)
			for range followers {
				await(ctx, t, turns, "the followers")
			}
		}
	}}, goroutines{followers, func(t testing.TB, i int) {
		got := 0
		for e, err := range evento.Follow(ctx, ex, evento.Query{}, "") {
			must(t, err)
			if !slices.Equal(e.Data, e.ID[:]) || len(e.Metadata.Values) != 1 || e.Metadata.Values["n"] != "value" {
				t.Fatalf("event %d, which another follower has written to: got the data %x and the metadata %v", got+1, e.Data, e.Metadata.Values)
			}
			clear(e.Data)
			e.Metadata.Values["n"] = fmt.Sprint(i)
			turns <- struct{}{}
			if got++; got == rounds {
				break
			}
		}
	}})
}

// The end of a follower's context ends that one, and no other.
func followEnded(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const followers, events = 6, 10
	commit(ctx, t, ex, to("one", 0, many(events, "Happened")...))
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	var waiting sync.WaitGroup // for the next event, or nearly
	waiting.Add(followers)
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		waiting.Wait()
		cancel()
		for n := range uint64(events) {
			commit(ctx, t, ex, to("one", events+n, "Later"))
		}
	}}, goroutines{followers, func(t testing.TB, i int) {
		own, want := ctx, error(nil)
		if i%2 == 0 {
			own, want = ended, context.Canceled
		}
		got, last := 0, error(nil)
		for e, err := range evento.Follow(own, ex, evento.Query{}, "") {
			if last != nil {
				t.Fatalf("got %v, %v after the error %v", e, err, last)
			}
			if last = err; err != nil {
				continue
			}
			if got++; e.Version != uint64(got) {
				t.Fatalf("got version %d, want %d", e.Version, got)
			}
			if got == events {
				waiting.Done()
			}
			if want == nil && got == 2*events {
				break
			}
		}
		wantError(t, last, want, "after %d events", got)
	}})
}

// Close ends those who follow.
func followClosed(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const followers, events = 5, 10
	commit(ctx, t, ex, to("one", 0, many(events, "Happened")...))
	var waiting sync.WaitGroup
	waiting.Add(followers)
	concurrently(t, goroutines{1, func(t testing.TB, _ int) {
		waiting.Wait()
		must(t, ex.Close())
	}}, goroutines{followers, func(t testing.TB, _ int) {
		got := 0
		for _, err := range evento.Follow(ctx, ex, evento.Query{}, "") {
			if err != nil {
				wantError(t, err, evento.ErrClosed, "after Close")
				return
			}
			if got++; got == events {
				waiting.Done()
			}
		}
		t.Error("the range ended without an error")
	}})
	for _, err := range evento.Follow(ctx, ex, evento.Query{}, "") {
		wantError(t, err, evento.ErrClosed, "after Close")
	}
}
