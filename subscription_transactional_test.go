package evento_test

import (
	"context"
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
)

// transactor makes executor/memory a Transactor with one table of effects, and
// one writer: while a transaction is open, whoever else would write waits.
type transactor struct {
	evento.Executor
	store  evento.Executor // what it commits to
	writer chan struct{}   // holds one token
	fault  func() string   // "begin", "before" or "after" the commit, "late" after it, "conflict"; else none
	many   bool            // others need not wait for a transaction
	clash  string          // an effect whose transaction conflicts

	refuses string // an effect whose transaction cannot be committed

	mu      sync.Mutex
	effects []string
}

func newTransactor(t *testing.T) *transactor {
	store := newStore(t)
	tr := &transactor{Executor: store, store: store, writer: make(chan struct{}, 1), fault: func() string { return "" }}
	tr.writer <- struct{}{}
	return tr
}

var errRefused = errors.New("a constraint is violated")

// transaction is what an open transaction is about to do.
type transaction struct {
	effects []string
	swaps   []evento.Swap
}

type transactionKey struct{}

func (tr *transactor) lock(ctx context.Context) error {
	select {
	case <-tr.writer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (tr *transactor) unlock() { tr.writer <- struct{}{} }

func (tr *transactor) InTx(ctx context.Context, fn func(context.Context) error) error {
	fault := tr.fault()
	if fault == "begin" {
		return errLost
	}
	if err := tr.lock(ctx); err != nil {
		return err
	}
	defer tr.unlock()
	tx := &transaction{}
	if err := fn(context.WithValue(ctx, transactionKey{}, tx)); err != nil {
		return err
	}
	switch {
	case fault == "before":
		return evento.ErrOutcomeUnknown
	case fault == "late":
		time.AfterFunc(50*time.Millisecond, func() { _ = tr.commit(context.WithoutCancel(ctx), tx) })
		return evento.ErrOutcomeUnknown
	case fault == "conflict" || slices.Contains(tx.effects, tr.clash):
		return &evento.ConflictError{AggregateType: Account, AggregateID: "a"}
	case slices.Contains(tx.effects, tr.refuses):
		return errRefused
	}
	if err := tr.commit(ctx, tx); err != nil {
		return err
	}
	if fault == "after" {
		return evento.ErrOutcomeUnknown
	}
	return nil
}

func (tr *transactor) commit(ctx context.Context, tx *transaction) error {
	// All of its records are swapped as one.
	var all evento.Swap
	for _, s := range tx.swaps {
		all.Changes = append(all.Changes, s.Changes...)
	}
	if len(all.Changes) > 0 {
		if err := tr.store.Swap(ctx, all); err != nil {
			return err
		}
	}
	tr.mu.Lock()
	tr.effects = append(tr.effects, tx.effects...)
	tr.mu.Unlock()
	return nil
}

func (tr *transactor) Swap(ctx context.Context, s evento.Swap) error {
	if tx, ok := ctx.Value(transactionKey{}).(*transaction); ok {
		tx.swaps = append(tx.swaps, s)
		return nil
	}
	if !tr.many {
		if err := tr.lock(ctx); err != nil {
			return err
		}
		defer tr.unlock()
	}
	return tr.Executor.Swap(ctx, s)
}

func (tr *transactor) done() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.effects)
}

// effect notes an event in the transaction of the context.
func effect(ctx context.Context, e evento.RawEvent) {
	tx := ctx.Value(transactionKey{}).(*transaction)
	tx.effects = append(tx.effects, fmt.Sprint(e.AggregateID, e.Version))
}

