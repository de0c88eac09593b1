package testserver

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
)

// MySQL returns the DSN of a new, empty database on the server that
// EVENTO_TEST_MYSQL names, which is dropped when the test ends. Without a
// server the test is left out.
func MySQL(t testing.TB) string {
	t.Helper()
	server := shared(t, "EVENTO_TEST_MYSQL", "root@tcp(127.0.0.1:3306)/")
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, err = db.ExecContext(ctx, text)
	if e := db.Close(); err == nil {
		err = e
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
