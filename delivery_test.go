package evento_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// logged is a log that a test reads.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// The narrowest handler of an event is called, in whatever order they were given.
func TestNarrowestHandler(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	mixed(t, ex)
	var got []string
	raw := func(name string) func(context.Context, evento.RawEvent) error {
		return func(_ context.Context, e evento.RawEvent) error {
			got = append(got, fmt.Sprint(name, e.Position))
			return nil
		}
	}
	handlers := []evento.SubscriptionHandler{
		evento.Handle(func(_ context.Context, e evento.Event[MoneyDeposited]) error {
			got = append(got, fmt.Sprint("deposit", e.Position))
			return nil
		}),
		evento.HandleAll(Account, raw("account")),
		evento.HandleEvery(raw("every")),
	}
	for round := range 2 {
		got = nil
		noErr(t, evento.NewSubscription(fmt.Sprint(round)).All().SafetyCheck().Handler(handlers...).Execute(t.Context(), ex))
		want(t, "handled", got, "account1", "deposit2", "account3", "account4", "every5", "deposit6", "account7", "account8")
		slices.Reverse(handlers)
	}
}

// What is known of a call: the attempt, and whether the event comes again.
func TestDeliveryFrom(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 3)
	var got []string
	fails := 2
	b := evento.NewSubscription("s").RoutingKey("eu").Retry(5).Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
		d := evento.DeliveryFrom(ctx)
		got = append(got, fmt.Sprintf("%s %s %d %d %t", d.Key, d.RoutingKey, e.Position, d.Attempt, d.Replay))
		if e.Position == 5 && fails > 0 {
			fails--
			return errPoor
		}
		return nil
	}))
	commit(t, ex, evento.Aggregate("eu").Event(MoneyDeposited{}, MoneyDeposited{}).RoutingKey("eu"))
	noErr(t, b.Execute(t.Context(), ex))
	want(t, "calls", got, "s eu 4 1 false", "s eu 5 1 false", "s eu 5 2 false", "s eu 5 3 false")
	got = nil
	noErr(t, evento.ControlOf(ex, "s").RoutingKey("eu").ResetToStart(t.Context()))
	commit(t, ex, evento.Aggregate("eu").AnyVersion().Event(MoneyDeposited{}))
	noErr(t, b.Execute(t.Context(), ex))
	want(t, "calls after a reset", got, "s eu 4 1 true", "s eu 5 1 true", "s eu 6 1 false")
	if d := evento.DeliveryFrom(t.Context()); d != (evento.Delivery{}) {
		t.Errorf("outside of a handler: %+v", d)
	}
}

// A parked event that is tried again says so.
func TestDeliveryOfParked(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	var attempts []int
	b := evento.NewSubscription("s").Retry(1).AcceptFailure().Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, _ evento.RawEvent) error {
		attempts = append(attempts, evento.DeliveryFrom(ctx).Attempt)
		return errPoor
	}))
	for range 2 {
		noErr(t, b.Execute(t.Context(), ex))
		noErr(t, evento.ControlOf(ex, "s").RetryParked(t.Context(), evento.AllParked()))
	}
	noErr(t, b.Execute(t.Context(), ex))
	if want := []int{1, 2, 3, 4}; !slices.Equal(attempts, want) {
		t.Errorf("attempts %v, want %v", attempts, want)
	}
	// It was never handled, so it is no replay after a reset either.
	noErr(t, evento.ControlOf(ex, "s").ResetToStart(t.Context()))
	noErr(t, evento.ControlOf(ex, "s").RetryParked(t.Context(), evento.AllParked()))
	var replays []bool
	noErr(t, evento.NewSubscription("s").AcceptFailure().Handler(evento.HandleAll(Account, func(ctx context.Context, _ evento.RawEvent) error {
		replays = append(replays, evento.DeliveryFrom(ctx).Replay)
		return nil
	})).Execute(t.Context(), ex))
	if want := []bool{false, true}; !slices.Equal(replays, want) {
		t.Errorf("tried again, and then met again after the reset: replays are %v, want %v", replays, want)
	}
}

// While an event is tried again the status says why, and of which event.
func TestStatusOfRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		var failing atomic.Bool
		failing.Store(true)
		start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if e.Position == 2 && failing.Load() {
				return errPoor
			}
			return nil
		})))
		time.Sleep(time.Second)
		synctest.Wait()
		s, err := evento.ControlOf(ex, "s").Status(t.Context())
		noErr(t, err)
		if p := s.Partitions[0]; !strings.Contains(p.Error, errPoor.Error()) || p.ErrorEvent != events(t, ex)[1].ID.String() || s.Behind != 2 || s.Position != 1 {
			t.Errorf("while it is tried again: %+v", s)
		}
		failing.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s, err = evento.ControlOf(ex, "s").Status(t.Context()); err != nil || s.Partitions[0].Error != "" || s.Partitions[0].ErrorEvent != "" || s.Behind != 0 {
			t.Errorf("when it was handled: %+v, %v", s, err)
		}
	})
}

