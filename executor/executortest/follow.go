// Following queries.

package executortest

import (
	"context"
	"errors"
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
	const writers, followers, commits = 4, 8, 30
	var runs [followers][]followed
	var writing sync.WaitGroup
	writing.Add(writers)
	together(t, 1+writers+followers, func(i int) error {
		ex := exs[i%len(exs)]
		switch {
		case i == 0:
			writing.Wait()
			var w evento.Write
			for _, key := range lastKeys {
				w.Appends = append(w.Appends, routed(key, to(lastOf(key), 0, "Ended")))
			}
			_, err := tryCommit(ctx, ex, w)
			return err
		case i <= writers:
			defer writing.Done()
			return followWrite(ctx, ex, commits, rand.New(rand.NewPCG(uint64(i), 0)))
		default:
			var err error
			runs[i-writers-1], err = followSome(ctx, ex, rand.New(rand.NewPCG(uint64(i), 1)))
			return err
		}
	})
	log := readAll(ctx, t, exs[0], evento.Query{})
	for _, run := range slices.Concat(runs[:]...) {
		checkFollowed(t, log, run)
	}
}

func followWrite(ctx context.Context, ex evento.Executor, commits int, r *rand.Rand) error {
	for range commits {
		var w evento.Write
		for _, n := range r.Perm(6)[:1+r.IntN(2)] {
			a := toAny(fmt.Sprint("id ", n))
			a.RoutingKey = []string{"", "left", "right"}[n%3]
			if n > 3 {
				a.AggregateType = other
			}
			for range 1 + r.IntN(3) {
				a.Events = append(a.Events, event(fmt.Sprint("Name", r.IntN(3))))
			}
			w.Appends = append(w.Appends, a)
		}
		if _, err := tryCommit(ctx, ex, w); err != nil {
			return err
		}
	}
	return nil
}

