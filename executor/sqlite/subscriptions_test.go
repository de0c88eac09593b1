package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento/internal/storetest"
)

// What a handler does that fails only when its transaction is committed is its
// event's failure: a deferred foreign key, and a rollback whose error it has passed
// over.
func TestHandlerFailsAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, doom := range map[string]func(context.Context) error{
		"deferred foreign key": func(ctx context.Context) error { return enter(ctx, "INSERT INTO child VALUES (7)") },
		"rollback passed over": func(ctx context.Context) error {
			_ = enter(ctx, "INSERT OR ROLLBACK INTO entry (n, writer) VALUES (1, 1), (1, 1)")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := openBooks(t, filepath.Join(t.TempDir(), "books.db"))
			defer func() {
				if err := ex.Close(); err != nil {
					t.Error(err)
				}
			}()
			if err := ex.InTx(t.Context(), func(ctx context.Context) error {
				return enter(ctx, "CREATE TABLE parent (n INTEGER PRIMARY KEY); CREATE TABLE child (n INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
			}); err != nil {
				t.Fatal(err)
			}
			storetest.FailAtTheEnd(t, ex, func(ctx context.Context) error { return enter(ctx, insertEntry) }, doom)
		})
	}
}
