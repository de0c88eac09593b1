package rw_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/rw"
	"github.com/evento-go/evento/executor/sqlite"
)

func openSQLite(t testing.TB, path string) *sqlite.Executor {
	t.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) evento.Executor{
		"Memory": func(testing.TB) evento.Executor {
			ex := memory.New(nil)
			return rw.New(ex, ex)
		},
		"SQLite": func(t testing.TB) evento.Executor {
			ex := openSQLite(t, filepath.Join(t.TempDir(), "events.db"))
			return rw.New(ex, ex)
		},
		"TwoOfOneFile": func(t testing.TB) evento.Executor {
			path := filepath.Join(t.TempDir(), "events.db")
			return rw.New(openSQLite(t, path), openSQLite(t, path))
		},
		"Lagging": func(testing.TB) evento.Executor {
			ex := memory.New(nil)
			return rw.New(&lagging{Executor: ex, step: 7}, ex)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			executortest.Test(t, executortest.Config{Open: open})
		})
	}
}
