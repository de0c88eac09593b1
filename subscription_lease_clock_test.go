package evento_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// An owner that was killed is waited for, for as long as its lease and not in
// silence, by one on standby and by one that asks.
func TestKilledOwner(t *testing.T) {
	t.Parallel()
	for _, standby := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := newStore(t)
			one := &process{Executor: store}
			first := start(t, one, evento.NewSubscription("s").Handler(noteAs("one", &list[string]{})))
			time.Sleep(time.Minute)
			one.halt()
			t.Cleanup(one.resume)
			var out logged
			var got list[string]
			b := evento.NewSubscription("s").Handler(noteAs("two", &got))
			if standby {
				b.Standby()
			}
			began := time.Now()
			start(t, store, b)
			second, err := b.Logger(out.logger()).Start(t.Context(), store)
			noErr(t, err)
			defer func() { noErr(t, second.Shutdown(t.Context())) }()
			deposits(t, store, "a", 1)
			time.Sleep(time.Second)
			synctest.Wait()
			if !out.has("INFO", "waits for its key", "owner="+first.ID.String(), "host=", "until_unless_heard=", "subscription=s") {
				t.Errorf("standby %t: the log does not say for whom it waits:\n%s", standby, out.text.String())
			}
			for len(got.all()) == 0 {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				if time.Since(began) > time.Minute {
					t.Fatalf("standby %t: nothing is handled after a minute", standby)
				}
			}
			if took := time.Since(began); took < 9*time.Second || took > 16*time.Second {
				t.Errorf("standby %t: taken over after %s, want some 10 to 15 s", standby, took)
			}
		})
	}
}

// jumping is a clock that is set.
type jumping struct {
	mu sync.Mutex
	by time.Duration
}

func (j *jumping) set(by time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.by = by
}

func (j *jumping) now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Now().Add(j.by)
}

// A store's clock that was ahead and is set back keeps no dead owner alive; one
// that jumps ahead makes no owner dead.
func TestClockOfTheStoreIsSet(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			clock := &jumping{by: time.Hour}
			store := memory.New(&memory.Options{Clock: clock.now})
			t.Cleanup(func() { noErr(t, store.Close()) })
			one := &process{Executor: store}
			t.Cleanup(one.resume)
			var got list[string]
			b := func(name string) *evento.SubscriptionBuilder {
				return evento.NewSubscription("s").Standby().Partitions(partitions).Handler(noteAs(name, &got))
			}
			start(t, one, b("one"))
			time.Sleep(time.Minute)
			one.halt()
			clock.set(0)
			// One that looks at it, and one that waits.
			other := evento.NewSubscription("other").Handler(noteAs("other", &got))
			start(t, store, other)
			began := time.Now()
			start(t, store, b("two"))
			deposits(t, store, "a", 1)
			for !slices.Contains(got.all(), "two 1") {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				if time.Since(began) > time.Minute {
					t.Fatalf("%d partitions: nothing is handled after a minute", partitions)
				}
			}
			if took := time.Since(began); took > 17*time.Second {
				t.Errorf("%d partitions: taken over after %s, want one lease", partitions, took)
			}
			// Ahead, beside a live owner.
			clock.set(2 * time.Hour)
			third := start(t, &process{Executor: store}, b("three"))
			clock.set(5 * time.Hour)
			if partitions == 1 {
				for i := range 20 {
					deposits(t, store, "a", 1)
					time.Sleep(time.Second)
					synctest.Wait()
					if all := got.all(); !slices.Contains(all, fmt.Sprint("two ", i+2)) {
						t.Fatalf("after the clock jumped ahead %v was handled, want all of it by two", all)
					}
				}
			}
			noErr(t, third.Shutdown(t.Context()))
		})
	}
}

// A subscription whose owner died before the store's clock was set back can be
// removed, is not shown as live, and has no lag.
func TestControlWithAClockThatIsSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock := &jumping{by: time.Hour}
		store := memory.New(&memory.Options{Clock: clock.now})
		t.Cleanup(func() { noErr(t, store.Close()) })
		one := &process{Executor: store}
		t.Cleanup(one.resume)
		start(t, one, evento.NewSubscription("s").Handler(noteAs("one", &list[string]{})))
		time.Sleep(time.Second)
		control := evento.ControlOf(store, "s")
		if err := control.Remove(t.Context()); !errors.Is(err, evento.ErrRunning) {
			t.Errorf("Remove of one that runs: %v, want ErrRunning", err)
		}
		one.halt()
		clock.set(0)
		time.Sleep(20 * time.Second)
		if s, err := control.Status(t.Context()); err != nil || s.Partitions[0].Live || s.Lag != 0 {
			t.Errorf("of a dead owner: %+v, %v", s, err)
		}
		began := time.Now()
		noErr(t, control.Repartition(t.Context(), 2))
		noErr(t, control.Remove(t.Context()))
		if took := time.Since(began); took > 31*time.Second {
			t.Errorf("it took %s, want two leases at most", took)
		}
	})
}

// A live worker is seen as one also when the store's clock stands still.
func TestRunningWithAClockThatStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		store := memory.New(&memory.Options{Clock: func() time.Time { return at }})
		t.Cleanup(func() { noErr(t, store.Close()) })
		start(t, store, evento.NewSubscription("s").Handler(noteAs("one", &list[string]{})))
		time.Sleep(time.Hour)
		if err := evento.ControlOf(store, "s").Remove(t.Context()); !errors.Is(err, evento.ErrRunning) {
			t.Errorf("Remove: %v, want ErrRunning", err)
		}
	})
}
