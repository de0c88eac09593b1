// Calls whose context ends.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testContexts(t *testing.T, c Config) {
	c.run(t, "Ended", contextsEnded)
	c.run(t, "EndingWrites", contextsEndingWrites)
	c.run(t, "EndingSwaps", contextsEndingSwaps)
	c.run(t, "EndingReads", contextsEndingReads)
}

// calls are all methods with a context, by name. None of the writes may have
// an effect. The record at key, if there is one, is at its first revision.
func calls(ex evento.Executor) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Write": func(ctx context.Context) error {
			_, err := ex.Write(ctx, write(toAny("id 0", "X"), toAny("new", "X")))
			return err
		},
		"Read": func(ctx context.Context) error {
			_, err := ex.Read(ctx, evento.Query{}, cursor.Forward(5, ""))
			return err
		},
		"Read backward": func(ctx context.Context) error {
			_, err := ex.Read(ctx, filtered(evento.ByType(thing)), cursor.Backward(5, ""))
			return err
		},
		"Records": func(ctx context.Context) error {
			_, err := ex.Records(ctx, evento.RecordQuery{Kind: kind})
			return err
		},
		"Swap": func(ctx context.Context) error {
			return ex.Swap(ctx, evento.Swap{Wake: true, Changes: []evento.Change{set(recordKey("key", ""), 1, "X"), set(recordKey("new", ""), 0, "X")}})
		},
		"Snapshot": func(ctx context.Context) error { _, err := ex.Snapshot(ctx, snapshotKey()); return err },
		"SaveSnapshot": func(ctx context.Context) error {
			return ex.SaveSnapshot(ctx, snapshotKey(), evento.Snapshot{Version: 99, Position: 99, Data: []byte("X")})
		},
		"Snapshots": func(ctx context.Context) error {
			_, err := ex.Snapshots(ctx, evento.SnapshotQuery{States: true})
			return err
		},
		"RemoveSnapshots": func(ctx context.Context) error {
			return ex.RemoveSnapshots(ctx, []evento.SnapshotKey{snapshotKey()})
		},
		"RemoveSnapshots of none": func(ctx context.Context) error { return ex.RemoveSnapshots(ctx, nil) },
	}
}

func contextsEnded(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 10)
	record, snapshot := set(recordKey("key", ""), 0, "value"), evento.Snapshot{Version: 1, Position: 1, Cursor: m[0].Cursor, Data: []byte("state")}
	swap(ctx, t, ex, record)
	saveSnapshot(ctx, t, ex, snapshotKey(), snapshot)

	for _, ended := range endedContexts(ctx) {
		for name, call := range calls(ex) {
			for range 10 { // as a select chooses at random
				wantError(t, call(ended), ended.Err(), "%s with an ended context", name)
			}
		}
	}
	wantLog(ctx, t, ex, m)
	wantRecords(ctx, t, ex, record)
	wantSnapshot(ctx, t, ex, snapshotKey(), snapshot)
}

// endedContexts are contexts that have ended, for either reason.
func endedContexts(ctx context.Context) []context.Context {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithTimeout(ctx, -1)
	cancel()
	return []context.Context{cancelled, late}
}

// cancelSoon ends a context after a little while, which is mostly that of the
// call that comes next.
func cancelSoon(ctx context.Context, r *rand.Rand) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	turns := r.IntN(200)
	go func() {
		for range turns {
			runtime.Gosched()
		}
		cancel()
	}()
	return ctx, cancel
}

// Among many writes of which most are cancelled at some point, each has the
// outcome that its caller was told.
func contextsEndingWrites(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each = 12, 10
	attempts := make([][]attempt, writers)
	together(t, writers, func(t testing.TB, i int) {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		for j := range each {
			a := attempt{write: write(to(fmt.Sprint("own ", i, " ", j), 0, "A", "B"), toAny("shared", "A"))}
			wctx, cancel := cancelSoon(ctx, r)
			a.receipts, a.err = tryCommit(wctx, ex, a.write)
			cancel()
			attempts[i] = append(attempts[i], a)
			if !errors.Is(a.err, context.Canceled) && !errors.Is(a.err, evento.ErrOutcomeUnknown) {
				must(t, a.err)
			}
		}
		commit(ctx, t, ex, toAny("after", "A"))
	})
	checkOutcomes(t, soundLog(ctx, t, c, ex), slices.Concat(attempts...))
}

// checkOutcomes compares what writers were told with what is there, where the
// end of a context or of the store came between.
func checkOutcomes(t testing.TB, log []edge, attempts []attempt) {
	t.Helper()
	there := byID(log)
	for _, a := range attempts {
		switch {
		case a.err == nil:
			checkStored(t, there, a.write, a.receipts)
		case errors.Is(a.err, evento.ErrOutcomeUnknown):
			n := 0
			for _, id := range idsOf(a.write) {
				if _, ok := there[id]; ok {
					n++
				}
			}
			if n != 0 && n != len(idsOf(a.write)) {
				t.Errorf("Write(%s) failed with %q, and a part of it is there", show(a.write), a.err)
			}
		default:
			checkAbsent(t, there, a.write, a.err)
		}
	}
}

// Of swaps that were cut short, each was made whole or not at all, and leaves
// nothing behind that later ones stumble on. A store may still be at work on
// one when its caller is let go: the next swap of the same records waits for
// it, and settles which it was.
func contextsEndingSwaps(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const workers, each = 8, 15
	together(t, workers, func(t testing.TB, i int) {
		r := rand.New(rand.NewPCG(uint64(i), 9))
		keys := []evento.RecordKey{recordKey("own", fmt.Sprint(i)), recordKey("beside", fmt.Sprint(i))}
		swap := func(ctx context.Context, revision uint64, value string) error {
			return ex.Swap(ctx, swapOf(set(keys[0], revision, value), set(keys[1], revision, value)))
		}
		for revision := range uint64(each) {
			want := "first"
			sctx, cancel := cancelSoon(ctx, r)
			err := swap(sctx, revision, want)
			cancel()
			if errors.Is(err, context.Canceled) {
				if err = swap(ctx, revision, "second"); err == nil {
					want = "second"
				} else if errors.Is(err, evento.ErrSwapped) {
					err = nil // as the first was made
				}
			}
			must(t, err)
			for _, k := range keys {
				if got := readRecord(ctx, t, ex, k); got.Revision != revision+1 || string(got.Value) != want {
					t.Fatalf("after the swap at revision %d: got %s, want %q at revision %d", revision, showRecord(got), want, revision+1)
				}
			}
		}
		must(t, swap(ctx, each, "after"))
	})
}

// A read that was cut short leaves nothing behind that later ones stumble on.
func contextsEndingReads(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("one", 0, many(300, "Happened")...))
	together(t, 6, func(t testing.TB, i int) {
		r := rand.New(rand.NewPCG(uint64(i), 8))
		for range 10 {
			rctx, cancel := cancelSoon(ctx, r)
			p, err := ex.Read(rctx, evento.Query{}, cursor.Forward(200, ""))
			cancel()
			switch {
			case err == nil && len(p.Edges) != 200:
				t.Fatalf("a read that succeeded while its context ended: got %d events, want 200", len(p.Edges))
			case !errors.Is(err, context.Canceled):
				must(t, err)
			}
		}
	})
	wantStore(ctx, t, c, ex, 300)
	commit(ctx, t, ex, to("one", 300, "Later"))
}
