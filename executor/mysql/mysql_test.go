package mysql_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// contract is for executors on databases of their own.
func contract(open func(t testing.TB, dsn string) evento.Executor) executortest.Config {
	c := storetest.Config(testserver.MySQL, open)
	c.Transactor = true
	c.Spoil = map[string]func(context.Context) error{
		"a rollback statement":                             spoilBy("ROLLBACK"),
		"a rollback, and a transaction after it":           spoilBy("ROLLBACK", "BEGIN"),
		"a rollback, and a read-only transaction after it": spoilBy("ROLLBACK", "START TRANSACTION READ ONLY"),
	}
	return c
}

// spoilBy spoils a transaction by statements.
func spoilBy(texts ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, text := range texts {
			if _, err := mysql.Tx(ctx).ExecContext(ctx, text); err != nil {
				return err
			}
		}
		return nil
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
	executortest.Test(t, contract(openDSN))
}

// The same on connections of a caller's handle, whose settings are unlike.
func TestContractOfNew(t *testing.T) {
	t.Parallel()
	if testserver.MySQL(t) == "" {
		return
	}
	executortest.Test(t, contract(func(t testing.TB, dsn string) evento.Executor {
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
	}))
}

func BenchmarkExecutor(b *testing.B) {
	if testserver.MySQL(b) == "" {
		return
	}
	executortest.Benchmark(b, contract(openDSN))
}
