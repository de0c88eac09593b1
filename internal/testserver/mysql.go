package testserver

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
)

// MySQL returns the DSN of a new, empty database on the server that
// EVENTO_TEST_MYSQL names, which is dropped when the test ends. It returns ""
// when there is no such server: a test then does nothing, which is said once
// and, where CI=true is set, is a failure.
func MySQL(t testing.TB) string {
	t.Helper()
	server := os.Getenv("EVENTO_TEST_MYSQL")
	if server == "" {
		leftOut(t, "EVENTO_TEST_MYSQL", "root@tcp(127.0.0.1:3306)/")
		return ""
	}
	cfg, err := mysql.ParseDSN(server)
	if err != nil {
		t.Fatalf("EVENTO_TEST_MYSQL: %v", err)
	}
	name := "evento_test_" + strings.ToLower(evento.NewID().String())
	statement(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { statement(t, server, "DROP DATABASE "+name) })
	cfg.DBName = name
	return cfg.FormatDSN()
}

func statement(t testing.TB, dsn, text string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	// Not the test's context, which has ended when it cleans up.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = db.ExecContext(ctx, text)
	if e := db.Close(); err == nil {
		err = e
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// leftOut says loudly that a test does nothing for want of a server.
func leftOut(t testing.TB, variable, example string) {
	t.Helper()
	text := fmt.Sprintf("LEFT OUT: %s needs a server: set %s to its address, such as %s", t.Name(), variable, example)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	fmt.Fprintln(os.Stderr, text)
}