// A failure in the middle of a chunk commits what was before it, once; then it
// is tried alone, until it is parked or ends the subscription.
func TestTransactionalFailure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		failures int // of the third event
		park     bool
		want     []string
		stored   int
	}{
		{"none", 0, false, []string{"a1", "a2", "a3", "b1", "a4"}, 5},
		{"a few", 4, false, []string{"a1", "a2", "a3", "b1", "a4"}, 5},
		{"stop", 1000, false, []string{"a1", "a2"}, 2},
		{"park", 1000, true, []string{"a1", "a2", "b1"}, 5},
	} {
		for _, chunk := range []int{1, 2, 3, 300} {
			for _, batch := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					tr := newTransactor(t)
					deposits(t, tr, "a", 3)
					deposits(t, tr, "b", 1)
					deposits(t, tr, "a", 1)
					failures := 0
					one := func(ctx context.Context, e evento.RawEvent) error {
						effect(ctx, e)
						if e.Position == 3 && failures < test.failures {
							failures++
							return errPoor
						}
						return nil
					}
					h := evento.HandleAll(Account, one)
					if batch {
						h = evento.HandleAllBatch(Account, func(ctx context.Context, es []evento.RawEvent) error {
							for _, e := range es {
								if err := one(ctx, e); err != nil {
									return err
								}
							}
							return nil
						})
					}
					b := evento.NewSubscription("s").Transactional().ChunkSize(chunk).Retry(5).Logger(silent).Handler(h)
					if test.park {
						b.AcceptFailure()
					}
					err := b.Execute(t.Context(), tr)
					var h2 *evento.HandlerError
					if stop := test.name == "stop"; errors.As(err, &h2) != stop || stop && h2.Event.Position != 3 {
						t.Errorf("%s, chunk %d: %v", test.name, chunk, err)
					}
					want(t, fmt.Sprint(test.name, " chunk ", chunk, " batch ", batch), tr.done(), test.want...)
					wantStored(t, tr, "s", test.stored)
					if test.park {
						want(t, "parked", parkedOf(t, tr), "a3 6 "+errPoor.Error(), "a4 0 ")
						failures = 1000
						noErr(t, evento.ControlOf(tr, "s").RetryParked(t.Context(), evento.AllParked()))
						noErr(t, b.Execute(t.Context(), tr))
						want(t, "retried", tr.done(), append(test.want, "a3", "a4")...)
						want(t, "parked", parkedOf(t, tr))
					}
				})
			}
		}
	}
}

// With no retries, only the event that conflicts is parked, though that is found
// at the commit of several.
func TestTransactionalBlamesTheRightEvent(t *testing.T) {
	t.Parallel()
	for _, batch := range []bool{false, true} {
		tr := newTransactor(t)
		deposits(t, tr, "a", 1)
		deposits(t, tr, "b", 1)
		deposits(t, tr, "c", 1)
		tr.clash = "b1"
		one := func(ctx context.Context, e evento.RawEvent) error {
			effect(ctx, e)
			return nil
		}
		h := evento.HandleAll(Account, one)
		if batch {
			h = evento.HandleAllBatch(Account, func(ctx context.Context, es []evento.RawEvent) error {
				for _, e := range es {
					if err := one(ctx, e); err != nil {
						return err
					}
				}
				return nil
			})
		}
		noErr(t, evento.NewSubscription("s").Transactional().Retry(0).AcceptFailure().Logger(silent).Handler(h).Execute(t.Context(), tr))
		want(t, "effects", tr.done(), "a1", "c1")
		want(t, "parked", parkedOf(t, tr), `b1 1 evento: conflict: bank/Account "a" is at version 0, not 0`)
	}
}

// A handler that takes longer than the lease, on a store with one writer: the
// lease cannot be renewed meanwhile, and nothing waits for itself.
func TestTransactionalLongHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := newTransactor(t)
		b := func() *evento.SubscriptionBuilder {
			return evento.NewSubscription("s").Transactional().Standby().Lease(time.Second).Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
				time.Sleep(10 * time.Second)
				effect(ctx, e)
				return nil
			}))
		}
		start(t, tr, b())
		synctest.Wait()
		start(t, tr, b())
		deposits(t, tr, "a", 3)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		want(t, "effects", tr.done(), "a1", "a2", "a3")
	})
}

