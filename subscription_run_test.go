package evento_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func TestShutdownFinishesTheEventInHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 10)
		var got list[uint64]
		sub := start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
			if e.Position == 3 {
				time.Sleep(time.Minute)
			}
			got.add(e.Position)
			return ctx.Err()
		})))
		time.Sleep(time.Second)
		if sub.Err() != nil {
			t.Errorf("Err of a running worker is %v", sub.Err())
		}
		began := time.Now()
		if err := sub.Shutdown(t.Context()); err != nil || time.Since(began) != 59*time.Second {
			t.Errorf("Shutdown returned %v after %s, want nil when the event in hand is done, after 59s", err, time.Since(began))
		}
		ended(t, sub, nil)
		deposits(t, ex, "a", 1)
		time.Sleep(time.Minute)
		if !slices.Equal(got.all(), upTo(3)) {
			t.Errorf("handled %v, want 1 to 3 and nothing after Shutdown", got.all())
		}
		wantStored(t, ex, "s", 3)
		// Another worker goes on from there, exactly.
		var rest list[uint64]
		if err := evento.NewSubscription("s").Handler(positions(&rest)).Execute(t.Context(), ex); err != nil || !slices.Equal(rest.all(), upTo(11)[3:]) {
			t.Errorf("the next worker handled %v, %v, want 4 to 11", rest.all(), err)
		}
	})
}

func TestShutdownWithinRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		sub := start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if e.Position == 2 {
				return errPoor
			}
			return nil
		})))
		time.Sleep(time.Minute)
		began := time.Now()
		if err := sub.Shutdown(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("Shutdown between two tries: %v after %s, want nil at once", err, time.Since(began))
		}
		ended(t, sub, nil)
		wantStored(t, ex, "s", 1)
	})
}

// When the context of Shutdown ends first, that of the handler is cancelled;
// the event counts as not handled.
func TestShutdownCancelsTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		tries := 0
		sub := start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
			if e.Position < 2 {
				return nil
			}
			tries++
			<-ctx.Done()
			return ctx.Err()
		})))
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if err := sub.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("Shutdown: %v after %s, want its context's error after 2s", err, time.Since(began))
		}
		ended(t, sub, context.Canceled)
		if time.Since(began) != 2*time.Second || tries != 1 {
			t.Errorf("the worker ended %s after Shutdown and %d tries, want 2s and 1", time.Since(began), tries)
		}
		wantStored(t, ex, "s", 1)
	})
}

func TestContextEndsTheWorker(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"idle", "handler", "retries", "delay", "store"} {
		synctest.Test(t, func(t *testing.T) {
			ex := &hooked{Executor: newStore(t)}
			deposits(t, ex, "a", 3)
			ctx, cancel := context.WithCancel(t.Context())
			b := evento.NewSubscription("s").Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
				switch {
				case where == "handler" && e.Position == 3:
					<-ctx.Done()
					return errPoor // cut short: no failure of the event
				case where == "retries" && e.Position == 3:
					return errPoor
				}
				return nil
			}))
			want := 3
			switch where {
			case "delay":
				b.Delay(time.Hour)
				want = 0
			case "handler":
				b.Retry(0)
				want = 2
			case "retries":
				want = 2
			case "store":
				ex.read = func(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error) {
					return nil, errPoor
				}
				want = 0
			}
			sub, err := b.Start(ctx, ex)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			began := time.Now()
			cancel()
			ended(t, sub, context.Canceled)
			if took := time.Since(began); took != 0 {
				t.Errorf("%s: ended %s after its context", where, took)
			}
			ex.read = nil
			wantStored(t, ex, "s", want)
			status, err := evento.ControlOf(ex, "s").Status(t.Context())
			noErr(t, err)
			if text := status.Partitions[0].Error; strings.Contains(text, context.Canceled.Error()) {
				t.Errorf("%s: that the context has ended is told as an error: %q", where, text)
			}
		})
	}
}

func TestClosedStoreEndsTheWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		var got list[uint64]
		sub := start(t, ex, evento.NewSubscription("s").Handler(positions(&got)))
		time.Sleep(time.Second)
		synctest.Wait()
		began := time.Now()
		if err := ex.Close(); err != nil {
			t.Fatal(err)
		}
		ended(t, sub, evento.ErrClosed)
		if took := time.Since(began); took != 0 {
			t.Errorf("ended %s after the store was closed", took)
		}
	})
}

// A handler that ends its goroutine, as a test's FailNow does, ends the
// worker, and not silently.
func TestHandlerEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 1)
	sub, err := evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
		runtime.Goexit()
		return nil
	})).Start(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	<-sub.Done()
	if sub.Err() == nil {
		t.Error("the worker ended without an error")
	}
}

