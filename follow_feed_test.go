package evento_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/group"
	"github.com/evento-go/evento/executor/memory"
)

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
