package mysql_test

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	in, err := mysql.Inspect(dsn)
	if err != nil {
		t.Fatalf("Inspect() = %v", err)
	}
	storetest.Judge(t, in, "innodb_flush_log", "", "1")
	storetest.Judge(t, in, "innodb_flush_log", "commit is 2", "2")
	storetest.Judge(t, in, "sync_binlog", "", "1", "1")
	storetest.Judge(t, in, "sync_binlog", "", "0", "0") // there is no binary log
	storetest.Judge(t, in, "sync_binlog", "sync_binlog is 0", "0", "1")
	storetest.Judge(t, in, "doublewrite", "", "ON")
	storetest.Judge(t, in, "doublewrite", "", "1")
	storetest.Judge(t, in, "doublewrite", "doublewrite is off", "OFF")
	storetest.Inspector(t, in, "evento_", func() evento.Executor { return openDSN(t, dsn) })
}

// No error shows a password, though the driver's has it: it takes what is before
// the slash for the name of a network.
func TestDSN(t *testing.T) {
	t.Parallel()
	if user, address, database, err := mysql.ParseDSN("u:secret@tcp(h)/d"); user != "u" || address != "h:3306" || database != "d" || err != nil {
		t.Errorf("ParseDSN() = %q, %q, %q, %v", user, address, database, err)
	}
	for _, dsn := range []string{"u:secret/d", "u:secret@tcp(h/d", "u:secret@h/d?parseTime=secret", "secret"} {
		_, _, _, err := mysql.ParseDSN(dsn)
		_, errInspect := mysql.Inspect(dsn)
		_, errOpen := mysql.Open(t.Context(), dsn, nil)
		for _, err := range []error{err, errInspect, errOpen} {
			if !errors.Is(err, evento.ErrInvalid) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v, want %v without the password", dsn, err, evento.ErrInvalid)
			}
		}
	}
}

func TestViewShowsEventIDs(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	storetest.EventIDs(t, raw(t, dsn), "evento_events", openDSN(t, dsn))
}

var update = flag.Bool("update", false, "record the schema anew")

// What evento doctor compares a store with is what the migrations make.
func TestSchemaIsRecorded(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if err := openDSN(t, dsn).Close(); err != nil {
		t.Fatal(err)
	}
	in, err := mysql.Inspect(dsn)
	if err != nil {
		t.Fatalf("Inspect() = %v", err)
	}
	storetest.Recorded(t, in, "schema.txt", *update)
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}
