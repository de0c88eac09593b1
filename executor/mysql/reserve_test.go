//go:build unix

// What goes on while handlers hold all connections.

package mysql_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/mysql"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

func openWith(t *testing.T, dsn string, opts *mysql.Options) *mysql.Executor {
	t.Helper()
	ex, err := mysql.Open(t.Context(), dsn, opts)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return ex
}

// newOn opens an executor on a handle of the caller's that is limited.
func newOn(t *testing.T, dsn string, connections, most int) (*mysql.Executor, *sql.DB) {
	t.Helper()
	db := raw(t, dsn)
	db.SetMaxOpenConns(most)
	ex, err := mysql.New(t.Context(), db, &mysql.Options{Connections: connections, Logger: silent})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return ex, db
}

// Leases are renewed while handlers hold every connection.
func TestLeasesBesideHandlers(t *testing.T) {
	t.Parallel()
	if testserver.MySQL(t) == "" {
		return
	}
	holdTx := func(ctx context.Context, released func() bool) error {
		return storetest.Until(ctx, released, func(ctx context.Context) error { return enter(ctx, "DO 1") })
	}
	t.Run("one connection", func(t *testing.T) {
		t.Parallel()
		dsn := testserver.MySQL(t)
		one := &mysql.Options{Connections: 1}
		storetest.Leases(t, openWith(t, dsn, one), openWith(t, dsn, one), openSilent(t, dsn), false,
			storetest.Holder{Transactional: true, Hold: holdTx})
	})
	t.Run("two connections", func(t *testing.T) {
		t.Parallel()
		dsn := testserver.MySQL(t)
		two := &mysql.Options{Connections: 2}
		ex := openWith(t, dsn, two)
		inTx := storetest.Holder{Hold: func(ctx context.Context, released func() bool) error {
			return ex.InTx(ctx, func(ctx context.Context) error { return holdTx(ctx, released) })
		}}
		storetest.Leases(t, ex, openWith(t, dsn, two), openSilent(t, dsn), false, inTx, inTx)
	})
	t.Run("those of a handle", func(t *testing.T) {
		t.Parallel()
		dsn := testserver.MySQL(t)
		const most = 6
		ex, db := newOn(t, dsn, 2, most) // the transaction has one, the other subscription reads with the other
		standby, _ := newOn(t, dsn, 1, most)
		inTx := make(chan struct{})
		began := sync.OnceFunc(func() { close(inTx) })
		storetest.Leases(t, ex, standby, openSilent(t, dsn), false,
			storetest.Holder{Hold: func(ctx context.Context, released func() bool) error {
				return ex.InTx(ctx, func(ctx context.Context) error {
					began()
					return holdTx(ctx, released)
				})
			}},
			storetest.Holder{Hold: func(ctx context.Context, released func() bool) error {
				select { // the transaction needs a connection too
				case <-inTx:
				case <-ctx.Done():
					return ctx.Err()
				}
				var held []*sql.Conn
				defer func() {
					for _, conn := range held {
						_ = conn.Close()
					}
				}()
				for len(held) == 0 || db.Stats().InUse < most {
					conn, err := connWithin(ctx, db, 100*time.Millisecond)
					switch {
					case err == nil:
						held = append(held, conn)
					case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
						return err
					}
				}
				return storetest.Until(ctx, released, func(ctx context.Context) error { return held[0].PingContext(ctx) })
			}})
	})
}

// reserved is an executor whose one connection for calls is taken.
type reserved struct {
	*mysql.Executor
	root    *sql.DB
	release func() error
}

// hold takes the connection of calls in a transaction.
func hold(t *testing.T, ex *mysql.Executor, root *sql.DB) *reserved {
	t.Helper()
	holding, released, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- ex.InTx(context.WithoutCancel(t.Context()), func(context.Context) error {
			close(holding)
			<-released
			return nil
		})
	}()
	r := &reserved{Executor: ex, root: root, release: sync.OnceValue(func() error {
		close(released)
		return <-done
	})}
	<-holding
	t.Cleanup(func() {
		if err := r.release(); err != nil {
			t.Errorf("InTx() = %v", err)
		}
	})
	return r
}

func openReserved(t *testing.T, dsn string) *reserved {
	t.Helper()
	return hold(t, openWith(t, dsn, &mysql.Options{Connections: 1, Logger: silent}), raw(t, dsn))
}

// bounded is for calls that must not wait for ever.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// calls are those that have to go on.
func (r *reserved) calls(ctx context.Context, key string) error {
	other := record(key, 0)
	other.Part = "other"
	if err := errors.Join(swap(ctx, r, record(key, 0)), swap(ctx, r, record(key, 1), other)); err != nil {
		return err
	}
	page, err := r.Records(ctx, evento.RecordQuery{Kind: "test", Key: key})
	if err == nil && (len(page.Records) != 2 || page.Records[0].Revision != 2 || page.Records[1].Revision != 1) {
		err = fmt.Errorf("Records() = %+v", page.Records)
	}
	return err
}

