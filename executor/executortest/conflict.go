// Writes that do not fit.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
)

func testConflict(t *testing.T, c Config) {
	c.run(t, "Versions", conflictVersions)
	c.run(t, "FirstIsNamed", conflictFirstIsNamed)
	c.run(t, "AnyVersionNever", conflictAnyVersionNever)
	c.run(t, "OneWins", conflictOneWins)
}

func conflictVersions(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("one", 0, "A", "B", "C"))
	commit(ctx, t, ex, to("two", 0, "A"))
	for _, tt := range []struct {
		id               string
		expected, actual uint64
	}{
		{"one", 0, 3}, // new, but is not
		{"one", 1, 3}, // behind, in the middle of a commit
		{"one", 2, 3}, // behind
		{"one", 4, 3}, // ahead
		{"one", 1 << 40, 3},
		{"two", 3, 1},  // where another aggregate is
		{"none", 1, 0}, // ahead of nothing
		{"none", 3, 0},
	} {
		conflict(ctx, t, ex, evento.Write{Appends: []evento.Append{to(tt.id, tt.expected, "Late")}},
			evento.ConflictError{AggregateType: thing, AggregateID: tt.id, Expected: tt.expected, Actual: tt.actual})
	}
	// Nothing was used up by what was refused.
	commit(ctx, t, ex, to("one", 3, "D"))
	commit(ctx, t, ex, to("none", 0, "A"))
	checkLog(t, c, readAll(ctx, t, ex, evento.Query{}))
}

// Of several appends that do not fit, the first in the write is named.
func conflictFirstIsNamed(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("b", 0, "A"), to("a", 0, "A", "B"))
	b := evento.ConflictError{AggregateType: thing, AggregateID: "b", Expected: 0, Actual: 1}
	a := evento.ConflictError{AggregateType: thing, AggregateID: "a", Expected: 7, Actual: 2}
	for _, tt := range []struct {
		appends []evento.Append
		want    evento.ConflictError
	}{
		{[]evento.Append{to("b", 0, "X"), to("a", 7, "X")}, b},
		{[]evento.Append{to("a", 7, "X"), to("b", 0, "X")}, a},
		{[]evento.Append{to("new", 0, "X"), to("b", 0, "X"), to("a", 7, "X")}, b},
		{[]evento.Append{to("new", 0, "X"), toAny("b", "X"), to("a", 7, "X")}, a},
		{[]evento.Append{to("b", 1, "X"), to("a", 7, "X"), to("new", 0, "X")}, a},
	} {
		conflict(ctx, t, ex, evento.Write{Appends: tt.appends}, tt.want)
	}
}

func conflictAnyVersionNever(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each = 8, 10
	together(t, writers, func(int) error {
		for range each {
			if _, err := tryCommit(ctx, ex, evento.Write{Appends: []evento.Append{toAny("one", "Happened")}}); err != nil {
				return err
			}
		}
		return nil
	})
	log := readAll(ctx, t, ex, evento.Query{})
	checkLog(t, c, log)
	if len(log) != writers*each {
		t.Errorf("got %d events, want %d", len(log), writers*each)
	}
}

// Of many writers that decided on the same version, one is stored, and the
// others hear what it made of the aggregate.
func conflictOneWins(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, rounds = 12, 5
	exs := []evento.Executor{ex}
	if c.Share != nil {
		exs = append(exs, c.share(t, ex))
	}
	for round := range uint64(rounds) {
		var won atomic.Int32
		together(t, writers, func(i int) error {
			w := evento.Write{Appends: []evento.Append{to("one", 2*round, "A", "B")}}
			_, err := tryCommit(ctx, exs[i%len(exs)], w)
			var got *evento.ConflictError
			want := evento.ConflictError{AggregateType: thing, AggregateID: "one", Expected: 2 * round, Actual: 2*round + 2}
			switch {
			case err == nil:
				won.Add(1)
				return nil
			case !errors.As(err, &got):
				return err
			case *got != want:
				return fmt.Errorf("got %+v, want %+v", *got, want)
			}
			return nil
		})
		if n := won.Load(); n != 1 {
			t.Fatalf("round %d: %d of %d writers at one version succeeded, want 1", round+1, n, writers)
		}
	}
	log := readAll(ctx, t, ex, evento.Query{})
	checkLog(t, c, log)
	if len(log) != 2*rounds {
		t.Errorf("got %d events, want %d", len(log), 2*rounds)
	}
}
