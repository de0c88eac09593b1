package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/storetest"
	"github.com/evento-go/evento/internal/testserver"
)

// Leases are renewed while handlers hold every connection of the pool.
func TestLeasesBesideHandlers(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	observe := func(t *testing.T, schema string) evento.Executor {
		ex, _ := openOn(t, url, schema, 4)
		return ex
	}
	t.Run("one connection", func(t *testing.T) {
		t.Parallel()
		schema := newSchema(t)
		ex, _ := openOn(t, url, schema, 1)
		standby, _ := openOn(t, url, schema, 1)
		storetest.Leases(t, ex, standby, observe(t, schema), false, storetest.Holder{Transactional: true, Hold: holdTx})
	})
	t.Run("two connections", func(t *testing.T) {
		t.Parallel()
		schema := newSchema(t)
		ex, pool := openOn(t, url, schema, 2)
		standby, _ := openOn(t, url, schema, 2)
		storetest.Leases(t, ex, standby, observe(t, schema), false,
			storetest.Holder{Hold: func(ctx context.Context, released func() bool) error {
				return ex.InTx(ctx, func(ctx context.Context) error { return holdTx(ctx, released) })
			}},
			storetest.Holder{Hold: func(ctx context.Context, released func() bool) error {
				return pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return storetest.Until(ctx, released, conn.Ping) })
			}})
	})
	t.Run("of the URL, through PgBouncer", func(t *testing.T) {
		t.Parallel()
		schema := newSchema(t)
		through := testserver.PgBouncer(t, url) + "&default_query_exec_mode=cache_describe&pool_max_conns=1"
		open := func() evento.Executor {
			ex, err := postgres.Open(t.Context(), through, &postgres.Options{Schema: schema})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeAll(t, ex) })
			return ex
		}
		storetest.Leases(t, open(), open(), observe(t, schema), false, storetest.Holder{Transactional: true, Hold: holdTx})
	})
}

// holdTx holds the transaction of ctx.
func holdTx(ctx context.Context, released func() bool) error {
	return storetest.Until(ctx, released, postgres.Tx(ctx).Conn().Ping)
}

// reserved is an executor on a pool all of whose connections are taken.
type reserved struct {
	*postgres.Executor
	name    string // of the sessions, and the schema
	before  atomic.Int64
	after   atomic.Int64
	gate    *storetest.Gate
	release func()
}

