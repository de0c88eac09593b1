package mysql_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

func raw(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
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

// kill ends all connections to the database but its own.
func kill(t *testing.T, db *sql.DB) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		// One that has just ended is no matter.
		_, _ = db.ExecContext(t.Context(), fmt.Sprint("KILL ", id))
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"", "nonsense", "root:secret@tcp(localhost)/", "root:secret@tcp(localhost)/x?timeout=never"} {
		_, err := mysql.Open(t.Context(), dsn, nil)
		if !errors.Is(err, evento.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v, want %v", dsn, err, evento.ErrInvalid)
		}
	}
	if _, err := mysql.New(t.Context(), nil, nil); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("New(nil) = %v, want %v", err, evento.ErrInvalid)
	}
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*driver.Config){
		func(c *driver.Config) { c.User, c.Passwd = "evento_nobody", "secret" },
		func(c *driver.Config) { c.DBName, c.Passwd = "evento_nowhere", "secret" },
	} {
		wrong := cfg.Clone()
		change(wrong)
		if _, err := mysql.Open(t.Context(), wrong.FormatDSN(), nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%s at %s) = %v, want an error without the password", wrong.User, wrong.DBName, err)
		}
	}
	if _, err := mysql.Open(t.Context(), dsn, &mysql.Options{NoMigrate: true}); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Open with NoMigrate of an empty database = %v, want %v", err, evento.ErrInvalid)
	}
	db := raw(t, dsn)
	if err := mysql.Migrate(t.Context(), db); err != nil {
		t.Fatalf("Migrate() = %v", err)
	}
	if err := mysql.Migrate(t.Context(), db); err != nil {
		t.Fatalf("Migrate() again = %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "SELECT * FROM evento_events"); err != nil {
		t.Errorf("the view: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO evento_migration VALUES (9999, 0)"); err != nil {
		t.Fatal(err)
	}
	if _, err := mysql.Open(t.Context(), dsn, nil); !errors.Is(err, evento.ErrNewerStore) {
		t.Errorf("Open of a newer store = %v, want %v", err, evento.ErrNewerStore)
	}
}
