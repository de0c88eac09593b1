package evento_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/intx"
)

// page is a page of events.
type page = cursor.Page[evento.RawEvent]

// byIDs is the query of some accounts.
func byIDs(ids ...string) evento.Query {
	var q evento.Query
	for _, id := range ids {
		q.Filters = append(q.Filters, evento.ByID(Account, id))
	}
	return q
}

// tail collects what a follower is given, in the background.
type tail struct {
	mu     sync.Mutex
	events []evento.RawEvent
	err    error
	done   chan struct{}
}

// follow ranges over Follow in the background until it ends. Each event is handed
// to the functions first.
func follow(ctx context.Context, ex evento.Executor, q evento.Query, after cursor.Value, each ...func(evento.RawEvent)) *tail {
	f := &tail{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for e, err := range evento.Follow(ctx, ex, q, after) {
			f.mu.Lock()
			if f.err != nil {
				f.err = errors.Join(f.err, fmt.Errorf("and then %s, %w", e.ID, err))
			} else if f.err = err; err == nil {
				f.events = append(f.events, e)
			}
			f.mu.Unlock()
			for _, fn := range each {
				if err == nil {
					fn(e)
				}
			}
		}
	}()
	return f
}

// positions are those of the events that were given so far.
func (f *tail) positions() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ps []uint64
	for _, e := range f.events {
		ps = append(ps, e.Position)
	}
	return ps
}

// ends waits for the end, and checks why.
func (f *tail) ends(t *testing.T, want error) {
	t.Helper()
	<-f.done
	if !errors.Is(f.err, want) {
		t.Errorf("the range ended with %v, want %v", f.err, want)
	}
}

// has checks what was given by now, when nothing moves any more.
func (f *tail) has(t *testing.T, what string, want ...uint64) {
	t.Helper()
	settle()
	if got := f.positions(); !slices.Equal(got, want) {
		t.Errorf("%s: got the positions %v, want %v", what, got, want)
	}
}

// settle lets a feed do what it puts off for a moment.
func settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

// unfollowed checks that nothing is left of those who followed.
func unfollowed(t *testing.T, ex evento.Executor) {
	t.Helper()
	if followers, indexed := ex.Feed().Followers(); followers+indexed != 0 {
		t.Errorf("%d followers and %d keys are left in the feed", followers, indexed)
	}
}

// readCount counts the reads of an executor, by whether they were of everything.
type readCount struct {
	*hooked
	reads, wide atomic.Int64
}

func newReadCount(ex evento.Executor) *readCount {
	c := &readCount{hooked: &hooked{Executor: ex}}
	c.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
		c.reads.Add(1)
		if len(q.Filters) == 0 {
			c.wide.Add(1)
		}
		return ex.Read(ctx, q, args)
	}
	return c
}

// head is the cursor of the last event.
func head(t *testing.T, ex evento.Executor) cursor.Value {
	t.Helper()
	p, err := ex.Read(t.Context(), evento.Query{}, cursor.Backward(1, ""))
	if err != nil {
		t.Fatal(err)
	}
	return p.PageInfo.EndCursor
}

