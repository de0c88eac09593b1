//go:build unix

// Transactions of callers.

package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

// books is a store with a table of the application: for each row of entry there
// are two events of the aggregate "entries".
type books struct {
	*mysql.Executor
	db *sql.DB // another handle
}

func openBooks(t *testing.T, dsn string) books {
	t.Helper()
	return booksOf(t, openSilent(t, dsn), dsn)
}

func booksOf(t *testing.T, ex *mysql.Executor, dsn string) books {
	t.Helper()
	b := books{ex, raw(t, dsn)}
	if _, err := b.db.ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS entry (n INT NOT NULL) ENGINE=InnoDB"); err != nil {
		t.Fatal(err)
	}
	return b
}

// enter runs a statement in the transaction of ctx.
func enter(ctx context.Context, text string, args ...any) error {
	_, err := mysql.Tx(ctx).ExecContext(ctx, text, args...)
	return err
}

const insertEntry = "INSERT INTO entry (n) VALUES (1)"

// add commits two events to the entries.
func (b books) add(ctx context.Context) error {
	_, err := evento.Aggregate("entries").AnyVersion().Event(happened{1}, happened{1}).Commit(ctx, b)
	return err
}

// both adds a row and its events.
func (b books) both(ctx context.Context) error {
	return errors.Join(enter(ctx, insertEntry), b.add(ctx))
}

// want holds the table to the events.
func (b books) want(t *testing.T, want int) {
	t.Helper()
	var rows int
	if err := b.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM entry").Scan(&rows); err != nil {
		t.Fatal(err)
	}
	events := 0
	for _, err := range evento.Events(t.Context(), b, evento.Query{Filters: []evento.Filter{evento.ByID(thing, "entries")}}) {
		if err != nil {
			t.Fatal(err)
		}
		events++
	}
	if rows != want || events != 2*want {
		t.Errorf("%d rows and %d events of them, want %d and twice as many", rows, events, want)
	}
}

// A caller's table and the events are committed together, or not at all.
func TestInTxTables(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	b := openBooks(t, dsn)
	if mysql.Tx(t.Context()) != nil {
		t.Error("Tx() of a context without a transaction is not nil")
	}
	if err := b.InTx(t.Context(), b.both); err != nil {
		t.Fatalf("InTx() = %v", err)
	}
	b.want(t, 1)
	failure := errors.New("failure")
	if err := b.InTx(t.Context(), func(ctx context.Context) error {
		return errors.Join(b.both(ctx), failure)
	}); !errors.Is(err, failure) {
		t.Errorf("InTx() = %v, want %v", err, failure)
	}
	err := b.InTx(t.Context(), func(ctx context.Context) error {
		if err := b.both(ctx); err != nil {
			return err
		}
		_, err := evento.Aggregate("entries").OriginalVersion(1).Event(happened{}).Commit(ctx, b)
		return err
	})
	if !errors.Is(err, evento.ErrConflict) {
		t.Errorf("InTx() = %v, want %v", err, evento.ErrConflict)
	}
	err = b.InTx(t.Context(), func(ctx context.Context) error {
		// A conflict that comes about after it was looked for.
		_, err := evento.Aggregate("late").Event(happened{}).Commit(ctx, b)
		_, faster := evento.Aggregate("late").Event(happened{}).Commit(t.Context(), b)
		return errors.Join(b.both(ctx), err, faster)
	})
	if !errors.Is(err, evento.ErrConflict) {
		t.Errorf("InTx() = %v, want %v", err, evento.ErrConflict)
	}
	b.want(t, 1)
	large := evento.Aggregate("large").AnyVersion().Event(note{strings.Repeat("x", 1<<20)}, note{"y"})
	if err := b.InTx(t.Context(), func(ctx context.Context) error {
		_, err := large.Commit(ctx, b)
		return errors.Join(b.both(ctx), err)
	}); err != nil {
		t.Fatalf("InTx() = %v", err)
	}
	b.want(t, 2)
}

