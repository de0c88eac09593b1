package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
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
	c.Spoil = map[string]func(context.Context) error{
		"an error passed over": func(ctx context.Context) error {
			if _, err := postgres.Tx(ctx).Exec(ctx, "SELECT 1/0"); err == nil {
				return errors.New("1/0 is no error")
			}
			return nil
		},
		"rows left open": func(ctx context.Context) error {
			_, err := postgres.Tx(ctx).Query(ctx, "SELECT generate_series(1, 100)") //nolint:sqlclosecheck // the mistake
			return err
		},
		"a deferred unique constraint": spoilBy(
			"CREATE TEMP TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP",
			"INSERT INTO once VALUES (1), (1)"),
		"a deferred foreign key": spoilBy(
			"CREATE TEMP TABLE parent (n int PRIMARY KEY) ON COMMIT DROP",
			"CREATE TEMP TABLE child (n int REFERENCES parent DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP",
			"INSERT INTO child VALUES (1)"),
		// As a trigger raises them they say nothing of the store.
		"a deferred trigger":                       spoilByTrigger("P0001"),
		"a deferred trigger that divides by zero":  spoilByTrigger("22012"),
		"a deferred trigger with a shutdown":       spoilByTrigger("57P01"),
		"a deferred trigger with a cancellation":   spoilByTrigger("57014"),
		"a deferred trigger with a full disk":      spoilByTrigger("53100"),
		"a deferred trigger in a read-only store":  spoilByTrigger("25006"),
		"a deferred trigger with an unknown state": spoilByTrigger("08007"),
	}
	return c
}

// spoilBy spoils a transaction by statements.
func spoilBy(texts ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, text := range texts {
			if _, err := postgres.Tx(ctx).Exec(ctx, text); err != nil {
				return err
			}
		}
		return nil
	}
}

// spoilByTrigger raises an error at the commit.
func spoilByTrigger(code string) func(context.Context) error {
	return spoilBy(
		"CREATE TEMP TABLE watched (n int) ON COMMIT DROP",
		"CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '"+code+"'; END $$",
		"CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON watched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()",
		"INSERT INTO watched VALUES (1)")
}

func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, contractAt(testserver.Postgres(t)))
}

// A URL may say the schema, as the command's does.
func TestSchemaOfURL(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	schema, another := newSchema(t), newSchema(t)
	ex := openSchema(t, schema)
	defer func() { _ = ex.Close() }()
	commit(t, ex, 1)
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	words := fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable schema=%s", cfg.Host, cfg.Port, cfg.User, cfg.Database, schema)
	for text, opts := range map[string]*postgres.Options{
		url + "&schema=" + schema:                         nil,
		url + "&schema=":                                  {Schema: schema},
		url + "&schema=" + schema + "&application_name=x": {Schema: schema},
		words: {NoNotify: true},
	} {
		same, err := postgres.Open(t.Context(), text, opts)
		if err != nil {
			t.Errorf("Open(%s) = %v", text, err)
			continue
		}
		if p, err := same.Read(t.Context(), evento.Query{}, cursor.Forward(10, "")); err != nil || len(p.Edges) != 1 {
			t.Errorf("Open(%s) shows %+v, %v, want the event of the schema", text, p, err)
		}
		if err := same.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err = postgres.Open(t.Context(), url+"&schema="+schema, &postgres.Options{Schema: another})
	if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), another) {
		t.Errorf("Open() with two schemas = %v, want %v", err, evento.ErrInvalid)
	}
}

func BenchmarkExecutor(b *testing.B) {
	executortest.Benchmark(b, contractAt(testserver.Postgres(b)))
}