func openReserved(t *testing.T) *reserved {
	t.Helper()
	ctx := deadlined(t)
	r := &reserved{name: newSchema(t), gate: storetest.NewGate()}
	config, err := pgxpool.ParseConfig(testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns, config.MinConns, config.MinIdleConns = 2, 2, 2
	config.ConnConfig.DialFunc = r.gate.DialContext
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		r.before.Add(1)
		c.RuntimeParams["application_name"] = r.name
		return nil
	}
	config.AfterConnect = func(context.Context, *pgx.Conn) error {
		r.after.Add(1)
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r.Executor, err = postgres.New(ctx, pool, &postgres.Options{Schema: r.name, NoNotify: true})
	if err != nil {
		t.Fatal(err)
	}
	var held []*pgxpool.Conn
	for range config.MaxConns {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	r.release = sync.OnceFunc(func() {
		for _, conn := range held {
			conn.Release()
		}
	})
	t.Cleanup(func() {
		r.release()
		closeAll(t, r)
		givenBack(t, pool)
	})
	return r
}

// calls are those that have to go on.
func (r *reserved) calls(ctx context.Context, key string) error {
	if err := swap(ctx, r, 0, key); err != nil {
		return fmt.Errorf("Swap: %w", err)
	}
	if err := r.Swap(ctx, evento.Swap{Changes: []evento.Change{
		{RecordKey: evento.RecordKey{Kind: "test", Key: key}, Revision: 1},
		{RecordKey: evento.RecordKey{Kind: "test", Key: key, Part: "other"}},
	}}); err != nil {
		return fmt.Errorf("Swap of two: %w", err)
	}
	page, err := r.Records(ctx, evento.RecordQuery{Kind: "test", Key: key})
	if err == nil && (len(page.Records) != 2 || page.Records[0].Revision != 2 || page.Records[1].Revision != 1) {
		err = fmt.Errorf("%+v", page.Records)
	}
	if err != nil {
		return fmt.Errorf("Records: %w", err)
	}
	return nil
}

// sessions are those of the executor and its pool.
func (r *reserved) sessions(t *testing.T) (n int) {
	t.Helper()
	if err := connect(t).QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", r.name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Calls that find the pool exhausted share one connection beside it, which has
// the hooks of the pool, and goes with the executor.
func TestReserve(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	r := openReserved(t)
	if n := r.sessions(t); n != 2 {
		t.Errorf("%d sessions, want those of the pool before others are needed", n)
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
	if n := r.sessions(t); n != 3 || r.before.Load() != 3 || r.after.Load() != 3 {
		t.Errorf("%d sessions, after %d and %d calls of the hooks, want one beside those of the pool", n, r.before.Load(), r.after.Load())
	}
	// One that is gone is replaced. Who finds out is told.
	exec(t, connect(t), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '"+r.name+"' ORDER BY backend_start DESC LIMIT 1")
	if _, err := r.Records(ctx, evento.RecordQuery{Kind: "test"}); err == nil {
		t.Error("Records() on a connection that was ended = nil: the test tested nothing")
	}
	if err := r.calls(ctx, "again"); err != nil {
		t.Error(err)
	}
	if n := r.sessions(t); n != 3 {
		t.Errorf("%d sessions, want one beside those of the pool", n)
	}
	r.release()
	closeAll(t, r)
	awaitSessions(t, r, 2)
}

// awaitSessions returns when there are so many sessions.
func awaitSessions(t *testing.T, r *reserved, want int) {
	t.Helper()
	ctx := deadlined(t)
	for r.sessions(t) != want {
		if ctx.Err() != nil {
			t.Fatalf("%d sessions, want %d", r.sessions(t), want)
		}
	}
}

// A call whose context ends before there is a connection leaves it to the next.
func TestReserveOfShortContexts(t *testing.T) {
	t.Parallel()
	r := openReserved(t)
	ctx := deadlined(t)
	before := r.gate.Asked()
	r.gate.Close()
	short, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := r.Records(short, evento.RecordQuery{Kind: "test"})
		done <- err
	}()
	select {
	case <-r.gate.Waiting:
	case <-ctx.Done():
		t.Fatal("no connection is made beside the others")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Records() = %v, want %v", err, context.Canceled)
	}
	r.gate.Open()
	if _, err := r.Records(ctx, evento.RecordQuery{Kind: "test"}); err != nil {
		t.Errorf("Records() = %v", err)
	}
	if n := r.gate.Asked() - before; n != 1 {
		t.Errorf("%d connections were asked for, want the one of the call that gave up", n)
	}
}

// A connection on which a call waits for somebody's lock is in nobody's way once
// the pool has another, and Close waits for the call.
func TestReserveIsBlocked(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	r := openReserved(t)
	if err := swap(ctx, r, 0, "locked"); err != nil {
		t.Fatal(err)
	}
	lock := connect(t)
	exec(t, lock, "BEGIN; SELECT FROM "+r.name+".record FOR UPDATE")
	blocked, waits, closed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { blocked <- swap(ctx, r, 1, "locked") }()
	awaitLocks(t, r.name, 1)
	go func() {
		_, err := r.Records(ctx, evento.RecordQuery{Kind: "test"})
		waits <- err
	}()
	r.release()
	if err := <-waits; err != nil {
		t.Errorf("Records() = %v", err)
	}
	go func() { closed <- r.Close() }()
	for {
		if _, err := r.Records(ctx, evento.RecordQuery{Kind: "test"}); errors.Is(err, evento.ErrClosed) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-closed:
		t.Errorf("Close() = %v while a call is under way", err)
	default:
	}
	exec(t, lock, "ROLLBACK")
	if err := errors.Join(<-blocked, <-closed); err != nil {
		t.Errorf("Swap() and Close() = %v", err)
	}
	awaitSessions(t, r, 2)
}

// Where the server has no room for a connection beside the pool, calls wait for
// the pool, and somebody is told.
func TestReserveWithoutRoom(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	closeAll(t, openSchema(t, schema))
	role := "few_" + schema
	newRole(t, role, "CONNECTION LIMIT 1")
	asOwner(t, "GRANT USAGE ON SCHEMA "+schema+" TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA "+schema+" TO "+role)
	pool := testPool(t, strings.Replace(testserver.Postgres(t), "evento@", role+"@", 1), 1)
	var log lockedBuffer
	ex, err := postgres.New(ctx, pool, &postgres.Options{Schema: schema, NoNotify: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, ex)
	held, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	release := sync.OnceFunc(held.Release)
	defer release()
	done := make(chan error, 1)
	go func() {
		_, err := ex.Records(ctx, evento.RecordQuery{Kind: "test"})
		done <- err
	}()
	for !strings.Contains(log.String(), "beside it") && ctx.Err() == nil {
		select {
		case err := <-done:
			t.Fatalf("Records() without a connection = %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("Records() = %v; %s", err, log.String())
	}
}