// followSome follows some queries, and breaks off, until it has come to the end of
// one.
func followSome(ctx context.Context, ex evento.Executor, r *rand.Rand) ([]followed, error) {
	var runs []followed
	for n := 0; ; n++ {
		run := followed{query: followQuery(r)}
		last := lastOf(run.query.RoutingKey)
		if r.IntN(2) == 0 {
			p, err := tryRead(ctx, ex, evento.Query{}, cursor.Onward(1+r.IntN(100), ""))
			if err != nil {
				return nil, err
			}
			run.after = p.PageInfo.EndCursor
		}
		most := -1
		if n < 4 {
			most = r.IntN(80)
		}
		for e, err := range evento.Follow(ctx, ex, run.query, run.after) {
			if err != nil {
				return nil, fmt.Errorf("following %s after %d events: %w", showQuery(run.query), len(run.got), err)
			}
			if r.IntN(8) == 0 { // is slow
				if _, err := tryRead(ctx, ex, evento.Query{}, cursor.Backward(50, "")); err != nil {
					return nil, err
				}
			}
			run.got = append(run.got, e)
			if run.ended = e.AggregateID == last; run.ended || len(run.got) == most {
				break
			}
		}
		if runs = append(runs, run); run.ended {
			return runs, nil
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
	n := r.IntN(4)
	if n == 0 {
		return q
	}
	for range n {
		f := evento.ByType([]evento.AggregateType{thing, other}[r.IntN(2)])
		if r.IntN(3) > 0 {
			f.AggregateID = fmt.Sprint("id ", r.IntN(6))
		}
		if r.IntN(3) == 0 {
			f.Name = fmt.Sprint("Name", r.IntN(3))
		}
		q.Filters = append(q.Filters, f)
	}
	q.Filters = append(q.Filters, evento.ByID(thing, lastOf(q.RoutingKey)))
	return q
}

// checkFollowed compares what a follower was given with the whole store.
func checkFollowed(t testing.TB, log []edge, run followed) {
	t.Helper()
	from := 1 + slices.IndexFunc(log, func(e edge) bool { return e.Cursor == run.after })
	var want []evento.RawEvent
	for _, e := range log[from:] {
		if run.query.Matches(e.Node) {
			want = append(want, e.Node)
		}
	}
	what := fmt.Sprintf("following %s from the event %d on", showQuery(run.query), from+1)
	for i, e := range run.got {
		if i == len(want) {
			t.Fatalf("%s: got %d events, the last of them %+v, want %d", what, len(run.got), e, len(want))
		}
		if diff := differ(e, want[i]); diff != "" {
			t.Fatalf("%s, event %d of %d: %s", what, i+1, len(run.got), diff)
		}
	}
	if run.ended && len(run.got) != len(want) {
		t.Errorf("%s: got %d events up to the last, want %d", what, len(run.got), len(want))
	}
}

// A follower who is slow is given everything in the end, and does not hold up
// another one.
func followFallBehind(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const n = 2500
	begun, caughtUp := make(chan struct{}), make(chan struct{})
	q := filtered(evento.ByID(thing, "one"))
	follow := func(slow bool) error {
		version := uint64(0)
		for e, err := range evento.Follow(ctx, ex, q, "") {
			if err != nil {
				return fmt.Errorf("event %d of %d: %w", version+1, n, err)
			}
			if version++; e.Version != version {
				return fmt.Errorf("got version %d, want %d", e.Version, version)
			}
			if slow && version == 1 {
				close(begun)
				select {
				case <-caughtUp:
				case <-ctx.Done():
				}
			}
			if version == n {
				break
			}
		}
		if !slow {
			close(caughtUp)
		}
		return nil
	}
	together(t, 3, func(i int) error {
		if i < 2 {
			return follow(i == 0)
		}
		if _, err := tryCommit(ctx, ex, write(to("one", 0, "Happened"))); err != nil {
			return err
		}
		select {
		case <-begun:
		case <-ctx.Done():
		}
		for at := 1; at < n; {
			k := min(100, n-at)
			if _, err := tryCommit(ctx, ex, write(to("one", uint64(at), many(k, "Happened")...))); err != nil {
				return err
			}
			at += k
		}
		return nil
	})
}

// What one follower does to its events is nothing to another.
func followBytes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const followers, rounds = 4, 10
	var met sync.WaitGroup // in each round, so that all of them share the feed
	turns := make(chan struct{}, followers)
	together(t, followers+1, func(i int) error {
		if i == followers {
			for n := range uint64(rounds) {
				met.Add(followers)
				a := to("one", n, "Happened")
				a.Metadata.Values = map[string]string{"n": "value"}
				if _, err := tryCommit(ctx, ex, write(a)); err != nil {
					return err
				}
				for range followers {
					select {
					case <-turns:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			return nil
		}
		got := 0
		for e, err := range evento.Follow(ctx, ex, evento.Query{}, "") {
			if err != nil {
				return err
			}
			if !slices.Equal(e.Data, e.ID[:]) || len(e.Metadata.Values) != 1 || e.Metadata.Values["n"] != "value" {
				return fmt.Errorf("event %d, which another follower has written to: got the data %x and the metadata %v", got+1, e.Data, e.Metadata.Values)
			}
			clear(e.Data)
			e.Metadata.Values["n"] = fmt.Sprint(i)
			turns <- struct{}{}
			if got++; got == rounds {
				break
			}
		}
		return nil
	})
}

// The end of a follower's context ends that one, and no other.
func followEnded(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const followers, events = 6, 10
	commit(ctx, t, ex, to("one", 0, many(events, "Happened")...))
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	var waiting sync.WaitGroup // for the next event, or nearly
	waiting.Add(followers)
	together(t, followers+1, func(i int) error {
		if i == followers {
			waiting.Wait()
			cancel()
			for n := range uint64(events) {
				if _, err := tryCommit(ctx, ex, write(to("one", events+n, "Later"))); err != nil {
					return err
				}
			}
			return nil
		}
		own, want := ctx, error(nil)
		if i%2 == 0 {
			own, want = ended, context.Canceled
		}
		got, last := 0, error(nil)
		for e, err := range evento.Follow(own, ex, evento.Query{}, "") {
			if last != nil {
				return fmt.Errorf("got %v, %w after the error %w", e, err, last)
			}
			if last = err; err != nil {
				continue
			}
			if got++; e.Version != uint64(got) {
				return fmt.Errorf("got version %d, want %d", e.Version, got)
			}
			if got == events {
				waiting.Done()
			}
			if want == nil && got == 2*events {
				break
			}
		}
		if !errors.Is(last, want) || want == nil && last != nil {
			return fmt.Errorf("after %d events: got the error %w, want %w", got, last, want)
		}
		return nil
	})
}

// Close ends those who follow.
func followClosed(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const followers, events = 5, 10
	commit(ctx, t, ex, to("one", 0, many(events, "Happened")...))
	var waiting sync.WaitGroup
	waiting.Add(followers)
	together(t, followers+1, func(i int) error {
		if i == followers {
			waiting.Wait()
			return ex.Close()
		}
		got := 0
		for _, err := range evento.Follow(ctx, ex, evento.Query{}, "") {
			if err != nil {
				if !errors.Is(err, evento.ErrClosed) {
					return fmt.Errorf("after Close: got the error %w, want %w", err, evento.ErrClosed)
				}
				return nil
			}
			if got++; got == events {
				waiting.Done()
			}
		}
		return errors.New("the range ended without an error")
	})
	for _, err := range evento.Follow(ctx, ex, evento.Query{}, "") {
		if !errors.Is(err, evento.ErrClosed) {
			t.Errorf("after Close: got the error %v, want %v", err, evento.ErrClosed)
		}
	}
}
