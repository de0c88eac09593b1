// Names that are used for the first time while somebody waits for them.

package executortest

import (
	"context"
	"fmt"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// freshRounds is how often each query meets a name that is just being made. A
// store that looks names up at another moment than it reads fails in a few.
const freshRounds = 60

// Who waits for an aggregate, event name, type or routing key that does not
// exist yet gets its first event: it is never passed over as unknown by a read
// that goes on beyond it.
func filtersFresh(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	for round := range freshRounds {
		id := fmt.Sprint("fresh ", round)
		a := to(id, 0, fmt.Sprint("Fresh", round))
		a.AggregateType = evento.AggregateType(fmt.Sprint("executortest/Fresh", round))
		a.RoutingKey = id
		for i, q := range []evento.Query{
			filtered(evento.ByID(a.AggregateType, id)),
			filtered(evento.Filter{AggregateType: a.AggregateType, Name: a.Events[0].Name}),
			filtered(evento.ByType(a.AggregateType)),
			{RoutingKey: id},
			filtered(evento.ByID(thing, "another"), evento.ByID(a.AggregateType, id)),
		} {
			if i != round%5 {
				continue // each round makes its names once
			}
			waitForFresh(ctx, t, ex, q, a)
		}
	}
}

// waitForFresh reads on and on while a is committed, and wants to meet it.
func waitForFresh(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, a evento.Append) {
	t.Helper()
	reading, committed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(committed)
		<-reading
		if _, err := ex.Write(ctx, write(a)); err != nil {
			t.Errorf("Write(%v) = %v", a, err)
		}
	}()
	at := cursor.Value("")
	for first := true; ; first = false {
		last := false
		select {
		case <-committed:
			last = true
		default:
		}
		page, err := ex.Read(ctx, q, cursor.Onward(10, at))
		if err != nil {
			t.Fatalf("Read(%+v, Onward(10, %q)) = %v", q, at, err)
		}
		if first {
			close(reading)
		}
		if len(page.Edges) > 0 {
			<-committed
			return
		}
		if last {
			t.Fatalf("Read(%+v) went on to %q past a commit that it matches: %v", q, page.PageInfo.EndCursor, a)
		}
		at = page.PageInfo.EndCursor
	}
}
