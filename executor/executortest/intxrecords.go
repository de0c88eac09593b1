// Records in transactions.

package executortest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/evento-go/evento"
)

// A swap is of the transaction that it is made in: who reads with its context
// sees it, others when it is committed; and never when it is rolled back.
func inTxRecords(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	a, b, gone, last := recordKey("key", "a"), recordKey("key", "b"), recordKey("gone", ""), recordKey("last", "")
	before := []evento.Change{set(a, 0, "before"), set(gone, 0, "before")}
	swap(ctx, t, ex, before...)
	after := []evento.Change{set(a, 2, "again"), set(b, 0, "new")}
	work := func(tx context.Context) {
		t.Helper()
		commit(tx, t, ex, toAny("one", "A"))
		swap(tx, t, ex, set(a, 1, "after"), unset(gone, 1))
		wantRecords(tx, t, ex, set(a, 1, "after"))
		swap(tx, t, ex, after...)
		wantRecords(tx, t, ex, after...)
		// What is refused changes nothing, and the rest of the transaction
		// stands.
		refuseSwap(tx, t, ex, swapOf(set(b, 1, "X"), set(recordKey("new", ""), 0, "X"), set(a, 2, "stale")), evento.ErrSwapped)
		refuseSwap(tx, t, ex, swapOf(unset(a, 3), set(b, 0, "stale")), evento.ErrSwapped)
		refuseSwap(tx, t, ex, swapOf(set(a, 3, "X"), unset(gone, 1)), evento.ErrSwapped)
		refuseSwap(tx, t, ex, swapOf(unset(a, 3), unset(b, 0)), evento.ErrInvalid)
		wantRecords(ctx, t, ex, before...)
	}
	inTxUndone(ctx, t, ex, work)
	wantRecords(ctx, t, ex, before...)
	wantLog(ctx, t, ex, nil)

	changed := ex.Changed()
	inTxDone(ctx, t, ex, func(tx context.Context) {
		work(tx)
		must(t, ex.Swap(tx, evento.Swap{Changes: []evento.Change{set(last, 0, "last")}, Wake: true}))
	})
	await(ctx, t, changed, "a Swap in a transaction")
	wantRecords(ctx, t, ex, append(slices.Clone(after), set(last, 0, "last"))...)
	wantStore(ctx, t, c, ex, 1)

	// Without events too, and only with records that were swapped by others.
	inTxDone(ctx, t, ex, func(tx context.Context) { swap(tx, t, ex, unset(last, 1)) })
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
		wantRecords(tx, t, ex, set(a, 0, "before"))
		commit(tx, t, ex, toAny("one", "A"))
		swap(ctx, t, ex, set(a, 1, "faster"))
		return ex.Swap(tx, swapOf(set(b, 0, "stale"), set(a, 1, "stale")))
	})
	wantError(t, err, evento.ErrSwapped, "InTx")
	wantRecords(ctx, t, ex, set(a, 1, "faster"))
	wantLog(ctx, t, ex, nil)
}

// A swap that was refused is as if it had not been made: the transaction sees
// what it has swapped before, swaps on, and commits, whichever change was stale.
func inTxSwappedGoesOn(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	a, b, gone, added := recordKey("key", "a"), recordKey("key", "b"), recordKey("gone", ""), recordKey("new", "")
	swap(ctx, t, ex, set(a, 0, "before"), set(gone, 0, "before"))
	swap(ctx, t, ex, unset(gone, 1))
	want := set(a, 0, "before")
	for n, stale := range []evento.Swap{
		swapOf(set(a, 9, "stale")),
		swapOf(set(a, 0, "stale")),
		swapOf(set(gone, 1, "stale")),
		swapOf(unset(gone, 1)),
		swapOf(unset(a, 9)),
		swapOf(set(b, 9, "X"), set(added, 0, "X")),
		swapOf(set(added, 0, "X"), set(a, 9, "stale")),
		swapOf(set(added, 0, "X"), unset(gone, 1)),
	} {
		inTxDone(ctx, t, ex, func(tx context.Context) {
			refuseSwap(tx, t, ex, stale, evento.ErrSwapped) // before all else
			wantRecords(tx, t, ex, want)
			own := set(recordKey("own", fmt.Sprint(n)), 0, "first")
			swap(tx, t, ex, own)
			refuseSwap(tx, t, ex, stale, evento.ErrSwapped)
			wantRecords(tx, t, ex, want, own)
			want = set(a, uint64(n+1), "after")
			swap(tx, t, ex, want, unset(own.RecordKey, 1))
			refuseSwap(tx, t, ex, stale, evento.ErrSwapped)
			wantRecords(tx, t, ex, want)
		})
		wantRecords(ctx, t, ex, want)
	}
}

// However many transactions are open, Records and Swap outside of them do not
// wait for any. Where one writer keeps all others waiting, that is said of
// Records alone.
func inTxRecordsBeside(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const transactions, rounds = 32, 50 // more than an executor has connections
	released, holding := make(chan struct{}), make(chan struct{}, transactions)
	concurrently(t, goroutines{transactions, func(t testing.TB, _ int) {
		inTxDone(ctx, t, ex, func(context.Context) {
			holding <- struct{}{}
			<-released
		})
	}}, goroutines{1, func(t testing.TB, _ int) {
		defer close(released)
		await(ctx, t, holding, "a transaction")
		key := recordKey("key", "")
		revision := uint64(0)
		for range rounds { // while more and more are open
			if !c.OneWriter {
				swap(ctx, t, ex, set(key, revision, "value"))
				revision++
			}
			if r := readRecord(ctx, t, ex, key); r.Revision != revision {
				t.Fatalf("Records beside transactions: got %s, want revision %d", showRecord(r), revision)
			}
		}
	}})
}
