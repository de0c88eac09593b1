package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

func TestMain(m *testing.M) {
	if schema := os.Getenv(childSchema); schema != "" {
		if err := child(schema); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	testserver.Run(m)
}

// newPool opens a small pool on the test server.
func newPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return poolAt(t, testserver.Postgres(t))
}

func poolAt(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 6
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// newSchema names a schema of the test's own and drops it at the end.
func newSchema(t testing.TB) string {
	t.Helper()
	url := testserver.Postgres(t)
	schema := "test_" + strings.ToLower(rand.Text())
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := conn.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+schema+" CASCADE"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return schema
}

func openSchema(t testing.TB, schema string) *postgres.Executor {
	t.Helper()
	ex, err := postgres.New(context.Background(), newPool(t), &postgres.Options{Schema: schema})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return ex
}

// contractAt is for the server at a URL.
func contractAt(url string) executortest.Config {
	c := storetest.Config(newSchema, func(t testing.TB, schema string) evento.Executor {
		t.Helper()
		ex, err := postgres.New(context.Background(), poolAt(t, url), &postgres.Options{Schema: schema})
		if err != nil {
			t.Fatalf("New() = %v", err)
		}
		return ex
	})
	c.Transactor = true
	return c
}

func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, contractAt(testserver.Postgres(t)))
}

func BenchmarkExecutor(b *testing.B) {
	executortest.Benchmark(b, contractAt(testserver.Postgres(b)))
}
