// Writes that change records too: both, or neither.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
)

func testWithRecords(t *testing.T, c Config) {
	c.run(t, "Both", withRecordsBoth)
	c.run(t, "Neither", withRecordsNeither)
	c.run(t, "Retry", withRecordsRetry)
	c.run(t, "Refused", withRecordsRefused)
	c.run(t, "Most", withRecordsMost)
	c.run(t, "Counter", withRecordsCounter)
	c.run(t, "Once", withRecordsOnce)
	if c.Transactor {
		c.run(t, "InTx", withRecordsInTx)
	}
}

// swapping is the write of an append that changes records.
func swapping(a evento.Append, changes ...evento.Change) evento.Write {
	return evento.Write{Appends: []evento.Append{a}, Swap: &evento.Swap{Changes: changes}}
}

// What is stored is there at once, for everybody, whatever changes it next.
func withRecordsBoth(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	another := c.another(t, ex)
	a, b := recordKey("a", ""), recordKey("b", "part")
	steps := []struct {
		w    evento.Write
		want []evento.Change
	}{
		{swapping(to("one", 0, "A"), set(a, 0, "1")), []evento.Change{set(a, 0, "1")}},
		{swapping(toAny("one", "B", "C"), set(a, 1, "2"), set(b, 0, "1")), []evento.Change{set(a, 1, "2"), set(b, 0, "1")}},
		{evento.Write{Appends: []evento.Append{to("two", 0, "A"), to("one", 3, "D")}, Swap: &evento.Swap{Changes: []evento.Change{set(b, 1, ""), unset(a, 2)}}}, []evento.Change{set(b, 1, "")}},
		{swapping(tagged(routed("left", to("three", 0, "A")), []string{"t"}), set(a, 0, "new"), unset(b, 2)), []evento.Change{set(a, 0, "new")}},
	}
	for i, s := range steps {
		by := []evento.Executor{ex, another}[i%2]
		receipts, err := by.Write(ctx, s.w)
		must(t, err)
		checkStored(t, byID(soundLog(ctx, t, c, ex)), s.w, receipts)
		wantRecords(ctx, t, ex, s.want...)
		wantRecords(ctx, t, another, s.want...)
	}
	swap(ctx, t, another, set(a, 1, "by itself"))
	must(t, discard(ex.Write(ctx, swapping(to("four", 0, "A"), set(a, 2, "end")))))
	wantRecords(ctx, t, another, set(a, 2, "end"))
}

// A version, a condition or a revision that does not hold leaves everything as it was.
func withRecordsNeither(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	a, b, none := recordKey("a", ""), recordKey("b", ""), recordKey("none", "")
	must(t, discard(ex.Write(ctx, swapping(to("one", 0, "A", "B"), set(a, 0, "1"), set(b, 0, "1")))))
	swap(ctx, t, ex, set(b, 1, "2"))
	neither := func(w evento.Write, want error) {
		t.Helper()
		refuse(ctx, t, ex, w, want)
		wantRecords(ctx, t, ex, set(a, 0, "1"), set(b, 1, "2"))
	}
	for _, changes := range [][]evento.Change{
		{set(a, 0, "x")}, {set(a, 2, "x")}, {set(none, 1, "x")}, {unset(none, 1)}, {unset(b, 1)},
		{set(a, 1, "x"), set(b, 1, "x")}, {set(none, 0, "x"), unset(a, 1), set(b, 3, "x")},
	} {
		for _, a := range []evento.Append{to("one", 2, "C"), toAny("one", "C"), to("new", 0, "A"), toAny("other", "A")} {
			neither(swapping(a, changes...), evento.ErrSwapped)
		}
	}
	neither(swapping(to("one", 1, "C"), set(a, 1, "x")), evento.ErrConflict)
	neither(swapping(to("one", 0, "C"), set(none, 0, "x"), unset(b, 2)), evento.ErrConflict)
	if !c.NoPositions {
		w := swapping(to("new", 0, "A"), set(a, 1, "x"))
		w.Unless = []evento.Condition{{Query: filtered(evento.ByID(thing, "one"))}}
		neither(w, evento.ErrConflict)
		w.Unless[0].After = endOf(ctx, t, ex)
		must(t, discard(ex.Write(ctx, w)))
		wantRecords(ctx, t, ex, set(a, 1, "x"), set(b, 1, "2"))
	}
}

