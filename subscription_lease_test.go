package evento_test

import (
	"context"
	"encoding/json"
	"errors"
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
)

// process is a store as one process sees it, which can be halted, fail, and
// lose answers.
type process struct {
	evento.Executor
	calls   atomic.Int64
	failing atomic.Bool
	lossy   atomic.Bool // one in four answers of Swap is lost

	mu     sync.Mutex
	halted chan struct{} // nil: it runs
}

var errLost = errors.New("connection lost")

func (p *process) halt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.halted == nil {
		p.halted = make(chan struct{})
	}
}

func (p *process) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.halted != nil {
		close(p.halted)
		p.halted = nil
	}
}

// step is what a process that is halted does not get over.
func (p *process) step(ctx context.Context) error {
	p.mu.Lock()
	halted := p.halted
	p.mu.Unlock()
	if halted != nil {
		select {
		case <-halted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.calls.Add(1)
	if p.failing.Load() {
		return errLost
	}
	return nil
}

func (p *process) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := p.step(ctx); err != nil {
		return nil, err
	}
	return p.Executor.Read(ctx, q, args)
}

func (p *process) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := p.step(ctx); err != nil {
		return nil, err
	}
	return p.Executor.Records(ctx, q)
}

func (p *process) Swap(ctx context.Context, s evento.Swap) error {
	if err := p.step(ctx); err != nil {
		return err
	}
	err := p.Executor.Swap(ctx, s)
	if err == nil && p.lossy.Load() && rand.N(4) == 0 {
		return errLost
	}
	return err
}

// state is what a partition's record says.
type state struct {
	Epoch    uint64
	Owner    string
	LeaseMS  int64 `json:"lease_ms"`
	Cursor   cursor.Value
	Position uint64
	Resets   uint64
}

// fencing checks every change of a subscription: a new owner comes in a new
// epoch, and when the one before is gone or its lease has lapsed; and within
// the resets the place never goes back.
func fencing(t *testing.T, store evento.Executor) *hooked {
	var mu sync.Mutex
	last := map[evento.RecordKey]state{}
	at := map[evento.RecordKey]time.Time{}
	return &hooked{Executor: store, swap: func(ctx context.Context, s evento.Swap) error {
		mu.Lock()
		defer mu.Unlock()
		err := store.Swap(ctx, s)
		if err != nil {
			return err
		}
		for _, c := range s.Changes {
			if c.Kind != "subscription" || len(c.Part) != 4 || c.Remove {
				continue
			}
			var now state
			if err := json.Unmarshal(c.Value, &now); err != nil {
				t.Error(err)
			}
			was := last[c.RecordKey]
			lapsed := was.Owner == "" || time.Since(at[c.RecordKey]) >= time.Duration(was.LeaseMS)*time.Millisecond
			switch {
			case now.Owner != "" && now.Owner != was.Owner && (now.Epoch != was.Epoch+1 || !lapsed):
				t.Errorf("%s: %+v took over from %+v, lapsed %t", c.Part, now, was, lapsed)
			case now.Resets == was.Resets && now.Position < was.Position:
				t.Errorf("%s: the place went back from %+v to %+v", c.Part, was, now)
			}
			last[c.RecordKey], at[c.RecordKey] = now, time.Now()
		}
		return nil
	}}
}

// noteAs handles events by noting a name and their positions.
func noteAs(name string, got *list[string]) evento.SubscriptionHandler {
	return evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
		got.add(fmt.Sprintf("%s %d", name, e.Position))
		return nil
	})
}

func TestStandby(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		end         string
		least, most time.Duration // until the one on standby takes over
	}{
		{"shutdown", 0, 200 * time.Millisecond},
		{"halted", 10 * time.Second, 15 * time.Second},
		{"failing", 10 * time.Second, 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := fencing(t, newStore(t))
			one, two := &process{Executor: store}, &process{Executor: store}
			var got list[string]
			var owners list[string]
			b := func(name string) *evento.SubscriptionBuilder {
				return evento.NewSubscription("s").Standby().Handler(noteAs(name, &got)).Hooks(evento.SubscriptionHooks{
					Owner: func(_ context.Context, _ string, _ int, owner bool) { owners.add(fmt.Sprint(name, owner)) },
				})
			}
			first := start(t, one, b("one"))
			synctest.Wait()
			start(t, two, b("two"))
			deposits(t, store, "a", 1)
			time.Sleep(10*time.Minute + 123*time.Millisecond) // it keeps the key though it is idle
			deposits(t, store, "a", 1)
			time.Sleep(time.Second)
			synctest.Wait()
			if want := []string{"one 1", "one 2"}; !slices.Equal(got.all(), want) {
				t.Fatalf("handled %v, want %v", got.all(), want)
			}
			began := time.Now()
			switch test.end {
			case "shutdown":
				if err := first.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
			case "halted":
				one.halt()
				t.Cleanup(one.resume)
			case "failing":
				one.failing.Store(true)
				t.Cleanup(func() { one.failing.Store(false) })
			}
			deposits(t, store, "a", 1)
			for len(got.all()) < 3 {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				if time.Since(began) > time.Minute {
					t.Fatalf("%s: handled %v after a minute", test.end, got.all())
				}
			}
			if took := time.Since(began); test.end != "failing" && (got.all()[2] != "two 3" || took < test.least || took > test.most+10*time.Millisecond) {
				t.Errorf("%s: handled %v, after %s, want it by the second after %s to %s", test.end, got.all(), took, test.least, test.most)
			}
			if want := []string{"onetrue", "onefalse", "twotrue"}; test.end == "shutdown" && !slices.Equal(owners.all(), want) {
				t.Errorf("owners were %v, want %v", owners.all(), want)
			}
		})
	}
}

