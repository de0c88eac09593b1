// Writes that do not fit, and writes of several aggregates: all or nothing.

package executortest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testConflict(t *testing.T, c Config) {
	c.run(t, "Versions", conflictVersions)
	c.run(t, "FirstIsNamed", conflictFirstIsNamed)
	c.run(t, "AnyVersionNever", conflictAnyVersionNever)
	c.run(t, "OneWins", conflictOneWins)
}

func testAtomic(t *testing.T, c Config) {
	c.run(t, "NothingOfAConflict", atomicNothingOfAConflict)
	c.run(t, "NeverHalf", atomicNeverHalf)
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
	b, a := conflictAt("b", 0, 1), conflictAt("a", 7, 2)
	for _, tt := range []struct {
		write evento.Write
		want  evento.ConflictError
	}{
		{write(to("b", 0, "X"), to("a", 7, "X")), b},
		{write(to("a", 7, "X"), to("b", 0, "X")), a},
		{write(to("new", 0, "X"), to("b", 0, "X"), to("a", 7, "X")), b},
		{write(to("new", 0, "X"), toAny("b", "X"), to("a", 7, "X")), a},
		{write(to("b", 1, "X"), to("a", 7, "X"), to("new", 0, "X")), a},
	} {
		conflict(ctx, t, ex, tt.write, tt.want)
	}
}

func conflictAnyVersionNever(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each = 8, 10
	together(t, writers, func(t testing.TB, _ int) {
		for range each {
			commit(ctx, t, ex, toAny("one", "Happened"))
		}
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
		together(t, writers, func(t testing.TB, i int) {
			_, err := tryCommit(ctx, exs[i%len(exs)], write(to("one", 2*round, "A", "B")))
			if err == nil {
				won.Add(1)
				return
			}
			wantConflict(t, err, conflictAt("one", 2*round, 2*round+2), "Write")
		})
		if n := won.Load(); n != 1 {
			t.Fatalf("round %d: %d of %d writers at one version succeeded, want 1", round+1, n, writers)
		}
	}
	wantStore(ctx, t, c, ex, 2*rounds)
}

// Wherever in the write the append is that does not fit.
func atomicNothingOfAConflict(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	commit(ctx, t, ex, to("taken", 0, "A"))
	commit(ctx, t, ex, to("1", 0, "A"))
	for bad := range 5 {
		w := write(to("0", 0, "X", "Y"), to("1", 1, "X", "Y"), toAny("2", "X"), to("3", 0, "X", "Y"), to("4", 0, "X", "Y"))
		w.Appends[bad] = to("taken", 0, "X", "Y")
		conflict(ctx, t, ex, w, conflictAt("taken", 0, 1))
	}
	// All are where they were.
	commit(ctx, t, ex, to("0", 0, "A"), to("1", 1, "B"), to("2", 0, "A"), to("3", 0, "A"), to("4", 0, "A"), to("taken", 1, "B"))
	soundLog(ctx, t, c, ex)
}

// While writers commit to several aggregates at once, readers find every
// commit whole, from whichever end and through whichever filter they read.
func atomicNeverHalf(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, readers, each = 4, 3, 12
	ids := []string{"a", "b", "c"}
	reader := c.another(t, ex)
	byID := filtered(evento.ByID(thing, "a"), evento.ByID(thing, "b"), evento.ByID(thing, "c"))
	var writing atomic.Int32
	writing.Store(writers)
	concurrently(t, goroutines{writers, func(t testing.TB, i int) {
		defer writing.Add(-1)
		for range each {
			var appends []evento.Append
			name := evento.NewID().String() // tells the commits apart
			for j := range ids {
				appends = append(appends, toAny(ids[(i+j)%len(ids)], name, name))
			}
			commit(ctx, t, ex, appends...)
		}
	}}, goroutines{readers, func(t testing.TB, _ int) {
		for more := true; more; {
			more = writing.Load() > 0
			for _, args := range []cursor.Args{cursor.Onward(cursor.MaxPage, ""), cursor.Backward(cursor.MaxPage, "")} {
				for _, q := range []evento.Query{{}, byID} {
					wantWhole(t, fmt.Sprintf("Read(%s, %s)", showQuery(q), showArgs(args)), read(ctx, t, reader, q, args), 2*len(ids))
				}
			}
		}
	}})
	wantStore(ctx, t, c, ex, writers*each*2*len(ids))
}

// wantWhole checks that a page has all n events of each name, or none.
func wantWhole(t testing.TB, what string, p *page, n int) {
	t.Helper()
	counts := map[string]int{}
	for _, e := range p.Edges {
		counts[e.Node.Name]++
	}
	for name, got := range counts {
		if got != n {
			t.Fatalf("%s: got %d of the %d events of the commit %s", what, got, n, name)
		}
	}
}
