package evento_test

import (
	"context"
	"errors"
	"testing"

	"github.com/evento-go/evento"
)

// seat is an event with tags of a test's own.
type seat struct {
	Tag []string
}

func (seat) AggregateType() evento.AggregateType { return Account }
func (seat) EventName() string                   { return "Seat" }
func (s seat) Tags() []string                    { return s.Tag }

func countSeats() evento.Applier[int] {
	return evento.Apply(func(n *int, _ evento.Event[seat]) error { *n++; return nil })
}

// What was asked for stays what it was, whatever the caller does with its slice.
func TestDecideKeepsWhatWasAsked(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), newStore(t)
	runs := 0
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		runs++
		tags, taken := []string{""}, 0
		for _, course := range []string{"course:go", "course:sql"} {
			tags[0] = course
			n, err := evento.Fold(ctx, d, tags, countSeats())
			if err != nil {
				return err
			}
			taken += n
		}
		if taken > 0 {
			return errPoor
		}
		commit(t, ex, evento.Create().Event(seat{[]string{"course:go"}}))
		_, err := evento.Create().Event(seat{[]string{"course:go"}}).Commit(ctx, d)
		return err
	})
	if !errors.Is(err, errPoor) || runs != 2 {
		t.Errorf("%d runs, %v, want a second that finds the seat taken", runs, err)
	}
}

// A write that is stored, and of which nobody knows, is not said to be undone.
func TestUnknownOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(cancel func()) error{
		"the context ends":  func(cancel func()) error { cancel(); return evento.ErrOutcomeUnknown },
		"the store is gone": func(func()) error { return evento.ErrOutcomeUnknown },
	} {
		for _, way := range []string{"Decide", "Update"} {
			store := newStore(t)
			commit(t, store, evento.Aggregate("a").Event(AccountOpened{}))
			ctx, cancel := context.WithCancel(t.Context())
			tries := 0
			ex := &hooked{Executor: store, write: func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				if tries++; tries > 1 {
					return nil, errLost
				}
				if _, err := store.Write(ctx, w); err != nil {
					return nil, err
				}
				return nil, after(cancel)
			}}
			var err error
			if way == "Decide" {
				_, err = evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
					_, err := evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{}).Commit(ctx, d)
					return err
				})
			} else {
				_, err = balance.Update(ctx, ex, "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
					return []evento.Payload{MoneyDeposited{}}, nil
				})
			}
			cancel()
			if !errors.Is(err, evento.ErrOutcomeUnknown) {
				t.Errorf("%s: %s: %v, want an unknown outcome", way, name, err)
			}
		}
	}
}

// A decision about records alone has nothing that its conditions could be judged with.
func TestDecideOfRecordsAlone(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), newStore(t)
	key := evento.RecordKey{Kind: "test", Key: "a"}
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		if _, err := evento.HasEvent[AccountOpened](ctx, d, "x"); err != nil {
			return err
		}
		return d.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key}}})
	})
	if !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
	_, err = evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		return d.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: key}}})
	})
	noErr(t, err) // nothing was read
}

// A record that the function has not read is not read by another run either.
func TestDecideOfAnUnreadRecord(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), newStore(t)
	change := evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "test", Key: "a"}}}}
	noErr(t, ex.Swap(ctx, change))
	runs := 0
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		runs++
		if err := d.Swap(ctx, change); err != nil {
			return err
		}
		_, err := evento.Create().Event(AccountOpened{}).Commit(ctx, d)
		return err
	})
	if !errors.Is(err, evento.ErrSwapped) || runs != 1 || len(events(t, ex)) != 0 {
		t.Errorf("%d runs, %v and %d events, want ErrSwapped after one", runs, err, len(events(t, ex)))
	}
}

// After a panic the decision's executor takes no commits.
func TestDecidePanics(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), newStore(t)
	var kept evento.Executor
	func() {
		defer func() { _ = recover() }()
		_, _ = evento.Decide(ctx, ex, func(_ context.Context, d evento.Executor) error {
			kept = d
			panic("no")
		})
	}()
	if _, err := evento.Create().Event(AccountOpened{}).Commit(ctx, kept); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("a commit after a panic: %v, want ErrInvalid", err)
	}
}

// What a decision within one has asked for by itself goes with it.
func TestDecideWithinForgetsItsConditions(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), newStore(t)
	deposits(t, ex, "a", 1)
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		_, err := evento.Decide(ctx, d, func(ctx context.Context, d evento.Executor) error {
			w := evento.Write{
				Appends: []evento.Append{{AggregateType: Account, AggregateID: "b", Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}}}},
				Unless:  []evento.Condition{{}}, // the store is empty, which it is not
			}
			if _, err := d.Write(ctx, w); err != nil {
				return err
			}
			return errPoor
		})
		if !errors.Is(err, errPoor) {
			return err
		}
		_, err = evento.Aggregate("c").Event(AccountOpened{}).Commit(ctx, d)
		return err
	})
	noErr(t, err)
}

// In a transactional handler an Update sees what others commit meanwhile, and ends.
func TestStagedUpdateAmongOthers(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
	commit(t, ex, evento.Aggregate("trigger").Event(AccountOpened{}))
	tries := 0
	s := evento.NewSubscription("s").Transactional().Logger(silent).Handler(evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
		if e.AggregateID != "trigger" {
			return nil
		}
		_, err := balance.Update(ctx, evento.ExecutorFrom(ctx), "a", func(*evento.Loaded[Balance]) ([]evento.Payload, error) {
			if tries++; tries < 3 {
				if _, err := evento.Aggregate("a").AnyVersion().Event(MoneyDeposited{Amount: 1}).Commit(t.Context(), ex); err != nil {
					return nil, err
				}
			}
			return []evento.Payload{MoneyDeposited{Amount: 100}}, nil
		})
		return err
	}))
	noErr(t, s.Execute(ctx, ex))
	wantBalance(t, ex, "a", 102)
	if tries != 3 {
		t.Errorf("%d tries, want 3", tries)
	}
}