// A worker that is halted past its lease, with an event in hand, stores nothing
// afterwards, and waits again.
func TestHaltedWorkerIsFenced(t *testing.T) {
	t.Parallel()
	for _, parks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := fencing(t, newStore(t))
			one, two := &process{Executor: store}, &process{Executor: store}
			t.Cleanup(one.resume)
			var got list[string]
			first := start(t, one, evento.NewSubscription("s").Standby().AcceptFailure().Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
				if err := one.step(context.WithoutCancel(ctx)); err != nil {
					return err
				}
				if e.Position == 3 {
					one.halt()
					_ = one.step(context.WithoutCancel(ctx))
					if parks {
						return evento.Permanent(errPoor)
					}
				}
				got.add(fmt.Sprint("one ", e.Position))
				return nil
			})))
			synctest.Wait()
			start(t, two, evento.NewSubscription("s").Standby().Handler(noteAs("two", &got)))
			deposits(t, store, "a", 5)
			time.Sleep(time.Minute)
			synctest.Wait()
			want := []string{"one 1", "one 2", "two 1", "two 2", "two 3", "two 4", "two 5"}
			if !slices.Equal(got.all(), want) {
				t.Fatalf("handled %v, want %v", got.all(), want)
			}
			one.resume()
			time.Sleep(time.Minute)
			synctest.Wait()
			if !parks {
				want = append(want, "one 3") // the one in hand, and no more
			}
			if !slices.Equal(got.all(), want) || first.Err() != nil {
				t.Errorf("parks %t: handled %v, ended with %v, want %v", parks, got.all(), first.Err(), want)
			}
			wantStored(t, store, "s", 5)
			if status, err := evento.ControlOf(store, "s").Status(t.Context()); err != nil || status.Parked != 0 {
				t.Errorf("%d events are parked, %v", status.Parked, err)
			}
			two.halt() // and takes over again
			t.Cleanup(two.resume)
			deposits(t, store, "a", 1)
			time.Sleep(time.Minute)
			synctest.Wait()
			if want = append(want, "one 6"); !slices.Equal(got.all(), want) {
				t.Errorf("parks %t: handled %v, want %v", parks, got.all(), want)
			}
		})
	}
}

// A store that an owner waits for while it hands over is waited for as long as who
// asked has to wait otherwise, and that is the lease.
func TestHandOverOutlastsTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		swaps := &process{Executor: store}
		t.Cleanup(swaps.resume)
		one := &hooked{Executor: store, swap: func(ctx context.Context, s evento.Swap) error {
			if s.Wake { // it gives the key back
				return swaps.Swap(ctx, s)
			}
			return store.Swap(ctx, s)
		}}
		var got list[string]
		deposits(t, store, "a", 2)
		first := start(t, one, evento.NewSubscription("s").Lease(time.Minute).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			got.add(fmt.Sprint("one ", e.Position))
			time.Sleep(time.Second)
			return nil
		})))
		time.Sleep(1500 * time.Millisecond) // the second event is in hand
		start(t, store, evento.NewSubscription("s").Handler(noteAs("two", &got)))
		swaps.halt()
		time.Sleep(20 * time.Second)
		swaps.resume()
		time.Sleep(2 * time.Second)
		deposits(t, store, "a", 1)
		time.Sleep(time.Second)
		if want := []string{"one 1", "one 2", "two 3"}; !slices.Equal(got.all(), want) {
			t.Errorf("handled %v, want %v", got.all(), want)
		}
		ended(t, first, evento.ErrTakenOver)
	})
}