// What is stored comes first, then what is committed, to each follower what its
// query says.
func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		deposits(t, ex, "a", 2)                                                         // 1, 2
		commit(t, ex, evento.Aggregate("r").RoutingKey("left").Event(MoneyWithdrawn{})) // 3
		at := head(t, ex)
		queries := map[string]evento.Query{
			"all":        {},
			"a":          byIDs("a"),
			"a and b":    byIDs("a", "b", "a"),
			"none":       byIDs("x"),
			"type":       {Filters: []evento.Filter{evento.ByType(Account), evento.ByID(Account, "a")}},
			"kind":       {Filters: []evento.Filter{evento.ByEvent(MoneyWithdrawn{})}},
			"kind of a":  {Filters: []evento.Filter{evento.ByIDAndEvent("a", MoneyWithdrawn{})}},
			"left":       {RoutingKey: "left"},
			"right":      {RoutingKey: "right"},
			"unrouted":   {Unrouted: true},
			"a unrouted": {Filters: byIDs("a").Filters, Unrouted: true},
			"a, left":    {Filters: byIDs("a").Filters, RoutingKey: "left"},
		}
		want := map[string][]uint64{
			"all":        {1, 2, 3, 4, 5, 6, 7},
			"a":          {1, 2, 4, 6},
			"a and b":    {1, 2, 4, 5, 6},
			"none":       nil,
			"type":       {1, 2, 3, 4, 5, 6, 7},
			"kind":       {3, 6, 7},
			"kind of a":  {6},
			"left":       {3, 7},
			"right":      nil,
			"unrouted":   {1, 2, 4, 5, 6},
			"a unrouted": {1, 2, 4, 6},
			"a, left":    nil,
		}
		tails, later := map[string]*tail{}, map[string]*tail{}
		for name, q := range queries {
			tails[name] = follow(ctx, ex, q, "")
			later[name] = follow(ctx, ex, q, at)
		}
		synctest.Wait()
		deposits(t, ex, "a", 1)                                                   // 4
		deposits(t, ex, "b", 1)                                                   // 5
		commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyWithdrawn{})) // 6
		commit(t, ex, evento.Aggregate("r").AnyVersion().Event(MoneyWithdrawn{})) // 7
		for name := range queries {
			tails[name].has(t, name, want[name]...)
			i, _ := slices.BinarySearch(want[name], 4)
			later[name].has(t, name+" after 3", want[name][i:]...)
		}
		cancel()
		for name := range queries {
			tails[name].ends(t, context.Canceled)
			later[name].ends(t, context.Canceled)
		}
	})
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	ended := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx
	}
	within := func(ctx context.Context) context.Context { return intx.Into(ctx, "owner", "transaction") }
	for _, test := range []struct {
		name   string
		ctx    func(context.Context) context.Context // nil: the test's
		query  evento.Query
		after  cursor.Value
		closes bool // the store, meanwhile
		given  int
		want   error
	}{
		{name: "a context that has ended", ctx: ended, want: context.Canceled},
		{name: "a query that is refused", query: evento.Query{Filters: []evento.Filter{{}}}, want: evento.ErrInvalid},
		{name: "a place that is none", after: "place", want: cursor.ErrMalformed},
		{name: "a place of another store", after: cursor.NewPositions(evento.NewID()).Value(1), want: cursor.ErrForeign},
		{name: "within a transaction", ctx: within, want: evento.ErrInvalid},
		{name: "a store that closes", closes: true, given: 2, want: evento.ErrClosed},
		{name: "a store that closes, nothing met", query: byIDs("b"), closes: true, want: evento.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ex, ctx := newStore(t), t.Context()
				if test.ctx != nil {
					ctx = test.ctx(ctx)
				}
				deposits(t, ex, "a", 2)
				others := []*tail{follow(t.Context(), ex, evento.Query{}, ""), follow(t.Context(), ex, byIDs("a"), "")}
				settle()
				beside := follow(ctx, ex, test.query, test.after)
				settle()
				if test.closes {
					noErr(t, ex.Close())
				}
				began := time.Now()
				beside.ends(t, test.want)
				if took := time.Since(began); took > 0 {
					t.Errorf("it took %s to end", took)
				}
				beside.has(t, test.name, upTo(test.given)...)
				noErr(t, ex.Close())
				for _, f := range others {
					f.ends(t, evento.ErrClosed)
				}

				alone := newStore(t)
				deposits(t, alone, "a", 2)
				f := follow(ctx, alone, test.query, test.after)
				settle()
				if test.closes {
					noErr(t, alone.Close())
				}
				f.ends(t, test.want)
				f.has(t, test.name+", alone", upTo(test.given)...)
			})
		})
	}
}

// A context that ends is met while the follower waits, whether it reads for the
// others or not, and while its consumer is at work.
func TestFollowContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		ctxs, cancels, tails := [3]context.Context{}, [3]context.CancelFunc{}, [3]*tail{}
		for i := range tails {
			ctxs[i], cancels[i] = context.WithTimeout(t.Context(), time.Hour)
			defer cancels[i]()
			var each func(evento.RawEvent)
			if i == 0 {
				each = func(e evento.RawEvent) {
					if e.Position == 2 {
						cancels[0]()
					}
				}
			} else {
				each = func(evento.RawEvent) {}
			}
			tails[i] = follow(ctxs[i], ex, evento.Query{}, "", each)
			synctest.Wait()
		}
		deposits(t, ex, "a", 3)
		tails[0].ends(t, context.Canceled)
		tails[0].has(t, "cancelled at the second event", 1, 2)
		tails[1].has(t, "another", 1, 2, 3)
		for i := 1; i < 3; i++ {
			cancels[i]()
			tails[i].ends(t, context.Canceled)
			deposits(t, ex, "a", 1)
			if i < 2 {
				tails[2].has(t, "the last", 1, 2, 3, 4)
			}
		}
		tails[2].has(t, "the last, cancelled", 1, 2, 3, 4)
	})
}

