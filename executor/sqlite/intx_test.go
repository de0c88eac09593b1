package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
)

// openBooks opens a store with a table of the application: for each row of entry there
// are two events of the aggregate "entries".
func openBooks(t testing.TB, path string) *sqlite.Executor {
	t.Helper()
	ex, err := sqlite.Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	makeEntries(t, ex)
	return ex
}

func makeEntries(t testing.TB, ex *sqlite.Executor) {
	t.Helper()
	if err := ex.InTx(context.Background(), func(ctx context.Context) error {
		return enter(ctx, createEntries)
	}); err != nil {
		t.Fatal(err)
	}
}

// enter runs a statement in the transaction of ctx.
func enter(ctx context.Context, text string) error {
	_, err := sqlite.Tx(ctx).ExecContext(ctx, text)
	return err
}

const createEntries = "CREATE TABLE IF NOT EXISTS entry (n INTEGER PRIMARY KEY, writer INTEGER NOT NULL) STRICT"

const insertEntry = "INSERT INTO entry (writer) VALUES (1)"

// add commits two events to the entries.
func add(ctx context.Context, ex evento.Executor) error {
	_, err := evento.Aggregate("entries").AnyVersion().Event(happened{1}, happened{2}).Commit(ctx, ex)
	return err
}

// both adds a row and its events.
func both(ex evento.Executor) func(ctx context.Context) error {
	return func(ctx context.Context) error { return errors.Join(enter(ctx, insertEntry), add(ctx, ex)) }
}

// entries holds the table to the events, and returns the rows.
func entries(t testing.TB, ex *sqlite.Executor) (rows int) {
	t.Helper()
	events := 0
	if err := ex.InTx(context.Background(), func(ctx context.Context) error {
		q := evento.Query{Filters: []evento.Filter{evento.ByID(thing, "entries")}}
		for _, err := range evento.Events(ctx, ex, q) {
			if err != nil {
				return err
			}
			events++
		}
		return sqlite.Tx(ctx).QueryRowContext(ctx, "SELECT count(*) FROM entry").Scan(&rows)
	}); err != nil {
		t.Fatal(err)
	}
	if events != 2*rows {
		t.Errorf("%d rows and %d events of them, want twice as many", rows, events)
	}
	return rows
}

func wantEntries(t testing.TB, ex *sqlite.Executor, want int) {
	t.Helper()
	if got := entries(t, ex); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

// A caller's table and the events are committed together, or not at all.
func TestInTxTables(t *testing.T) {
	t.Parallel()
	ex := openBooks(t, filepath.Join(t.TempDir(), "a.db"))
	defer closeAll(t, ex)
	if sqlite.Tx(t.Context()) != nil {
		t.Error("Tx() of a context without a transaction is not nil")
	}
	if err := ex.InTx(t.Context(), both(ex)); err != nil {
		t.Fatalf("InTx() = %v", err)
	}
	wantEntries(t, ex, 1)
	failure := errors.New("failure")
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		return errors.Join(both(ex)(ctx), failure)
	}); !errors.Is(err, failure) {
		t.Errorf("InTx() = %v, want %v", err, failure)
	}
	err := ex.InTx(t.Context(), func(ctx context.Context) error {
		if err := both(ex)(ctx); err != nil {
			return err
		}
		_, err := evento.Aggregate("entries").OriginalVersion(1).Event(happened{}).Commit(ctx, ex)
		return err
	})
	if !errors.Is(err, evento.ErrConflict) {
		t.Errorf("InTx() = %v, want %v", err, evento.ErrConflict)
	}
	wantEntries(t, ex, 1)
	if err := ex.InTx(t.Context(), both(ex)); err != nil {
		t.Fatalf("InTx() = %v", err)
	}
	wantEntries(t, ex, 2)
}