// A write that was stored is found whatever its records are meanwhile, and changes them
// once.
func withRecordsRetry(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("b", 0, "Old"))
	for i, w := range []evento.Write{
		swapping(to("a", 0, "A", "B"), set(recordKey("a", ""), 0, "1"), set(recordKey("shared", ""), 0, "1")),
		swapping(toAny("b", "C"), set(recordKey("b", ""), 0, "1"), unset(recordKey("shared", ""), 1)),
		{Appends: []evento.Append{toAny("c", "A"), to("a", 3, "D", "E")}, Swap: &evento.Swap{Changes: []evento.Change{set(recordKey("a", ""), 2, "3")}}},
	} {
		w.Retry = i == 1
		first, err := ex.Write(ctx, w)
		must(t, err)
		again := func() {
			t.Helper()
			w.Retry = true
			before, records := readAll(ctx, t, ex, evento.Query{}), readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind})
			got, err := ex.Write(ctx, w)
			if err != nil || !slices.Equal(got, first) {
				t.Fatalf("Write(%s) again: got %v, %v, want the first receipts %v", show(w), got, err, first)
			}
			wantLog(ctx, t, ex, before)
			sameRecords(t, "after a write again", readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind}), records)
		}
		again()
		again()
		commit(ctx, t, ex, toAny(w.Appends[0].AggregateID, "Later"))
		change := w.Swap.Changes[0]
		change.Revision++
		swap(ctx, t, ex, change)
		again()
	}
	soundLog(ctx, t, c, ex)
}

func withRecordsRefused(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	a := recordKey("a", "")
	refuse(ctx, t, ex, swapping(to("one", 0, "A")), evento.ErrInvalid)
	refuse(ctx, t, ex, swapping(to("one", 0, "A"), set(a, 0, ""), set(a, 0, "")), evento.ErrInvalid)
	refuse(ctx, t, ex, swapping(to("one", 0, "A"), unset(a, 0)), evento.ErrInvalid)
	refuse(ctx, t, ex, swapping(to("one", 0, "A"), set(recordKey("", ""), 0, "")), evento.ErrInvalid)
	refuse(ctx, t, ex, evento.Write{Swap: &evento.Swap{Changes: []evento.Change{set(a, 0, "")}}}, evento.ErrNoEvents)
	wantRecords(ctx, t, ex)
}

// As many records as a swap may have, of the largest size.
func withRecordsMost(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	var changes []evento.Change
	for i := range evento.MaxSwap {
		changes = append(changes, set(recordKey(fmt.Sprintf("key %3d", i), "part"), 0, string(make([]byte, evento.MaxRecord/(1+i%7)))))
	}
	must(t, discard(ex.Write(ctx, swapping(to("one", 0, many(100, "A")...), changes...))))
	wantStore(ctx, t, c, ex, 100)
	if got := readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind}); len(got) != evento.MaxSwap {
		t.Errorf("got %d records, want %d", len(got), evento.MaxSwap)
	}
}