// An executor that has no feed is told of.
func TestFollowWithoutFeed(t *testing.T) {
	t.Parallel()
	follow(t.Context(), feedless{newStore(t)}, evento.Query{}, "").ends(t, evento.ErrInvalid)
}

type feedless struct{ evento.Executor }

func (feedless) Feed() *evento.Feed { return nil }

// Ranging again begins again. Breaking off ends all there is: the feed is at rest
// then, whatever is committed, and no goroutine is left, which synctest reports.
func TestFollowBreak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newReadCount(newStore(t))
		deposits(t, ex, "a", 3)
		q := byIDs("a")
		seq := evento.Follow(t.Context(), ex, q, "")
		q.Filters[0].AggregateID = "changed by its owner"
		for range 2 {
			n := uint64(0)
			for e, err := range seq {
				if n++; err != nil || e.Position != n {
					t.Fatalf("event %d: got position %d, %v", n, e.Position, err)
				}
				if n == 3 {
					break
				}
			}
		}
		// In the midst of pages, at their ends, and waiting for the first.
		for n := range 5 {
			next, stop := iter.Pull2(seq)
			for range min(n, 3) {
				if _, err, ok := next(); err != nil || !ok {
					t.Fatal(err, ok)
				}
			}
			if n == 4 {
				go func() { time.Sleep(time.Minute); deposits(t, ex, "a", 1) }()
				if e, err, ok := next(); err != nil || !ok || e.Position != 4 {
					t.Fatal(e.Position, err, ok)
				}
			}
			stop()
		}
		ex.reads.Store(0)
		deposits(t, ex, "a", 3)
		time.Sleep(time.Hour)
		if n := ex.reads.Load(); n != 0 {
			t.Errorf("%d reads while nobody follows", n)
		}
		unfollowed(t, ex)
	})
}

// However many follow, a commit makes one read, and one more is made now and then
// while nothing happens.
func TestFollowOneRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newReadCount(newStore(t))
		ctx, cancel := context.WithCancel(t.Context())
		const n = 1000
		tails := make([]*tail, n)
		for i := range tails {
			tails[i] = follow(ctx, ex, byIDs(fmt.Sprint("a", i)), "")
		}
		time.Sleep(time.Minute)
		if got := ex.reads.Load(); got > 4*n {
			t.Errorf("%d reads for %d to join", got, n)
		}
		ex.reads.Store(0)
		for i := range tails {
			deposits(t, ex, fmt.Sprint("a", i), 1)
			tails[i].has(t, fmt.Sprint("follower ", i), uint64(i+1))
		}
		if got := ex.reads.Load(); got != n {
			t.Errorf("%d reads of %d commits that concern a follower each", got, n)
		}
		ex.reads.Store(0)
		time.Sleep(time.Hour)
		if got := ex.reads.Load(); got > 3600 {
			t.Errorf("%d reads in a quiet hour", got)
		}
		// Commits that concern nobody are read together.
		ex.reads.Store(0)
		for range 1000 {
			deposits(t, ex, "x", 1)
			time.Sleep(10 * time.Microsecond)
		}
		if got := ex.reads.Load(); got > 20 {
			t.Errorf("%d reads of 10 ms with commits that concern nobody", got)
		}
		cancel()
		for _, f := range tails {
			f.ends(t, context.Canceled)
		}
	})
}

