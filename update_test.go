package evento_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
)

func TestUpdate(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{Amount: 5}))
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "z"}))
	withdraw := func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
		if l.State.Cents == 0 {
			return nil, errPoor
		}
		return []evento.Payload{MoneyWithdrawn{Amount: l.State.Cents}}, nil
	}
	r, err := balance.Update(t.Context(), ex, "a", withdraw,
		evento.WithCommit(func(b *evento.CommitBuilder) { b.RequestedBy("alice") }),
		evento.WithCommit(func(b *evento.CommitBuilder) { b.Metadata("k", "v") }))
	if want := (evento.Receipt{AggregateID: "a", Version: 3, Position: 4}); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if m := events(t, ex)[3].Metadata; m.RequestedBy != "alice" || m.Values["k"] != "v" {
		t.Errorf("the metadata of both WithCommit should be there: %+v", m)
	}
	if r, err := balance.Update(t.Context(), ex, "a", withdraw); err != errPoor || r != (evento.Receipt{}) { //nolint:errorlint // unchanged is what is promised
		t.Errorf("a decision that fails: %+v, %v, want %v unchanged", r, err, errPoor)
	}
	// Nothing to do: the receipt says where the aggregate is, whatever its
	// loaded state was made into.
	r, err = logging("log").Update(t.Context(), ex, "o", func(*evento.Loaded[eventLog]) ([]evento.Payload, error) { return nil, nil })
	if !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("of an aggregate of another type: %+v, %v, want ErrNotFound", r, err)
	}
	r, err = logging("log").Update(t.Context(), ex, "a", func(l *evento.Loaded[eventLog]) ([]evento.Payload, error) {
		l.Version, l.ID = 99, "x"
		return []evento.Payload{}, nil
	})
	if want := (evento.Receipt{AggregateID: "a", Version: 3, Position: 4}); err != nil || r != want {
		t.Errorf("no events: %+v, %v, want %+v", r, err, want)
	}
	if n := len(events(t, ex)); n != 4 {
		t.Errorf("%d events are stored, want 4", n)
	}
	r, err = logging("log").Update(t.Context(), ex, "a", func(l *evento.Loaded[eventLog]) ([]evento.Payload, error) {
		return []evento.Payload{MoneyDeposited{Amount: int64(len(l.State.Lines))}}, nil
	}, evento.Related(ownerType, "o"))
	if err != nil || r.Version != 4 {
		t.Errorf("with a related aggregate: %+v, %v, want version 4", r, err)
	}
}

func TestUpdateErrors(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	deposit := func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
		return []evento.Payload{MoneyDeposited{}}, nil
	}
	errDisk := errors.New("disk on fire")
	burning := &hooked{Executor: ex, write: func(context.Context, evento.Write) ([]evento.Receipt, error) { return nil, errDisk }}
	for _, test := range []struct {
		name   string
		ex     evento.Executor
		id     string
		decide func(*evento.Loaded[Balance]) ([]evento.Payload, error)
		opts   []evento.LoadOption
		want   error
	}{
		{"unknown", ex, "b", deposit, nil, evento.ErrNotFound},
		{"in the past", ex, "a", deposit, []evento.LoadOption{evento.AtVersion(1)}, evento.ErrInvalid},
		{"at another time", ex, "a", deposit, []evento.LoadOption{evento.AsOf(events(t, ex)[0].Timestamp)}, evento.ErrInvalid},
		{"nil", ex, "a", nil, nil, evento.ErrInvalid},
		{"another type", ex, "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			return []evento.Payload{MoneyDeposited{}, &renamed{}}, nil
		}, nil, evento.ErrInvalid},
		{"the store's", burning, "a", deposit, nil, errDisk},
	} {
		if r, err := balance.Update(t.Context(), test.ex, test.id, test.decide, test.opts...); !errors.Is(err, test.want) || r != (evento.Receipt{}) {
			t.Errorf("%s: %+v, %v, want %v", test.name, r, err, test.want)
		}
	}
	if n := len(events(t, ex)); n != 1 {
		t.Errorf("%d events are stored, want 1", n)
	}
}

// Every decision is on the newest state: no sum of withdrawals is more than
// there was.
func TestUpdateContention(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	const writers, each, money = 8, 25, 100
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{Amount: money}))
	var taken, refused, decided atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				_, err := balance.Update(t.Context(), ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
					decided.Add(1)
					if l.State.Cents < 1 {
						return nil, errPoor
					}
					return []evento.Payload{MoneyWithdrawn{Amount: 1}}, nil
				})
				switch {
				case err == nil:
					taken.Add(1)
				case errors.Is(err, errPoor):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	l, err := balance.Load(t.Context(), ex, "a")
	if err != nil || l.State.Cents != 0 || taken.Load() != money || refused.Load() != writers*each-money {
		t.Errorf("%d taken, %d refused in %d decisions, %+v left, %v; want %d, %d and 0", taken.Load(), refused.Load(), decided.Load(), l, err, money, writers*each-money)
	}
}

func TestUpdateEndsWithContext(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tries := 0
	r, err := balance.Update(ctx, ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
		// Somebody else is always faster.
		commit(t, ex, evento.Aggregate("a").OriginalVersion(l.Version).Event(MoneyDeposited{}))
		if tries++; tries == 3 {
			cancel()
		}
		return []evento.Payload{MoneyWithdrawn{}}, nil
	})
	if !errors.Is(err, context.Canceled) || r != (evento.Receipt{}) || tries != 3 {
		t.Errorf("after %d tries: %+v, %v, want context.Canceled after 3", tries, r, err)
	}
}

// Answers that are lost are asked for again, and a decision is never stored
// twice.
func TestUpdateLostReplies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		losses int
		stored bool
		ok     bool
	}{
		{1, true, true}, {1, false, true},
		{3, true, true}, {3, false, true},
		{4, true, false}, {4, false, false},
	} {
		store := newStore(t)
		commit(t, store, evento.Aggregate("a").Event(AccountOpened{}))
		ex, attempts := lossy(store, test.losses, func(int) bool { return test.stored })
		decided := 0
		r, err := balance.Update(t.Context(), ex, "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			decided++
			return []evento.Payload{MoneyDeposited{Amount: 1}}, nil
		})
		if test.ok && (err != nil || r.Version != 2) || !test.ok && !errors.Is(err, evento.ErrOutcomeUnknown) {
			t.Errorf("%+v: %+v, %v after %d attempts", test, r, err, *attempts)
		}
		want := 1
		if test.ok || test.stored {
			want = 2
		}
		if n := len(events(t, store)); n != want || decided != 1 {
			t.Errorf("%+v: %d events, %d decisions, want %d and 1", test, n, decided, want)
		}
	}
}

// The first answer was lost, nothing was stored, and meanwhile another writer
// came: the decision is made again.
func TestUpdateLostReplyThenConflict(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	commit(t, store, evento.Aggregate("a").Event(AccountOpened{}))
	ex, _ := lossy(store, 1, func(int) bool {
		commit(t, store, evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{Amount: 9}))
		return false
	})
	var saw []string
	r, err := balance.Update(t.Context(), ex, "a", func(l *evento.Loaded[Balance]) ([]evento.Payload, error) {
		saw = append(saw, fmt.Sprint(l.State.Cents))
		return []evento.Payload{MoneyWithdrawn{Amount: l.State.Cents}}, nil
	})
	if err != nil || r.Version != 3 || fmt.Sprint(saw) != "[0 9]" {
		t.Errorf("%+v, %v, decided on %s, want version 3, decided on 0 and then 9", r, err, saw)
	}
}
