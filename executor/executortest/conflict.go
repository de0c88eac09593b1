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
		conflict(ctx, t, ex, write(to(tt.id, tt.expected, "Late")), conflictAt(tt.id, tt.expected, tt.actual))
	}
	// Nothing was used up by what was refused.
	commit(ctx, t, ex, to("one", 3, "D"))
	commit(ctx, t, ex, to("none", 0, "A"))
	soundLog(ctx, t, c, ex)
}

// Of several appends that do not fit, the first in the write is named.
func conflictFirstIsNamed(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("b", 0, "A"), to("a", 0, "A", "B"))
	b := conflictAt("b", 0, 1)
	a := conflictAt("a", 7, 2)
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
			if _, err := tryCommit(ctx, ex, write(toAny("one", "Happened"))); err != nil {
				return err
			}
		}
		return nil
	})
	wantStore(ctx, t, c, ex, writers*each)
}

// Of many writers that decided on the same version, one is stored, and the
// others hear what it made of the aggregate.
func conflictOneWins(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, rounds = 12, 5
	exs := c.all(t, ex)
	for round := range uint64(rounds) {
		var won atomic.Int32
		together(t, writers, func(i int) error {
			w := write(to("one", 2*round, "A", "B"))
			_, err := tryCommit(ctx, exs[i%len(exs)], w)
			var got *evento.ConflictError
			want := conflictAt("one", 2*round, 2*round+2)
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
	wantStore(ctx, t, c, ex, 2*rounds)
}