// Many who count in one record, with an event each, beside others who count in it by
// itself: no count is lost, and none without its event.
func withRecordsCounter(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	k := recordKey("counter", "")
	const writers, rounds = 6, 8
	count := func(t testing.TB, by evento.Executor, change func(at uint64) error) {
		for {
			at := uint64(0)
			if rs := readRecords(ctx, t, by, evento.RecordQuery{Kind: kind, Key: k.Key}); len(rs) > 0 {
				at = rs[0].Revision
			}
			err := change(at)
			if err == nil {
				return
			}
			if !errors.Is(err, evento.ErrSwapped) {
				t.Fatalf("at revision %d: %v", at, err)
			}
		}
	}
	concurrently(t, goroutines{writers, func(t testing.TB, i int) {
		by := exs[i%len(exs)]
		for n := range rounds {
			count(t, by, func(at uint64) error {
				a := to(fmt.Sprint(i, " ", n), 0, "Counted")
				if n%2 == 0 {
					a = toAny("all", "Counted")
				}
				return discard(by.Write(ctx, swapping(a, set(k, at, fmt.Sprint(i)))))
			})
		}
	}}, goroutines{2, func(t testing.TB, i int) {
		for range rounds {
			count(t, exs[i%len(exs)], func(at uint64) error { return exs[i%len(exs)].Swap(ctx, swapOf(set(k, at, "by itself"))) })
		}
	}})
	wantStore(ctx, t, c, ex, writers*rounds)
	if rs := readRecords(ctx, t, ex, evento.RecordQuery{Kind: kind}); len(rs) != 1 || rs[0].Revision != (writers+2)*rounds {
		t.Errorf("got %+v, want one record at revision %d", rs, (writers+2)*rounds)
	}
}

// Several who want to take each of some records, with an event: one gets each.
func withRecordsOnce(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	const tasks, racers = 20, 5
	for i := range tasks {
		swap(ctx, t, ex, set(recordKey(fmt.Sprint("task ", i), ""), 0, "due"))
	}
	var taken atomic.Int64
	together(t, racers, func(t testing.TB, i int) {
		for n := range tasks {
			task := (n + i*3) % tasks
			w := swapping(toAny(fmt.Sprint("task ", task), "Taken"), unset(recordKey(fmt.Sprint("task ", task), ""), 1))
			if err := discard(exs[i%len(exs)].Write(ctx, w)); err != nil {
				wantError(t, err, evento.ErrSwapped, "Write(%s)", show(w))
				continue
			}
			taken.Add(1)
		}
	})
	for _, e := range wantStore(ctx, t, c, ex, tasks) {
		if e.Node.Version != 1 {
			t.Errorf("%s was taken %d times", e.Node.AggregateID, e.Node.Version)
		}
	}
	if taken.Load() != tasks {
		t.Errorf("%d were taken, want %d", taken.Load(), tasks)
	}
	wantRecords(ctx, t, ex)
}

// In a transaction it is part of that: stored with it, or not at all. What is refused has
// added nothing to it.
func withRecordsInTx(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	a, b := recordKey("a", ""), recordKey("b", "")
	tx := ex.(evento.Transactor)
	must(t, tx.InTx(ctx, func(ctx context.Context) error {
		must(t, discard(ex.Write(ctx, swapping(to("one", 0, "A"), set(a, 0, "1")))))
		wantError(t, discard(ex.Write(ctx, swapping(to("two", 0, "A"), set(b, 0, "x"), set(a, 0, "x")))), evento.ErrSwapped, "a stale record")
		wantError(t, discard(ex.Write(ctx, swapping(to("one", 0, "A"), set(b, 0, "x")))), evento.ErrConflict, "a stale version")
		wantRecords(ctx, t, ex, set(a, 0, "1"))
		return discard(ex.Write(ctx, swapping(to("one", 1, "B"), set(a, 1, "2"), set(b, 0, "1"))))
	}))
	wantStore(ctx, t, c, ex, 2)
	wantRecords(ctx, t, ex, set(a, 1, "2"), set(b, 0, "1"))
	again := swapping(toAny("again", "A"), set(recordKey("c", ""), 0, "1"))
	for again.Retry = false; ; again.Retry = true { // the second time it is found
		must(t, tx.InTx(ctx, func(ctx context.Context) error { return discard(ex.Write(ctx, again)) }))
		if again.Retry {
			break
		}
	}
	wantStore(ctx, t, c, ex, 3)
	swap(ctx, t, ex, unset(recordKey("c", ""), 1))
	failed := errors.New("the function failed")
	wantError(t, tx.InTx(ctx, func(ctx context.Context) error {
		must(t, discard(ex.Write(ctx, swapping(to("two", 0, "A"), unset(a, 2), unset(b, 1)))))
		return failed
	}), failed, "InTx")
	wantStore(ctx, t, c, ex, 3)
	wantRecords(ctx, t, ex, set(a, 1, "2"), set(b, 0, "1"))
}
