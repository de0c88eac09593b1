package mysql_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

// databases knows that of each executor that the contract suite has open.
type databases struct {
	dsns sync.Map // by executor
	open func(t testing.TB, dsn string) evento.Executor
}

func (d *databases) config() executortest.Config {
	at := func(t testing.TB, dsn string) evento.Executor {
		t.Helper()
		ex := d.open(t, dsn)
		d.dsns.Store(ex, dsn)
		return ex
	}
	dsn := func(t testing.TB, ex evento.Executor) string {
		t.Helper()
		v, ok := d.dsns.Load(ex)
		if !ok {
			t.Fatal("an executor that was not opened here")
		}
		return v.(string)
	}
	return executortest.Config{
		Transactor: true,
		Open: func(t testing.TB) evento.Executor {
			return at(t, testserver.MySQL(t))
		},
		Reopen: func(t testing.TB, ex evento.Executor) evento.Executor {
			if err := ex.Close(); err != nil {
				t.Fatalf("Close() = %v", err)
			}
			return at(t, dsn(t, ex))
		},
		Share: func(t testing.TB, ex evento.Executor) evento.Executor {
			return at(t, dsn(t, ex))
		},
	}
}

func openDSN(t testing.TB, dsn string) evento.Executor {
	t.Helper()
	ex, err := mysql.Open(context.Background(), dsn, nil)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	return ex
}

func TestContract(t *testing.T) {
	t.Parallel()
	if testserver.MySQL(t) == "" {
		return
	}
	executortest.Test(t, (&databases{open: openDSN}).config())
}

// The same on connections of a caller's handle, whose settings are unlike.
func TestContractOfNew(t *testing.T) {
	t.Parallel()
	if testserver.MySQL(t) == "" {
		return
	}
	executortest.Test(t, (&databases{open: func(t testing.TB, dsn string) evento.Executor {
		t.Helper()
		db, err := sql.Open("mysql", dsn+"?interpolateParams=true&parseTime=true&clientFoundRows=true&charset=latin1&sql_mode=''&time_zone='-05:00'")
		if err != nil {
			t.Fatal(err)
		}
		ex, err := mysql.New(context.Background(), db, &mysql.Options{Connections: 3})
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
	if testserver.MySQL(b) == "" {
		return
	}
	executortest.Benchmark(b, (&databases{open: openDSN}).config())
}
