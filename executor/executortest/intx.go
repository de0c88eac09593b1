// Transactions: several commits, and what else the caller does, as one.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/evento-go/evento"
)

func testInTx(t *testing.T, c Config) {
	if !c.Transactor {
		c.run(t, "Unsupported", inTxUnsupported)
		return
	}
	c.run(t, "Context", inTxContext)
	c.run(t, "Commits", inTxCommits)
	c.run(t, "RollsBack", inTxRollsBack)
	c.run(t, "SeesItself", inTxSeesItself)
	c.run(t, "Order", inTxOrder)
	c.run(t, "Conflict", inTxConflict)
	c.run(t, "LateConflict", inTxLateConflict)
	c.run(t, "Again", inTxAgain)
	c.run(t, "Snapshots", inTxSnapshots)
	c.run(t, "ListedSnapshots", inTxListedSnapshots)
	c.run(t, "Records", inTxRecords)
	c.run(t, "StaleRecords", inTxStaleRecords)
	c.run(t, "RecordsBeside", inTxRecordsBeside)
	c.run(t, "SwappedGoesOn", inTxSwappedGoesOn)
	if c.Spoil != nil {
		c.run(t, "Spoiled", inTxSpoiled)
	}
	c.run(t, "Joins", inTxJoins)
	c.run(t, "Ends", inTxEnds)
	c.run(t, "EndedContexts", inTxEndedContexts)
	c.run(t, "Concurrent", inTxConcurrent)
}

// inTx runs fn in a transaction.
func inTx(ctx context.Context, ex evento.Executor, fn func(ctx context.Context) error) error {
	tx, ok := ex.(evento.Transactor)
	if !ok {
		return fmt.Errorf("%T is no Transactor", ex)
	}
	return tx.InTx(ctx, fn)
}

// Who has InTx without transactions says so, whatever the context.
func inTxUnsupported(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	tx, ok := ex.(evento.Transactor)
	if !ok {
		return
	}
	for _, ctx := range append(endedContexts(ctx), ctx) {
		for range 10 { // as a select chooses at random
			err := tx.InTx(ctx, func(context.Context) error {
				t.Error("the function ran")
				return nil
			})
			if !errors.Is(err, errors.ErrUnsupported) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				t.Errorf("InTx with a context that ended with %v: got %v, want the error %q", ctx.Err(), err, errors.ErrUnsupported)
			}
		}
	}
}

// With a context that has ended InTx returns its error, and has done nothing:
// so can be asked whether there are transactions. The same holds within one.
func inTxEndedContexts(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	probe := func(ctx context.Context) {
		t.Helper()
		for _, ended := range endedContexts(ctx) {
			for range 10 { // as a select chooses at random
				if err := inTx(ended, ex, func(context.Context) error {
					t.Error("the function ran")
					return nil
				}); !errors.Is(err, ended.Err()) {
					t.Errorf("InTx with an ended context: got %v, want the error %q", err, ended.Err())
				}
			}
		}
	}
	probe(ctx)
	if err := inTx(ctx, ex, func(tx context.Context) error {
		probe(tx)
		probe(ctx)
		_, err := ex.Write(tx, write(to("a", 0, "A")))
		return err
	}); err != nil {
		t.Errorf("InTx: %v", err)
	}
	if log := readAll(ctx, t, ex, evento.Query{}); len(log) != 1 {
		t.Errorf("got %d events, want the one of the transaction", len(log))
	}
}

// The function's context says that it is of a transaction, so that nothing is
// read beside the caller with it.
func inTxContext(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	if evento.WithinTx(ctx) {
		t.Error("a context outside of transactions says that it is within one")
	}
	type key struct{}
	called := 0
	err := inTx(context.WithValue(ctx, key{}, "caller's"), ex, func(tx context.Context) error {
		called++
		if !evento.WithinTx(tx) || tx.Value(key{}) == nil {
			t.Errorf("InTx: its function's context must be made by evento.TxContext from the caller's; WithinTx is %t, a value of the caller is %v", evento.WithinTx(tx), tx.Value(key{}))
		}
		return nil
	})
	if err != nil || called != 1 {
		t.Errorf("InTx: %v; the function was called %d times", err, called)
	}
}