// Of several workers that ask, the last gets the key and keeps it: one that asked before
// does not take it for the owner that it has asked, whatever it has missed.
func TestLaterRequestStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		var got list[string]
		deposits(t, store, "a", 2)
		first := start(t, store, evento.NewSubscription("s").Lease(time.Minute).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			got.add(fmt.Sprint("one ", e.Position))
			time.Sleep(20 * time.Second)
			return nil
		})))
		time.Sleep(time.Second) // the event is in hand
		two := &process{Executor: store}
		t.Cleanup(two.resume)
		second := start(t, two, evento.NewSubscription("s").Handler(noteAs("two", &got)))
		time.Sleep(time.Second) // it has asked
		two.halt()
		third := start(t, store, evento.NewSubscription("s").Handler(noteAs("three", &got)))
		time.Sleep(2 * time.Minute) // longer than the lease of the first
		two.resume()
		time.Sleep(2 * time.Minute)
		deposits(t, store, "a", 1)
		time.Sleep(10 * time.Second)
		if want := []string{"one 1", "three 2", "three 3"}; !slices.Equal(got.all(), want) || third.Err() != nil {
			t.Errorf("handled %v, the last ended with %v; want %v by a worker that goes on", got.all(), third.Err(), want)
		}
		if !t.Failed() {
			ended(t, first, evento.ErrTakenOver)
			ended(t, second, evento.ErrTakenOver)
		}
	})
}

// A worker on standby leaves the key of an owner that is gone to a worker that has asked
// for it, also when that one is late, and takes it when that one is gone too.
func TestStandbyLeavesTheKeyToWhoAsked(t *testing.T) {
	t.Parallel()
	for resumed, want := range map[time.Duration]string{time.Minute + 20*time.Second: "two 2", 5 * time.Minute: "standby 2"} {
		synctest.Test(t, func(t *testing.T) {
			store := newStore(t)
			one, two := &process{Executor: store}, &process{Executor: store}
			t.Cleanup(one.resume)
			t.Cleanup(two.resume)
			var got list[string]
			deposits(t, store, "a", 1)
			start(t, one, evento.NewSubscription("s").Logger(silent).Lease(time.Minute).Handler(noteAs("one", &got)))
			time.Sleep(time.Second)
			start(t, store, evento.NewSubscription("s").Standby().Lease(time.Minute).Handler(noteAs("standby", &got)))
			time.Sleep(time.Second)
			one.halt()
			start(t, two, evento.NewSubscription("s").Logger(silent).Lease(time.Minute).Handler(noteAs("two", &got)))
			time.Sleep(time.Second) // it has asked
			deposits(t, store, "a", 1)
			two.halt()
			time.Sleep(resumed)
			two.resume()
			time.Sleep(time.Minute)
			if want := []string{"one 1", want}; !slices.Equal(got.all(), want) {
				t.Errorf("who has asked goes on after %v; handled %v, want %v", resumed, got.all(), want)
			}
		})
	}
}

// A worker that gives up before it has the key takes its request back, also when the
// record is changed just then: the owner does not hand over to nobody.
func TestRequestIsWithdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		var got list[string]
		deposits(t, store, "a", 1)
		first := start(t, store, evento.NewSubscription("s").Lease(time.Minute).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			time.Sleep(10 * time.Second)
			got.add(fmt.Sprint("one ", e.Position))
			return nil
		})))
		time.Sleep(time.Second) // the event is in hand
		var swaps atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		second, err := evento.NewSubscription("s").Logger(silent).Handler(noteAs("two", &got)).Start(ctx, &hooked{Executor: store, swap: func(ctx context.Context, s evento.Swap) error {
			if swaps.Add(1) == 2 { // it withdraws
				page, err := store.Records(ctx, evento.RecordQuery{Kind: "subscription", Key: "s"})
				if err != nil {
					return err
				}
				var same evento.Swap
				for _, r := range page.Records {
					same.Changes = append(same.Changes, evento.Change{RecordKey: r.RecordKey, Revision: r.Revision, Value: r.Value})
				}
				if err := store.Swap(ctx, same); err != nil {
					return err
				}
			}
			return store.Swap(ctx, s)
		}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		ended(t, second, context.Canceled)
		time.Sleep(20 * time.Second)
		deposits(t, store, "a", 1)
		time.Sleep(20 * time.Second)
		if want := []string{"one 1", "one 2"}; !slices.Equal(got.all(), want) || first.Err() != nil || swaps.Load() != 3 {
			t.Errorf("handled %v, the owner ended with %v, after %d changes by the other; want %v by an owner that goes on, after 3", got.all(), first.Err(), swaps.Load(), want)
		}
	})
}

// A halt that is shorter than the time between two checkpoints, and longer than
// the lease, is noticed before the next event.
func TestShortHaltIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fencing(t, newStore(t))
		one, two := &process{Executor: store}, &process{Executor: store}
		t.Cleanup(one.resume)
		var got list[string]
		start(t, one, evento.NewSubscription("s").Standby().Lease(200*time.Millisecond).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if got.add(fmt.Sprint("one ", e.Position)); e.Position == 2 {
				one.halt()
				time.Sleep(600 * time.Millisecond)
				one.resume()
			}
			return nil
		})))
		synctest.Wait()
		start(t, two, evento.NewSubscription("s").Standby().Handler(noteAs("two", &got)))
		deposits(t, store, "a", 4)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"one 1", "one 2", "two 1", "two 2", "two 3", "two 4"}; !slices.Equal(got.all(), want) {
			t.Errorf("handled %v, want %v", got.all(), want)
		}
	})
}

