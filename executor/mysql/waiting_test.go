//go:build unix

// Waiting for locks of others, giving up, and what is left behind.

package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"regexp"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/testserver"
)

// soon bounds what is to return promptly, on a machine that is busy.
const soon = 5 * time.Second

// foreign is a transaction of somebody else.
type foreign struct {
	t  *testing.T
	tx *sql.Tx
}

func begin(t *testing.T, db *sql.DB) foreign {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return foreign{t, tx}
}

func (f foreign) exec(text string) {
	f.t.Helper()
	if _, err := f.tx.ExecContext(f.t.Context(), text); err != nil {
		f.t.Fatalf("%s: %v", text, err)
	}
}

// lockCounter keeps every append of everybody waiting.
func (f foreign) lockCounter() (position int64) {
	f.t.Helper()
	if err := f.tx.QueryRowContext(f.t.Context(), "SELECT position FROM evento_counter WHERE id = 1 FOR UPDATE").Scan(&position); err != nil {
		f.t.Fatal(err)
	}
	return position
}

func (f foreign) end(fn func() error) {
	f.t.Helper()
	if err := fn(); err != nil {
		f.t.Fatal(err)
	}
}

// waiting names the statement of the database that waits for a lock; "": there
// is none. The table innodb_trx would say so too, but not to those who ask more
// than ten times a second.
func waiting(t *testing.T, db *sql.DB) (wait string) {
	t.Helper()
	err := db.QueryRowContext(t.Context(), `SELECT query_id FROM information_schema.processlist
WHERE db = DATABASE() AND (info LIKE 'SELECT%FOR UPDATE' OR info LIKE 'INSERT INTO evento_type%')`).Scan(&wait)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	return wait
}

// awaitWaiting returns when there is a wait but one that is known.
func awaitWaiting(t *testing.T, db *sql.DB, but string) (wait string) {
	t.Helper()
	eventually(t, "somebody waits for a lock", func() bool {
		wait = waiting(t, db)
		return wait != "" && wait != but
	})
	return wait
}

// commitLater commits in another goroutine.
func commitLater(ctx context.Context, ex evento.Executor, b *evento.CommitBuilder) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := b.Commit(ctx, ex)
		done <- err
	}()
	return done
}

func receive(t *testing.T, what string, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(soon):
		t.Fatalf("%s does not return", what)
		return nil
	}
}

// deadlock makes the server give up the executor's transaction: it holds the
// counter and waits for a new type, of which the other is making the same. The
// other has the counter then.
func deadlock(t *testing.T, db *sql.DB, commit func() <-chan error) (foreign, <-chan error) {
	t.Helper()
	f := begin(t, db)
	// The server gives up the one that has changed less.
	f.exec("INSERT INTO evento_routing (name) WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT CONCAT('ballast ', i) FROM n")
	f.exec("INSERT INTO evento_type (name) VALUES ('" + string(thing) + "')")
	done := commit()
	awaitWaiting(t, db, "")
	f.lockCounter()
	return f, done
}

// A transaction that the server gives up in a deadlock is made again.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, db := openSilent(t, dsn), raw(t, dsn)
	f, done := deadlock(t, db, func() <-chan error { return commitLater(t.Context(), ex, evento.Create().Event(happened{1})) })
	f.end(f.tx.Commit)
	if err := receive(t, "Commit", done); err != nil {
		t.Errorf("Commit() after a deadlock = %v", err)
	}
	wantEvents(t, ex, 1)
	create(t, ex)
}

// One who gives up while the transaction is made again is told that nothing is
// stored, at once, and nothing is.
func TestGivingUpAfterDeadlock(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, db := openSilent(t, dsn), raw(t, dsn)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f, done := deadlock(t, db, func() <-chan error { return commitLater(ctx, ex, evento.Create().Event(happened{1})) })
	awaitWaiting(t, db, "") // for the counter, again
	cancel()
	if err := receive(t, "Commit", done); !errors.Is(err, context.Canceled) || errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Errorf("Commit() of one who gave up after a deadlock = %v, want %v", err, context.Canceled)
	}
	f.end(f.tx.Rollback)
	create(t, ex)
	wantEvents(t, ex, 1)
}

