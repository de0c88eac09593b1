package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

// definitions are those of the columns, indexes and views of a database.
func definitions(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `
		SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, column_default, extra) FROM information_schema.columns WHERE table_schema = DATABASE()
		UNION ALL SELECT CONCAT_WS(' ', table_name, index_name, seq_in_index, column_name, non_unique) FROM information_schema.statistics WHERE table_schema = DATABASE()
		UNION ALL SELECT CONCAT_WS(' ', table_name, REPLACE(view_definition, DATABASE(), 'DB')) FROM information_schema.views WHERE table_schema = DATABASE()
		UNION ALL SELECT CONCAT_WS(' ', table_name, engine) FROM information_schema.tables WHERE table_schema = DATABASE()`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// The exported files, applied as the comment of Migrations says, make what Open
// makes.
func TestMigrationsByHand(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	db := raw(t, dsn+"?multiStatements=true")
	entries, err := fs.ReadDir(mysql.Migrations(), ".")
	if err != nil || len(entries) == 0 {
		t.Fatalf("Migrations() has %d files, %v", len(entries), err)
	}
	for i, e := range entries {
		if !strings.HasPrefix(e.Name(), fmt.Sprintf("%04d_", i+1)) || !strings.HasSuffix(e.Name(), ".sql") {
			t.Errorf("file %d is %s", i+1, e.Name())
		}
		text, err := fs.ReadFile(mysql.Migrations(), e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			string(text),
			"CREATE TABLE IF NOT EXISTS evento_migration (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL) ENGINE=InnoDB",
			fmt.Sprintf("INSERT INTO evento_migration VALUES (%d, UNIX_TIMESTAMP())", i+1),
		} {
			if _, err := db.ExecContext(t.Context(), text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
	}
	if err := mysql.Migrate(t.Context(), db); err != nil {
		t.Errorf("Migrate() after all = %v", err)
	}
	ex, err := mysql.Open(t.Context(), dsn, &mysql.Options{NoMigrate: true})
	if err != nil {
		t.Fatalf("Open() with NoMigrate = %v", err)
	}
	if _, err := evento.Create().Event(happened{1}).Commit(t.Context(), ex); err != nil {
		t.Error(err)
	}
	onward(t, ex, "", 1)
	byOpen := testserver.MySQL(t)
	if err := errors.Join(ex.Close(), openDSN(t, byOpen).Close()); err != nil {
		t.Error(err)
	}
	if got, want := definitions(t, db), definitions(t, raw(t, byOpen)); !slices.Equal(got, want) {
		t.Errorf("by hand:\n%s\n\nby Open:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A newer store is refused by all that could spoil it.
func TestMigrateNewer(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	db := raw(t, dsn)
	if err := mysql.Migrate(t.Context(), db); err != nil {
		t.Fatalf("Migrate() = %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO evento_migration VALUES (9000, 0)"); err != nil {
		t.Fatal(err)
	}
	before := definitions(t, db)
	if err := mysql.Migrate(t.Context(), db); !errors.Is(err, evento.ErrNewerStore) {
		t.Errorf("Migrate() = %v, want %v", err, evento.ErrNewerStore)
	}
	for _, opts := range []*mysql.Options{nil, {NoMigrate: true}} {
		if _, err := mysql.Open(t.Context(), dsn, opts); !errors.Is(err, evento.ErrNewerStore) {
			t.Errorf("Open(%+v) = %v, want %v", opts, err, evento.ErrNewerStore)
		}
	}
	if after := definitions(t, db); !slices.Equal(before, after) {
		t.Errorf("refusing changed the store from\n%s\n\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestMigrateNil(t *testing.T) {
	t.Parallel()
	if err := mysql.Migrate(t.Context(), nil); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Migrate(nil) = %v, want %v", err, evento.ErrInvalid)
	}
}

// Opening from many sides at once makes one store.
func TestConcurrentOpen(t *testing.T) {
	t.Parallel()
	const openers = 8
	dsn := testserver.MySQL(t)
	opened := make(chan evento.Executor, openers)
	for range openers {
		go func() {
			ex, err := mysql.Open(context.Background(), dsn, nil)
			if err != nil {
				t.Errorf("Open() = %v", err)
				opened <- nil
				return
			}
			opened <- ex
		}()
	}
	var all []evento.Executor
	for range openers {
		if ex := <-opened; ex != nil {
			all = append(all, ex)
		}
	}
	for i, ex := range all {
		if _, err := evento.Create().Event(happened{i}).Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	var at cursor.Value
	for i, ex := range all {
		// A cursor of one is one of all: they have the same identity.
		page, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, at))
		if err != nil || len(page.Edges) != 1 || page.Edges[0].Node.Position != uint64(i+1) {
			t.Fatalf("opener %d: Read() = %+v, %v, want position %d", i, page, err, i+1)
		}
		at = page.PageInfo.EndCursor
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}
}