// Nothing waits for the next look that is made without a signal: neither events,
// those that come in the midst of a read too, nor who joins.
func TestFollowAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		c := newReadCount(ex)
		g := newGate(c)
		first := follow(t.Context(), g, byIDs("a"), "")
		time.Sleep(time.Hour)
		deposits(t, ex, "a", 1)
		first.has(t, "after an hour", 1)

		time.Sleep(time.Hour)
		g.close(func(evento.Query) bool { return true })
		deposits(t, ex, "a", 1)
		synctest.Wait()
		g.step(func(int) int { return 0 }) // reads 2, and does not return yet
		synctest.Wait()
		deposits(t, ex, "a", 1)
		g.open()
		first.has(t, "with one in the midst of a read", 1, 2, 3)

		time.Sleep(time.Hour)
		c.reads.Store(0)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		second := follow(ctx, g, byIDs("a", "b"), "")
		settle()
		if n := c.reads.Load(); n != 3 {
			t.Errorf("%d reads of one who joins, want its own, the feed's and its own", n)
		}
		deposits(t, ex, "b", 1)
		second.has(t, "who joined", 1, 2, 3, 4)

		// Failures are forgotten with those who met them.
		var failing atomic.Bool
		alone, stop := context.WithCancel(t.Context())
		ex2 := newStore(t)
		g2 := &hooked{Executor: ex2}
		g2.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			if failing.Load() {
				return nil, errPoor
			}
			return ex2.Read(ctx, q, args)
		}
		third := follow(alone, g2, byIDs("a"), "")
		settle()
		failing.Store(true)
		deposits(t, ex2, "a", 1)
		time.Sleep(time.Second)
		stop()
		third.ends(t, context.Canceled)
		failing.Store(false)
		fourth := follow(t.Context(), g2, byIDs("a"), "")
		settle()
		deposits(t, ex2, "a", 1)
		fourth.has(t, "who came after failures", 1, 2)
		noErr(t, ex.Close())
		noErr(t, ex2.Close())
		for _, f := range []*tail{first, second, fourth} {
			f.ends(t, evento.ErrClosed)
		}
	})
}

// A signal that does not come is made up for, soon when that happens often.
func TestFollowPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := &hooked{Executor: newStore(t), changed: func() <-chan struct{} { return make(chan struct{}) }}
		ctx, cancel := context.WithCancel(t.Context())
		f := follow(ctx, ex, evento.Query{}, "")
		time.Sleep(time.Hour)
		for i, most := range []time.Duration{time.Second, 20 * time.Millisecond, 20 * time.Millisecond} {
			began := time.Now()
			deposits(t, ex, "a", 1)
			for len(f.positions()) <= i {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(began); took > most+time.Millisecond {
				t.Errorf("event %d was found after %s, want %s at most", i+1, took, most)
			}
		}
		cancel()
		f.ends(t, context.Canceled)
	})
}

// Two who are given the same event, and write to it, do not meet.
func TestFollowBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		scribble := func(e evento.RawEvent) {
			clear(e.Data)
			clear(e.Metadata.Values)
			e.Metadata.Values["scribbled"] = "yes"
		}
		var tails []*tail
		for _, q := range []evento.Query{{}, {}, byIDs("a"), byIDs("a")} {
			tails = append(tails, follow(t.Context(), ex, q, "", scribble))
			synctest.Wait()
			seen := func(e evento.RawEvent) {
				if len(e.Data) == 0 || e.Data[0] == 0 || e.Metadata.Values["key"] != "value" || len(e.Metadata.Values) != 1 {
					t.Errorf("got the data %x and the metadata %v", e.Data, e.Metadata.Values)
				}
			}
			tails = append(tails, follow(t.Context(), ex, q, "", seen))
			synctest.Wait()
		}
		for range 3 {
			commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: 1}).Metadata("key", "value"))
			time.Sleep(time.Second)
		}
		noErr(t, ex.Close())
		for _, f := range tails {
			f.ends(t, evento.ErrClosed)
			f.has(t, "scribbled", 1, 2, 3)
		}
	})
}

// One who is slow does not hold up others, keeps no more than some events in
// memory, and is given all of them in the end.
func TestFollowSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		quick := follow(t.Context(), ex, evento.Query{}, "")
		slow := follow(t.Context(), ex, evento.Query{}, "", func(evento.RawEvent) { time.Sleep(time.Second) })
		synctest.Wait()
		const n = 1500
		for i := range n {
			deposits(t, ex, "a", 1)
			settle()
			if got := len(quick.positions()); got != i+1 {
				t.Fatalf("the quick one has %d of %d events", got, i+1)
			}
			if n := ex.Feed().Buffered(); n > 512 {
				t.Fatalf("%d events are kept for the slow one", n)
			}
			if i%100 == 0 { // so that it takes a little between two times of falling behind
				time.Sleep(time.Second)
			}
		}
		time.Sleep(2 * n * time.Second)
		quick.has(t, "the quick one", upTo(n)...)
		slow.has(t, "the slow one", upTo(n)...)
		noErr(t, ex.Close())
		quick.ends(t, evento.ErrClosed)
		slow.ends(t, evento.ErrClosed)
	})
}

