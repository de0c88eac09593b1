package rw_test

import (
	"context"
	"path/filepath"
	"sync"
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
	var paths sync.Map // by executor
	twoOf := func(t testing.TB, path any) evento.Executor {
		ex := rw.New(openSQLite(t, path.(string)), openSQLite(t, path.(string)))
		paths.Store(ex, path)
		return ex
	}
	share := func(t testing.TB, ex evento.Executor) evento.Executor {
		path, _ := paths.Load(ex)
		return twoOf(t, path)
	}
	for name, config := range map[string]executortest.Config{
		"Memory": {Open: func(testing.TB) evento.Executor {
			ex := memory.New(nil)
			return rw.New(ex, ex)
		}},
		"TwoOfOneFile": {
			Transactor: true,
			OneWriter:  true,
			Open:       func(t testing.TB) evento.Executor { return twoOf(t, filepath.Join(t.TempDir(), "events.db")) },
			Share:      share,
			Reopen: func(t testing.TB, ex evento.Executor) evento.Executor {
				if err := ex.Close(); err != nil {
					t.Fatal(err)
				}
				return share(t, ex)
			},
		},
		"Lagging": {Open: func(testing.TB) evento.Executor {
			store := newPrimary()
			return rw.New(store.replica(3), store)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			executortest.Test(t, config)
		})
	}
}