// Records are swapped with the transaction, or not at all; one that is stale
// does not end it.
func TestInTxSwap(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	b := openBooks(t, dsn)
	revisions := func(ctx context.Context) string {
		page, err := b.Records(ctx, evento.RecordQuery{Kind: "test"})
		if err != nil {
			t.Fatal(err)
		}
		list := ""
		for _, r := range page.Records {
			list += fmt.Sprint(r.Key, r.Revision, " ")
		}
		return list
	}
	if err := swap(t.Context(), b, record("a", 0), record("b", 0)); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("failure")
	var changed <-chan struct{}
	for _, want := range []error{failure, nil} {
		err := b.InTx(t.Context(), func(ctx context.Context) error {
			if err := errors.Join(b.both(ctx), swap(ctx, b, record("c", 0), record("a", 1))); err != nil {
				return err
			}
			for _, stale := range [][]evento.Change{{record("b", 2)}, {record("b", 0)}, {record("a", 2), record("b", 2)}, {record("a", 2), record("c", 0)}, {record("d", 0), record("b", 9)}} {
				if err := swap(ctx, b, stale...); !errors.Is(err, evento.ErrSwapped) {
					t.Errorf("Swap() of a stale record = %v, want %v", err, evento.ErrSwapped)
				}
			}
			if got, want := revisions(ctx), "a2 b1 c1 "; got != want {
				t.Errorf("records in the transaction: %s, want %s", got, want)
			}
			changed = b.Changed()
			return want
		})
		if !errors.Is(err, want) {
			t.Fatalf("InTx() = %v, want %v", err, want)
		}
		stored, rows := "a2 b1 c1 ", 1
		if want != nil {
			stored, rows = "a1 b1 ", 0
		}
		if got := revisions(t.Context()); got != stored {
			t.Errorf("records after %v: %s, want %s", want, got, stored)
		}
		b.want(t, rows)
	}
	select {
	case <-changed:
	case <-time.After(soon):
		t.Error("the commit did not wake")
	}
}

// Whatever a caller does with its transaction, no event is stored without its
// row, and InTx says that something is wrong.
func TestInTxEndedByCaller(t *testing.T) {
	t.Parallel()
	exec := func(texts ...string) func(ctx context.Context) {
		return func(ctx context.Context) {
			for _, text := range texts {
				if err := enter(ctx, text); err != nil {
					panic(err)
				}
			}
		}
	}
	for name, test := range map[string]struct {
		end  func(ctx context.Context)
		is   error
		rows int // that its own statements have committed
	}{
		"Commit": {func(ctx context.Context) {
			if err := mysql.Tx(ctx).Commit(); !errors.Is(err, evento.ErrInvalid) {
				t.Errorf("Commit() of the caller = %v, want %v", err, evento.ErrInvalid)
			}
		}, evento.ErrInvalid, 0},
		"Rollback":            {func(ctx context.Context) { _ = mysql.Tx(ctx).Rollback() }, evento.ErrInvalid, 0},
		"rollback statement":  {exec("ROLLBACK", insertEntry), nil, 0},
		"commit statement":    {exec("COMMIT", insertEntry), nil, 1},
		"another transaction": {exec("COMMIT", "BEGIN", insertEntry), nil, 1},
		"definition":          {exec("CREATE TABLE other (n INT)", "DROP TABLE other", insertEntry), nil, 1},
		"autocommit":          {exec("ROLLBACK", "SET autocommit = 1", "SET autocommit = 0", insertEntry), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testserver.MySQL(t)
			if dsn == "" {
				return
			}
			b := openBooks(t, dsn)
			for _, late := range []bool{false, true} {
				err := b.InTx(t.Context(), func(ctx context.Context) error {
					if err := b.both(ctx); err != nil {
						t.Error(err)
					}
					test.end(ctx)
					if late {
						_ = b.add(ctx) // may fail, which it does not notice
					}
					return nil
				})
				if err == nil || test.is != nil && !errors.Is(err, test.is) || errors.Is(err, evento.ErrOutcomeUnknown) {
					t.Errorf("InTx() = %v, want an error that is %v", err, test.is)
				}
				wantEvents(t, b, 0)
				if _, err := b.db.ExecContext(t.Context(), "DELETE FROM entry LIMIT "+fmt.Sprint(test.rows)); err != nil {
					t.Error(err)
				}
				b.want(t, 0)
			}
			if err := b.InTx(t.Context(), b.both); err != nil {
				t.Errorf("InTx() after it = %v", err)
			}
			b.want(t, 1)
			create(t, b)
		})
	}
}

