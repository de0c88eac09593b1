// Shutdown, and what outlives it.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testClose(t *testing.T, c Config) {
	c.run(t, "Twice", closeTwice)
	c.run(t, "MethodsAfter", closeMethodsAfter)
	c.run(t, "CallsUnderWay", func(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
		closeUnderWay(ctx, t, ex)
	})
}

func testReopen(t *testing.T, c Config) {
	c.run(t, "Everything", reopenEverything)
	c.run(t, "Again", reopenAgain)
	c.run(t, "CallsUnderWay", reopenUnderWay)
}

func closeTwice(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fill(ctx, t, ex, 3)
	together(t, 4, func(t testing.TB, _ int) { must(t, ex.Close()) })
	must(t, ex.Close())
}

func closeMethodsAfter(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 3)
	swap(ctx, t, ex, set(recordKey("key", ""), 0, "value"))
	saveSnapshot(ctx, t, ex, snapshotKey(), evento.Snapshot{Version: 1, Position: 1})
	must(t, ex.Close())
	for name, call := range calls(ex) {
		wantError(t, call(ctx), evento.ErrClosed, "%s after Close", name)
	}
	for _, position := range []uint64{0, 1} {
		wantError(t, discard(ex.CursorAt(position)), evento.ErrClosed, "CursorAt(%d) after Close", position)
	}
	for _, at := range []cursor.Value{"", m[1].Cursor} {
		wantError(t, discard(ex.Earlier(at, m[0].Cursor)), evento.ErrClosed, "Earlier(%q, …) after Close", at)
	}
}

// closeUnderWay closes the executor while it has much to do, and returns the
// writes, and how often the record at "count" was changed. Every call succeeds,
// or says that the store is closed.
func closeUnderWay(ctx context.Context, t testing.TB, ex evento.Executor) (attempts []attempt, swaps uint64) {
	t.Helper()
	const writers, before = 8, 20
	fill(ctx, t, ex, 10)
	all := calls(ex)
	all["Swap"] = func(ctx context.Context) error {
		err := ex.Swap(ctx, swapOf(set(recordKey("count", ""), swaps, fmt.Sprint(swaps+1))))
		if err == nil {
			swaps++
		}
		return err
	}
	others := []string{"Read", "Read backward", "Records", "Swap", "Snapshot", "SaveSnapshot", "Snapshots", "RemoveSnapshots"}
	made := make([][]attempt, writers)
	var done atomic.Int32
	busy := make(chan struct{}) // closed when writes are under way
	concurrently(t, goroutines{writers, func(t testing.TB, i int) {
		for {
			a := attempt{write: write(toAny(fmt.Sprint("own ", i), "A", "B"), toAny("shared", "A"))}
			a.receipts, a.err = tryCommit(ctx, ex, a.write)
			made[i] = append(made[i], a)
			if done.Add(1) == before {
				close(busy)
			}
			if errors.Is(a.err, evento.ErrClosed) || errors.Is(a.err, evento.ErrOutcomeUnknown) {
				return
			}
			must(t, a.err)
		}
	}}, goroutines{len(others), func(t testing.TB, i int) {
		for {
			switch err := all[others[i]](ctx); {
			case errors.Is(err, evento.ErrClosed):
				return
			case err != nil && !errors.Is(err, evento.ErrNotFound):
				t.Fatalf("%s while the executor closes: got %v, want success or %q", others[i], err, evento.ErrClosed)
			}
		}
	}}, goroutines{1, func(t testing.TB, _ int) {
		await(ctx, t, busy, "writes under way")
		must(t, ex.Close())
	}})
	return slices.Concat(made...), swaps
}

func reopenUnderWay(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	attempts, swaps := closeUnderWay(ctx, t, ex)
	ex = c.reopen(t, ex)
	if count := readRecord(ctx, t, ex, recordKey("count", "")); count.Revision != swaps && count.Revision != swaps+1 { // the last may have been made
		t.Errorf("a record that was swapped %d times: got %s", swaps, showRecord(count))
	}
	checkOutcomes(t, soundLog(ctx, t, c, ex), attempts)
	commit(ctx, t, ex, toAny("shared", "Later"))
}

