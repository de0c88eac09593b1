package evento_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// start starts a subscription, and shuts it down when the test ends.
func start(t *testing.T, ex evento.Executor, b *evento.SubscriptionBuilder) *evento.Subscription {
	t.Helper()
	sub, err := b.Logger(silent).Start(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sub.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return sub
}

// ended waits for a worker, and checks what it ended with.
func ended(t *testing.T, sub *evento.Subscription, want error) {
	t.Helper()
	<-sub.Done()
	if err := sub.Err(); !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("the worker ended with %v, want %v", err, want)
	}
}

// A handler that fails is called again after waits that double from 10 ms to
// 10 s, each shortened by up to half at random.
func TestRetryBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 1)
		var calls []time.Time
		const retries = 14
		sub := start(t, ex, evento.NewSubscription("s").Retry(retries).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
			calls = append(calls, time.Now())
			return errPoor
		})))
		ended(t, sub, errPoor)
		var h *evento.HandlerError
		if !errors.As(sub.Err(), &h) || h.Attempts != retries+1 || len(calls) != retries+1 {
			t.Errorf("%d calls, ended with %v, want %d attempts", len(calls), sub.Err(), retries+1)
		}
		var rounded int
		for i := 1; i < len(calls); i++ {
			most := min(10*time.Millisecond<<(i-1), 10*time.Second)
			wait := calls[i].Sub(calls[i-1])
			if wait < most/2 || wait > most {
				t.Errorf("retry %d came after %s, want %s to %s", i, wait, most/2, most)
			}
			if wait == most || wait == most/2 {
				rounded++
			}
		}
		if rounded == retries {
			t.Error("no wait has jitter")
		}
	})
}

func TestRetryDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 1)
		began := time.Now()
		sub := start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error { return errPoor })))
		ended(t, sub, errPoor)
		var h *evento.HandlerError
		if took := time.Since(began); !errors.As(sub.Err(), &h) || h.Attempts != 31 || took < 105*time.Second || took > 211*time.Second {
			t.Errorf("gave up after %s with %v, want 31 attempts in 105 to 211 s", took, sub.Err())
		}
	})
}

func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 1)
		began := time.Now()
		var first time.Duration
		b := evento.NewSubscription("s").Delay(time.Minute).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
			first = time.Since(began)
			return nil
		}))
		start(t, ex, b)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if first != time.Minute {
			t.Errorf("the first event was handled after %s, want the delay of a minute", first)
		}
		// Shutdown does not wait for the delay, nor does Execute delay.
		other := start(t, ex, b)
		began = time.Now()
		if err := other.Shutdown(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("Shutdown within the delay: %v after %s", err, time.Since(began))
		}
		if err := b.Execute(t.Context(), ex); err != nil || time.Since(began) != 0 {
			t.Errorf("Execute: %v after %s", err, time.Since(began))
		}
	})
}

// A commit wakes at once; where nothing wakes, polling finds it within a
// second.
func TestWaking(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		changed func() <-chan struct{}
		most    time.Duration
	}{
		{"woken", nil, 0},
		{"polling", func() <-chan struct{} { return nil }, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ex := &hooked{Executor: newStore(t), changed: test.changed}
			handled := make(chan time.Time, 1)
			start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
				handled <- time.Now()
				return nil
			})))
			for i := range 5 {
				time.Sleep(1234 * time.Millisecond)
				synctest.Wait()
				committed := time.Now()
				deposits(t, ex, "a", 1)
				if took := (<-handled).Sub(committed); took > test.most {
					t.Errorf("%s: event %d was handled %s after its commit, want at most %s", test.name, i, took, test.most)
				}
			}
		})
	}
}

// acks notes when cursors are stored.
type ack struct {
	after time.Duration
	at    cursor.Value
}

func noting(ex evento.Executor, acks *list[ack]) *hooked {
	began := time.Now()
	var last cursor.Value
	return &hooked{Executor: ex, swap: func(ctx context.Context, s evento.Swap) error {
		for _, c := range s.Changes {
			var state struct{ Cursor cursor.Value }
			if err := json.Unmarshal(c.Value, &state); err != nil {
				return err
			}
			if state.Cursor != last {
				last = state.Cursor
				acks.add(ack{time.Since(began), last})
			}
		}
		return ex.Swap(ctx, s)
	}}
}

