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
	root := raw(t, dsn)
	executed(t, root, "CREATE USER "+user)
	t.Cleanup(func() { executed(t, root, "DROP USER "+user) })
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
	root := raw(t, dsn)
	executed(t, root, fmt.Sprintf("GRANT SELECT, INSERT ON %s.* TO %s", cfg.DBName, user))
	for _, table := range tablesOf(t, root) {
		if !slices.Contains([]string{"evento_event", "evento_tag"}, table) {
			executed(t, root, fmt.Sprintf("GRANT UPDATE ON %s.%s TO %s", cfg.DBName, table, user))
		}
	}
	for _, table := range []string{"evento_record", "evento_snapshot"} {
		executed(t, root, fmt.Sprintf("GRANT DELETE ON %s.%s TO %s", cfg.DBName, table, user))
	}
	cfg.User = user
	return cfg.FormatDSN()
}

func tablesOf(t testing.TB, db *sql.DB) []string {
	t.Helper()
	var names string
	if err := db.QueryRowContext(t.Context(), "SELECT GROUP_CONCAT(table_name) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'").Scan(&names); err != nil {
		t.Fatal(err)
	}
	return strings.Split(names, ",")
}

func executed(t testing.TB, db *sql.DB, text string) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), text); err != nil { // a test's context has ended when it cleans up
		t.Errorf("%s: %v", text, err)
	}
}
