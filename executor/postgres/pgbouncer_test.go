package postgres_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// The contract holds through a PgBouncer that gives each transaction another
// session, and knows no prepared statements.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	url := testserver.PgBouncer(t, testserver.Postgres(t)) + "&default_query_exec_mode=cache_describe"
	executortest.Test(t, contractAt(url))
}

// Notifications that do not arrive are noticed, and commits polled for.
func TestPgBouncerPolls(t *testing.T) {
	t.Parallel()
	url := testserver.PgBouncer(t, testserver.Postgres(t)) + "&default_query_exec_mode=cache_describe"
	ctx := deadlined(t)
	schema := newSchema(t)
	var log lockedBuffer
	opts := &postgres.Options{Schema: schema, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	ex := openWith(t, url, opts)
	other := openWith(t, url, &postgres.Options{Schema: schema})
	var mu sync.Mutex
	var handled []int
	done := make(chan struct{})
	const commits = 20
	sub, err := evento.NewSubscription("s").Handler(evento.Handle(func(_ context.Context, e evento.Event[happened]) error {
		mu.Lock()
		defer mu.Unlock()
		if handled = append(handled, e.Data.N); len(handled) == commits+1 {
			close(done)
		}
		return nil
	})).Start(ctx, ex)
	if err != nil {
		t.Fatal(err)
	}
	for n := range commits {
		if n%2 == 0 {
			commit(t, other, n)
		} else if err := other.InTx(ctx, func(ctx context.Context) error {
			_, err := evento.Create().RequestedBy("somebody").Event(happened{n}).Commit(ctx, other)
			return err
		}); err != nil {
			t.Errorf("InTx() = %v", err)
		}
	}
	for began := time.Now(); !strings.Contains(log.String(), "polling instead"); time.Sleep(time.Millisecond) {
		if time.Since(began) > 5*time.Minute {
			t.Fatalf("that notifications do not arrive was not noticed: %s", log.String())
		}
	}
	commit(t, other, commits)
	select {
	case <-done:
	case <-ctx.Done():
		t.Errorf("a subscription handled %v, want %d events", handled, commits+1)
	}
	if err := sub.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
}
