//go:build unix

// Transactions in an order that loses events where positions are drawn before
// the commit.

package mysql_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// appendEvent appends an event to the aggregate of the last one, as an executor
// would, and returns the position before it.
func (f foreign) appendEvent() (position int64) {
	f.t.Helper()
	position = f.lockCounter()
	f.exec(fmt.Sprintf(`INSERT INTO evento_event (position, recorded_at, version, kind_id, routing_id, type_id, codec, event_id, aggregate_id, data, metadata)
SELECT position + 1, recorded_at, version + 1, kind_id, routing_id, type_id, codec, UNHEX(MD5(position)), aggregate_id, data, metadata FROM evento_event WHERE position = %d`, position))
	f.exec("UPDATE evento_counter SET position = position + 1 WHERE id = 1")
	return position
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
	if _, err := idle.ExecContext(t.Context(), "INSERT INTO evento_record (kind, name, part, made, revision, changed_at, value) VALUES ('idle', 'idle', '', 1, 1, 0, '')"); err != nil {
		t.Fatal(err)
	}
	commit(ex)
	at, next := onward(t, other, "", 1)
	for round := range 6 {
		slow := begin(t, db)
		position := slow.appendEvent()
		done := make(chan struct{})
		go func() {
			defer close(done)
			commit([]evento.Executor{ex, other}[round%2])
		}()
		if at, next = onward(t, other, at, next); next != uint64(position)+1 {
			t.Fatalf("read up to %d while position %d was not committed", next-1, position+1)
		}
		end, gained := slow.tx.Commit, uint64(2)
		if round%3 == 2 {
			end, gained = slow.tx.Rollback, 1
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

// Processes with group commit, slow transactions that have the counter and then
// commit or roll back, and one that idles with an old snapshot and locks of its
// own: a subscription here and one of another executor are given every position
// once, in order, and before the idle transaction ends.
func TestInterleavedProcesses(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, other, db := openSilent(t, dsn), openSilent(t, dsn), raw(t, dsn)
	create(t, ex)
	idle := begin(t, db)
	idle.exec("SELECT COUNT(*) FROM evento_event") // its snapshot
	idle.exec("INSERT INTO evento_snapshot (projection, revision, variant, type, aggregate_id, version, position, place, data, updated_at) VALUES ('unrelated', 1, '', '', '', 1, 1, '', '', 0)")
	tails := []*tail{newTail(t, ex), newTailOf(t, other, "other")}
	const children, slow = 2, 12
	ended := startChildren(t, dsn, children)
	committed := 0
	for i := range slow {
		f := begin(t, db)
		position := f.appendEvent()
		done := commitLater(t.Context(), []evento.Executor{ex, other}[i%2], evento.Create().Event(happened{i}))
		awaitWaiting(t, db, "")
		// What is not committed is seen by nobody.
		for _, l := range tails {
			l.mu.Lock()
			if n := len(l.seen); n > int(position) {
				t.Errorf("%d events were given out while the last position is %d", n, position)
			}
			l.mu.Unlock()
		}
		if i%3 == 2 {
			f.end(f.tx.Rollback)
		} else {
			f.end(f.tx.Commit)
			committed++
		}
		if err := receive(t, "Commit", done); err != nil {
			t.Errorf("Commit() = %v", err)
		}
	}
	for range children {
		if err := <-ended; err != nil {
			t.Errorf("a child: %v", err)
		}
	}
	want := 1 + slow + committed + children*childWriters*childCommits
	events := log(t, ex)
	if len(events) != want {
		t.Fatalf("%d events, want %d", len(events), want)
	}
	for _, l := range tails {
		seen := l.await(t, want)
		for i, e := range seen {
			if e.Position != uint64(i)+1 || e.ID != events[i].ID {
				t.Fatalf("event %d is that of position %d", i+1, e.Position)
			}
		}
		l.shutdown(t)
	}
	idle.end(idle.tx.Rollback)
}
