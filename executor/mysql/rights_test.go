package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// An application with the rights of docs/production.md can do everything that writes.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	user := "app_" + strings.ToLower(evento.NewID().String()[10:])
	asRoot(t, dsn, "CREATE USER "+user)
	t.Cleanup(func() { asRoot(t, dsn, "DROP USER "+user) })
	c := storetest.Config(
		func(t testing.TB) string {
			dsn := testserver.MySQL(t)
			if err := openDSN(t, dsn).Close(); err != nil {
				t.Fatal(err)
			}
			return granted(t, dsn, user)
		},
		func(t testing.TB, dsn string) evento.Executor {
			ex, err := mysql.Open(context.Background(), dsn, &mysql.Options{NoMigrate: true})
			if err != nil {
				t.Fatalf("Open() = %v", err)
			}
			return ex
		})
	c.Transactor = true
	executortest.Test(t, storetest.Rights(c))
}

// granted gives a user the rights, and returns the DSN for it.
func granted(t testing.TB, dsn, user string) string {
	t.Helper()
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{fmt.Sprintf("GRANT SELECT, INSERT ON %s.* TO %s", cfg.DBName, user)}
	for _, table := range tablesOf(t, dsn) {
		if !slices.Contains([]string{"evento_event", "evento_tag"}, table) {
			texts = append(texts, fmt.Sprintf("GRANT UPDATE ON %s.%s TO %s", cfg.DBName, table, user))
		}
	}
	for _, table := range []string{"evento_record", "evento_snapshot"} {
		texts = append(texts, fmt.Sprintf("GRANT DELETE ON %s.%s TO %s", cfg.DBName, table, user))
	}
	asRoot(t, dsn, texts...)
	cfg.User = user
	return cfg.FormatDSN()
}

func tablesOf(t testing.TB, dsn string) (tables []string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryContext(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	return tables
}

// asRoot executes statements as the user that the tests have.
func asRoot(t testing.TB, dsn string, texts ...string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if _, err := db.ExecContext(context.Background(), text); err != nil { // that of a test has ended when it cleans up
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
