package pebble_test

import (
	"context"
	"testing"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/storetest"
)

// contract is for executors on stores of their own, which take only one.
func contract[P any](place func(t testing.TB) P, open func(t testing.TB, at P) evento.Executor) executortest.Config {
	c := storetest.Config(place, open)
	c.Share = nil
	return c
}

func openDir(t testing.TB, dir string) evento.Executor {
	t.Helper()
	ex, err := pebble.Open(context.Background(), dir, nil)
	if err != nil {
		t.Fatalf("Open(%q) = %v", dir, err)
	}
	return ex
}

func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, contract(func(t testing.TB) string { return t.TempDir() }, openDir))
}

// The same on databases of the caller, which hold other stores beside.
func TestContractOfNew(t *testing.T) {
	t.Parallel()
	executortest.Test(t, contract(func(t testing.TB) *lsm.DB { return openDB(t, vfs.NewMem()) },
		func(t testing.TB, db *lsm.DB) evento.Executor {
			t.Helper()
			ex, err := pebble.New(context.Background(), db, &pebble.Options{Prefix: "one\x00"})
			if err != nil {
				t.Fatalf("New() = %v", err)
			}
			other, err := pebble.New(context.Background(), db, &pebble.Options{Prefix: "on\x00e"})
			if err != nil {
				t.Fatalf("New() beside = %v", err)
			}
			if _, err := evento.Create().Event(happened{1}).Commit(context.Background(), other); err != nil {
				t.Fatalf("Commit() beside = %v", err)
			}
			if err := other.Close(); err != nil {
				t.Fatalf("Close() beside = %v", err)
			}
			return ex
		}))
}

// openDB is a database of the caller, closed after its executors.
func openDB(t testing.TB, fs vfs.FS) *lsm.DB {
	t.Helper()
	db, err := lsm.Open("db", &lsm.Options{FS: fs, Logger: quiet{}})
	if err != nil {
		t.Fatalf("opening the database: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the database: %v", err)
		}
	})
	return db
}

// quiet is a logger for Pebble.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(f string, args ...any) {
	panic(f)
}

func BenchmarkExecutor(b *testing.B) {
	executortest.Benchmark(b, contract(func(t testing.TB) string { return t.TempDir() }, openDir))
}
