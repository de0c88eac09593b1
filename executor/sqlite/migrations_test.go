package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

// openDB opens a file as an application would.
func openDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func execDB(t *testing.T, db *sql.DB, text string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// definitions are those of everything in a file.
func definitions(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT name || ': ' || coalesce(sql, '') FROM sqlite_schema")
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
	dir := t.TempDir()
	byHand, byOpen := filepath.Join(dir, "hand.db"), filepath.Join(dir, "open.db")
	db := openDB(t, byHand)
	entries, err := fs.ReadDir(sqlite.Migrations(), ".")
	if err != nil || len(entries) == 0 {
		t.Fatalf("Migrations() has %d files, %v", len(entries), err)
	}
	for i, e := range entries {
		if !strings.HasPrefix(e.Name(), fmt.Sprintf("%04d_", i+1)) || !strings.HasSuffix(e.Name(), ".sql") {
			t.Errorf("file %d is %s", i+1, e.Name())
		}
		text, err := fs.ReadFile(sqlite.Migrations(), e.Name())
		if err != nil {
			t.Fatal(err)
		}
		execDB(t, db, "BEGIN; "+string(text)+`;
			CREATE TABLE IF NOT EXISTS evento_migration (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;
			INSERT INTO evento_migration VALUES (`+fmt.Sprint(i+1)+`, unixepoch()); COMMIT`)
	}
	if err := sqlite.Migrate(t.Context(), db); err != nil {
		t.Errorf("Migrate() after all = %v", err)
	}
	ex, err := sqlite.Open(t.Context(), byHand, &sqlite.Options{NoMigrate: true})
	if err != nil {
		t.Fatalf("Open() with NoMigrate = %v", err)
	}
	commit(t, ex, 1)
	if n := count(t, ex); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	closeAll(t, ex, openFile(t, byOpen))
	if got, want := definitions(t, db), definitions(t, openDB(t, byOpen)); !slices.Equal(got, want) {
		t.Errorf("by hand:\n%s\n\nby Open:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A newer store is refused by all that could spoil it.
func TestMigrateNewer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	closeAll(t, openFile(t, path))
	db := openDB(t, path)
	execDB(t, db, "INSERT INTO evento_migration VALUES (9000, 0)")
	before := definitions(t, db)
	if err := sqlite.Migrate(t.Context(), db); !errors.Is(err, evento.ErrNewerStore) {
		t.Errorf("Migrate() = %v, want %v", err, evento.ErrNewerStore)
	}
	for _, opts := range []*sqlite.Options{nil, {NoMigrate: true}} {
		if _, err := sqlite.Open(t.Context(), path, opts); !errors.Is(err, evento.ErrNewerStore) {
			t.Errorf("Open(%+v) = %v, want %v", opts, err, evento.ErrNewerStore)
		}
	}
	if after := definitions(t, db); !slices.Equal(before, after) {
		t.Errorf("refusing changed the file from\n%s\n\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestMigrateNil(t *testing.T) {
	t.Parallel()
	if err := sqlite.Migrate(t.Context(), nil); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Migrate(nil) = %v, want %v", err, evento.ErrInvalid)
	}
}
