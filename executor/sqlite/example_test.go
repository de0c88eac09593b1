package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

// An event and a row of the application's own table are committed together.
func ExampleExecutor_InTx() {
	run := func(ctx context.Context, path string) error {
		store, err := sqlite.Open(ctx, path, nil)
		if err != nil {
			return err
		}
		err = store.InTx(ctx, func(ctx context.Context) error {
			tx := sqlite.Tx(ctx)
			if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS job (n INTEGER PRIMARY KEY, thing TEXT NOT NULL)"); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO job (thing) VALUES (?)", "a"); err != nil {
				return err
			}
			_, err := evento.Aggregate("a").Event(happened{1}).Commit(ctx, store)
			return err
		})
		has, readErr := evento.HasEvent[happened](ctx, store, "a")
		fmt.Println("stored:", has)
		return errors.Join(err, readErr, store.Close())
	}
	dir, err := os.MkdirTemp("", "evento")
	if err == nil {
		err = run(context.Background(), filepath.Join(dir, "app.db"))
	}
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Println(err)
	}
	// Output: stored: true
}