// The server stops waiting for a lock after 10 s; a commit goes on, whether it
// is the counter that somebody holds or a row that the transaction needs. Both
// at once, as it takes that long.
func TestLockWaitTimeout(t *testing.T) {
	t.Parallel()
	type wait struct {
		ex    evento.Executor
		db    *sql.DB
		f     foreign
		done  <-chan error
		first string
	}
	var waits []wait
	for _, lock := range []func(f foreign){
		func(f foreign) { f.lockCounter() },
		func(f foreign) { f.exec("INSERT INTO evento_type (name) VALUES ('" + string(thing) + "')") },
	} {
		dsn := testserver.MySQL(t)
		if dsn == "" {
			return
		}
		w := wait{ex: openSilent(t, dsn), db: raw(t, dsn)}
		w.f = begin(t, w.db)
		lock(w.f)
		w.done = commitLater(t.Context(), w.ex, evento.Create().Event(happened{1}))
		w.first = awaitWaiting(t, w.db, "")
		waits = append(waits, w)
	}
	for _, w := range waits {
		awaitWaiting(t, w.db, w.first)
		w.f.end(w.f.tx.Rollback)
		if err := receive(t, "Commit", w.done); err != nil {
			t.Errorf("Commit() after a lock wait timeout = %v", err)
		}
		wantEvents(t, w.ex, 1)
	}
}

// While somebody holds the counter, all but commits go on, and a commit whose
// context ends returns at once and stores nothing.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ex, db := openSilent(t, dsn), raw(t, dsn)
	create(t, ex)
	for i := range uint64(3) {
		f := begin(t, db)
		f.lockCounter()
		ctx, cancel := context.WithCancel(t.Context())
		var done []<-chan error
		for range 8 { // the first leads, the others queue
			done = append(done, commitLater(ctx, ex, evento.Create().Event(happened{1})))
		}
		last := commitLater(t.Context(), ex, evento.Create().Event(happened{2}))
		awaitWaiting(t, db, "")
		if !inTransaction(t, db) {
			t.Error("inTransaction() = false while the executor waits in one")
		}
		if err := swap(t.Context(), ex, record("key", i)); err != nil {
			t.Errorf("Swap() = %v", err)
		}
		if _, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "test"}); err != nil {
			t.Errorf("Records() = %v", err)
		}
		if err := ex.SaveSnapshot(t.Context(), evento.SnapshotKey{Projection: "p"}, evento.Snapshot{Version: 1}); err != nil {
			t.Errorf("SaveSnapshot() = %v", err)
		}
		before := len(log(t, ex))
		cancel()
		for _, d := range done {
			if err := receive(t, "Commit", d); !errors.Is(err, context.Canceled) || errors.Is(err, evento.ErrOutcomeUnknown) {
				t.Errorf("Commit() of one who gave up = %v, want %v", err, context.Canceled)
			}
		}
		f.end(f.tx.Rollback)
		if err := receive(t, "Commit", last); err != nil {
			t.Errorf("Commit() of one who waited = %v", err)
		}
		wantEvents(t, ex, before+1)
	}
}

// What cancellations, refusals, cut connections and reads that are broken off
// leave behind: nothing.
func TestLeaks(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	root := raw(t, dsn)
	root.SetMaxOpenConns(1)
	if err := root.PingContext(t.Context()); err != nil { // connects
		t.Fatal(err)
	}
	label := evento.NewID().String()
	pprof.Do(t.Context(), pprof.Labels("leaks", label), func(ctx context.Context) { leaks(ctx, t, dsn, root) })
	eventually(t, "its goroutines have ended", func() bool {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(b.String(), label)
	})
	eventually(t, "its connections are closed", func() bool { return connections(t, root) == 0 })
}

