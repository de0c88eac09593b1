package postgres_test

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// Whatever URL Open takes can be inspected, with the settings of a pool too.
func TestInspect(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	in, err := postgres.Inspect(testserver.Postgres(t)+"&pool_max_conns=4", schema)
	if err != nil {
		t.Fatalf("Inspect() = %v", err)
	}
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		storetest.Judge(t, in, setting, "", "on")
		storetest.Judge(t, in, setting, setting+" is off", "off")
	}
	storetest.Judge(t, in, `FROM "`+schema+`".counter`, "is missing", "0")
	storetest.Judge(t, in, "SELECT position", "", "3", "3")
	storetest.Judge(t, in, "SELECT position", "at 3 and the last event at 4", "3", "4")
	storetest.Inspector(t, in, schema+".", func() evento.Executor { return openSchema(t, schema) })
}

func TestInspectErrors(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:sec%22ret@h/d?sslmode=never", "postgres://u:sec%ret@h/d", "user=u password=secret port=x"} {
		if _, err := postgres.Inspect(url, ""); err == nil || strings.Contains(err.Error(), "sec") {
			t.Errorf("Inspect(%q) = %v, want an error without the password", url, err)
		}
	}
	if _, err := postgres.Inspect("postgres://h/d", strings.Repeat("s", 64)); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Inspect() of a long schema = %v, want %v", err, evento.ErrInvalid)
	}
}

func TestViewShowsEventIDs(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex := openSchema(t, schema)
	config, err := pgx.ParseConfig(testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*config)
	storetest.EventIDs(t, db, schema+".events", ex)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	closeAll(t, ex)
}

var update = flag.Bool("update", false, "record the schema anew")

// What evento doctor compares a store with is what the migrations make.
func TestSchemaIsRecorded(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	closeAll(t, openSchema(t, schema))
	in, err := postgres.Inspect(testserver.Postgres(t), schema)
	if err != nil {
		t.Fatalf("Inspect() = %v", err)
	}
	storetest.Recorded(t, in, "schema.txt", *update)
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}