// Within a chunk the cursor is stored at least each second, where it really
// is; and soon after the last event.
func TestCursorIsStoredWhileWorking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 40)
		var acks list[ack]
		var got list[uint64]
		const each = 300 * time.Millisecond
		start(t, noting(store, &acks), evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			time.Sleep(each)
			got.add(e.Position)
			return nil
		})))
		time.Sleep(time.Minute)
		synctest.Wait()
		last := time.Duration(0)
		for _, a := range acks.all() {
			if gap := a.after - last; gap > time.Second+each {
				t.Errorf("the cursor was stored %s after the start, %s after the time before, want at most a second and an event", a.after, gap)
			}
			last = a.after
			done := min(int(a.after/each), 40)
			if want := cursorOf(t, store, done); a.at != want {
				t.Errorf("after %s, with %d events handled, the cursor stored is %q, want %q", a.after, done, a.at, want)
			}
		}
		if last < 40*each || last > 41*each {
			t.Errorf("the cursor was stored last after %s, want soon after the last event, at %s", last, 40*each)
		}
		if n := len(acks.all()); n > 14 {
			t.Errorf("the cursor was stored %d times for 12 seconds of work", n)
		}
		wantStored(t, store, "s", 40)
	})
}

// The cursor is stored soon after the last event, also when it was stored just
// before; and what was handled does not wait for an event that fails.
func TestCursorIsStoredSoon(t *testing.T) {
	t.Parallel()
	for _, failing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ex := newStore(t)
			start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
				if failing && e.Position == 4 {
					return errPoor
				}
				return nil
			})))
			for range 3 {
				time.Sleep(5 * time.Millisecond)
				deposits(t, ex, "a", 1)
			}
			if failing {
				deposits(t, ex, "a", 1)
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			wantStored(t, ex, "s", 3)
		})
	}
}

// Events that a subscription only passes over are examined once, and its
// cursor follows them in its own time.
func TestPassingOverEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 5)
		var acks list[ack]
		var from list[cursor.Value]
		ex := noting(store, &acks)
		ex.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			from.add(args.At())
			return store.Read(ctx, q, args)
		}
		sub := start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(ownerType, func(context.Context, evento.RawEvent) error { return nil })))
		for i := range 30 {
			time.Sleep(time.Second)
			synctest.Wait()
			reads := from.all()
			if want := cursorOf(t, store, 5+i); i > 0 && reads[len(reads)-1] != want {
				t.Errorf("second %d: read from %q, want from the head %q", i, reads[len(reads)-1], want)
			}
			deposits(t, store, "a", 1)
		}
		synctest.Wait()
		if n := len(acks.all()); n < 3 || n > 4 {
			t.Errorf("the cursor was stored %d times in 30 seconds of events passed over, want one in ten seconds: %v", n, acks.all())
		}
		if err := sub.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wantStored(t, store, "s", 35)
	})
}

// A store that fails for a while is waited out: nothing is lost, and nothing
// is handled again for it.
func TestStoreErrorsAreWaitedOut(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"read", "swap", "records"} {
		synctest.Test(t, func(t *testing.T) {
			store := newStore(t)
			var repaired, started atomic.Bool
			var failures atomic.Int64
			fail := func() error {
				if repaired.Load() {
					return nil
				}
				failures.Add(1)
				return errors.New("disk on fire")
			}
			ex := &hooked{Executor: store}
			switch method {
			case "read":
				ex.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
					if err := fail(); err != nil {
						return nil, err
					}
					return store.Read(ctx, q, args)
				}
			case "swap":
				ex.swap = func(ctx context.Context, s evento.Swap) error {
					if !started.Load() {
						return store.Swap(ctx, s)
					}
					if err := fail(); err != nil {
						return err
					}
					return store.Swap(ctx, s)
				}
			case "records":
				ex.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
					if !started.Load() {
						return store.Records(ctx, q)
					}
					if err := fail(); err != nil {
						return nil, err
					}
					return store.Records(ctx, q)
				}
			}
			var got list[uint64]
			sub := start(t, ex, evento.NewSubscription("s").ChunkSize(2).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
				time.Sleep(200 * time.Millisecond)
				got.add(e.Position)
				return nil
			})))
			started.Store(true)
			deposits(t, store, "a", 5)
			time.Sleep(time.Minute)
			synctest.Wait()
			repaired.Store(true)
			if n := failures.Load(); n < 5 || n > 50 { // with those that renew the lease
				t.Errorf("%s: tried %d times in a minute, want a few, with growing waits", method, n)
			}
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if sub.Err() != nil || !slices.Equal(got.all(), upTo(5)) {
				t.Errorf("%s: handled %v, ended with %v, want 1 to 5, each once", method, got.all(), sub.Err())
			}
			wantStored(t, store, "s", 5)
		})
	}
}

// The waits of a store's failures begin anew after each success.
func TestStoreErrorsNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 20)
		reads := 0
		ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
			if reads++; reads%2 == 1 {
				return nil, errors.New("disk on fire")
			}
			return store.Read(ctx, q, args)
		}}
		var got list[uint64]
		start(t, ex, evento.NewSubscription("s").ChunkSize(1).Handler(positions(&got)))
		time.Sleep(20 * 10 * time.Millisecond)
		synctest.Wait()
		if !slices.Equal(got.all(), upTo(20)) {
			t.Errorf("handled %v within 20 waits of 10 ms, want 1 to 20", got.all())
		}
	})
}
