// Records in transactions.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
		if _, err := ex.Write(tx, write(toAny("one", "A"))); err != nil {
			t.Error(err)
		}
		swap(tx, t, ex, set(a, 1, "after"), unset(gone, 1))
		wantRecords(tx, t, ex, set(a, 1, "after"))
		swap(tx, t, ex, set(a, 2, "again"), set(b, 0, "new"))
		wantRecords(tx, t, ex, after...)
		// What is refused changes nothing, and the rest of the transaction
		// stands.
		refuseSwap(tx, t, ex, swapOf(set(b, 1, "X"), set(recordKey("new", ""), 0, "X"), set(a, 2, "stale")), evento.ErrSwapped)
		refuseSwap(tx, t, ex, swapOf(unset(a, 3), set(b, 0, "stale")), evento.ErrSwapped)
		refuseSwap(tx, t, ex, swapOf(set(a, 3, "X"), unset(gone, 1)), evento.ErrSwapped)
		refuseSwap(tx, t, ex, swapOf(unset(a, 3), unset(b, 0)), evento.ErrInvalid)
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
	await(ctx, t, changed, "a Swap in a transaction")
	wantRecords(ctx, t, ex, append(slices.Clone(after), set(recordKey("last", ""), 0, "last"))...)
	wantStore(ctx, t, c, ex, 1)

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
		if _, err := ex.Write(tx, write(toAny("one", "A"))); err != nil {
			return err
		}
		swap(ctx, t, ex, set(a, 1, "faster"))
		return trySwap(tx, ex, set(b, 0, "stale"), set(a, 1, "stale"))
	})
	wantError(t, err, evento.ErrSwapped, "InTx")
	wantRecords(ctx, t, ex, set(a, 1, "faster"))
	wantLog(ctx, t, ex, nil)
}

// A swap that was refused is as if it had not been made: the transaction sees
// what it has swapped before, swaps on, and commits, whichever change was stale.
func inTxSwappedGoesOn(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	a, b, gone := recordKey("key", "a"), recordKey("key", "b"), recordKey("gone", "")
	swap(ctx, t, ex, set(a, 0, "before"), set(gone, 0, "before"))
	swap(ctx, t, ex, unset(gone, 1))
	want := []evento.Change{set(a, 0, "before")}
	for n, refused := range [][]evento.Change{
		{set(a, 9, "stale")},
		{set(a, 0, "stale")},
		{set(gone, 1, "stale")},
		{unset(gone, 1)},
		{unset(a, 9)},
		{set(b, 9, "X"), set(recordKey("new", ""), 0, "X")},
		{set(recordKey("new", ""), 0, "X"), set(a, 9, "stale")},
		{set(recordKey("new", ""), 0, "X"), unset(gone, 1)},
	} {
		revision := uint64(n + 1)
		if err := inTx(ctx, ex, func(tx context.Context) error {
			refuseSwap(tx, t, ex, evento.Swap{Changes: refused}, evento.ErrSwapped) // before all else
			wantRecords(tx, t, ex, want...)
			own := recordKey("own", fmt.Sprint(n))
			swap(tx, t, ex, set(own, 0, "first"))
			refuseSwap(tx, t, ex, evento.Swap{Changes: refused}, evento.ErrSwapped)
			seen := append(slices.Clone(want), set(own, 0, "first"))
			wantRecords(tx, t, ex, seen...)
			swap(tx, t, ex, set(a, revision, "after"), unset(own, 1))
			refuseSwap(tx, t, ex, evento.Swap{Changes: refused}, evento.ErrSwapped)
			want = []evento.Change{set(a, revision, "after")}
			wantRecords(tx, t, ex, want...)
			return nil
		}); err != nil {
			t.Fatalf("InTx in which %d changes were refused: %v", len(refused), err)
		}
		wantRecords(ctx, t, ex, want...)
	}
}

// However many transactions are open, Records and Swap outside of them do not
// wait for any. Where one writer keeps all others waiting, that is said of
// Records alone.
func inTxRecordsBeside(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const transactions, rounds = 32, 50 // more than an executor has connections
	released, holding := make(chan struct{}), make(chan struct{}, transactions)
	var wg sync.WaitGroup
	for range transactions {
		wg.Go(func() {
			if err := inTx(ctx, ex, func(context.Context) error {
				holding <- struct{}{}
				<-released
				return nil
			}); err != nil {
				t.Errorf("InTx: %v", err)
			}
		})
	}
	<-holding
	key := recordKey("key", "")
	revision := uint64(0)
	for range rounds { // while more and more are open
		if !c.OneWriter {
			if err := trySwap(ctx, ex, set(key, revision, "value")); err != nil {
				t.Errorf("Swap beside transactions: %v", err)
				break
			}
			revision++
		}
		if r, err := readRecord(ctx, ex, key); err != nil || r.Revision != revision {
			t.Errorf("Records beside transactions: got %s, %v, want revision %d", showRecord(r), err, revision)
			break
		}
	}
	close(released)
	wg.Wait()
}
