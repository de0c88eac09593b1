package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
)

// definitions are those of the columns, indexes, constraints and views of a
// schema.
func definitions(t *testing.T, schema string) []string {
	t.Helper()
	rows, err := connect(t).Query(t.Context(), `
		SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = $1
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = $1
		UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = $1::regnamespace
		UNION ALL SELECT viewname || ' ' || definition FROM pg_views WHERE schemaname = $1
		UNION ALL SELECT tgrelid::regclass || ' ' || pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = $1::regnamespace AND NOT tgisinternal`, schema)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], schema, "SCHEMA")
	}
	slices.Sort(all)
	return all
}

// The exported files, applied as the comment of Migrations says, make what Open
// makes.
func TestMigrationsByHand(t *testing.T) {
	t.Parallel()
	byHand, byOpen := newSchema(t), newSchema(t)
	entries, err := fs.ReadDir(postgres.Migrations(), ".")
	if err != nil || len(entries) == 0 {
		t.Fatalf("Migrations() has %d files, %v", len(entries), err)
	}
	admin := connect(t)
	exec(t, admin, "CREATE SCHEMA "+byHand)
	for i, e := range entries {
		if !strings.HasPrefix(e.Name(), fmt.Sprintf("%04d_", i+1)) || !strings.HasSuffix(e.Name(), ".sql") {
			t.Errorf("file %d is %s", i+1, e.Name())
		}
		text, err := fs.ReadFile(postgres.Migrations(), e.Name())
		if err != nil {
			t.Fatal(err)
		}
		exec(t, admin, strings.ReplaceAll(fmt.Sprintf(`BEGIN;
			%s;
			CREATE TABLE IF NOT EXISTS SCHEMA.migration (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
			INSERT INTO SCHEMA.migration VALUES (%d);
			COMMIT`, text, i+1), "SCHEMA", pgx.Identifier{byHand}.Sanitize()))
	}
	if err := postgres.Migrate(t.Context(), newPool(t), &postgres.Options{Schema: byHand}); err != nil {
		t.Errorf("Migrate() after all = %v", err)
	}
	ex, err := postgres.New(t.Context(), newPool(t), &postgres.Options{Schema: byHand, NoMigrate: true})
	if err != nil {
		t.Fatalf("New() with NoMigrate = %v", err)
	}
	commit(t, ex, 1)
	if got := numbers(t, ex); got[1] != 1 {
		t.Errorf("stored %v, want the event", got)
	}
	closeAll(t, ex, openSchema(t, byOpen))
	if got, want := definitions(t, byHand), definitions(t, byOpen); !slices.Equal(got, want) {
		t.Errorf("by hand:\n%s\n\nby Open:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Migrate makes what Open with NoMigrate needs, and does nothing the second
// time; a newer store is refused by all that could spoil it.
func TestMigrate(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	pool := newPool(t)
	opts := &postgres.Options{Schema: schema, NoMigrate: true}
	if _, err := postgres.New(t.Context(), pool, opts); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("New() with NoMigrate before Migrate = %v, want %v", err, evento.ErrInvalid)
	}
	for range 2 {
		if err := postgres.Migrate(t.Context(), pool, opts); err != nil {
			t.Fatalf("Migrate() = %v", err)
		}
	}
	ex, err := postgres.New(t.Context(), pool, opts)
	if err != nil {
		t.Fatalf("New() after Migrate = %v", err)
	}
	closeAll(t, ex)

	exec(t, connect(t), "INSERT INTO "+schema+".migration VALUES (9000)")
	before := definitions(t, schema)
	if err := postgres.Migrate(t.Context(), pool, opts); !errors.Is(err, evento.ErrNewerStore) {
		t.Errorf("Migrate() of a newer store = %v, want %v", err, evento.ErrNewerStore)
	}
	for _, opts := range []*postgres.Options{{Schema: schema}, {Schema: schema, NoMigrate: true}} {
		if _, err := postgres.New(t.Context(), pool, opts); !errors.Is(err, evento.ErrNewerStore) {
			t.Errorf("New(%+v) of a newer store = %v, want %v", opts, err, evento.ErrNewerStore)
		}
	}
	if after := definitions(t, schema); !slices.Equal(before, after) {
		t.Errorf("refusing changed the store from\n%s\n\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestMigrateNil(t *testing.T) {
	t.Parallel()
	if err := postgres.Migrate(t.Context(), nil, nil); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Migrate(nil) = %v, want %v", err, evento.ErrInvalid)
	}
}

// Opening from many sides at once makes one store.
func TestConcurrentOpen(t *testing.T) {
	t.Parallel()
	const openers = 8
	schema := newSchema(t)
	opened := make(chan *postgres.Executor, openers)
	for range openers {
		pool := newPool(t)
		go func() {
			ex, err := postgres.New(context.Background(), pool, &postgres.Options{Schema: schema})
			if err != nil {
				t.Errorf("New() = %v", err)
			}
			opened <- ex
		}()
	}
	var all []*postgres.Executor
	for range openers {
		if ex := <-opened; ex != nil {
			all = append(all, ex)
		}
	}
	for i, ex := range all {
		commit(t, ex, i)
	}
	var at cursor.Value
	for i, ex := range all {
		// A cursor of one is one of all: they have the same identity.
		page, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, at))
		if err != nil || len(page.Edges) != 1 || page.Edges[0].Node.Position != uint64(i+1) {
			t.Fatalf("opener %d: Read() = %+v, %v, want position %d", i, page, err, i+1)
		}
		at = page.PageInfo.EndCursor
		closeAll(t, ex)
	}
}
