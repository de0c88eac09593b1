package evento_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
)

// slow is a store that takes a millisecond for each write.
func slow(ex evento.Executor) *hooked {
	return &hooked{Executor: ex, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		time.Sleep(time.Millisecond)
		return ex.Write(ctx, w)
	}}
}

func deposited(*evento.Loaded[Balance]) ([]evento.Payload, error) {
	return []evento.Payload{MoneyDeposited{Amount: 1}}, nil
}

// Of updates that begin together all but one conflict once; then each has its turn, and
// none waits much longer than the others.
func TestUpdatesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, each = 50, 4
		ex := slow(newStore(t))
		commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
		var decided atomic.Int64
		var took list[time.Duration]
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					began := time.Now()
					_, err := balance.Update(t.Context(), ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
						decided.Add(1)
						return deposited(l)
					})
					if err != nil {
						t.Error(err)
					}
					took.add(time.Since(began))
				}
			})
		}
		wg.Wait()
		if n := decided.Load(); n > callers*each+callers {
			t.Errorf("%d decisions for %d updates by %d callers, want one more for each caller at most", n, callers*each, callers)
		}
		all := took.all()
		slices.Sort(all)
		if median, most := all[len(all)/2], all[len(all)-1]; most > 5*median {
			t.Errorf("an update took %v, and half of them took %v at most", most, median)
		}
	})
}

// Two updates that wait for each other's turn go on without it.
func TestTurnsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := slow(newStore(t))
		for _, id := range []string{"a", "b"} {
			commit(t, ex, evento.Aggregate(id).Event(AccountOpened{}))
		}
		var wg sync.WaitGroup
		for _, ids := range [][2]string{{"a", "b"}, {"b", "a"}} {
			for range 5 {
				wg.Go(func() {
					_, err := balance.Update(t.Context(), ex, ids[0], func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
						if _, err := balance.Update(t.Context(), ex, ids[1], deposited); err != nil {
							return nil, err
						}
						return deposited(l)
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		for _, id := range []string{"a", "b"} {
			if l, err := balance.Load(t.Context(), ex, id); err != nil || l.State.Cents < 5 {
				t.Errorf("%s: %+v, %v, want what 5 updates have deposited, and what was deposited for them", id, l, err)
			}
		}
	})
}

// heldTurn is an update that has its turn until release is called.
func heldTurn(t *testing.T, ex evento.Executor) (release func()) {
	t.Helper()
	held, ended, first := make(chan struct{}), make(chan struct{}), true
	go func() {
		defer close(ended)
		_, err := balance.Update(t.Context(), ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
			if first {
				first = false
				commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{})) // it conflicts
			} else {
				<-held
			}
			return deposited(l)
		})
		if err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
	return func() {
		close(held)
		<-ended
	}
}

func TestTurnEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
		release := heldTurn(t, ex)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		behind := make(chan error)
		go func() {
			_, err := balance.Update(t.Context(), ex, "a", deposited)
			behind <- err
		}()
		r, err := balance.Update(ctx, ex, "a", deposited)
		if !errors.Is(err, context.DeadlineExceeded) || r != (evento.Receipt{}) {
			t.Errorf("an update that waits when its context ends: %+v, %v, want %v", r, err, context.DeadlineExceeded)
		}
		release()
		noErr(t, <-behind)
	})
}

// Who may not wait goes on at once.
func TestWithoutTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ex := newStore(t)
		commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
		release := heldTurn(t, ex)
		began := time.Now()
		_, err := balance.Update(evento.TxContext(t.Context()), ex, "a", deposited)
		noErr(t, err)
		if took := time.Since(began); took != 0 {
			t.Errorf("it waited for %v", took)
		}
		// After a while, anybody does.
		_, err = balance.Update(t.Context(), ex, "a", deposited)
		noErr(t, err)
		release()
	})
}
