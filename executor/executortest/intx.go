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
	c.run(t, "JoinedFails", inTxJoinedFails)
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

// inTxDone runs fn in a transaction that must be committed.
func inTxDone(ctx context.Context, t testing.TB, ex evento.Executor, fn func(tx context.Context)) {
	t.Helper()
	err := inTx(ctx, ex, func(tx context.Context) error {
		fn(tx)
		return nil
	})
	if err != nil {
		t.Fatalf("InTx: %v", err)
	}
}

// inTxUndone runs fn in a transaction whose function fails in the end.
func inTxUndone(ctx context.Context, t testing.TB, ex evento.Executor, fn func(tx context.Context)) {
	t.Helper()
	failure := errors.New("failure")
	err := inTx(ctx, ex, func(tx context.Context) error {
		fn(tx)
		return failure
	})
	if err != failure { //nolint:errorlint // as it is
		t.Fatalf("InTx of a function that fails: got %v, want its error as it is", err)
	}
}

// Who has InTx without transactions says so, whatever the context.
func inTxUnsupported(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	if _, ok := ex.(evento.Transactor); !ok {
		return
	}
	for _, ctx := range append(endedContexts(ctx), ctx) {
		for range 10 { // as a select chooses at random
			err := inTx(ctx, ex, neverRuns(t))
			if !errors.Is(err, errors.ErrUnsupported) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				t.Errorf("InTx with a context that ended with %v: got %v, want the error %q", ctx.Err(), err, errors.ErrUnsupported)
			}
		}
	}
}

// neverRuns is the function of a transaction that cannot begin.
func neverRuns(t testing.TB) func(context.Context) error {
	return func(context.Context) error {
		t.Error("the function of a transaction ran that could not begin")
		return nil
	}
}

// With a context that has ended InTx returns its error, and has done nothing:
// so can be asked whether there are transactions. The same holds within one.
func inTxEndedContexts(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	probe := func(ctx context.Context) {
		t.Helper()
		for _, ended := range endedContexts(ctx) {
			for range 10 { // as a select chooses at random
				wantError(t, inTx(ended, ex, neverRuns(t)), ended.Err(), "InTx with an ended context")
			}
		}
	}
	probe(ctx)
	inTxDone(ctx, t, ex, func(tx context.Context) {
		probe(tx)
		probe(ctx)
		commit(tx, t, ex, to("a", 0, "A"))
	})
	wantStore(ctx, t, c, ex, 1)
}

// The function's context says that it is of a transaction, so that nothing is
// read beside the caller with it.
func inTxContext(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	if evento.WithinTx(ctx) {
		t.Error("a context outside of transactions says that it is within one")
	}
	type key struct{}
	called := 0
	inTxDone(context.WithValue(ctx, key{}, "caller's"), t, ex, func(tx context.Context) {
		called++
		if !evento.WithinTx(tx) || tx.Value(key{}) == nil {
			t.Errorf("InTx: its function's context must be made by evento.TxContext from the caller's; WithinTx is %t, a value of the caller is %v", evento.WithinTx(tx), tx.Value(key{}))
		}
	})
	if called != 1 {
		t.Errorf("InTx: the function was called %d times", called)
	}
}

// What was committed in a transaction is there after it, not before.
func inTxCommits(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	old := routed("key", to("old", 0, "Old"))
	commit(ctx, t, ex, old)
	a, b, again, last := to("a", 0, "A", "B"), to("b", 0, "A"), toAny("old", "A", "B"), routed("other", to("c", 0, "A"))
	last.Metadata = evento.Metadata{RequestedBy: "somebody"}
	before := readAll(ctx, t, ex, evento.Query{})
	changed := ex.Changed()
	inTxDone(ctx, t, ex, func(tx context.Context) {
		receipts := slices.Concat(commit(tx, t, ex, a, b), commit(tx, t, ex, again), commit(tx, t, ex, last))
		want := []evento.Receipt{{AggregateID: "a", Version: 2}, {AggregateID: "b", Version: 1}, {AggregateID: "old", Version: 3}, {AggregateID: "c", Version: 1}}
		if !slices.Equal(receipts, want) {
			t.Errorf("Write in the transaction: got the receipts %+v, want %+v", receipts, want)
		}
		wantLog(ctx, t, ex, before)
	})
	await(ctx, t, changed, "a transaction")
	want := slices.Concat(raws(old, 1, "key"), raws(a, 1, ""), raws(b, 1, ""), raws(again, 2, "key"), raws(last, 1, "other"))
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
}