// A transaction whose outcome was lost is looked for: at once, by the Shutdown
// that comes then, and when it is committed long after.
func TestTransactionalLostOutcome(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"before", "after", "late"} {
		for _, shutdown := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransactor(t)
				tr.many = true
				deposits(t, tr, "a", 5)
				begun := 0
				tr.fault = func() string {
					if begun++; begun == 2 {
						return fault
					}
					return ""
				}
				b := evento.NewSubscription("s").Transactional().ChunkSize(2).Lease(500 * time.Millisecond).Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
					if begun == 3 && fault == "late" {
						time.Sleep(2 * time.Second) // it is committed meanwhile
					}
					effect(ctx, e)
					return nil
				}))
				sub := start(t, tr, b)
				synctest.Wait()
				if shutdown {
					noErr(t, sub.Shutdown(t.Context()))
					noErr(t, b.Execute(t.Context(), tr))
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				want(t, fmt.Sprint(fault, " shutdown ", shutdown), tr.done(), "a1", "a2", "a3", "a4", "a5")
				wantStored(t, tr, "s", 5)
			})
		}
	}
}

// trouble runs a subscription "s" for a while: it is started and shut down, its process fails
// now and then, and events come by another one.
func trouble(t *testing.T, seed uint64, p *process, ex, by evento.Executor, b *evento.SubscriptionBuilder, chance func(int) bool, roll func(int) int) {
	t.Helper()
	var sub *evento.Subscription
	for range 40 {
		p.lossy.Store(chance(3))
		p.failing.Store(chance(6))
		switch {
		case sub == nil:
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if next, err := b.Start(ctx, ex); err == nil {
				sub = next
			}
		case sub.Err() != nil:
			t.Fatalf("seed %d: ended with %v", seed, sub.Err())
		case chance(4):
			_ = sub.Shutdown(t.Context())
			sub = nil
		}
		p.failing.Store(false)
		deposits(t, by, fmt.Sprint("account ", roll(6)), 1+roll(5))
		time.Sleep(time.Duration(roll(300)) * time.Millisecond)
		if chance(5) {
			_ = evento.ControlOf(ex, "s").RetryParked(t.Context(), evento.AllParked())
		}
	}
	if sub != nil {
		_ = sub.Shutdown(t.Context())
	}
}

// Whatever fails, the effects are the events, each once, in order.
func TestTransactionalExactlyOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			r := rand.New(rand.NewPCG(seed, 3))
			roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
			var calm atomic.Bool
			chance := func(n int) bool { return !calm.Load() && roll(n) == 0 }
			tr := newTransactor(t)
			var faults list[string]
			tr.fault = func() string {
				for _, f := range []string{"begin", "before", "after", "conflict"} {
					if chance(8) {
						faults.add(f)
						return f
					}
				}
				return ""
			}
			b := evento.NewSubscription("s").Transactional().AcceptFailure().Lease(500 * time.Millisecond).Retry(2).ChunkSize(1 + roll(12)).
				Partitions(1 + int(seed%2)*2).Logger(silent).Handler(evento.HandleAllBatch(Account, func(ctx context.Context, es []evento.RawEvent) error {
				time.Sleep(time.Millisecond)
				for _, e := range es {
					if effect(ctx, e); chance(30) {
						return errPoor
					}
				}
				return nil
			}))
			p := &process{Executor: tr.Executor}
			tr.Executor = p // its records fail now and then
			trouble(t, seed, p, tr, tr, b, chance, roll)
			calm.Store(true)
			p.lossy.Store(false)
			start(t, tr, b)
			for range 2 {
				time.Sleep(20 * time.Second)
				noErr(t, evento.ControlOf(tr, "s").RetryParked(t.Context(), evento.AllParked()))
			}
			time.Sleep(time.Second)
			synctest.Wait()
			wanted, got := map[string][]string{}, map[string][]string{}
			for _, e := range events(t, tr) {
				wanted[e.AggregateID] = append(wanted[e.AggregateID], fmt.Sprint(e.AggregateID, e.Version))
			}
			effects := tr.done()
			for _, e := range effects {
				id := e[:len("account 1")]
				got[id] = append(got[id], e)
			}
			for id := range wanted {
				want(t, fmt.Sprint("seed ", seed, ": effects"), got[id], wanted[id]...)
			}
			want(t, "parked", parkedOf(t, tr))
			if n := len(faults.all()); n < 1 {
				t.Errorf("seed %d: %d faults, the test tests nothing", seed, n)
			}
		})
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
