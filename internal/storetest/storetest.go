// Package storetest tests executors whose stores have a place: a path, a schema, a
// database of a server.
package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
)

// Config has the Open, Reopen and Share of a contract suite. Open opens an executor at a
// new place; Reopen and Share open one at the place of an executor that Open, Reopen or
// Share has returned.
func Config[P any](place func(t testing.TB) P, open func(t testing.TB, at P) evento.Executor) executortest.Config {
	var places sync.Map // by executor
	at := func(t testing.TB, p P) evento.Executor {
		t.Helper()
		ex := open(t, p)
		places.Store(ex, p)
		return ex
	}
	share := func(t testing.TB, ex evento.Executor) evento.Executor {
		t.Helper()
		p, ok := places.Load(ex)
		if !ok {
			t.Fatal("an executor that was not opened here")
		}
		return at(t, p.(P))
	}
	return executortest.Config{
		Open: func(t testing.TB) evento.Executor {
			t.Helper()
			return at(t, place(t))
		},
		Reopen: func(t testing.TB, ex evento.Executor) evento.Executor {
			t.Helper()
			if err := ex.Close(); err != nil {
				t.Fatalf("Close() = %v", err)
			}
			return share(t, ex)
		},
		Share: share,
	}
}

// SQLiteSpoil returns ways to spoil a transaction of SQLite. Exec runs statements in it.
func SQLiteSpoil(exec func(ctx context.Context, text string) error) map[string]func(context.Context) error {
	all := func(texts ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			for _, text := range texts {
				if err := exec(ctx, text); err != nil {
					return err
				}
			}
			return nil
		}
	}
	passOver := func(prepare func(context.Context) error, text string) func(context.Context) error {
		return func(ctx context.Context) error {
			if err := prepare(ctx); err != nil {
				return err
			}
			if exec(ctx, text) == nil {
				return errors.New("the statement did not fail: " + text)
			}
			return nil
		}
	}
	return map[string]func(context.Context) error{
		"a conflict that rolls back": passOver(all("CREATE TABLE once (n INTEGER PRIMARY KEY)", "INSERT INTO once VALUES (1)"),
			"INSERT OR ROLLBACK INTO once VALUES (1)"),
		"a trigger that rolls back": passOver(all("CREATE TABLE watched (n INTEGER)", "CREATE TRIGGER refuse AFTER INSERT ON watched BEGIN SELECT raise(ROLLBACK, 'refused'); END"),
			"INSERT INTO watched VALUES (1)"),
		"a rollback statement":                   all("ROLLBACK"),
		"a rollback, and a transaction after it": all("ROLLBACK", "BEGIN"),
		"a deferred foreign key":                 all("CREATE TABLE parent (n INTEGER PRIMARY KEY)", "CREATE TABLE child (n INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO child VALUES (1)"),
		"a foreign key that is deferred in it":   all("CREATE TABLE parent (n INTEGER PRIMARY KEY)", "CREATE TABLE child (n INTEGER REFERENCES parent)", "PRAGMA defer_foreign_keys = ON", "INSERT INTO child VALUES (1)"),
	}
}

// Rights returns the suite for a user with few rights: of the topics, those that together
// need every right that an application needs.
func Rights(c executortest.Config) executortest.Config {
	c.Without = []string{
		"Append", "Conflict", "Retry", "Conditions", "Order", "Pages", "Filters", "Cursors", "Places", "Iteration", "Names",
		"Payloads", "Timestamps", "Changed", "Follow", "Contexts", "Close", "Delivery", "History", "Reopen",
	}
	return c
}