// Calls that find all connections taken share one beside them, which is replaced
// when it is lost, and goes with the executor.
func TestReserve(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ctx := bounded(t)
	r := openReserved(t, dsn)
	r.root.SetMaxOpenConns(1)
	if n := connections(t, r.root); n != 1 {
		t.Errorf("%d connections, want that of the transaction before others are needed", n)
	}
	const callers = 20
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if err := r.calls(ctx, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := connections(t, r.root); n != 2 {
		t.Errorf("%d connections, want one beside that of the transaction", n)
	}
	var id int64
	if err := r.root.QueryRowContext(t.Context(), "SELECT MAX(id) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.root.ExecContext(t.Context(), fmt.Sprint("KILL ", id)); err != nil {
		t.Fatal(err)
	}
	if err := r.calls(ctx, "again"); err != nil {
		t.Error(err)
	}
	eventually(t, "there is one connection beside that of the transaction", func() bool { return connections(t, r.root) == 2 })
	if err := errors.Join(r.release(), r.Close()); err != nil {
		t.Error(err)
	}
	eventually(t, "no connection is left", func() bool { return connections(t, r.root) == 0 })
}

// A call whose context ends before there is a connection leaves it to the next.
func TestReserveOfShortContexts(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	gate := storetest.NewGate()
	cfg.DialFunc = gate.DialContext
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	ex, err := mysql.New(t.Context(), db, &mysql.Options{Connections: 1, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	r, ctx := hold(t, ex, raw(t, dsn)), bounded(t)
	before := gate.Asked()
	gate.Close()
	short, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := r.Records(short, evento.RecordQuery{Kind: "test"})
		done <- err
	}()
	select {
	case <-gate.Waiting:
	case <-ctx.Done():
		t.Fatal("no connection is made beside the others")
	}
	cancel()
	if err := receive(t, "Records", done); !errors.Is(err, context.Canceled) {
		t.Errorf("Records() = %v, want %v", err, context.Canceled)
	}
	gate.Open()
	if _, err := r.Records(ctx, evento.RecordQuery{Kind: "test"}); err != nil {
		t.Errorf("Records() = %v", err)
	}
	if n := gate.Asked() - before; n != 1 {
		t.Errorf("%d connections were asked for, want the one of the call that gave up", n)
	}
}

// Of a limited handle the reserve is taken at the beginning: later there may be
// no connection left for it.
func TestReserveOfLimitedHandle(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	const most = 5
	ctx := bounded(t)
	ex, db := newOn(t, dsn, 1, most)
	for db.Stats().InUse < most {
		conn, err := db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	if err := hold(t, ex, raw(t, dsn)).calls(ctx, "key"); err != nil {
		t.Error(err)
	}
}

// A connection on which a call waits for somebody's lock is in nobody's way once
// there is another, and Close waits for the call.
func TestReserveIsBlocked(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	ctx := bounded(t)
	r := openReserved(t, dsn)
	if err := swap(ctx, r, record("locked", 0)); err != nil {
		t.Fatal(err)
	}
	f := begin(t, r.root)
	f.exec("SELECT value FROM evento_record WHERE name = 'locked' FOR UPDATE")
	blocked, waits, closed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { blocked <- swap(ctx, r, record("locked", 1)) }()
	eventually(t, "the swap waits for the lock", func() bool {
		var n int
		if err := r.root.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'UPDATE evento_record%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	go func() {
		_, err := r.Records(t.Context(), evento.RecordQuery{Kind: "test"})
		waits <- err
	}()
	if err := errors.Join(r.release(), receive(t, "Records", waits)); err != nil {
		t.Errorf("InTx() and Records() = %v", err)
	}
	go func() { closed <- r.Close() }()
	eventually(t, "it is closing", func() bool {
		_, err := r.Records(t.Context(), evento.RecordQuery{Kind: "test"})
		return errors.Is(err, evento.ErrClosed)
	})
	select {
	case err := <-closed:
		t.Errorf("Close() = %v while a call is under way", err)
	default:
	}
	f.end(f.tx.Rollback)
	if err := errors.Join(receive(t, "Swap", blocked), receive(t, "Close", closed)); err != nil {
		t.Errorf("Swap() and Close() = %v", err)
	}
}

// Where the server has no room for a connection in reserve, calls wait for the
// others, and somebody is told.
func TestReserveWithoutRoom(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	if dsn == "" {
		return
	}
	root := raw(t, dsn)
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.User, cfg.Passwd = "few_"+strings.ToLower(evento.NewID().String()[16:]), "few"
	for _, text := range []string{"CREATE USER " + cfg.User + " IDENTIFIED BY 'few' WITH MAX_USER_CONNECTIONS 1", "GRANT ALL ON " + cfg.DBName + ".* TO " + cfg.User} {
		if _, err := root.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := root.ExecContext(context.Background(), "DROP USER "+cfg.User); err != nil {
			t.Error(err)
		}
	})
	var said lockedBuffer
	r := hold(t, openWith(t, cfg.FormatDSN(), &mysql.Options{Connections: 1, Logger: slog.New(slog.NewTextHandler(&said, nil))}), root)
	done := make(chan error, 1)
	go func() {
		_, err := r.Records(t.Context(), evento.RecordQuery{Kind: "test"})
		done <- err
	}()
	eventually(t, "it says that there is no room", func() bool { return strings.Contains(said.String(), "beside them") })
	select {
	case err := <-done:
		t.Errorf("Records() without a connection = %v", err)
		done <- err
	default:
	}
	if err := errors.Join(r.release(), receive(t, "Records", done)); err != nil {
		t.Errorf("InTx() and Records() = %v", err)
	}
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// connWithin is a connection of a handle, if there is one within a time: who else
// uses the handle may have taken the last.
func connWithin(ctx context.Context, db *sql.DB, d time.Duration) (*sql.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return db.Conn(ctx)
}
