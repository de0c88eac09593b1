package evento_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// spread is a subscription that notes the partition that handled each event.
func spread(s *seen, n int) *evento.SubscriptionBuilder {
	return evento.NewSubscription("s").Partitions(n).Logger(silent).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
		s.handle(e)
		return nil
	}))
}

func newSeen() *seen { return &seen{handled: map[evento.ID]int{}, version: map[string]uint64{}} }

// once checks that n events were handled, each once and in order.
func (s *seen) once(t *testing.T, n int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.handled) != n || s.again > 0 || len(s.faults) > 0 {
		t.Errorf("%d of %d events handled, %d again, %v", len(s.handled), n, s.again, s.faults)
	}
}

func accounts(t *testing.T, ex evento.Executor, aggregates, each int) {
	for i := range aggregates {
		deposits(t, ex, fmt.Sprint("account ", i), each)
	}
}

func TestPartitionsExecute(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	accounts(t, ex, 100, 10)
	s := newSeen()
	noErr(t, spread(s, 8).Execute(t.Context(), ex))
	s.once(t, 1000)
	if err := spread(s, 4).Execute(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("another number of partitions: %v, want ErrInvalid", err)
	}
	if _, err := spread(s, 4).Start(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Start with another number of partitions: %v, want ErrInvalid", err)
	}
	control := evento.ControlOf(ex, "s")
	for i, n := range []int{4, 64, 1} {
		noErr(t, control.Repartition(t.Context(), n))
		accounts(t, ex, 100, 1)
		noErr(t, spread(s, n).Execute(t.Context(), ex))
		s.once(t, 1100+100*i)
	}
	noErr(t, control.Remove(t.Context()))
	if _, err := control.Status(t.Context()); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("after Remove: %v, want ErrNotFound", err)
	}
}

// What the handlers of one partition commit is handled by another before
// Execute returns.
func TestPartitionsExecuteFollowsItsHandlers(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "account 0", 1)
	var n atomic.Int64
	noErr(t, evento.NewSubscription("s").Partitions(8).Handler(evento.HandleAll(Account, func(ctx context.Context, _ evento.RawEvent) error {
		if i := n.Add(1); i < 50 {
			_, err := evento.Aggregate(fmt.Sprint("account ", i)).AnyVersion().Event(MoneyDeposited{}).Commit(ctx, ex)
			return err
		}
		return nil
	})).Execute(t.Context(), ex))
	if n.Load() != 50 {
		t.Errorf("%d events were handled, want 50", n.Load())
	}
}

// The partitions of a process read each full page about once, also when they
// begin at different places.
func TestPartitionsReadOnce(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	accounts(t, store, 500, 20)
	var full atomic.Int64
	ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		page, err := store.Read(ctx, q, args)
		if err == nil && page.PageInfo.HasNextPage {
			full.Add(1)
		}
		return page, err
	}}
	for round := range 2 {
		s := newSeen()
		noErr(t, spread(s, 8).Execute(t.Context(), ex))
		if round == 0 {
			s.once(t, 10_000)
		}
		if n := full.Load(); n > 25 {
			t.Errorf("round %d: %d full pages were read for 10,000 events, want some 11", round, n)
		}
		full.Store(0)
		if round > 0 {
			continue
		}
		// Handlers that fail leave the partitions at different places.
		noErr(t, evento.ControlOf(ex, "s").ResetToStart(t.Context()))
		var n atomic.Uint64
		_ = evento.NewSubscription("s").Partitions(8).Retry(0).Logger(silent).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if at := n.Load(); e.Position > at && n.CompareAndSwap(at, at+83) {
				return errPoor
			}
			return nil
		})).Execute(t.Context(), ex)
		full.Store(0)
	}
}

// Workers that come and go share the partitions evenly, and hand them over
// without handling anything twice.
func TestPartitionsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fencing(t, newStore(t))
		s := newSeen()
		var mu sync.Mutex
		owned := map[string]map[int]bool{}
		begin := func(name string) *evento.Subscription {
			owned[name] = map[int]bool{}
			return start(t, &process{Executor: store}, spread(s, 8).Hooks(evento.SubscriptionHooks{Owner: func(_ context.Context, _ string, p int, owner bool) {
				mu.Lock()
				defer mu.Unlock()
				if delete(owned[name], p); owner {
					owned[name][p] = true
				}
			}}))
		}
		shares := func(want ...int) {
			t.Helper()
			for range 30 { // events go on meanwhile
				accounts(t, store, 20, 1)
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			var got []int
			for _, p := range owned {
				if len(p) > 0 {
					got = append(got, len(p))
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("the shares are %v, want %v", got, want)
			}
		}
		one := begin("one")
		shares(8)
		begin("two")
		shares(4, 4)
		begin("three")
		shares(2, 3, 3)
		noErr(t, one.Shutdown(t.Context()))
		shares(4, 4)
		s.once(t, 20*30*4)
	})
}

// An idle subscription costs a few calls a second, however it is started, and
// nothing after its end.
func TestIdle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		n, each int   // subscriptions, and how many share a key
		most    int64 // calls a second of one
		set     func(*evento.SubscriptionBuilder)
	}{
		{"plain", 200, 1, 5, func(*evento.SubscriptionBuilder) {}},
		{"standby", 50, 2, 5, func(b *evento.SubscriptionBuilder) { b.Standby() }},
		{"8 partitions", 4, 2, 4 * 5, func(b *evento.SubscriptionBuilder) { b.Partitions(8) }},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &process{Executor: newStore(t)}
			accounts(t, p, 10, 1)
			var subs []*evento.Subscription
			for i := range test.n {
				b := evento.NewSubscription(fmt.Sprint(i / test.each)).Handler(positions(&list[uint64]{}))
				test.set(b)
				sub, err := b.Start(t.Context(), p)
				noErr(t, err)
				subs = append(subs, sub)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			calls := p.calls.Load()
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if got, most := p.calls.Load()-calls, test.most*20*int64(test.n); got > most {
				t.Errorf("%s: %d subscriptions made %d calls in 20 seconds, want at most %d", test.name, test.n, got, most)
			}
			for _, sub := range subs {
				noErr(t, sub.Shutdown(t.Context()))
			}
			// A goroutine that is left would fail the test at its end.
		})
	}
}