// A worker restarted at every kind of end handles each event once and in
// order, for as long as no end is a crash.
func TestRestartsResumeExactly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 100)
		var got list[uint64]
		b := evento.NewSubscription("s").ChunkSize(7).Logger(silent).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			time.Sleep(time.Millisecond)
			got.add(e.Position)
			return nil
		}))
		for round := 0; len(got.all()) < 100; round++ {
			if round == 100 {
				t.Fatalf("after 100 rounds only %d events are handled", len(got.all()))
			}
			ctx, cancel := context.WithCancel(t.Context())
			sub, err := b.Start(ctx, ex)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(round%9)*time.Millisecond + 500*time.Microsecond)
			if round%2 == 0 {
				cancel()
				ended(t, sub, context.Canceled)
			} else if err := sub.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			cancel()
			wantStored(t, ex, "s", len(got.all()))
		}
		if !slices.Equal(got.all(), upTo(100)) {
			t.Errorf("handled %v, want 1 to 100, once", got.all())
		}
	})
}

func TestShutdownOfEndedWorker(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	var got list[uint64]
	sub := start(t, ex, evento.NewSubscription("s").Handler(positions(&got)))
	if err := sub.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if err := sub.Shutdown(ctx); err != nil {
			t.Fatalf("Shutdown of a worker that has ended: %v", err)
		}
	}
}

// The newest worker of a key owns it; the one before ends by itself, soon.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ex := newStore(t)
			var got list[string]
			worker := func(name string) *evento.Subscription {
				return start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
					if busy {
						time.Sleep(100 * time.Millisecond)
					}
					got.add(fmt.Sprintf("%s %d", name, e.Position))
					return nil
				})))
			}
			first := worker("first")
			deposits(t, ex, "a", 20)
			time.Sleep(time.Second)
			synctest.Wait()
			began := time.Now()
			second := worker("second")
			if first.ID == second.ID {
				t.Error("two workers have one ID")
			}
			ended(t, first, evento.ErrTakenOver)
			if took := time.Since(began); took > 1200*time.Millisecond {
				t.Errorf("busy %t: the first worker ended %s after it was taken over from", busy, took)
			}
			before := len(got.all())
			deposits(t, ex, "a", 1)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			after := got.all()
			if after[len(after)-1] != "second 21" {
				t.Errorf("busy %t: handled last: %s, want event 21 by the second", busy, after[len(after)-1])
			}
			for _, line := range after[before:] {
				if line[:6] != "second" {
					t.Errorf("busy %t: the first worker handled %s after it had ended", busy, line)
				}
			}
			wantStored(t, ex, "s", 21)
		})
	}
}

// A worker that retries notices that it was taken over from.
func TestTakeOverWithinRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		deposits(t, ex, "a", 3)
		fails := func(context.Context, evento.RawEvent) error { return errPoor }
		first := start(t, ex, evento.NewSubscription("s").Handler(evento.HandleAll(Account, fails)))
		time.Sleep(200 * time.Millisecond)
		began := time.Now()
		var got list[uint64]
		start(t, ex, evento.NewSubscription("s").Handler(positions(&got)))
		ended(t, first, evento.ErrTakenOver)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the first worker ended %s after it was taken over from", took)
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

// A store that does not answer while the context ends says that the outcome of a
// change is unknown. What it was about is the subscription's own: it ends with the
// context's error.
func TestContextEndsWhileTheStoreIsSilent(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]*evento.SubscriptionBuilder{
		"one worker": evento.NewSubscription("s"),
		"partitions": evento.NewSubscription("s").Partitions(4),
		"standby":    evento.NewSubscription("s").Standby(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				deposits(t, store, "a", 3)
				deposits(t, store, "b", 3)
				var silent atomic.Bool
				ex := &hooked{Executor: store, swap: func(ctx context.Context, s evento.Swap) error {
					if silent.Load() && ctx.Err() == nil {
						if _, bounded := ctx.Deadline(); !bounded { // what is stored at the end is answered
							<-ctx.Done()
							return evento.ErrOutcomeUnknown
						}
					}
					return store.Swap(ctx, s)
				}}
				b.Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
					silent.Store(true)
					time.Sleep(time.Second)
					return nil
				}))
				ctx, cancel := context.WithCancel(t.Context())
				sub, err := b.Start(ctx, ex)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				cancel()
				ended(t, sub, context.Canceled)
				if errors.Is(sub.Err(), evento.ErrOutcomeUnknown) {
					t.Errorf("the worker ended with %v", sub.Err())
				}
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(time.Minute, cancel)
				silent.Store(true)
				if err := b.Execute(ctx, ex); !errors.Is(err, context.Canceled) || errors.Is(err, evento.ErrOutcomeUnknown) {
					t.Errorf("Execute() = %v, want %v", err, context.Canceled)
				}
			})
		})
	}
}