// Whatever a caller does with its transaction, nothing is stored in halves.
func TestInTxEndedByCaller(t *testing.T) {
	t.Parallel()
	exec := func(texts ...string) func(ctx context.Context) {
		return func(ctx context.Context) {
			for _, text := range texts {
				_ = enter(ctx, text) // some fail, which it does not notice
			}
		}
	}
	for name, test := range map[string]struct {
		end func(ctx context.Context)
		is  error
	}{
		"Commit":                 {func(ctx context.Context) { _ = sqlite.Tx(ctx).Commit() }, evento.ErrInvalid},
		"Rollback":               {func(ctx context.Context) { _ = sqlite.Tx(ctx).Rollback() }, evento.ErrInvalid},
		"commit statement":       {exec("COMMIT"), nil},
		"rollback statement":     {exec("ROLLBACK"), nil},
		"another transaction":    {exec("COMMIT", "BEGIN", insertEntry), nil},
		"another after rollback": {exec("ROLLBACK", "BEGIN IMMEDIATE", insertEntry), nil},
		"on its own":             {exec("ROLLBACK", insertEntry, insertEntry), nil},
		"interrupted": {func(ctx context.Context) {
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			_ = enter(short, "INSERT INTO entry (writer) WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c")
			_ = enter(ctx, insertEntry)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ex := openBooks(t, filepath.Join(dir, "a.db"))
			for _, late := range []bool{false, true} {
				err := ex.InTx(t.Context(), func(ctx context.Context) error {
					if err := both(ex)(ctx); err != nil {
						t.Error(err)
					}
					test.end(ctx)
					if _, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, "")); err == nil {
						t.Error("Read() = nil after the transaction had been ended")
					}
					if late {
						_ = add(ctx, ex) // may fail, which it does not notice
					}
					return nil
				})
				if err == nil || test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("InTx() = %v, want an error that is %v", err, test.is)
				}
				wantEntries(t, ex, 0)
			}
			if err := ex.InTx(t.Context(), both(ex)); err != nil {
				t.Errorf("InTx() after it = %v", err)
			}
			wantEntries(t, ex, 1)
			commit(t, ex, 1)
			closeAll(t, ex)
			if left := openFiles(t, dir); len(left) > 0 {
				t.Errorf("open files after Close: %q", left)
			}
		})
	}
}

// files of a folder that this process has open.
func openFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Logf("open files are not looked at: %v", err)
	}
	for _, e := range list {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, dir) {
			names = append(names, filepath.Base(name))
		}
	}
	return names
}

// Rows and statements that a caller leaves open are in nobody's way, and
// nothing is left of them.
func TestInTxLeftOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	ex := openBooks(t, path)
	var first []string
	rows := 0
	failure := errors.New("failure")
	for n := range 60 {
		err := ex.InTx(t.Context(), func(ctx context.Context) error {
			tx := sqlite.Tx(ctx)
			//nolint:sqlclosecheck // not closing is what is tested
			prepared, err := tx.PrepareContext(ctx, "SELECT n FROM entry UNION SELECT 1 UNION SELECT 2")
			if err != nil {
				return err
			}
			//nolint:sqlclosecheck,rowserrcheck // as above
			open, err := prepared.QueryContext(context.Background())
			if err != nil || !open.Next() {
				return fmt.Errorf("no rows: %w", err)
			}
			//nolint:sqlclosecheck,rowserrcheck // as above
			returning, err := tx.QueryContext(ctx, "INSERT INTO entry (writer) VALUES (1) RETURNING n")
			if err != nil || !returning.Next() {
				return fmt.Errorf("no rows: %w", err)
			}
			if err := add(ctx, ex); err != nil {
				return err
			}
			if n%3 == 0 {
				return failure
			}
			return nil
		})
		if want := n%3 == 0; want != errors.Is(err, failure) || !want && err != nil {
			t.Fatalf("InTx() %d = %v", n, err)
		}
		if n%3 != 0 {
			rows++
		}
		wantEntries(t, ex, rows)
		if n == 3 {
			first = openFiles(t, dir)
		}
	}
	if last := openFiles(t, dir); len(last) > len(first) {
		t.Errorf("open files: %q, after the first transactions %q", last, first)
	}
	closeAll(t, ex)
	if left := openFiles(t, dir); len(left) > 0 {
		t.Errorf("open files after Close: %q", left)
	}
	if list, err := filepath.Glob(path + "*"); err != nil || len(list) != 1 {
		t.Errorf("files after Close: %q, %v, want one", list, err)
	}
}

