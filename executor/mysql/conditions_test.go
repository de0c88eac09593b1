package mysql_test

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// What the server has lost in a crash, as it was seen before it was durable, is no reason
// to accept or to refuse a write.
func TestConditionsAfterCrash(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	ex, before := openDSN(t, dsn), openDSN(t, dsn)
	write := func(ex evento.Executor, id string, unless ...evento.Condition) (uint64, error) {
		receipts, err := ex.Write(t.Context(), evento.Write{Unless: unless, Appends: []evento.Append{{
			AggregateType: thing, AggregateID: id, AnyVersion: true, Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Happened", Codec: "cbor"}},
		}}})
		if err != nil {
			return 0, err
		}
		return receipts[0].Position, nil
	}
	must := func(position uint64, err error) uint64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return position
	}
	of := func(id string) evento.Query { return evento.Query{Filters: []evento.Filter{evento.ByID(thing, id)}} }
	must(write(before, "base"))
	base := must(write(ex, "base", evento.Condition{Query: of("never")}))
	at, err := ex.CursorAt(base)
	if err != nil {
		t.Fatal(err)
	}
	must(write(before, "lost"))
	if _, err := write(ex, "base", evento.Condition{Query: of("lost"), After: at}); !errors.Is(err, evento.ErrConflict) {
		t.Fatalf("Write() = %v, want a conflict", err)
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, text := range []string{"DELETE FROM evento_event WHERE position > 2", "UPDATE evento_counter SET position = 2"} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	kill(t, db)
	after := openDSN(t, dsn)
	must(write(after, "new"))
	must(write(after, "other"))
	if _, err := write(ex, "base", evento.Condition{Query: of("new"), After: at}); !errors.Is(err, evento.ErrConflict) {
		t.Errorf("Write() = %v, want a conflict with what came instead", err)
	}
	must(write(ex, "base", evento.Condition{Query: of("lost"), After: at}))
}
