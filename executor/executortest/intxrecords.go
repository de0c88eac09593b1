// Records in transactions.

package executortest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/evento-go/evento"
)

// A swap is of the transaction that it is made in: who reads with its context
// sees it, others when it is committed; and never when it is rolled back.
func inTxRecords(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	a, b, gone := recordKey("key", "a"), recordKey("key", "b"), recordKey("gone", "")
	before := []evento.Change{set(a, 0, "before"), set(gone, 0, "before")}
	swap(ctx, t, ex, before...)
	after := []evento.Change{set(a, 2, "again"), set(b, 0, "new")}
	work := func(tx context.Context) {
		t.Helper()
		if _, err := ex.Write(tx, evento.Write{Appends: []evento.Append{toAny("one", "A")}}); err != nil {
			t.Error(err)
		}
		swap(tx, t, ex, set(a, 1, "after"), unset(gone, 1))
		wantRecords(tx, t, ex, set(a, 1, "after"))
		swap(tx, t, ex, set(a, 2, "again"), set(b, 0, "new"))
		wantRecords(tx, t, ex, after...)
		// What is refused changes nothing, and the rest of the transaction
		// stands.
		refuseSwap(tx, t, ex, evento.Swap{Changes: []evento.Change{set(b, 1, "X"), set(recordKey("new", ""), 0, "X"), set(a, 2, "stale")}}, evento.ErrSwapped)
		refuseSwap(tx, t, ex, evento.Swap{Changes: []evento.Change{unset(a, 3), set(b, 0, "stale")}}, evento.ErrSwapped)
		refuseSwap(tx, t, ex, evento.Swap{Changes: []evento.Change{set(a, 3, "X"), unset(gone, 1)}}, evento.ErrSwapped)
		refuseSwap(tx, t, ex, evento.Swap{Changes: []evento.Change{unset(a, 3), unset(b, 0)}}, evento.ErrInvalid)
		wantRecords(ctx, t, ex, before...)
	}
	failure := errors.New("failure")
	if err := inTx(ctx, ex, func(tx context.Context) error {
		work(tx)
		return failure
	}); !errors.Is(err, failure) {
		t.Fatalf("InTx: got %v, want the function's error", err)
	}
	wantRecords(ctx, t, ex, before...)
	wantLog(ctx, t, ex, nil)

	changed := ex.Changed()
	if err := inTx(ctx, ex, func(tx context.Context) error {
		work(tx)
		return ex.Swap(tx, evento.Swap{Changes: []evento.Change{set(recordKey("last", ""), 0, "last")}, Wake: true})
	}); err != nil {
		t.Fatalf("InTx: %v", err)
	}
	wake(ctx, t, changed, "a Swap in a transaction")
	wantRecords(ctx, t, ex, append(slices.Clone(after), set(recordKey("last", ""), 0, "last"))...)
	log := readAll(ctx, t, ex, evento.Query{})
	checkLog(t, c, log)
	if len(log) != 1 {
		t.Errorf("got %d events, want the one of the transaction that was committed", len(log))
	}

	// Without events too, and only with records that were swapped by others.
	if err := inTx(ctx, ex, func(tx context.Context) error {
		swap(tx, t, ex, unset(recordKey("last", ""), 1))
		return nil
	}); err != nil {
		t.Fatalf("InTx of a swap alone: %v", err)
	}
	wantRecords(ctx, t, ex, after...)
	swap(ctx, t, ex, set(a, 3, "outside"))
}

// A transaction that acted on a record which another has changed meanwhile does
// nothing. Where one writer keeps all others waiting, it cannot come about.
func inTxStaleRecords(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	a, b := recordKey("key", "a"), recordKey("key", "b")
	swap(ctx, t, ex, set(a, 0, "before"))
	if c.OneWriter {
		return
	}
	err := inTx(ctx, ex, func(tx context.Context) error {
		r, err := readRecord(tx, ex, a)
		if err != nil || r.Revision != 1 {
			t.Errorf("got %s, %v, want revision 1", showRecord(r), err)
		}
		if _, err := ex.Write(tx, evento.Write{Appends: []evento.Append{toAny("one", "A")}}); err != nil {
			return err
		}
		swap(ctx, t, ex, set(a, 1, "faster"))
		return trySwap(tx, ex, set(b, 0, "stale"), set(a, 1, "stale"))
	})
	if !errors.Is(err, evento.ErrSwapped) {
		t.Errorf("InTx: got %v, want the error %q", err, evento.ErrSwapped)
	}
	wantRecords(ctx, t, ex, set(a, 1, "faster"))
	wantLog(ctx, t, ex, nil)
}