// A handler may take longer than the lease: in Start, in Execute, in a retry of
// what is parked, and while another process waits.
func TestLongHandlerKeepsTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := fencing(t, newStore(t))
		var got list[string]
		other := start(t, store, evento.NewSubscription("s").Standby().Lease(time.Second).Handler(noteAs("other", &got)))
		synctest.Wait()
		if err := other.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		slow := evento.NewSubscription("s").Standby().Lease(time.Second).Retry(0).AcceptFailure().
			Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
				time.Sleep(time.Minute)
				got.add(fmt.Sprint("slow ", e.Position))
				if e.Position == 1 && len(got.all()) == 1 {
					return errPoor
				}
				return nil
			}))
		sub := start(t, store, slow)
		synctest.Wait()
		start(t, store, evento.NewSubscription("s").Standby().Lease(time.Second).Handler(noteAs("other", &got)))
		deposits(t, store, "a", 1)
		time.Sleep(2 * time.Minute)
		if err := evento.ControlOf(store, "s").RetryParked(t.Context(), evento.AllParked()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		deposits(t, store, "a", 1)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if want := []string{"slow 1", "slow 1", "slow 2"}; !slices.Equal(got.all(), want) || sub.Err() != nil {
			t.Fatalf("handled %v, ended with %v, want %v", got.all(), sub.Err(), want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		deposits(t, store, "a", 2)
		var got list[string]
		go func() {
			time.Sleep(time.Second)
			start(t, store, evento.NewSubscription("s").Standby().Handler(noteAs("other", &got)))
		}()
		err := evento.NewSubscription("s").Lease(time.Second).Handler(evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			time.Sleep(time.Minute)
			got.add(fmt.Sprint("slow ", e.Position))
			return nil
		})).Execute(t.Context(), store)
		if want := []string{"slow 1", "slow 2"}; err != nil || !slices.Equal(got.all(), want) {
			t.Errorf("Execute: handled %v, %v, want %v", got.all(), err, want)
		}
	})
}

// Random histories of workers that share a key, on standby or with partitions:
// they come and go, are halted, fail, and lose answers.
func TestSharedKeyAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		partitions := []int{1, 4}[seed%2]
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			store := fencing(t, newStore(t))
			s := &seen{handled: map[evento.ID]int{}, version: map[string]uint64{}}
			type running struct {
				*process
				sub *evento.Subscription
			}
			var workers []running
			begin := func() {
				p := &process{Executor: store}
				b := evento.NewSubscription("s").Standby().Partitions(partitions).ChunkSize(1 + r.IntN(20)).Lease(2 * time.Second).
					Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
					time.Sleep(time.Duration(e.Position%7) * 10 * time.Millisecond)
					if err := p.step(ctx); err != nil {
						return err
					}
					s.handle(e)
					return nil
				}))
				for {
					sub, err := b.Start(t.Context(), p)
					if err == nil {
						workers = append(workers, running{p, sub})
						return
					}
				}
			}
			for range 3 {
				begin()
			}
			for range 60 {
				w := workers[r.IntN(len(workers))]
				switch r.IntN(8) {
				case 0:
					w.halt()
				case 1:
					w.failing.Store(true)
				case 2:
					w.lossy.Store(true)
				case 3, 4:
					w.resume()
					w.failing.Store(false)
					w.lossy.Store(false)
				case 5:
					begin()
				case 6:
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_ = w.sub.Shutdown(ctx)
					cancel()
				}
				deposits(t, store, fmt.Sprint("account ", r.IntN(8)), 1+r.IntN(4))
				time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
			}
			for _, w := range workers {
				w.resume()
				w.failing.Store(false)
				w.lossy.Store(false)
			}
			begin()
			time.Sleep(time.Minute)
			synctest.Wait()
			all := events(t, store)
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.handled) != len(all) || len(s.faults) > 0 {
				t.Errorf("seed %d: %d of %d events handled, %v", seed, len(s.handled), len(all), s.faults)
			}
			for _, w := range workers {
				if err := w.sub.Shutdown(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
				if err := w.sub.Err(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errLost) {
					t.Errorf("seed %d: a worker ended with %v", seed, err)
				}
			}
			status, err := evento.ControlOf(store, "s").Status(t.Context())
			if err != nil || status.Position != status.Head || status.Lag != 0 {
				t.Errorf("seed %d: in the end the status is %+v, %v", seed, status, err)
			}
		})
	}
}
