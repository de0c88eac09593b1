package evento_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
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
	moment()
	if got := f.positions(); !slices.Equal(got, want) {
		t.Errorf("%s: got the positions %v, want %v", what, got, want)
	}
}

// moment lets a feed do what it puts off for a moment.
func moment() {
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
	within := evento.TxContext
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
				moment()
				beside := follow(ctx, ex, test.query, test.after)
				moment()
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
				moment()
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
		moment()
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
		moment()
		failing.Store(true)
		deposits(t, ex2, "a", 1)
		time.Sleep(time.Second)
		stop()
		third.ends(t, context.Canceled)
		failing.Store(false)
		fourth := follow(t.Context(), g2, byIDs("a"), "")
		moment()
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
			moment()
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

// However many meet an outage, it is logged a few times.
func TestFollowLogs(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var warnings atomic.Int64
	slog.SetDefault(slog.New(countWarnings{&warnings}))
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		var failing atomic.Bool
		ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			if failing.Load() {
				return nil, errPoor
			}
			return store.Read(ctx, q, args)
		}}
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			follow(ctx, ex, evento.Query{}, "")
		}
		moment()
		failing.Store(true)
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		if n := warnings.Load(); n == 0 || n > 60 {
			t.Errorf("%d warnings of 100 followers in a minute", n)
		}
	})
}

type countWarnings struct{ n *atomic.Int64 }

func (countWarnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (c countWarnings) Handle(context.Context, slog.Record) error { c.n.Add(1); return nil }

func (c countWarnings) WithAttrs([]slog.Attr) slog.Handler { return c }

func (c countWarnings) WithGroup(string) slog.Handler { return c }

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
		moment()
		deposits(t, store, "a", 1)
		moment()
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