// Errors of the store that may pass are waited out, by who reads for itself and
// by who reads for all.
func TestFollowWaitsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 1)
		var failing atomic.Bool
		var failures atomic.Int64
		ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			if failing.Load() {
				failures.Add(1)
				return nil, errPoor
			}
			return store.Read(ctx, q, args)
		}}
		failing.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		tails := []*tail{follow(ctx, ex, evento.Query{}, ""), follow(ctx, ex, byIDs("a"), "")}
		for i, outage := range []time.Duration{3 * time.Second, 100 * time.Millisecond, time.Hour} {
			failing.Store(true)
			failures.Store(0)
			if i > 0 {
				deposits(t, store, "a", 1)
			}
			time.Sleep(outage)
			for _, f := range tails {
				f.has(t, "in an outage", upTo(i)...)
			}
			if n, most := failures.Load(), 20+2*2*int64(outage/(10*time.Second)); n == 0 || n > most {
				t.Errorf("%d reads in an outage of %s, want 1 to %d", n, outage, most)
			}
			failing.Store(false)
			time.Sleep(10 * time.Second)
			for _, f := range tails {
				f.has(t, "after an outage", upTo(i+1)...)
			}
		}
		failing.Store(true)
		deposits(t, store, "a", 1)
		time.Sleep(time.Minute)
		cancel()
		for _, f := range tails {
			f.ends(t, context.Canceled)
			f.has(t, "cancelled in an outage", 1, 2, 3)
		}
	})
}

// An event that cannot be read stops those whom it concerns, and not the others
// for long.
func TestFollowBesideUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			p, err := store.Read(ctx, q, args)
			if err == nil {
				for _, e := range p.Edges {
					if e.Node.AggregateID == "poison" {
						return nil, errPoor
					}
				}
			}
			return p, err
		}}
		a, b, all := follow(t.Context(), ex, byIDs("a"), ""), follow(t.Context(), ex, byIDs("b"), ""), follow(t.Context(), ex, evento.Query{}, "")
		settle()
		deposits(t, store, "a", 1)
		settle()
		deposits(t, store, "poison", 1)
		deposits(t, store, "b", 1)
		time.Sleep(1200 * time.Millisecond)
		b.has(t, "b, while the feed tries again")
		time.Sleep(10 * time.Second)
		deposits(t, store, "a", 1)
		time.Sleep(time.Minute)
		a.has(t, "a", 1, 4)
		b.has(t, "b", 3)
		all.has(t, "all", 1)
		noErr(t, store.Close())
		for _, f := range []*tail{a, b, all} {
			f.ends(t, evento.ErrClosed)
		}
	})
}

// A feed that is far behind, since its followers were at work, leaves it to them
// to find what concerns them.
func TestFollowFarBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newReadCount(newStore(t))
		f := follow(t.Context(), ex, byIDs("a"), "", func(evento.RawEvent) { time.Sleep(time.Hour) })
		synctest.Wait()
		deposits(t, ex, "a", 1)
		synctest.Wait()
		for range 60 {
			deposits(t, ex, "x", 1000)
		}
		deposits(t, ex, "a", 1)
		ex.wide.Store(0)
		time.Sleep(2 * time.Hour)
		f.has(t, "far behind", 1, 60_002)
		if n := ex.wide.Load(); n > 110 {
			t.Errorf("%d pages of everything were read, want about 100", n)
		}
		deposits(t, ex, "a", 1)
		time.Sleep(2 * time.Hour)
		f.has(t, "back at the end", 1, 60_002, 60_003)
		noErr(t, ex.Close())
		f.ends(t, evento.ErrClosed)
	})
}

// Of a store with large payloads that concern nobody not everything is read.
func TestFollowNarrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		var bytes atomic.Int64
		ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			p, err := store.Read(ctx, q, args)
			for i := 0; err == nil && i < len(p.Edges); i++ {
				bytes.Add(int64(len(p.Edges[i].Node.Data)))
			}
			return p, err
		}}
		left := evento.Query{Filters: []evento.Filter{evento.ByEvent(MoneyWithdrawn{})}, RoutingKey: "left"}
		tails := []*tail{follow(t.Context(), ex, left, ""), follow(t.Context(), ex, byIDs("a"), "")}
		time.Sleep(time.Second)
		const size, n = 100_000, 500
		for range n {
			writeRaw(t, store, "x", loose{"large/Thing", "Made"}, "raw", make([]byte, size))
			time.Sleep(10 * time.Millisecond)
		}
		if got := bytes.Load(); got > 3*size {
			t.Errorf("%d bytes were read of %d that concern nobody", got, n*size)
		}
		// Who comes and goes changes what is read.
		var of []*tail
		for i := range 20 {
			of = append(of, follow(t.Context(), ex, evento.Query{Filters: []evento.Filter{evento.ByIDAndEvent(fmt.Sprint(i), loose{"small/Thing", fmt.Sprint(i)})}}, head(t, store)))
		}
		time.Sleep(time.Second)
		for i := range of {
			writeRaw(t, store, fmt.Sprint(i), loose{"small/Thing", fmt.Sprint(i)}, "raw", nil)
		}
		deposits(t, store, "a", 1)
		commit(t, store, evento.Aggregate("r").RoutingKey("left").Event(MoneyWithdrawn{}))
		time.Sleep(time.Second)
		tails[1].has(t, "a", n+21)
		tails[0].has(t, "left", n+22)
		for i, f := range of {
			f.has(t, "who came later", uint64(n+1+i))
		}
		noErr(t, ex.Close())
		for _, f := range append(tails, of...) {
			f.ends(t, evento.ErrClosed)
		}
	})
}