// Nothing is left of a transaction whose function fails, panics, or ends with
// its context.
func inTxRollsBack(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("old", 0, "Old"))
	before := readAll(ctx, t, ex, evento.Query{})
	add := func(tx context.Context) {
		t.Helper()
		commit(tx, t, ex, to("old", 1, "A"), to("new", 0, "A"))
	}
	inTxUndone(ctx, t, ex, add)
	func() {
		defer func() {
			if p := recover(); p != "panic" {
				t.Errorf("InTx of a function that panics: got the panic %v, want its own", p)
			}
		}()
		err := inTx(ctx, ex, func(tx context.Context) error {
			add(tx)
			panic("panic")
		})
		t.Errorf("InTx of a function that panics: returned %v", err)
	}()
	ending, cancel := context.WithCancel(ctx)
	err := inTx(ending, ex, func(tx context.Context) error {
		add(tx)
		cancel()
		return nil
	})
	wantError(t, err, context.Canceled, "InTx whose context ended")
	wantError(t, inTx(ending, ex, neverRuns(t)), context.Canceled, "InTx with a context that has ended")
	wantLog(ctx, t, ex, before)
	// And nothing is in the way of others.
	add(ctx)
	soundLog(ctx, t, c, ex)
}

// One who loads within the transaction sees what it has committed; nobody else
// does.
func inTxSeesItself(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	p := balances(new(int))
	deposit(ctx, t, ex, "a", 2)
	must(t, discard(evento.Aggregate("keyed").RoutingKey("old").Event(opened{}).Commit(ctx, ex)))
	inTxDone(ctx, t, ex, func(tx context.Context) {
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
		wantHasEvent[opened](tx, t, ex, "new", false)
		must(t, discard(evento.Aggregate("new").RoutingKey("key").Event(opened{}).Commit(tx, ex)))
		must(t, discard(evento.Aggregate("keyed").OriginalVersion(1).Event(deposited{}).Commit(tx, ex)))
		wantHasEvent[opened](tx, t, ex, "new", true)
		var seen []string
		for e, err := range evento.Events(tx, ex, evento.Query{}) {
			must(t, err)
			seen = append(seen, fmt.Sprint(e.AggregateID, e.Version, e.RoutingKey))
		}
		wantTexts(t, "Events", seen, "a1", "a2", "keyed1old", "a3", "a4", "a5", "new1key", "keyed2old")
	})
	wantBalance(ctx, t, ex, p, "a", 5, balance{Total: 5})
}

// Events have the order in which they were committed, also when aggregates take
// turns.
func inTxOrder(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	var want []evento.RawEvent
	inTxDone(ctx, t, ex, func(tx context.Context) {
		for n := range 20 {
			a, b := toAny(fmt.Sprint(n%3), "A", "B"), toAny("other", "A")
			commit(tx, t, ex, a, b)
			want = slices.Concat(want, raws(a, uint64(n/3*2+1), ""), raws(b, uint64(n+1), ""))
		}
	})
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
}

// A conflict that can be seen is told at once; the transaction goes on if its
// function wants to.
func inTxConflict(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("a", 0, "A", "B"))
	inTxDone(ctx, t, ex, func(tx context.Context) {
		conflict(tx, t, ex, write(to("c", 0, "X"), to("a", 1, "X")), conflictAt("a", 1, 2))
		commit(tx, t, ex, to("b", 0, "A"))
		conflict(tx, t, ex, write(to("b", 0, "X")), conflictAt("b", 0, 1))
	})
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
		for _, id := range []string{"before", "a", "behind"} {
			commit(tx, t, ex, to(id, 0, "A"))
		}
		commit(ctx, t, ex, to("a", 0, "Faster", "Faster"))
		after = readAll(ctx, t, ex, evento.Query{})
		return nil
	})
	wantConflict(t, err, conflictAt("a", 0, 2), "InTx")
	wantLog(ctx, t, ex, after)
}

