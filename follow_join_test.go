package evento_test

import (
	"context"
	"fmt"
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
)

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
			moment()
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
		moment()
		g.close(func(q evento.Query) bool { return len(q.Filters) == 0 })
		deposits(t, store, "a", 1) // which the feed is about to read
		moment()
		joiner := follow(t.Context(), g, byIDs("a"), head(t, store))
		moment()
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
