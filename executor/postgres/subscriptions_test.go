package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// Two hundred subscriptions, some of them transactional, share a pool of ten
// connections.
func TestManySubscriptionsOnASmallPool(t *testing.T) {
	t.Parallel()
	ex, _ := openOn(t, testserver.Postgres(t), newSchema(t), 10)
	const subscriptions, events = 200, 3
	var handled atomic.Int64
	var running []*evento.Subscription
	for i := range subscriptions {
		b := evento.NewSubscription(fmt.Sprint("s", i)).Handler(evento.Handle(func(context.Context, evento.Event[happened]) error {
			handled.Add(1)
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
	if got := handled.Load(); got != subscriptions*events {
		t.Errorf("handled %d events, want %d", got, subscriptions*events)
	}
}
