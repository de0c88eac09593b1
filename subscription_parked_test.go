package evento_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// parkedOf lists what is parked: aggregate and version, attempts, and whether
// it failed.
func parkedOf(t *testing.T, ex evento.Executor) []string {
	t.Helper()
	all := []string{}
	for p, err := range evento.ControlOf(ex, "s").Parked(t.Context(), evento.AllParked()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s%d %d %s", p.AggregateID, p.Version, p.Attempts, strings.SplitN(p.Error, "\n", 2)[0]))
	}
	return all
}

// ward is a subscription that parks the events it is told to fail at.
type ward struct {
	fails func(evento.RawEvent) error
	got   list[string]
}

func (w *ward) builder() *evento.SubscriptionBuilder {
	return evento.NewSubscription("s").AcceptFailure().Retry(0).Logger(silent).
		Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if w.fails != nil {
				if err := w.fails(e); err != nil {
					return err
				}
			}
			w.got.add(fmt.Sprint(e.AggregateID, e.Version))
			return nil
		}))
}

func (w *ward) take() []string {
	w.got.mu.Lock()
	defer w.got.mu.Unlock()
	got := w.got.items
	w.got.items = nil
	return got
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRetryParked(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	poison := func(e evento.RawEvent) error {
		if e.Version == 2 && e.AggregateID != "c" {
			return errPoor
		}
		return nil
	}
	w := &ward{fails: poison}
	for range 2 {
		deposits(t, ex, "a", 2)
		deposits(t, ex, "b", 2)
		deposits(t, ex, "c", 2)
	}
	control := evento.ControlOf(ex, "s")
	execute := func() { t.Helper(); noErr(t, w.builder().Execute(t.Context(), ex)) }
	execute()
	want(t, "handled", w.take(), "a1", "b1", "c1", "c2", "c3", "c4")
	want(t, "parked", parkedOf(t, ex), "a2 1 "+errPoor.Error(), "b2 1 "+errPoor.Error(), "a3 0 ", "a4 0 ", "b3 0 ", "b4 0 ")

	// Nobody asked: they stay.
	execute()
	want(t, "handled", w.take())
	// They fail again, with another error.
	w.fails = func(evento.RawEvent) error { return errors.New("worse") }
	noErr(t, control.RetryParked(t.Context(), evento.AllParked()))
	execute()
	want(t, "parked", parkedOf(t, ex), "a2 2 worse", "b2 2 worse", "a3 0 ", "a4 0 ", "b3 0 ", "b4 0 ")
	execute() // and not again by itself
	want(t, "parked", parkedOf(t, ex), "a2 2 worse", "b2 2 worse", "a3 0 ", "a4 0 ", "b3 0 ", "b4 0 ")
	// One event, which has to be the first.
	var ids []evento.ID
	for p, err := range control.Parked(t.Context(), evento.ParkedOf(Account, "a")) {
		noErr(t, err)
		ids = append(ids, p.ID)
	}
	w.fails = nil
	if err := control.RetryParked(t.Context(), evento.ParkedEvent(ids[1])); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("a retry of the second: %v, want ErrInvalid", err)
	}
	if err := control.RetryParked(t.Context(), evento.ParkedEvent(evento.NewID())); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("a retry of another: %v, want ErrNotFound", err)
	}
	noErr(t, control.RetryParked(t.Context(), evento.ParkedEvent(ids[0])))
	execute()
	want(t, "handled", w.take(), "a2")
	want(t, "parked", parkedOf(t, ex), "b2 2 worse", "a3 0 ", "a4 0 ", "b3 0 ", "b4 0 ")
	// A new one waits behind; an aggregate is retried until one fails.
	deposits(t, ex, "a", 1)
	w.fails = func(e evento.RawEvent) error {
		if e.Version == 4 {
			return errPoor
		}
		return nil
	}
	execute()
	noErr(t, control.RetryParked(t.Context(), evento.ParkedOf(Account, "a")))
	execute()
	want(t, "handled", w.take(), "a3")
	want(t, "parked", parkedOf(t, ex), "b2 2 worse", "a4 1 "+errPoor.Error(), "b3 0 ", "b4 0 ", "a5 0 ")
	// One that is dropped is forgotten; the rest goes on.
	w.fails = nil
	noErr(t, control.DropParked(t.Context(), evento.ParkedEvent(ids[2])))
	noErr(t, control.RetryParked(t.Context(), evento.AllParked()))
	deposits(t, ex, "a", 1)
	execute()
	want(t, "handled", w.take(), "b2", "b3", "b4", "a5", "a6")
	want(t, "parked", parkedOf(t, ex))
	if err := control.DropParked(t.Context(), evento.ParkedOf(Account, "a")); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("a drop of none: %v, want ErrNotFound", err)
	}
}

// A store that fails in the middle of a retry loses neither what is left of it
// nor the order.
func TestRetryParkedSurvivesTheStore(t *testing.T) {
	t.Parallel()
	for failing := range 24 {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				w := &ward{fails: func(e evento.RawEvent) error { return errPoor }}
				deposits(t, store, "a", 3)
				deposits(t, store, "b", 2)
				noErr(t, w.builder().Execute(t.Context(), store))
				w.fails = nil
				noErr(t, evento.ControlOf(store, "s").RetryParked(t.Context(), evento.AllParked()))
				deposits(t, store, "a", 1)
				var calls atomic.Int64
				now := func() bool { return calls.Add(1) == int64(failing+3) }
				start(t, &hooked{Executor: store,
					swap: func(ctx context.Context, s evento.Swap) error {
						if !now() {
							return store.Swap(ctx, s)
						}
						if after {
							_ = store.Swap(ctx, s)
						}
						return errLost
					},
					read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
						if now() {
							return nil, errLost
						}
						return store.Read(ctx, q, args)
					},
				}, w.builder())
				time.Sleep(time.Minute)
				synctest.Wait()
				want(t, "parked", parkedOf(t, store))
				var a []string
				for _, line := range slices.Compact(w.take()) {
					if line[0] == 'a' {
						a = append(a, line)
					}
				}
				want(t, "handled", a, "a1", "a2", "a3", "a4")
			})
		}
	}
}

