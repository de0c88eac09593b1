package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/sqlite"
)

// files knows the file of each executor that the contract suite has open.
type files struct {
	paths sync.Map // path by executor
	open  func(t testing.TB, path string) evento.Executor
}

func (f *files) config() executortest.Config {
	at := func(t testing.TB, path string) evento.Executor {
		t.Helper()
		ex := f.open(t, path)
		f.paths.Store(ex, path)
		return ex
	}
	path := func(t testing.TB, ex evento.Executor) string {
		t.Helper()
		p, ok := f.paths.Load(ex)
		if !ok {
			t.Fatal("an executor that was not opened here")
		}
		return p.(string)
	}
	return executortest.Config{
		Transactor: true,
		OneWriter:  true,
		Open: func(t testing.TB) evento.Executor {
			return at(t, filepath.Join(t.TempDir(), "events.db"))
		},
		Reopen: func(t testing.TB, ex evento.Executor) evento.Executor {
			if err := ex.Close(); err != nil {
				t.Fatalf("Close() = %v", err)
			}
			return at(t, path(t, ex))
		},
		Share: func(t testing.TB, ex evento.Executor) evento.Executor {
			return at(t, path(t, ex))
		},
	}
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
	executortest.Test(t, (&files{open: openFile}).config())
}

// The same on connections of a caller's database/sql handle.
func TestContractOfNew(t *testing.T) {
	t.Parallel()
	executortest.Test(t, (&files{open: func(t testing.TB, path string) evento.Executor {
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
	}}).config())
}

func BenchmarkExecutor(b *testing.B) {
	executortest.Benchmark(b, (&files{open: openFile}).config())
}
