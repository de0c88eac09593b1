// Writes that are made twice.

package executortest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/evento-go/evento"
)

func testRetry(t *testing.T, c Config) {
	c.run(t, "FirstReceipts", retryFirstReceipts)
	c.run(t, "NotStoredBefore", retryNotStoredBefore)
	c.run(t, "OtherIDsConflict", retryOtherIDsConflict)
	c.run(t, "SomeIDsConflict", retrySomeIDsConflict)
	c.run(t, "Concurrent", retryConcurrent)
}

// retryWrites are writes of every kind, each to aggregates of its own.
func retryWrites(ctx context.Context, t testing.TB, ex evento.Executor) []evento.Write {
	t.Helper()
	commit(ctx, t, ex, to("b", 0, "Old", "Older"), to("d", 0, "Old"), to("f", 0, "Old"), to("i", 0, "Old"), to("k", 0, "Old", "Older"))
	return []evento.Write{
		{Appends: []evento.Append{to("a", 0, "A", "B", "C")}},
		{Appends: []evento.Append{to("b", 2, "A", "B")}},
		{Appends: []evento.Append{toAny("c", "A", "B")}},
		{Appends: []evento.Append{toAny("d", "A", "B", "C")}},
		{Appends: []evento.Append{to("e", 0, "A", "B"), to("f", 1, "A"), to("g", 0, "A")}},
		{Appends: []evento.Append{toAny("h", "A", "B"), to("i", 1, "A"), to("j", 0, "A")}},
		{Appends: []evento.Append{toAny("k", "A", "B"), toAny("l", "A"), toAny("m", "A", "B")}},
	}
}

// The same write again gives the same receipts and adds nothing, at once and
// after other events came on top.
func retryFirstReceipts(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for _, w := range retryWrites(ctx, t, ex) {
		first := commit(ctx, t, ex, w.Appends...)
		again := func(when string, w evento.Write) {
			before := readAll(ctx, t, ex, evento.Query{})
			got, err := ex.Write(ctx, w)
			if err != nil || !slices.Equal(got, first) {
				t.Fatalf("Write(%s) again, %s: got %v, %v, want the first receipts %v", show(w), when, got, err, first)
			}
			wantLog(ctx, t, ex, before)
		}
		retry := w
		retry.Retry = true
		again("at once", retry)
		again("once more", retry)
		if slices.ContainsFunc(w.Appends, func(a evento.Append) bool { return !a.AnyVersion }) {
			again("without saying so", w) // the conflict shows it
		}
		for _, a := range w.Appends {
			commit(ctx, t, ex, toAny(a.AggregateID, "Later", "Later still"))
		}
		again("after later events", retry)
		moved := retry
		moved.Appends = slices.Clone(w.Appends)
		for i := range moved.Appends {
			// As one who was told of the later events would ask.
			a := &moved.Appends[i]
			a.AnyVersion, a.Expected = false, first[i].Version+2
		}
		again("at the version of the later events", moved)
	}
	soundLog(ctx, t, c, ex)
}

// A retry of what was never stored stores it.
func retryNotStoredBefore(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for _, w := range retryWrites(ctx, t, ex) {
		w.Retry = true
		receipts, err := tryCommit(ctx, ex, w)
		must(t, err)
		checkStored(t, byID(soundLog(ctx, t, c, ex)), w, receipts)
	}
}

func retryOtherIDsConflict(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("a", 0, "A", "B"))
	retryConflict(ctx, t, ex, write(to("a", 0, "A", "B")))
}

// retryConflict makes a write that must be in conflict with what is stored of
// "a", whether it is said to be a retry or not.
func retryConflict(ctx context.Context, t testing.TB, ex evento.Executor, w evento.Write) {
	t.Helper()
	for _, w.Retry = range []bool{false, true} {
		conflict(ctx, t, ex, w, conflictAt("a", 0, 2))
	}
}

// A write that shares some events with one that is stored is another write.
func retrySomeIDsConflict(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	a, b := to("a", 0, "A", "B"), to("b", 0, "A")
	commit(ctx, t, ex, a, b)
	with := func(a evento.Append, events ...evento.NewEvent) evento.Append {
		a.Events = events
		return a
	}
	for _, tt := range []struct {
		name  string
		write evento.Write
	}{
		{"the first event and another", write(with(a, a.Events[0], event("X")))},
		{"another and the second event", write(with(a, event("X"), a.Events[1]))},
		{"in another order", write(with(a, a.Events[1], a.Events[0]))},
		{"one more event", write(with(a, a.Events[0], a.Events[1], event("X")))},
		{"one aggregate of two, and a new one", write(a, to("c", 0, "X"))},
		{"a new aggregate, and one of two", write(to("c", 0, "X"), a)},
		{"one aggregate of two, and any version of a new one", write(a, toAny("c", "X"))},
		{"one of two with other events", write(a, to("b", 0, "X"))},
		{"its events in another aggregate too", write(a, with(to("c", 0), a.Events...))},
	} {
		t.Log(tt.name)
		retryConflict(ctx, t, ex, tt.write)
	}
}

// Several callers with one write are one write.
func retryConcurrent(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	for round := range 5 {
		id := fmt.Sprint(round)
		w := evento.Write{Appends: []evento.Append{to(id, 0, "A", "B"), to("all", uint64(round), "A")}, Retry: true}
		if round%2 == 1 {
			w.Appends = []evento.Append{toAny(id, "A", "B"), toAny("all", "A")}
		}
		receipts := make([][]evento.Receipt, 6)
		together(t, len(receipts), func(t testing.TB, i int) {
			var err error
			receipts[i], err = tryCommit(ctx, ex, w)
			must(t, err)
		})
		for _, r := range receipts {
			if !slices.Equal(r, receipts[0]) {
				t.Fatalf("Write(%s) by several at once: got %v and %v, want the same receipts", show(w), r, receipts[0])
			}
		}
	}
	wantStore(ctx, t, c, ex, 15)
	wantError(t, discard(ex.Write(ctx, write(to("0", 0, "X")))), evento.ErrConflict, "another write")
}