// gate holds reads up: each waits to be let begin, and then to be let return.
type gate struct {
	*hooked
	mu     sync.Mutex
	hold   func(evento.Query) bool // nil: none
	held   []*heldRead
	faults int // one of so many held reads fails; 0: none
}

type heldRead struct {
	begin, end chan struct{} // closed to let it go on
	read       bool          // it was let begin
	fail       bool          // it is to return an error
}

func newGate(ex evento.Executor) *gate {
	g := &gate{hooked: &hooked{Executor: ex}}
	g.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
		h := g.stop(q)
		if h == nil {
			return ex.Read(ctx, q, args)
		}
		<-h.begin
		p, err := ex.Read(ctx, q, args)
		<-h.end
		if h.fail {
			return nil, errPoor
		}
		return p, err
	}
	return g
}

func (g *gate) stop(q evento.Query) *heldRead {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hold == nil || !g.hold(q) {
		return nil
	}
	h := &heldRead{begin: make(chan struct{}), end: make(chan struct{}), fail: g.faults > 0 && rand.IntN(g.faults) == 0}
	g.held = append(g.held, h)
	return h
}

// close holds up the reads of such queries.
func (g *gate) close(hold func(evento.Query) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = hold
}

// step lets one of the held reads go on.
func (g *gate) step(pick func(n int) int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.held) == 0 {
		return
	}
	i := pick(len(g.held))
	if h := g.held[i]; h.read {
		close(h.end)
		g.held = slices.Delete(g.held, i, i+1)
	} else {
		close(h.begin)
		h.read = true
	}
}

// open holds nothing up any more.
func (g *gate) open() {
	g.mu.Lock()
	g.hold = nil
	n := len(g.held)
	g.mu.Unlock()
	for range 2 * n {
		g.step(func(int) int { return 0 })
	}
}

// Whatever is committed between and in the midst of the reads by which followers
// come to share a feed, and in whatever order those reads return: each follower is
// given each event once, in order.
func TestFollowInterleaved(t *testing.T) {
	t.Parallel()
	seeds := 150
	if testing.Short() {
		seeds = 50
	}
	for name, stores := range map[string]func() []evento.Executor{
		"memory": func() []evento.Executor { return []evento.Executor{memory.New(nil)} },
		"group":  func() []evento.Executor { return []evento.Executor{memory.New(nil), memory.New(nil), memory.New(nil)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := rand.Uint64()
			for i := range seeds {
				seed := first + uint64(i)
				synctest.Test(t, func(t *testing.T) { interleaved(t, rand.New(rand.NewPCG(seed, 0)), stores()) })
				if t.Failed() {
					t.Fatalf("with the seed %d", seed)
				}
			}
		})
	}
}

