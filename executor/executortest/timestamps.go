// The times at which events were recorded.

package executortest

import (
	"context"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testTimestamps(t *testing.T, c Config) {
	c.run(t, "NeverFall", timestampsNeverFall)
	c.run(t, "Stay", timestampsStay)
}

// checkLog looks at them: UTC, microseconds, never falling.
func timestampsNeverFall(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex) // whose clock counts too
	together(t, 6, func(i int) error {
		for range 20 {
			w := write(toAny("one", "A", "B"), toAny("two", "A"))
			if _, err := tryCommit(ctx, exs[i%len(exs)], w); err != nil {
				return err
			}
		}
		return nil
	})
	soundLog(ctx, t, c, ex)
}

// A time is the same whichever way the event is read.
func timestampsStay(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 20)
	for _, e := range m {
		q := filtered(evento.ByID(e.Node.AggregateType, e.Node.AggregateID))
		m.wantPage(ctx, t, ex, q, cursor.Backward(3, e.Cursor))
	}
	commit(ctx, t, ex, toAny("id 0", "Later"))
	sameEdges(t, "the first events", read(ctx, t, ex, evento.Query{}, cursor.Forward(len(m), "")).Edges, m)
}
