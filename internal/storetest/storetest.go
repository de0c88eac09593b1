// Package storetest holds executors to the contract whose stores have a place:
// a path, a schema, a database of a server.
package storetest

import (
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
)

// Config is that of a contract suite which opens executors at places that are
// new, and opens those that it knows again where they are: Open, Reopen and
// Share are set.
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