func interleaved(t *testing.T, r *rand.Rand, stores []evento.Executor) {
	ex := stores[0]
	if len(stores) > 1 {
		ex = group.New(stores[0], stores[1:]...)
	}
	g := newGate(ex)
	add := func() {
		n := r.IntN(len(stores))
		deposits(t, stores[n], fmt.Sprint("ab"[r.IntN(2):][:1], n), 1+r.IntN(2))
	}
	for range 3 {
		add()
	}
	queries := []evento.Query{{}, byIDs("a0"), byIDs("b0", "a1"), {Filters: []evento.Filter{evento.ByType(Account)}}, byIDs("b1", "b2")}
	g.close(func(evento.Query) bool { return true })
	g.faults = []int{0, 5}[r.IntN(2)]
	type following struct {
		*tail
		query evento.Query
		from  []evento.ID // of the events before its place
		stop  context.CancelFunc
		left  bool
	}
	var all []*following
	for range 60 {
		switch n := r.IntN(10); {
		case n == 0 && len(all) < 5:
			f := &following{query: queries[r.IntN(len(queries))]}
			at := cursor.Value("")
			for p, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(1+r.IntN(20), "")); r.IntN(2) == 0; {
				noErr(t, err)
				for _, e := range p.Edges {
					f.from = append(f.from, e.Node.ID)
				}
				at = p.PageInfo.EndCursor
				break
			}
			ctx, cancel := context.WithCancel(t.Context())
			f.tail, f.stop = follow(ctx, g, f.query, at), cancel
			all = append(all, f)
		case n == 1 && len(all) > 0 && r.IntN(4) == 0:
			f := all[r.IntN(len(all))]
			f.left = true
			f.stop()
		case n < 4:
			add()
		default:
			g.step(r.IntN)
		}
		synctest.Wait()
		if r.IntN(3) == 0 {
			settle()
		}
	}
	g.open()
	time.Sleep(time.Second)
	add()
	time.Sleep(time.Minute)
	log := map[evento.Executor][]evento.RawEvent{}
	for _, s := range stores {
		log[s] = events(t, s)
	}
	for i, f := range all {
		f.stop()
		f.ends(t, context.Canceled)
		for _, s := range stores {
			var want, got []uint64
			of := map[evento.ID]bool{}
			for _, e := range log[s] {
				if of[e.ID] = true; f.query.Matches(e) && !slices.Contains(f.from, e.ID) {
					want = append(want, e.Position)
				}
			}
			for _, e := range f.events {
				if of[e.ID] {
					got = append(got, e.Position)
				}
			}
			if f.left {
				want = want[:min(len(want), len(got))]
			}
			if !slices.Equal(got, want) {
				t.Errorf("follower %d of %+v, from %d events on: got the positions %v, want %v", i, f.query, len(f.from), got, want)
			}
		}
	}
	noErr(t, ex.Close())
	unfollowed(t, ex)
}

// A place that is ahead of the feed's own: the feed meets what is before it, and
// who joined must not.
func TestFollowFromAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		g := newGate(store)
		deposits(t, store, "a", 2)
		first := follow(t.Context(), g, evento.Query{}, "")
		settle()
		g.close(func(q evento.Query) bool { return len(q.Filters) == 0 })
		deposits(t, store, "a", 1) // which the feed is about to read
		settle()
		joiner := follow(t.Context(), g, byIDs("a"), head(t, store))
		settle()
		deposits(t, store, "a", 1)
		g.open()
		time.Sleep(time.Second)
		deposits(t, store, "a", 1)
		time.Sleep(time.Second)
		first.has(t, "the first", 1, 2, 3, 4, 5)
		joiner.has(t, "who began after 3", 4, 5)
		noErr(t, store.Close())
		first.ends(t, evento.ErrClosed)
		joiner.ends(t, evento.ErrClosed)
	})
}

// The reader of a feed may leave in the midst of reading, or panic: another one
// reads on.
func TestFollowReaderLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var armed atomic.Bool
		leaver := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			if armed.Swap(false) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return store.Read(ctx, q, args)
		}}
		panicker := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			if armed.Swap(false) {
				panic("in a read")
			}
			return store.Read(ctx, q, args)
		}}
		left := follow(ctx, leaver, byIDs("x"), "")
		synctest.Wait()
		panicked := make(chan any)
		go func() {
			defer func() { panicked <- recover() }()
			for _, err := range evento.Follow(t.Context(), panicker, byIDs("x"), "") {
				t.Error(err)
			}
		}()
		synctest.Wait()
		last := follow(t.Context(), store, byIDs("a"), "")
		synctest.Wait()
		armed.Store(true)
		deposits(t, store, "a", 1)
		last.has(t, "while the reader hangs")
		armed.Store(true) // for the next reader
		cancel()
		left.ends(t, context.Canceled)
		if got := <-panicked; got != "in a read" {
			t.Errorf("recovered %v", got)
		}
		last.has(t, "after it has left", 1)
		deposits(t, store, "a", 1)
		last.has(t, "and later", 1, 2)
		noErr(t, store.Close())
		last.ends(t, evento.ErrClosed)
	})
}

