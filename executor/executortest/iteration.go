// Ranging over events.

package executortest

import (
	"context"
	"errors"
	"testing"

	"github.com/evento-go/evento"
)

func testIteration(t *testing.T, c Config) {
	c.run(t, "AllPages", iterationAllPages)
	c.run(t, "BreakAndClose", iterationBreakAndClose)
	c.run(t, "CommitWithin", iterationCommitWithin)
	c.run(t, "Ended", iterationEnded)
}

// More events than the library reads at a time.
func iterationAllPages(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const n = 2100
	a := to("one", 0, many(n, "Happened")...)
	commit(ctx, t, ex, a)
	got := 0
	for e, err := range evento.Events(ctx, ex, evento.Query{}) {
		must(t, err)
		if got == n || e.ID != a.Events[got].ID {
			t.Fatalf("event %d: got %s at position %d, want each of %d events once, in order", got+1, e.ID, e.Position, n)
		}
		got++
	}
	if got != n {
		t.Errorf("got %d events, want %d", got, n)
	}
}

// Breaking off leaves nothing open: the range can begin again, writes go on,
// and Close has nothing to wait for.
func iterationBreakAndClose(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 20)
	for i := range 20 {
		got := 0
		for e, err := range evento.Events(ctx, ex, evento.Query{}) {
			must(t, err)
			if diff := differ(e, m[got].Node); diff != "" {
				t.Fatalf("event %d: %s", got+1, diff)
			}
			if got++; got > i {
				break
			}
		}
		commit(ctx, t, ex, toAny("more", "Made"))
	}
	for _, err := range evento.Events(ctx, ex, evento.Query{}) {
		must(t, err)
		must(t, ex.Close()) // from within, too
		break
	}
}

// The loop's body may use the store, and what it commits is reached.
func iterationCommitWithin(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	const n = 1500
	commit(ctx, t, ex, to("one", 0, many(n, "Happened")...))
	var got evento.RawEvent
	for e, err := range evento.Events(ctx, ex, filtered(evento.ByID(thing, "one"))) {
		must(t, err)
		if e.Version != got.Version+1 {
			t.Fatalf("got version %d after %d", e.Version, got.Version)
		}
		if got = e; e.Version == 500 {
			commit(ctx, t, ex, to("one", n, "Later"), toAny("other", "Later"))
		}
	}
	if got.Version != n+1 || got.Name != "Later" {
		t.Errorf("got version %d %q last, want %d, which was committed meanwhile", got.Version, got.Name, n+1)
	}
}

// At most one error, and it is last.
func iterationEnded(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	fill(ctx, t, ex, 5)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	got := 0
	for e, err := range evento.Events(ctx, ex, evento.Query{}) {
		if got++; got > 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("item %d with an ended context: got %v, %v, want one, with %q", got, e, err, context.Canceled)
		}
	}
	if got != 1 {
		t.Errorf("got %d items with an ended context, want the error", got)
	}
}
