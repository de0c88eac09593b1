package evento_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
)

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

func TestWaitFor(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			ex := newStore(t)
			var handled atomic.Uint64
			start(t, ex, evento.NewSubscription("s").Partitions(partitions).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
				time.Sleep(time.Second)
				handled.Store(e.Position)
				return nil
			})))
			for i := range 20 {
				r := commit(t, ex, evento.Aggregate(fmt.Sprint("account ", i)).AnyVersion().Event(MoneyDeposited{}))
				began := time.Now()
				noErr(t, evento.WaitFor(t.Context(), ex, "s", r.Position))
				if took := time.Since(began); handled.Load() != r.Position || took < time.Second || took > 2200*time.Millisecond {
					t.Errorf("event %d: returned after %s, with %d handled", r.Position, took, handled.Load())
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			deposits(t, ex, "a", 1)
			if err := evento.WaitFor(ctx, ex, "s", 21); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("WaitFor with a context that ends: %v", err)
			}
			if err := evento.WaitFor(ctx, ex, "never started", 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("WaitFor a subscription that was not started: %v", err)
			}
		})
	}
}