// What was committed in a transaction is there after it, not before.
func inTxCommits(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	old := to("old", 0, "Old")
	old.RoutingKey = "key"
	commit(ctx, t, ex, old)
	writes := []evento.Write{
		{Appends: []evento.Append{to("a", 0, "A", "B"), to("b", 0, "A")}},
		{Appends: []evento.Append{toAny("old", "A", "B")}},
		{Appends: []evento.Append{to("c", 0, "A")}},
	}
	writes[2].Appends[0].RoutingKey = "other"
	writes[2].Appends[0].Metadata = evento.Metadata{RequestedBy: "somebody"}
	before := readAll(ctx, t, ex, evento.Query{})
	changed := ex.Changed()
	err := inTx(ctx, ex, func(tx context.Context) error {
		for _, w := range writes {
			receipts, err := ex.Write(tx, w)
			if err != nil {
				return err
			}
			for i, r := range receipts {
				a := w.Appends[i]
				version := uint64(len(a.Events))
				if a.AggregateID == "old" {
					version++
				}
				if want := (evento.Receipt{AggregateID: a.AggregateID, Version: version}); r != want {
					t.Errorf("Write in the transaction: got the receipt %+v, want %+v", r, want)
				}
			}
		}
		wantLog(ctx, t, ex, before)
		return nil
	})
	if err != nil {
		t.Fatalf("InTx: %v", err)
	}
	await(ctx, t, changed, "a transaction")
	want := slices.Concat(
		raws(old, 1, "key"),
		raws(writes[0].Appends[0], 1, ""), raws(writes[0].Appends[1], 1, ""),
		raws(writes[1].Appends[0], 2, "key"),
		raws(writes[2].Appends[0], 1, "other"))
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
}