// The store fails, before or after the fact, when an event is parked: it is
// parked once, and those behind it too.
func TestParkingSurvivesTheStore(t *testing.T) {
	t.Parallel()
	for failing := range 8 {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				tried := false
				w := &ward{fails: func(e evento.RawEvent) error {
					if tried || e.AggregateID != "a" || e.Version != 2 {
						return nil
					}
					tried = true // it fails only once
					return errPoor
				}}
				var calls atomic.Int64
				start(t, &hooked{Executor: store, swap: func(ctx context.Context, s evento.Swap) error {
					if calls.Add(1) != int64(failing+3) {
						return store.Swap(ctx, s)
					}
					if after {
						_ = store.Swap(ctx, s)
					}
					return errLost
				}}, w.builder())
				for range 2 {
					deposits(t, store, "a", 2)
					deposits(t, store, "b", 2)
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				if failing == 0 && !after { // it was not parked
					want(t, "parked", parkedOf(t, store))
					want(t, "handled", w.take(), "a1", "a2", "b1", "b2", "a3", "a4", "b3", "b4")
					return
				}
				want(t, "parked", parkedOf(t, store), "a2 1 "+errPoor.Error(), "a3 0 ", "a4 0 ")
				want(t, "handled", slices.Compact(w.take()), "a1", "b1", "b2", "b3", "b4")
			})
		}
	}
}

// One poison aggregate among many costs what it costs, and no more.
func TestParkingIsCheap(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for i := range 1000 {
		deposits(t, store, fmt.Sprint("account ", i), 3)
	}
	p := &process{Executor: store}
	w := &ward{fails: func(e evento.RawEvent) error {
		if e.AggregateID == "account 500" {
			return evento.Permanent(errPoor)
		}
		return nil
	}}
	noErr(t, w.builder().Retry(30).Execute(t.Context(), p))
	if got := len(w.take()); got != 2997 {
		t.Errorf("%d events were handled, want 2997", got)
	}
	if n := p.calls.Load(); n > 60 {
		t.Errorf("%d calls of the store, want a few dozen", n)
	}
	want(t, "parked", parkedOf(t, store), "account 5001 1 "+errPoor.Error(), "account 5002 0 ", "account 5003 0 ")
}

// After a take-over, and after a reset, events of parked aggregates still wait.
func TestParkedStayParked(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	w := &ward{fails: func(e evento.RawEvent) error {
		if e.AggregateID == "a" && e.Version == 2 {
			panic("oh no")
		}
		return nil
	}}
	deposits(t, ex, "a", 3)
	deposits(t, ex, "b", 1)
	noErr(t, w.builder().Execute(t.Context(), ex))
	deposits(t, ex, "a", 1)
	w.fails = nil
	noErr(t, w.builder().Execute(t.Context(), ex))
	want(t, "handled", w.take(), "a1", "b1")
	noErr(t, evento.ControlOf(ex, "s").ResetToStart(t.Context()))
	noErr(t, w.builder().Execute(t.Context(), ex))
	want(t, "handled after a reset", w.take(), "b1")
	want(t, "parked", parkedOf(t, ex), "a1 0 ", "a2 1 evento: handler panicked: oh no", "a3 0 ", "a4 0 ")
	for p, err := range evento.ControlOf(ex, "s").Parked(t.Context(), evento.AllParked()) {
		noErr(t, err)
		if p.Version == 2 && !strings.Contains(p.Error, "TestParkedStayParked") {
			t.Errorf("the panic has no stack: %s", p.Error)
		}
	}
	noErr(t, evento.ControlOf(ex, "s").RetryParked(t.Context(), evento.AllParked()))
	noErr(t, w.builder().Execute(t.Context(), ex))
	want(t, "retried", w.take(), "a1", "a2", "a3", "a4")
}

// Events that arrive while their aggregate is retried come after it.
func TestEventsDuringRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		var fixed atomic.Bool
		w := &ward{fails: func(e evento.RawEvent) error {
			if !fixed.Load() && e.AggregateID == "a" {
				return errPoor
			}
			time.Sleep(100 * time.Millisecond)
			return nil
		}}
		start(t, ex, w.builder())
		deposits(t, ex, "a", 20)
		time.Sleep(time.Second)
		fixed.Store(true)
		noErr(t, evento.ControlOf(ex, "s").RetryParked(t.Context(), evento.AllParked()))
		var wanted []string
		for i := range 30 {
			time.Sleep(100 * time.Millisecond)
			deposits(t, ex, "a", 1)
			wanted = append(wanted, fmt.Sprint("a", i+1))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i := range 20 {
			wanted = append(wanted, fmt.Sprint("a", i+31))
		}
		want(t, "handled", w.take(), wanted...)
		want(t, "parked", parkedOf(t, ex))
	})
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
