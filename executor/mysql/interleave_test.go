// Transactions in an order that loses events where positions are drawn before
// the commit.

package mysql_test

import (
	"database/sql"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

func raw(t *testing.T, dsn string) *sql.DB {
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

// A writer locks and inserts first and commits last, or never; a reader goes
// on meanwhile, and passes over nothing.
func TestSlowTransaction(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, other := openDSN(t, dsn), openDSN(t, dsn)
	for _, e := range []evento.Executor{ex, other} {
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	db := raw(t, dsn)
	commit := func(ex evento.Executor) {
		if _, err := evento.Aggregate("one").AnyVersion().Event(happened{}).Commit(t.Context(), ex); err != nil {
			t.Errorf("Commit() = %v", err)
		}
	}
	// Somebody idles in a transaction elsewhere, with an old snapshot.
	idle, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idle.ExecContext(t.Context(), "INSERT INTO evento_subscriber (name, worker, place, updated_at) VALUES ('idle', '0123456789abcdef', '', 0)"); err != nil {
		t.Fatal(err)
	}
	commit(ex)
	at, next := onward(t, other, "", 1)
	for round := range 6 {
		slow, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var position int64
		if err := slow.QueryRowContext(t.Context(), "SELECT position FROM evento_counter WHERE id = 1 FOR UPDATE").Scan(&position); err != nil {
			t.Fatal(err)
		}
		if _, err := slow.ExecContext(t.Context(), `INSERT INTO evento_event (position, recorded_at, version, kind_id, routing_id, type_id, codec, event_id, aggregate_id, data, metadata)
SELECT position + 1, recorded_at, version + 1, kind_id, routing_id, type_id, codec, UNHEX(MD5(position)), aggregate_id, data, metadata FROM evento_event WHERE position = ?`, position); err != nil {
			t.Fatal(err)
		}
		if _, err := slow.ExecContext(t.Context(), "UPDATE evento_counter SET position = position + 1 WHERE id = 1"); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			commit([]evento.Executor{ex, other}[round%2])
		}()
		if at, next = onward(t, other, at, next); next != uint64(position)+1 {
			t.Fatalf("read up to %d while position %d was not committed", next-1, position+1)
		}
		end, gained := slow.Commit, uint64(2)
		if round%3 == 2 {
			end, gained = slow.Rollback, 1
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		<-done
		if at, next = onward(t, other, at, next); next != uint64(position)+1+gained {
			t.Fatalf("round %d: read up to %d, want %d", round, next-1, uint64(position)+gained)
		}
	}
	if err := idle.Rollback(); err != nil {
		t.Fatal(err)
	}
}