// Nothing is left of a transaction whose function fails, panics, or ends with
// its context.
func inTxRollsBack(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("old", 0, "Old"))
	before := readAll(ctx, t, ex, evento.Query{})
	failure := errors.New("failure")
	add := func(tx context.Context) {
		t.Helper()
		if _, err := ex.Write(tx, write(to("old", 1, "A"), to("new", 0, "A"))); err != nil {
			t.Error(err)
		}
	}
	if err := inTx(ctx, ex, func(tx context.Context) error {
		add(tx)
		return failure
	}); err != failure { //nolint:errorlint // as it is
		t.Errorf("InTx of a function that fails: got %v, want its error as it is", err)
	}
	func() {
		defer func() {
			if p := recover(); p != failure { //nolint:errorlint // as it is
				t.Errorf("InTx of a function that panics: got the panic %v, want %v", p, failure)
			}
		}()
		err := inTx(ctx, ex, func(tx context.Context) error {
			add(tx)
			panic(failure)
		})
		t.Errorf("InTx of a function that panics: returned %v", err)
	}()
	ending, cancel := context.WithCancel(ctx)
	if err := inTx(ending, ex, func(tx context.Context) error {
		add(tx)
		cancel()
		return nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("InTx whose context ended: got %v, want the error %q", err, context.Canceled)
	}
	if err := inTx(ending, ex, func(context.Context) error {
		t.Error("the function ran although the context had ended")
		return nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("InTx with a context that has ended: got %v, want the error %q", err, context.Canceled)
	}
	wantLog(ctx, t, ex, before)
	// And nothing is in the way of others.
	commit(ctx, t, ex, to("old", 1, "A"), to("new", 0, "A"))
	soundLog(ctx, t, c, ex)
}

// One who loads within the transaction sees what it has committed; nobody else
// does.
func inTxSeesItself(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	applied := 0
	p := balances(&applied)
	deposit(ctx, t, ex, "a", 2)
	must(t, discard(evento.Aggregate("keyed").RoutingKey("old").Event(opened{}).Commit(ctx, ex)))
	err := inTx(ctx, ex, func(tx context.Context) error {
		for n := range 3 {
			r, err := p.Update(tx, ex, "a", func(l *evento.Loaded[balance]) ([]evento.Payload, error) {
				if l.Version != uint64(n+2) || l.State.Total != n+2 {
					t.Errorf("Update %d: got version %d, %+v", n+1, l.Version, l.State)
				}
				return []evento.Payload{deposited{Amount: 1}}, nil
			})
			if want := (evento.Receipt{AggregateID: "a", Version: uint64(n + 3)}); err != nil || r != want {
				t.Errorf("Update %d: got %+v, %v, want %+v", n+1, r, err, want)
			}
		}
		wantBalance(ctx, t, ex, p, "a", 2, balance{Total: 2})
		if has, err := evento.HasEvent[opened](tx, ex, "new"); err != nil || has {
			t.Errorf("HasEvent: got %t, %v, want false", has, err)
		}
		if _, err := evento.Aggregate("new").RoutingKey("key").Event(opened{}).Commit(tx, ex); err != nil {
			return err
		}
		if _, err := evento.Aggregate("keyed").OriginalVersion(1).Event(deposited{}).Commit(tx, ex); err != nil {
			return err
		}
		if has, err := evento.HasEvent[opened](tx, ex, "new"); err != nil || !has {
			t.Errorf("HasEvent of what the transaction committed: got %t, %v, want true", has, err)
		}
		var seen []string
		for e, err := range evento.Events(tx, ex, evento.Query{}) {
			if err != nil {
				return err
			}
			seen = append(seen, fmt.Sprint(e.AggregateID, e.Version, e.RoutingKey))
		}
		if want := []string{"a1", "a2", "keyed1old", "a3", "a4", "a5", "new1key", "keyed2old"}; !slices.Equal(seen, want) {
			t.Errorf("Events: got %v, want %v", seen, want)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("InTx: %v", err)
	}
	wantBalance(ctx, t, ex, p, "a", 5, balance{Total: 5})
}

// Events have the order in which they were committed, also when aggregates take
// turns.
func inTxOrder(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	var want []evento.RawEvent
	err := inTx(ctx, ex, func(tx context.Context) error {
		for n := range 20 {
			a, b := toAny(fmt.Sprint(n%3), "A", "B"), toAny("other", "A")
			if _, err := ex.Write(tx, write(a, b)); err != nil {
				return err
			}
			want = append(want, raws(a, uint64(n/3*2+1), "")...)
			want = append(want, raws(b, uint64(n+1), "")...)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("InTx: %v", err)
	}
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
}

// A conflict that can be seen is told at once; the transaction goes on if its
// function wants to.
func inTxConflict(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("a", 0, "A", "B"))
	stored := to("b", 0, "A")
	err := inTx(ctx, ex, func(tx context.Context) error {
		conflict(tx, t, ex, write(to("c", 0, "X"), to("a", 1, "X")), conflictAt("a", 1, 2))
		if _, err := ex.Write(tx, write(stored)); err != nil {
			return err
		}
		conflict(tx, t, ex, write(to("b", 0, "X")), conflictAt("b", 0, 1))
		return nil
	})
	if err != nil {
		t.Fatalf("InTx: %v", err)
	}
	wantStore(ctx, t, c, ex, 3)
}

// What conflicts only at the end undoes the whole transaction. Where one writer
// keeps all others waiting, it cannot come about.
func inTxLateConflict(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	if c.OneWriter {
		return
	}
	var after []edge
	err := inTx(ctx, ex, func(tx context.Context) error {
		for _, a := range []evento.Append{to("before", 0, "A"), to("a", 0, "A"), to("behind", 0, "A")} {
			if _, err := ex.Write(tx, write(a)); err != nil {
				return err
			}
		}
		commit(ctx, t, ex, to("a", 0, "Faster", "Faster"))
		after = readAll(ctx, t, ex, evento.Query{})
		return nil
	})
	var got *evento.ConflictError
	if want := (conflictAt("a", 0, 2)); !errors.As(err, &got) || *got != want {
		t.Errorf("InTx: got %v, want %v", err, &want)
	}
	wantLog(ctx, t, ex, after)
}

// The same builders in a second transaction add nothing, and are no error.
func inTxAgain(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	deposit(ctx, t, ex, "any", 1)
	one := evento.Aggregate("one").Event(opened{}, deposited{Amount: 1})
	anyOf := evento.Aggregate("any").AnyVersion().Event(deposited{Amount: 1})
	both := func(tx context.Context) error {
		for _, b := range []*evento.CommitBuilder{one, anyOf, one} {
			if _, err := b.Commit(tx, ex); err != nil {
				return err
			}
		}
		return nil
	}
	if err := inTx(ctx, ex, func(tx context.Context) error {
		if err := both(tx); err != nil {
			t.Error(err)
		}
		return context.Canceled
	}); err != context.Canceled { //nolint:errorlint // as it is
		t.Fatalf("InTx: %v", err)
	}
	if err := inTx(ctx, ex, both); err != nil {
		t.Fatalf("InTx after one that was rolled back: %v", err)
	}
	log := wantStore(ctx, t, c, ex, 4)
	if err := inTx(ctx, ex, both); err != nil {
		t.Errorf("InTx again: %v", err)
	}
	wantLog(ctx, t, ex, log)
	// With something new beside it, it is neither that transaction nor another.
	err := inTx(ctx, ex, func(tx context.Context) error {
		if err := both(tx); err != nil {
			return err
		}
		_, err := evento.Aggregate("new").Event(opened{}).Commit(tx, ex)
		return err
	})
	wantError(t, err, evento.ErrConflict, "InTx again with a new event")
	wantLog(ctx, t, ex, log)
	if r, err := one.Commit(ctx, ex); err != nil || r.Version != 2 || r.Position == 0 {
		t.Errorf("Commit of the builder without a transaction: got %+v, %v, want its first receipt", r, err)
	}
}

// A snapshot never holds what may still be rolled back.
func inTxSnapshots(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	applied := 0
	p := balances(&applied).SnapshotEvery(2)
	deposit(ctx, t, ex, "a", 1)
	deposit(ctx, t, ex, "b", 5)
	if err := inTx(ctx, ex, func(tx context.Context) error {
		deposit(tx, t, ex, "a", 4)
		wantBalance(tx, t, ex, p, "a", 5, balance{Total: 5})
		wantBalance(tx, t, ex, p, "b", 5, balance{Total: 5}) // stores one
		return context.Canceled
	}); err != context.Canceled { //nolint:errorlint // as it is
		t.Fatalf("InTx: %v", err)
	}
	wantBalance(ctx, t, ex, p, "a", 1, balance{Total: 1})
	wantBalance(ctx, t, ex, p, "b", 5, balance{Total: 5})
	deposit(ctx, t, ex, "a", 2)
	if err := inTx(ctx, ex, func(tx context.Context) error {
		wantBalance(tx, t, ex, p, "a", 3, balance{Total: 3})
		return nil
	}); err != nil {
		t.Fatalf("InTx: %v", err)
	}
	applied = 0
	wantBalance(ctx, t, ex, p, "a", 3, balance{Total: 3})
	if applied != 0 {
		t.Errorf("Load replayed %d events, want the snapshot that the transaction stored", applied)
	}
}

func inTxJoins(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	before := readAll(ctx, t, ex, evento.Query{})
	failure := errors.New("failure")
	err := inTx(ctx, ex, func(tx context.Context) error {
		if err := inTx(tx, ex, func(tx context.Context) error {
			_, err := ex.Write(tx, write(to("a", 0, "A")))
			return err
		}); err != nil {
			t.Errorf("InTx within InTx: %v", err)
		}
		return failure
	})
	if err != failure { //nolint:errorlint // as it is
		t.Errorf("InTx: got %v, want the function's error", err)
	}
	wantLog(ctx, t, ex, before)
}

// Its context is of no use when the transaction has ended.
func inTxEnds(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	var left context.Context
	if err := inTx(ctx, ex, func(tx context.Context) error {
		left = tx
		return nil
	}); err != nil {
		t.Fatalf("InTx: %v", err)
	}
	before := readAll(ctx, t, ex, evento.Query{})
	wantError(t, discard(ex.Write(left, write(to("a", 0, "A")))), evento.ErrInvalid, "Write after the end")
	wantLog(ctx, t, ex, before)
	must(t, ex.Close())
	wantError(t, inTx(ctx, ex, func(context.Context) error { return nil }), evento.ErrClosed, "InTx after Close")
}

// Transactions and plain commits at once, on common aggregates, with a reader
// that follows.
func inTxConcurrent(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each = 8, 8
	applied := 0
	p := balances(&applied)
	together(t, writers, func(i int) error {
		for n := range each {
			add := func(ctx context.Context) error {
				_, err := evento.CommitAll(ctx, ex,
					evento.Aggregate("common").AnyVersion().Event(deposited{Amount: 1}),
					evento.Aggregate(fmt.Sprint("own-", i)).OriginalVersion(uint64(n)).Event(deposited{Amount: 1}))
				return err
			}
			var err error
			if i%2 == 0 {
				err = add(ctx)
			} else {
				err = inTx(ctx, ex, add)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	soundLog(ctx, t, c, ex)
	wantBalance(ctx, t, ex, p, "common", writers*each, balance{Total: writers * each})
}