// Of several that ask for the key, the newest gets it; one that is shut down
// meanwhile takes its question back.
func TestNewestGetsTheKey(t *testing.T) {
	t.Parallel()
	for _, withdrawn := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ex := newStore(t)
			deposits(t, ex, "a", 3)
			var got list[string]
			worker := func(name string) *evento.Subscription {
				return start(t, &process{Executor: ex}, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
					got.add(fmt.Sprint(name, e.Position))
					time.Sleep(10 * time.Second)
					return nil
				})))
			}
			first := worker("first")
			time.Sleep(time.Second)
			second := worker("second")
			time.Sleep(time.Second)
			if withdrawn {
				noErr(t, second.Shutdown(t.Context()))
				time.Sleep(time.Minute)
				want(t, "handled", got.all(), "first1", "first2", "first3")
				if first.Err() != nil {
					t.Errorf("the owner ended with %v", first.Err())
				}
				return
			}
			worker("third")
			ended(t, second, evento.ErrTakenOver)
			ended(t, first, evento.ErrTakenOver)
			time.Sleep(time.Minute)
			want(t, "handled", got.all(), "first1", "third2", "third3")
		})
	}
}

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

// The cursor of a worker that passes over what is not its own does not make
// WaitFor wait, however seldom it is stored.
func TestWaitForWhatIsNotHandled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(ownerType, func(context.Context, evento.RawEvent) error { return nil })))
		for i := range 20 {
			deposits(t, ex, "a", 1)
			began := time.Now()
			noErr(t, evento.WaitFor(t.Context(), ex, "s", uint64(i+1)))
			if took := time.Since(began); took != 0 {
				t.Errorf("event %d, which it does not handle: WaitFor took %s", i+1, took)
			}
			time.Sleep(700 * time.Millisecond)
			s, err := evento.ControlOf(ex, "s").Status(t.Context())
			if err != nil || s.Behind != 0 || s.Lag != 0 || s.Position != s.Head {
				t.Errorf("idle: %+v, %v", s, err)
			}
		}
	})
}

// Run ends when one of its subscriptions does, and lets the others finish what
// they have in hand; a handler that takes too long is cut short.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 1)
		var got list[string]
		slow := func(d time.Duration) evento.SubscriptionHandler {
			return evento.HandleEvery(func(ctx context.Context, e evento.RawEvent) error {
				select {
				case <-time.After(d):
					got.add("slow")
					return nil
				case <-ctx.Done():
					got.add("cut")
					return ctx.Err()
				}
			})
		}
		for _, test := range []struct {
			takes, ends time.Duration
			want        string
			err         error
		}{{5 * time.Second, 5 * time.Second, "slow", nil}, {time.Hour, 11 * time.Second, "cut", context.Canceled}} {
			got = list[string]{}
			ctx, cancel := context.WithCancel(t.Context())
			began := time.Now()
			time.AfterFunc(time.Second, cancel)
			err := evento.Run(ctx, ex, evento.NewSubscription(test.takes.String()).Logger(silent).Handler(slow(test.takes)))
			if took := time.Since(began); !errors.Is(err, test.err) || (test.err == nil) != (err == nil) || took != test.ends {
				t.Errorf("a handler that takes %s: Run returned %v after %s, want %v after %s", test.takes, err, took, test.err, test.ends)
			}
			want(t, "handled", got.all(), test.want)
		}
	})
	ex := newStore(t)
	one := evento.NewSubscription("s").Handler(positions(&list[uint64]{}))
	for name, builders := range map[string][]*evento.SubscriptionBuilder{
		"none": nil, "nil": {nil}, "one twice": {one, one}, "a mistake": {one, evento.NewSubscription("t")},
	} {
		if err := evento.Run(t.Context(), ex, builders...); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("Run of %s: %v, want ErrInvalid", name, err)
		}
	}
	if s, err := evento.ControlOf(ex, "s").Status(t.Context()); err != nil || s.Partitions[0].Owner != "" {
		t.Errorf("what was started beside a mistake: %+v, %v, want no owner", s, err)
	}
}

// unable has InTx, and no transactions behind it.
type unable struct{ evento.Executor }

func (unable) InTx(context.Context, func(context.Context) error) error {
	return fmt.Errorf("by a test: %w", errors.ErrUnsupported)
}

func TestTransactionalOnAWrapper(t *testing.T) {
	t.Parallel()
	ex := unable{newStore(t)}
	b := evento.NewSubscription("s").Transactional().Handler(positions(&list[uint64]{}))
	if sub, err := b.Start(t.Context(), ex); sub != nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Start: %v, want ErrUnsupported", err)
	}
	if err := b.Execute(t.Context(), ex); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Execute: %v, want ErrUnsupported", err)
	}
}

// A transaction that cannot be committed because of what was done in it is the
// failure of an event: counted, named, parked. One whose store fails is not.
func TestTransactionalFailureAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{1, 300} {
		for _, park := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransactor(t)
				deposits(t, tr, "a", 2)
				deposits(t, tr, "b", 1)
				deposits(t, tr, "c", 1)
				tr.refuses = "b1"
				b := evento.NewSubscription("s").Transactional().ChunkSize(chunk).Retry(2).Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
					effect(ctx, e)
					return nil
				}))
				if park {
					b.AcceptFailure()
				}
				err := b.Execute(t.Context(), tr)
				var h *evento.HandlerError
				switch {
				case park:
					noErr(t, err)
					want(t, "effects", tr.done(), "a1", "a2", "c1")
					want(t, "parked", parkedOf(t, tr), "b1 3 "+errRefused.Error())
				case !errors.As(err, &h) || h.Event.AggregateID != "b" || h.Attempts != 3 || !errors.Is(err, errRefused):
					t.Errorf("chunk %d: %v, want a HandlerError of b1", chunk, err)
				default:
					want(t, "effects", tr.done(), "a1", "a2")
				}
			})
		}
	}
}