// Events, places, snapshots and records are what they were.
func reopenEverything(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	fill(ctx, t, ex, 30)
	w := evento.Write{Appends: []evento.Append{routed("left", to("late", 0, "A", "B")), toAny("id 0", "A")}, Retry: true}
	first := commit(ctx, t, ex, w.Appends...)
	m := model(readAll(ctx, t, ex, evento.Query{}))
	snapshot := evento.Snapshot{Version: 2, Position: 7, Cursor: m[6].Cursor, Data: []byte("state")}
	a, b, gone := recordKey("key", ""), recordKey("key", "part"), recordKey("gone", "")
	swap(ctx, t, ex, set(a, 0, "value"), set(b, 0, "first"), set(gone, 0, "value"))
	swap(ctx, t, ex, set(b, 1, "second"), unset(gone, 1))
	records := recordPage(ctx, t, ex, evento.RecordQuery{Kind: kind})
	saveSnapshot(ctx, t, ex, snapshotKey(), snapshot)
	removed := snapshotKeyOf("removed")
	saveSnapshot(ctx, t, ex, removed, snapshot)
	removeSnapshots(ctx, t, ex, removed)

	ex = c.reopen(t, ex)

	wantLog(ctx, t, ex, m)
	for _, q := range []evento.Query{{}, {RoutingKey: "left"}, filtered(evento.ByType(thing))} {
		for _, at := range []cursor.Value{"", m[0].Cursor, m[9].Cursor, m[len(m)-1].Cursor} {
			m.wantPage(ctx, t, ex, q, cursor.Forward(5, at))
			m.wantPage(ctx, t, ex, q, cursor.Backward(5, at))
		}
	}
	sameRecords(t, "after reopening", readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind}), records.Records)
	refuseSwap(ctx, t, ex, swapOf(set(b, 1, "stale"), set(a, 1, "X")), evento.ErrSwapped)
	refuseSwap(ctx, t, ex, swapOf(unset(gone, 1)), evento.ErrSwapped)
	swap(ctx, t, ex, unset(a, 1), set(b, 2, "third"), set(gone, 0, "again"))
	wantRecords(ctx, t, ex, set(b, 2, "third"), set(gone, 0, "again"))
	wantSnapshots(ctx, t, ex, storedSnapshot(snapshotKey(), snapshot))
	saveSnapshot(ctx, t, ex, snapshotKey(), evento.Snapshot{Version: 2, Position: 6})
	wantSnapshot(ctx, t, ex, snapshotKey(), snapshot)
	if got, err := ex.Write(ctx, w); err != nil || !slices.Equal(got, first) {
		t.Errorf("Write(%s) again after reopening: got %v, %v, want the first receipts %v", show(w), got, err, first)
	}
	conflict(ctx, t, ex, write(to("late", 0, "X")), conflictAt("late", 0, 2))
	commit(ctx, t, ex, routed("right", to("late", 2, "C")))
	log := soundLog(ctx, t, c, ex)
	sameEdges(t, "what was there before", log[:len(log)-1], m)
}

// Time after time, the empty store and one that is closed already too.
func reopenAgain(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	ex = c.reopen(t, ex)
	wantLog(ctx, t, ex, nil)
	var log []edge
	for i := range uint64(4) {
		commit(ctx, t, ex, to("one", 2*i, "A", "B"), to(fmt.Sprint(i), 0, "A"))
		log = readAll(ctx, t, ex, evento.Query{})
		checkLog(t, c, log)
		if i%2 == 0 {
			must(t, ex.Close())
		}
		ex = c.reopen(t, ex)
		wantLog(ctx, t, ex, log)
	}
	p := read(ctx, t, ex, evento.Query{}, cursor.Onward(5, log[2].Cursor)) // of the first time
	sameEdges(t, "after a cursor of the first time", p.Edges, log[3:8])
}
