//go:build unix

package mysql_test

import (
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// A record that was changed before the server's clock was set back keeps that
// time, which is after Now, until it is changed again.
func TestRecordsAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, db := openSilent(t, dsn), raw(t, dsn)
	ahead := func() time.Duration {
		t.Helper()
		page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return page.Records[0].ChangedAt.Sub(page.Now)
	}
	if err := swap(t.Context(), ex, record("key", 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE evento_record SET changed_at = changed_at + 3600000000"); err != nil {
		t.Fatal(err)
	}
	if d := ahead(); d < time.Hour/2 {
		t.Errorf("the change is %v after Now, want about an hour", d)
	}
	if err := swap(t.Context(), ex, record("key", 1)); err != nil {
		t.Fatal(err)
	}
	if d := ahead(); d > time.Minute {
		t.Errorf("the next change is %v after Now, want the time of then", d)
	}
}

// A record that was removed and made again is not taken for the one that is known
// to be durable, although the clock was set back and gives the same time again.
func TestRecordsOfOneTimeAreToldApart(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, db := openSilent(t, dsn), raw(t, dsn)
	var binlog bool
	if err := db.QueryRowContext(t.Context(), "SELECT @@log_bin").Scan(&binlog); err != nil {
		t.Fatal(err)
	}
	// barriers is how many listing the records takes: none, when all that it
	// shows are known to be durable, or with a binary log.
	barriers := func() (n int) {
		t.Helper()
		count := func() (n int) {
			if err := db.QueryRowContext(t.Context(), "SELECT n FROM evento_barrier").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := count()
		page, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "test"})
		if err != nil || len(page.Records) != 1 || page.Records[0].Revision != 1 {
			t.Fatalf("Records() = %+v, %v, want one at revision 1", page, err)
		}
		return count() - before
	}
	wanted := 1
	if binlog {
		wanted = 0
	}
	remove := record("key", 1)
	remove.Remove = true
	for round := range 3 {
		if err := swap(t.Context(), ex, record("key", 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "UPDATE evento_record SET changed_at = 1000000"); err != nil {
			t.Fatal(err)
		}
		if first, again := barriers(), barriers(); first != wanted || again != 0 {
			t.Errorf("round %d: the record took %d barriers at first and %d then, want %d and 0", round, first, again, wanted)
		}
		if err := swap(t.Context(), ex, remove); err != nil {
			t.Fatal(err)
		}
	}
}