// The same builders in a second transaction add nothing, and are no error.
func inTxAgain(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	deposit(ctx, t, ex, "any", 1)
	one := evento.Aggregate("one").Event(opened{}, deposited{Amount: 1})
	anyOf := evento.Aggregate("any").AnyVersion().Event(deposited{Amount: 1})
	both := func(tx context.Context) {
		t.Helper()
		for _, b := range []*evento.CommitBuilder{one, anyOf, one} {
			must(t, discard(b.Commit(tx, ex)))
		}
	}
	inTxUndone(ctx, t, ex, both)
	inTxDone(ctx, t, ex, both)
	log := wantStore(ctx, t, c, ex, 4)
	inTxDone(ctx, t, ex, both)
	wantLog(ctx, t, ex, log)
	// With something new beside it, it is neither that transaction nor another.
	err := inTx(ctx, ex, func(tx context.Context) error {
		both(tx)
		return discard(evento.Aggregate("new").Event(opened{}).Commit(tx, ex))
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
	inTxUndone(ctx, t, ex, func(tx context.Context) {
		deposit(tx, t, ex, "a", 4)
		wantBalance(tx, t, ex, p, "a", 5, balance{Total: 5})
		wantBalance(tx, t, ex, p, "b", 5, balance{Total: 5}) // stores one
	})
	wantBalance(ctx, t, ex, p, "a", 1, balance{Total: 1})
	wantBalance(ctx, t, ex, p, "b", 5, balance{Total: 5})
	deposit(ctx, t, ex, "a", 2)
	inTxDone(ctx, t, ex, func(tx context.Context) { wantBalance(tx, t, ex, p, "a", 3, balance{Total: 3}) })
	applied = 0
	wantBalance(ctx, t, ex, p, "a", 3, balance{Total: 3})
	if applied != 0 {
		t.Errorf("Load replayed %d events, want the snapshot that the transaction stored", applied)
	}
}

func inTxJoins(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	inTxUndone(ctx, t, ex, func(tx context.Context) {
		inTxDone(tx, t, ex, func(tx context.Context) { commit(tx, t, ex, to("a", 0, "A")) })
	})
	wantLog(ctx, t, ex, nil)
}

// One that has joined and failed is not committed, whatever becomes of its error.
func inTxJoinedFails(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for what, fails := range map[string]func(tx context.Context){
		"returns an error": func(tx context.Context) {
			inTxUndone(tx, t, ex, func(tx context.Context) { commit(tx, t, ex, to("a", 0, "A")) })
		},
		"returns a conflict": func(tx context.Context) {
			err := inTx(tx, ex, func(tx context.Context) error {
				commit(tx, t, ex, to("a", 0, "A"))
				return discard(ex.Write(tx, write(to("b", 5, "B"))))
			})
			wantError(t, err, evento.ErrConflict, "InTx within InTx")
		},
		"is within another that returns nil": func(tx context.Context) {
			inTxDone(tx, t, ex, func(tx context.Context) {
				inTxUndone(tx, t, ex, func(tx context.Context) { commit(tx, t, ex, to("a", 0, "A")) })
			})
		},
		"panics": func(tx context.Context) {
			defer func() {
				if recover() == nil {
					t.Errorf("the panic of a function within InTx has gone")
				}
			}()
			must(t, inTx(tx, ex, func(tx context.Context) error {
				commit(tx, t, ex, to("a", 0, "A"))
				panic("its own")
			}))
		},
	} {
		err := inTx(ctx, ex, func(tx context.Context) error {
			commit(tx, t, ex, to("c", 0, "C"))
			fails(tx)
			return nil
		})
		wantError(t, err, evento.ErrTxRefused, "InTx around one that %s", what)
		if errors.Is(err, evento.ErrConflict) {
			t.Errorf("InTx around one that %s: %v is a conflict, want it to be none", what, err)
		}
		wantLog(ctx, t, ex, nil)
	}
	inTxDone(ctx, t, ex, func(tx context.Context) { commit(tx, t, ex, to("a", 0, "A")) })
}

// Its context is of no use when the transaction has ended.
func inTxEnds(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	var left context.Context
	inTxDone(ctx, t, ex, func(tx context.Context) { left = tx })
	wantError(t, discard(ex.Write(left, write(to("a", 0, "A")))), evento.ErrInvalid, "Write after the end")
	wantLog(ctx, t, ex, nil)
	must(t, ex.Close())
	wantError(t, inTx(ctx, ex, neverRuns(t)), evento.ErrClosed, "InTx after Close")
}

// Transactions and plain commits at once, on common aggregates.
func inTxConcurrent(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each = 8, 8
	together(t, writers, func(t testing.TB, i int) {
		for n := range uint64(each) {
			add := func(ctx context.Context) {
				must(t, discard(evento.CommitAll(ctx, ex,
					evento.Aggregate("common").AnyVersion().Event(deposited{Amount: 1}),
					evento.Aggregate(fmt.Sprint("own-", i)).OriginalVersion(n).Event(deposited{Amount: 1}))))
			}
			if i%2 == 0 {
				add(ctx)
			} else {
				inTxDone(ctx, t, ex, add)
			}
		}
	})
	soundLog(ctx, t, c, ex)
	wantBalance(ctx, t, ex, balances(new(int)), "common", writers*each, balance{Total: writers * each})
}

// A transaction that was spoiled by what was done in it is rolled back, with an
// error that nobody takes for one of the store: trying it again without a change
// is of no use, and there is nothing to find out.
func inTxSpoiled(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	key := recordKey("key", "")
	commit(ctx, t, ex, to("old", 0, "Old"))
	swap(ctx, t, ex, set(key, 0, "before"))
	before := readAll(ctx, t, ex, evento.Query{})
	work := func(tx context.Context) error {
		err := discard(ex.Write(tx, write(to("old", 1, "A"), to(fmt.Sprint("new ", evento.NewID()), 0, "A"))))
		return errors.Join(err, ex.Swap(tx, swapOf(set(key, 1, "after"))))
	}
	for name, spoil := range c.Spoil {
		for when, fn := range map[string]func(tx context.Context) error{
			"alone":            spoil,
			"after other work": func(tx context.Context) error { return errors.Join(work(tx), spoil(tx)) },
			"before other work": func(tx context.Context) error {
				err := spoil(tx)
				_ = work(tx) // may fail, which it passes over
				return err
			},
		} {
			returned := errors.New("it did not return")
			err := inTx(ctx, ex, func(tx context.Context) error {
				returned = fn(tx)
				return returned
			})
			if returned != nil {
				t.Fatalf("InTx, %s %s: the function returned %v, want nil", name, when, returned)
			}
			if err == nil {
				t.Errorf("InTx, %s %s: got no error", name, when)
			}
			for _, other := range []error{
				evento.ErrOutcomeUnknown, evento.ErrConflict, evento.ErrClosed, evento.ErrFull, evento.ErrReadOnly,
				context.Canceled, context.DeadlineExceeded,
			} {
				if errors.Is(err, other) {
					t.Errorf("InTx, %s %s: got %v, want it not to match %q", name, when, err, other)
				}
			}
			wantLog(ctx, t, ex, before)
			wantRecords(ctx, t, ex, set(key, 0, "before"))
		}
	}
	must(t, inTx(ctx, ex, work))
	commit(ctx, t, ex, to("old", 2, "A"))
	wantRecords(ctx, t, ex, set(key, 1, "after"))
	soundLog(ctx, t, c, ex)
}