// On a database of the caller's the executor takes a connection more, keeps it
// to its end, and closes it: its hooks are for nobody else.
func TestInTxOfNew(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "a.db")+"?_txlock=exclusive")
	if err != nil {
		t.Fatal(err)
	}
	const readers = 2
	db.SetMaxOpenConns(readers + 3)
	ex, err := sqlite.New(t.Context(), db, &sqlite.Options{Readers: readers})
	if err != nil {
		t.Fatal(err)
	}
	makeEntries(t, ex)
	const callers, each = 6, 10
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				if err := ex.InTx(t.Context(), both(ex)); err != nil {
					t.Error(err)
				}
				if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(1, "")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantEntries(t, ex, callers*each)
	if s := db.Stats(); s.OpenConnections > readers+3 || s.MaxIdleClosed+s.MaxLifetimeClosed > 0 {
		t.Errorf("%+v", s)
	}
	closeAll(t, ex)
	if s := db.Stats(); s.InUse != 0 || s.OpenConnections != 0 {
		t.Errorf("after Close: %+v, want no connection", s)
	}
	// The caller's next connections commit.
	if _, err := db.ExecContext(t.Context(), insertEntry); err != nil {
		t.Errorf("a statement of the caller's after Close: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// Transactions wait for their turn, and for other processes, as long as their
// contexts let them; so do plain commits meanwhile.
func TestInTxWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openBooks(t, path)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	never := func(context.Context) error { return errors.New("the function ran") }
	other, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if err := ex.InTx(soon(), never); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("InTx() on a locked file = %v, want %v", err, context.DeadlineExceeded)
	}
	done := make(chan error, 2)
	go func() { done <- ex.InTx(t.Context(), both(ex)) }()
	go func() { done <- ex.InTx(t.Context(), both(ex)) }()
	if err := errors.Join(other.Exec("COMMIT"), <-done, <-done); err != nil {
		t.Errorf("InTx() after the lock was released = %v", err)
	}
	if err := ex.InTx(t.Context(), func(context.Context) error {
		const why = "evento: sqlite: waited for a transaction of InTx, whose function has to use the context that it is given"
		if err := ex.InTx(soon(), never); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), why) {
			t.Errorf("InTx() during another = %v, want %v, and why", err, context.DeadlineExceeded)
		}
		if err := add(soon(), ex); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), why) {
			t.Errorf("Commit() during a transaction = %v, want %v, and why", err, context.DeadlineExceeded)
		}
		go func() { done <- ex.InTx(t.Context(), both(ex)) }()
		go func() { done <- ex.InTx(t.Context(), both(ex)) }()
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
	wantEntries(t, ex, 4)
	if err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	go func() { done <- ex.InTx(t.Context(), never) }()
	go func() { done <- ex.InTx(t.Context(), never) }()
	closeAll(t, ex)
	for range 2 {
		if err := <-done; !errors.Is(err, evento.ErrClosed) {
			t.Errorf("InTx() while the executor is closed = %v, want %v", err, evento.ErrClosed)
		}
	}
	if err := errors.Join(other.Exec("ROLLBACK"), other.Close()); err != nil {
		t.Error(err)
	}
}

// Close waits for a transaction, which is committed with all that belongs to it.
func TestInTxClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openBooks(t, path)
	closed := make(chan error, 1)
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		go func() { closed <- ex.Close() }()
		for {
			if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); errors.Is(err, evento.ErrClosed) {
				break
			}
		}
		if err := both(ex)(ctx); err != nil {
			return err
		}
		if _, err := evento.HasEvent[happened](ctx, ex, "entries"); err != nil {
			t.Errorf("HasEvent() in the transaction = %v", err)
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
	if err := <-closed; err != nil {
		t.Errorf("Close() = %v", err)
	}
	ex = openBooks(t, path)
	wantEntries(t, ex, 1)
	closeAll(t, ex)
}

// What SQLite refuses at the commit was not stored, and closes nothing.
func TestInTxCommitRefused(t *testing.T) {
	t.Parallel()
	ex := openBooks(t, "file:"+filepath.Join(t.TempDir(), "a.db")+"?_pragma=foreign_keys(on)")
	defer closeAll(t, ex)
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		return enter(ctx, "CREATE TABLE line (entry INTEGER NOT NULL REFERENCES entry DEFERRABLE INITIALLY DEFERRED)")
	}); err != nil {
		t.Fatal(err)
	}
	err := ex.InTx(t.Context(), func(ctx context.Context) error {
		return errors.Join(both(ex)(ctx), enter(ctx, "INSERT INTO line VALUES (1000)"))
	})
	if !errors.Is(err, sqlite3.CONSTRAINT_FOREIGNKEY) || errors.Is(err, evento.ErrOutcomeUnknown) || !strings.Contains(err.Error(), spoiled) {
		t.Errorf("InTx() = %v, want %v", err, sqlite3.CONSTRAINT_FOREIGNKEY)
	}
	wantEntries(t, ex, 0)
	if err := ex.InTx(t.Context(), both(ex)); err != nil {
		t.Errorf("InTx() after it = %v", err)
	}
	wantEntries(t, ex, 1)
}

// spoiled is what InTx says of a transaction that its own statements spoiled.
const spoiled = "could not be committed because of what was done in it"

// A connection that a caller has made read-only fails that transaction, and no
// other.
func TestInTxQueryOnly(t *testing.T) {
	t.Parallel()
	ex := openBooks(t, filepath.Join(t.TempDir(), "a.db"))
	defer closeAll(t, ex)
	for rows, events := range []bool{true, false, true} {
		err := ex.InTx(t.Context(), func(ctx context.Context) error {
			if err := enter(ctx, "PRAGMA query_only = ON"); err != nil || !events {
				return err
			}
			return add(ctx, ex)
		})
		if events != (err != nil) || err != nil && (errors.Is(err, evento.ErrReadOnly) || !errors.Is(err, sqlite3.READONLY) || !strings.Contains(err.Error(), spoiled)) {
			t.Errorf("InTx(), events %t = %v", events, err)
		}
		if err := ex.InTx(t.Context(), both(ex)); err != nil {
			t.Errorf("InTx() after it = %v", err)
		}
		wantEntries(t, ex, rows+1)
	}
}

