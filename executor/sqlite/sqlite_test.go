package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/storetest"
)

// contract is for executors on files of their own.
func contract(open func(t testing.TB, path string) evento.Executor) executortest.Config {
	c := storetest.Config(func(t testing.TB) string { return filepath.Join(t.TempDir(), "events.db") }, open)
	c.Transactor, c.OneWriter, c.Spoil = true, true, storetest.SQLiteSpoil(enter)
	return c
}

func openFile(t testing.TB, path string) evento.Executor {
	t.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil)
	if err != nil {
		t.Fatalf("Open(%q) = %v", path, err)
	}
	return ex
}

func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, contract(openFile))
}

// The same on connections of a caller's database/sql handle.
func TestContractOfNew(t *testing.T) {
	t.Parallel()
	executortest.Test(t, contract(func(t testing.TB, path string) evento.Executor {
		t.Helper()
		db, err := sql.Open("sqlite3", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		ex, err := sqlite.New(context.Background(), db, &sqlite.Options{Readers: 3})
		if err != nil {
			t.Fatalf("New() = %v", err)
		}
		t.Cleanup(func() {
			if err := ex.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
			if err := db.Close(); err != nil {
				t.Errorf("closing the database: %v", err)
			}
		})
		return ex
	}))
}

func BenchmarkExecutor(b *testing.B) {
	executortest.Benchmark(b, contract(openFile))
}