// Idle subscriptions are to share the read, too: they are woken for events of
// their query and for no others, read for themselves, and learn how far nothing of
// theirs is. Each of these reads until it has all, from a place that it moves both
// ways.
func TestFeedWakes(t *testing.T) {
	t.Parallel()
	for name, members := range map[string]int{"memory": 1, "group": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 6 {
				seed := rand.Uint64()
				synctest.Test(t, func(t *testing.T) { feedWakes(t, seed, members) })
				if t.Failed() {
					t.Fatalf("with the seed %d", seed)
				}
			}
		})
	}
}

func feedWakes(t *testing.T, seed uint64, members int) {
	var stores []evento.Executor
	for range members {
		stores = append(stores, memory.New(nil))
	}
	store := stores[0]
	if members > 1 {
		store = group.New(stores[0], stores[1:]...)
	}
	ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
		time.Sleep(rand.N(time.Millisecond))
		p, err := store.Read(ctx, q, args)
		time.Sleep(rand.N(time.Millisecond))
		return p, err
	}}
	queries := []evento.Query{byIDs("a0"), byIDs("b0", "a1"), {}, byIDs("nobody"), byIDs("b1"), byIDs("a0", "a1")}
	wakers := make([]waker, len(queries))
	stop := make(chan struct{})
	var running, writing sync.WaitGroup
	for i, q := range queries {
		wakers[i] = waker{ex: ex, query: q, r: rand.New(rand.NewPCG(seed, uint64(i)))}
		running.Go(func() {
			if err := wakers[i].run(t.Context(), stop); err != nil {
				t.Error(err)
			}
		})
	}
	for n, s := range stores {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(100+n)))
			for range 50 {
				deposits(t, s, fmt.Sprint("abx"[r.IntN(3):][:1], n), 1)
				time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
			}
		})
	}
	writing.Wait()
	time.Sleep(time.Second)
	close(stop)
	running.Wait()
	for i, q := range queries {
		for n, s := range stores {
			own := map[evento.ID]bool{}
			var want, got []evento.ID
			for _, e := range events(t, s) {
				if own[e.ID] = true; q.Matches(e) {
					want = append(want, e.ID)
				}
			}
			for _, e := range wakers[i].got {
				if own[e.ID] {
					got = append(got, e.ID)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v: read %d events of store %d, want its %d, each once and in order", q, len(got), n, len(want))
			}
		}
		if len(wakers[i].got) == 0 && (wakers[i].moved == 0 || wakers[i].reads > 4*wakers[i].joins) {
			t.Errorf("one of whose query there is nothing has joined %d times, read %d times, and was told %d times how far that is so", wakers[i].joins, wakers[i].reads, wakers[i].moved)
		}
	}
	noErr(t, ex.Close())
	unfollowed(t, ex)
}

// waker reads as an idle subscription would.
type waker struct {
	ex    evento.Executor
	query evento.Query
	r     *rand.Rand
	at    cursor.Value
	got   []evento.RawEvent

	joins, reads, moved int
}

func (k *waker) run(ctx context.Context, stop <-chan struct{}) error {
	feed := k.ex.Feed()
	w := feed.JoinWaker(k.ex, k.query, k.at)
	k.joins++
	defer func() { w.Leave() }()
	for {
		if !w.Rearm() {
			w = feed.JoinWaker(k.ex, k.query, k.at)
			k.joins++
		}
		// A worker may be kept from reading all.
		complete := k.r.IntN(8) > 0
		if err := k.read(ctx, complete); err != nil {
			return err
		}
		if complete {
			w.CaughtUp()
		}
		for woken, once := false, true; !woken && (complete || once); once = false {
			if isDone(stop) {
				return nil
			}
			// A worker has something else to do now and then.
			short := make(chan struct{})
			timer := time.AfterFunc(time.Duration(k.r.IntN(2000))*time.Microsecond, func() { close(short) })
			var err error
			if woken, err = w.Wait(ctx, short); err != nil {
				return err
			}
			timer.Stop()
			if further, ok := w.Passed(); ok {
				k.at = further
				k.moved++
				if k.r.IntN(6) == 0 { // begins again from there
					w.Leave()
					time.Sleep(time.Duration(k.r.IntN(3)) * time.Millisecond)
				}
			}
		}
	}
}

func (k *waker) read(ctx context.Context, complete bool) error {
	for more, first := true, true; more && (complete || first); first = false {
		k.reads++
		p, err := k.ex.Read(ctx, k.query, cursor.Onward(2, k.at))
		if err != nil {
			return err
		}
		for _, e := range p.Edges {
			k.got = append(k.got, e.Node)
		}
		k.at, more = p.PageInfo.EndCursor, p.PageInfo.HasNextPage
	}
	return nil
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