func TestInTxFullDisk(t *testing.T) {
	t.Parallel()
	fs := newFaultyFS(t)
	ex := openBooks(t, "file:"+filepath.Join(t.TempDir(), "a.db")+"?vfs="+t.Name())
	defer closeAll(t, ex)
	fs.full.Store(true)
	if err := ex.InTx(t.Context(), both(ex)); !errors.Is(err, evento.ErrFull) {
		t.Errorf("InTx() on a full disk = %v, want %v", err, evento.ErrFull)
	}
	fs.full.Store(false)
	wantEntries(t, ex, 0)
	if err := ex.InTx(t.Context(), both(ex)); err != nil {
		t.Errorf("InTx() with space again = %v", err)
	}
	wantEntries(t, ex, 1)
}

// After a failed sync the outcome is unknown, and the same builders in another
// transaction settle it for the table too.
func TestInTxFailedSync(t *testing.T) {
	t.Parallel()
	fs := newFaultyFS(t)
	path := "file:" + filepath.Join(t.TempDir(), "a.db") + "?vfs=" + t.Name()
	ex := openBooks(t, path)
	builder := evento.Aggregate("entries").AnyVersion().Event(happened{1}, happened{2})
	fn := func(ctx context.Context) error {
		if err := enter(ctx, insertEntry); err != nil {
			return err
		}
		_, err := builder.Commit(ctx, ex)
		return err
	}
	fs.badSync.Store(true)
	if err := ex.InTx(t.Context(), fn); !errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Errorf("InTx() with a failed sync = %v, want %v", err, evento.ErrOutcomeUnknown)
	}
	fs.badSync.Store(false)
	for what, err := range map[string]error{"InTx": ex.InTx(t.Context(), fn), "Commit": add(t.Context(), ex)} {
		if !errors.Is(err, evento.ErrClosed) {
			t.Errorf("%s() after a failed sync = %v, want %v", what, err, evento.ErrClosed)
		}
	}
	closeAll(t, ex)
	ex = openBooks(t, path)
	defer closeAll(t, ex)
	for range 2 {
		if err := ex.InTx(t.Context(), fn); err != nil {
			t.Errorf("InTx() again = %v", err)
		}
		wantEntries(t, ex, 1)
	}
}

// A path that means another file by now is not written to.
func TestInTxAnotherFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "link.db")
	point := func(to string) {
		if err := errors.Join(os.RemoveAll(link), os.Symlink(filepath.Join(dir, to), link)); err != nil {
			t.Fatal(err)
		}
	}
	closeAll(t, openFile(t, filepath.Join(dir, "a.db")), openFile(t, filepath.Join(dir, "b.db")))
	point("a.db")
	ex := openFile(t, link).(*sqlite.Executor)
	point("b.db")
	if err := ex.InTx(t.Context(), func(context.Context) error { t.Error("the function ran"); return nil }); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("InTx() = %v, want %v", err, evento.ErrInvalid)
	}
	point("a.db")
	if err := ex.InTx(t.Context(), func(ctx context.Context) error { return add(ctx, ex) }); err != nil {
		t.Errorf("InTx() = %v", err)
	}
	closeAll(t, ex)
}

// logged counts what is logged, by its text.
type logged struct {
	slog.Handler
	lines chan string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.lines <- r.Message
	return nil
}

// A function of InTx that commits with another context than its own waits for itself.
// When that context has no end, the log says so.
func TestInTxHint(t *testing.T) {
	t.Parallel()
	log := &logged{slog.DiscardHandler, make(chan string, 10)}
	ex, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), &sqlite.Options{Logger: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	sqlite.SetHint(ex, time.Millisecond)
	for name, wait := range map[string]func(ctx context.Context) error{
		"Commit": func(ctx context.Context) error { return add(ctx, ex) },
		"InTx":   func(ctx context.Context) error { return ex.InTx(ctx, func(context.Context) error { return nil }) },
	} {
		outer, cancel := context.WithCancel(t.Context())
		err := ex.InTx(outer, func(context.Context) error {
			go func() {
				if line := <-log.lines; !strings.Contains(line, "has to use the context") {
					t.Errorf("%s: logged is %q", name, line)
				}
				cancel()
			}()
			return wait(outer)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: InTx() = %v, want %v", name, err, context.Canceled)
		}
	}
	closeAll(t, ex)
}