// connections counts those to the database but this one.
func connections(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(context.Background(), "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

var transactionOf = regexp.MustCompile(`(?s)^[^\n]*\bACTIVE\b.*?\bthread id (\d+)`)

// inTransaction reports whether any other connection to the database is.
func inTransaction(t *testing.T, db *sql.DB) bool {
	t.Helper()
	var kind, name, status string
	if err := db.QueryRowContext(t.Context(), "SHOW ENGINE INNODB STATUS").Scan(&kind, &name, &status); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(status, "---TRANSACTION ") {
		m := transactionOf.FindStringSubmatch(part)
		if m == nil {
			continue
		}
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND id = "+m[1]).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return true
		}
	}
	return false
}

func leaks(ctx context.Context, t *testing.T, dsn string, root *sql.DB) {
	t.Helper()
	const most = 4
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = &driver.NopLogger{}
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	ex, err := mysql.New(ctx, db, &mysql.Options{Connections: most - 2, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := evento.Aggregate("large").AnyVersion().Event(note{strings.Repeat("x", 1<<20)}).Commit(ctx, ex); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := evento.NewSubscription("tail").Logger(silent).All().Handler(evento.HandleAll(thing, func(context.Context, evento.RawEvent) error { return nil })).Start(ctx, ex)
	if err != nil {
		t.Fatal(err)
	}
	calls := []func(ctx context.Context){
		func(ctx context.Context) { _, _ = evento.Create().Event(happened{}).Commit(ctx, ex) },
		func(ctx context.Context) { _, _ = evento.Aggregate("large").Event(happened{}).Commit(ctx, ex) }, // a conflict
		func(ctx context.Context) {
			_, _ = evento.CommitAll(ctx, ex, evento.Create().Event(happened{}), evento.Aggregate("large").OriginalVersion(9).Event(happened{}))
		},
		func(ctx context.Context) {
			for _, err := range evento.Events(ctx, ex, evento.Query{}) {
				_ = err
				break // the page is cut by size
			}
		},
		func(ctx context.Context) {
			_, _ = ex.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByEvent(note{})}}, cursor.Backward(3, ""))
		},
		func(ctx context.Context) { _, _ = ex.Read(ctx, evento.Query{}, cursor.Forward(3, "nonsense")) },
		func(ctx context.Context) { _ = swap(ctx, ex, record(evento.NewID().String(), 0), record("b", 0)) },
		func(ctx context.Context) { _ = swap(ctx, ex, record("a", 0)) },
		func(ctx context.Context) { _ = swap(ctx, ex, record("never", 1)) },
		func(ctx context.Context) { _, _ = ex.Records(ctx, evento.RecordQuery{Kind: "test"}) },
		func(ctx context.Context) { _, _ = ex.Snapshot(ctx, evento.SnapshotKey{Projection: "p"}) },
		func(ctx context.Context) {
			_ = ex.SaveSnapshot(ctx, evento.SnapshotKey{Projection: "p"}, evento.Snapshot{Version: 1})
		},
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 150 {
				part, cancel := context.WithTimeout(ctx, rand.N(3*time.Millisecond))
				if i%3 == 0 {
					part = ctx
				}
				calls[rand.N(len(calls))](part)
				cancel()
				if g == 0 && i%10 == 0 {
					kill(t, root)
				}
				if n := db.Stats().OpenConnections; n > most+1 { // one is just closed
					t.Errorf("%d connections are open, want %d at most", n, most)
					return
				}
			}
		})
	}
	wg.Wait()
	create(t, ex)
	if err := sub.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	eventually(t, "no transaction is open, nor more connections than allowed", func() bool {
		return !inTransaction(t, root) && connections(t, root) <= most
	})
	if n := db.Stats().InUse; n > most {
		t.Errorf("%d connections are in use, want %d at most", n, most)
	}
	if err := ex.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if s := db.Stats(); s.InUse != 0 || s.OpenConnections != 0 {
		t.Errorf("the closed executor has left %d connections in use and %d open", s.InUse, s.OpenConnections)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