// The statements of a caller have the settings of its handle, those of the
// executor its own, in any order.
func TestInTxSettings(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	const settings = "?parseTime=true&loc=UTC&collation=utf8mb4_general_ci&time_zone=%27-05%3A00%27&sql_mode=%27ANSI_QUOTES%27"
	db := raw(t, dsn+settings)
	given, err := mysql.New(t.Context(), db, &mysql.Options{Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := given.Close(); err != nil {
			t.Error(err)
		}
	})
	for n, ex := range []*mysql.Executor{given, openSilent(t, dsn+settings)} {
		if _, err := db.ExecContext(t.Context(), fmt.Sprint("CREATE TABLE person", n, " (name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, at DATETIME(6) NOT NULL)")); err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			id, at := fmt.Sprint("BÜCHER\xc3\xa9 ", n, round), time.Date(2024, 5, 6, 7, 8, 9, 10_000, time.UTC)
			if err := ex.InTx(t.Context(), func(ctx context.Context) error {
				tx := mysql.Tx(ctx)
				if _, err := tx.ExecContext(ctx, fmt.Sprint("INSERT INTO person", n, " VALUES (?, ?)"), fmt.Sprint("Zoë", round), at); err != nil {
					return err
				}
				find, err := tx.PrepareContext(ctx, fmt.Sprint("SELECT at, @@time_zone, @@sql_mode, @@collation_connection FROM person", n, " WHERE name = ?"))
				if err != nil {
					return err
				}
				defer func() { _ = find.Close() }()
				for v := range 3 {
					if _, err := evento.Aggregate(id).OriginalVersion(uint64(v)).Event(happened{v}).Commit(ctx, ex); err != nil {
						return err
					}
					var got time.Time
					var zone, mode, collation string
					if err := find.QueryRowContext(ctx, fmt.Sprint("ZOË", round)).Scan(&got, &zone, &mode, &collation); err != nil {
						return err
					}
					if !got.Equal(at) || zone != "-05:00" || mode != "ANSI_QUOTES" || collation != "utf8mb4_general_ci" {
						t.Errorf("got %v, %s, %s, %s", got, zone, mode, collation)
					}
				}
				return errors.Join(enter(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"), enter(ctx, "SET NAMES latin1, sql_mode = ''"))
			}); err != nil {
				t.Fatalf("InTx() = %v", err)
			}
			if has, err := evento.HasEvent[happened](t.Context(), ex, id); err != nil || !has {
				t.Errorf("HasEvent() = %t, %v", has, err)
			}
			var level string
			if err := ex.InTx(t.Context(), func(ctx context.Context) error {
				return mysql.Tx(ctx).QueryRowContext(ctx, "SELECT variable_value FROM information_schema.session_variables WHERE variable_name = 'tx_isolation'").Scan(&level)
			}); err != nil || level != "READ-COMMITTED" {
				t.Errorf("the isolation level is %q, %v", level, err)
			}
		}
	}
	log(t, given)
}

// A transaction that is open with events waiting keeps neither writers nor
// subscriptions waiting, nor does one that has read.
func TestInTxHeldOpen(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	b, other := openBooks(t, dsn), openSilent(t, dsn)
	seen := newTail(t, other)
	if err := b.add(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.InTx(t.Context(), func(ctx context.Context) error {
		if err := b.both(ctx); err != nil {
			return err
		}
		for _, err := range evento.Events(ctx, b, evento.Query{}) {
			if err != nil {
				return err
			}
		}
		for n := range 10 {
			within, cancel := context.WithTimeout(t.Context(), soon)
			for _, ex := range []evento.Executor{b, other} {
				if _, err := evento.Create().Event(typed{fmt.Sprint("test/Other", n)}).Commit(within, ex); err != nil {
					t.Errorf("Commit() beside a transaction = %v", err)
				}
				if _, err := evento.Create().Event(happened{}).Commit(within, ex); err != nil {
					t.Errorf("Commit() beside a transaction = %v", err)
				}
				for _, err := range evento.Events(within, ex, evento.Query{}) {
					if err != nil {
						t.Errorf("Events() beside a transaction = %v", err)
					}
				}
			}
			cancel()
		}
		seen.await(t, 2+20)
		return enter(ctx, insertEntry)
	}); err != nil {
		t.Errorf("InTx() = %v", err)
	}
	seen.await(t, 2+20+2)
	seen.shutdown(t)
	b.want(t, 2)
}

// Many transactions on few connections: none needs a second one.
func TestInTxSmallPool(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	db := raw(t, dsn)
	const connections, callers = 2, 20
	const most = connections + 2
	db.SetMaxOpenConns(most - 1)
	if _, err := mysql.New(t.Context(), db, &mysql.Options{Connections: connections}); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "SetMaxOpenConns") {
		t.Errorf("New() with too few connections = %v, want %v", err, evento.ErrInvalid)
	}
	db.SetMaxOpenConns(most)
	ex, err := mysql.New(t.Context(), db, &mysql.Options{Connections: connections, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	b := booksOf(t, ex, dsn)
	p := evento.NewProjection[int]("numbers", thing).SnapshotEvery(3).Handler(evento.Apply(func(n *int, e evento.Event[happened]) error { *n += e.Data.N; return nil }))
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range 3 {
				if err := b.InTx(t.Context(), func(ctx context.Context) error {
					if _, err := p.Load(ctx, b, "entries"); err != nil && !errors.Is(err, evento.ErrNotFound) {
						return err
					}
					_, err := evento.Aggregate(fmt.Sprint("own ", i)).AnyVersion().Event(typed{fmt.Sprint("test/Type", i)}).Commit(ctx, b)
					for _, e := range evento.Events(ctx, b, evento.Query{Filters: []evento.Filter{evento.ByType(thing)}}) {
						err = errors.Join(err, e)
					}
					return errors.Join(b.both(ctx), err)
				}); err != nil {
					t.Errorf("InTx() = %v", err)
				}
			}
		})
	}
	wg.Wait()
	b.want(t, 3*callers)
	log(t, b)
	if s := db.Stats(); s.OpenConnections > most {
		t.Errorf("%d connections are open, want %d at most", s.OpenConnections, most)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
	if s := db.Stats(); s.InUse != 0 || s.OpenConnections != 0 {
		t.Errorf("after Close: %+v, want no connection", s)
	}
}

// Close waits for a transaction, which is committed with all that belongs to it.
func TestInTxClose(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	b := openBooks(t, dsn)
	closed := make(chan error, 1)
	if err := b.InTx(t.Context(), func(ctx context.Context) error {
		go func() { closed <- b.Close() }()
		eventually(t, "it is closing", func() bool {
			_, err := b.Read(t.Context(), evento.Query{}, cursor.Forward(1, ""))
			return errors.Is(err, evento.ErrClosed)
		})
		if err := b.both(ctx); err != nil {
			return err
		}
		if has, err := evento.HasEvent[happened](ctx, b, "entries"); err != nil || !has {
			t.Errorf("HasEvent() in the transaction = %t, %v", has, err)
		}
		select {
		case err := <-closed:
			t.Errorf("Close() returned %v during the transaction", err)
		default:
		}
		return nil
	}); err != nil {
		t.Errorf("InTx() = %v", err)
	}
	if err := receive(t, "Close", closed); err != nil {
		t.Errorf("Close() = %v", err)
	}
	openBooks(t, dsn).want(t, 1)
}
