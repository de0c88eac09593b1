package rw_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/rw"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/storetest"
)

func openSQLite(t testing.TB, path string) *sqlite.Executor {
	t.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

// passedOn are topics of what rw hands to its write side, whatever that is, or
// returns as a side has it: one whole run of the contract is enough for them.
func passedOn() []string {
	return []string{
		"Snapshots", "Records", "Names", "Payloads", "Timestamps",
		"Pages", "Filters", "Routing", "Places", "Iteration", "Import",
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	twoOfOneFile := storetest.Config(func(t testing.TB) string { return filepath.Join(t.TempDir(), "events.db") },
		func(t testing.TB, path string) evento.Executor {
			return rw.New(openSQLite(t, path), openSQLite(t, path))
		})
	twoOfOneFile.Transactor, twoOfOneFile.OneWriter = true, true
	twoOfOneFile.Without = passedOn()
	twoOfOneFile.Spoil = storetest.SQLiteSpoil(func(ctx context.Context, text string) error {
		_, err := sqlite.Tx(ctx).ExecContext(ctx, text)
		return err
	})
	for name, config := range map[string]executortest.Config{
		"TwoOfOneFile": twoOfOneFile,
		// This is the whole run.
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
