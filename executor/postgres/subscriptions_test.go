package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// A hundred subscriptions, a quarter of them transactional, share a pool of five
// connections.
func TestManySubscriptionsOnASmallPool(t *testing.T) {
	t.Parallel()
	ex, _ := openOn(t, testserver.Postgres(t), newSchema(t), 5)
	const subscriptions, events = 100, 3
	var handled [subscriptions]atomic.Int64
	var running []*evento.Subscription
	for i := range subscriptions {
		b := evento.NewSubscription(fmt.Sprint("s", i)).Handler(evento.Handle(func(context.Context, evento.Event[happened]) error {
			handled[i].Add(1)
			return nil
		}))
		if i%4 == 0 {
			b.Transactional()
		}
		s, err := b.Start(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, s)
	}
	var last evento.Receipt
	for n := range events {
		last = commit(t, ex, n)
	}
	for i := range subscriptions {
		if err := evento.WaitFor(t.Context(), ex, fmt.Sprint("s", i), last.Position); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range running {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for i := range handled {
		// A transaction may be made again, of which only the last counts.
		if got := handled[i].Load(); got < events || got > events && i%4 != 0 {
			t.Errorf("subscription %d handled %d events, want %d", i, got, events)
		}
	}
}

// What a handler does that fails only when its transaction is committed is its
// event's failure: a deferred constraint, and a statement whose error it has passed
// over.
func TestHandlerFailsAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"deferred constraint": "INSERT INTO SCHEMA.deferred VALUES (1), (1)",
		"error passed over":   "SELECT 1/0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schema := newSchema(t)
			ex, _ := openOn(t, testserver.Postgres(t), schema, 4)
			exec(t, effects(t, schema), "CREATE TABLE "+schema+".deferred (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
			storetest.FailAtTheEnd(t, ex,
				func(ctx context.Context) error { return effect(ctx, schema, 1) },
				func(ctx context.Context) error {
					_, _ = postgres.Tx(ctx).Exec(ctx, inSchema(statement, schema))
					return nil
				})
		})
	}
}

// A lease is renewed on a connection of its own, also while a transaction stores
// the place.
func TestRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	ex, _ := openOn(t, testserver.Postgres(t), newSchema(t), 4)
	storetest.RenewedMeanwhile(t, ex)
}
