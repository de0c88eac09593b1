package mysql_test

import (
	"context"
	"testing"

	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// A transaction that a handler has ended cannot be committed: that is its event's
// failure.
func TestHandlerFailsAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"ROLLBACK", "COMMIT"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			b := openBooks(t, testserver.MySQL(t))
			storetest.FailAtTheEnd(t, b.Executor,
				func(ctx context.Context) error { return enter(ctx, insertEntry) },
				func(ctx context.Context) error { return enter(ctx, statement) })
		})
	}
}

// A lease is renewed on a connection of its own, also while a transaction stores
// the place.
func TestRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	storetest.RenewedMeanwhile(t, openBooks(t, testserver.MySQL(t)).Executor)
}
