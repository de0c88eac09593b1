package postgres_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// openWith opens a store with options and a pool of its own.
func openWith(t *testing.T, url string, opts *postgres.Options) *postgres.Executor {
	t.Helper()
	ex, err := postgres.New(t.Context(), testPool(t, url, 4), opts)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	t.Cleanup(func() { closeAll(t, ex) })
	return ex
}

// channelOf is the channel of notifications of a schema.
func channelOf(t *testing.T, schema string) string {
	t.Helper()
	var identity [16]byte
	if err := connect(t).QueryRow(t.Context(), "SELECT identity FROM "+schema+".store").Scan(&identity); err != nil {
		t.Fatal(err)
	}
	return "evento_" + hex.EncodeToString(identity[:])
}

// awaitListening returns when a number of sessions listen to a channel.
func awaitListening(t *testing.T, channel string, want int) {
	t.Helper()
	ctx := deadlined(t)
	conn := connect(t)
	for n := -1; n < want; {
		// A session that listens says so with its last statement.
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN '||$1 AND state = 'idle'", channel).Scan(&n); err != nil {
			t.Fatalf("%v; %d sessions listen, want %d", err, n, want)
		}
	}
}

// awaitHeard returns when the executor has heard of a commit of another.
func awaitHeard(t *testing.T, ex, other evento.Executor, n int) {
	t.Helper()
	ctx := deadlined(t)
	began := time.Now()
	changed := ex.Changed()
	commit(t, other, n)
	select {
	case <-changed:
	case <-ctx.Done():
		t.Errorf("a commit of another executor was not heard of for %s", time.Since(began))
	}
}

// Executors that would ask once an hour hear of what others commit.
func TestNotified(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	url := testserver.Postgres(t)
	ex := openWith(t, url, &postgres.Options{Schema: schema, PollInterval: time.Hour})
	other := openWith(t, url, &postgres.Options{Schema: schema})
	ex.Changed() // from when it listens
	awaitListening(t, channelOf(t, schema), 1)
	for n := range 5 {
		awaitHeard(t, ex, other, n)
	}
	changed := ex.Changed()
	if err := other.InTx(t.Context(), func(ctx context.Context) error {
		_, err := evento.Create().Event(happened{5}).Commit(ctx, other)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-deadlined(t).Done():
		t.Error("InTx of another executor was not heard of")
	}
}

// Without notifications it is polled for.
func TestNotNotified(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	url := testserver.Postgres(t)
	listener := connect(t)
	ex := openWith(t, url, &postgres.Options{Schema: schema, NoNotify: true})
	other := openWith(t, url, &postgres.Options{Schema: schema, NoNotify: true})
	exec(t, listener, "LISTEN "+channelOf(t, schema))
	for n := range 3 {
		awaitHeard(t, ex, other, n)
	}
	var listening int
	if err := connect(t).QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN '||$1 AND pid <> $2", channelOf(t, schema), listener.PgConn().PID()).Scan(&listening); err != nil || listening != 0 {
		t.Errorf("%d sessions listen, %v, want none", listening, err)
	}
	exec(t, connect(t), "NOTIFY "+channelOf(t, schema)+", 'end'")
	if n, err := listener.WaitForNotification(deadlined(t)); err != nil || n.Payload != "end" {
		t.Errorf("heard %+v, %v, want no notification", n, err)
	}
}

// Commits are told of together, at most once in 5 ms.
func TestFewNotifications(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex, _ := openOn(t, testserver.Postgres(t), schema, 8)
	listener := connect(t)
	exec(t, listener, "LISTEN "+channelOf(t, schema))
	began := time.Now()
	const writers, commits = 8, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range commits {
				b := evento.Create().Event(happened{w*commits + i})
				var err error
				if i%4 == 0 {
					err = ex.InTx(t.Context(), func(ctx context.Context) error {
						_, err := b.Commit(ctx, ex)
						return err
					})
				} else {
					_, err = b.Commit(t.Context(), ex)
				}
				if err != nil {
					t.Errorf("Commit() = %v", err)
				}
			}
		})
	}
	wg.Wait()
	closeAll(t, ex) // it tells of nothing any more
	took := time.Since(began)
	exec(t, connect(t), "NOTIFY "+channelOf(t, schema)+", 'end'")
	heard := 0
	for {
		n, err := listener.WaitForNotification(deadlined(t))
		if err != nil {
			t.Fatal(err)
		}
		if n.Payload == "end" {
			break
		}
		heard++
	}
	if most := int(took/(5*time.Millisecond)) + 2; heard == 0 || heard > most {
		t.Errorf("%d notifications of %d commits in %s, want 1 to %d", heard, writers*commits, took, most)
	}
	t.Logf("%d notifications of %d commits in %s", heard, writers*commits, took)
}

// While somebody holds the lock that a transaction with a NOTIFY takes until it
// is committed, commits go on: they notify of nothing themselves.
func TestNotifyOutsideOfCommit(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	// A commit that waits for a replica, which there is none of, has the lock.
	server := testserver.StartPostgres(t, "synchronous_standby_names=absent", "synchronous_commit=local")
	ex, _ := openOn(t, server.URL, "evento", 4)
	commit(t, ex, 0)
	holder, admin := connectTo(t, server.URL), connectTo(t, server.URL)
	exec(t, holder, "CREATE TABLE held ()")
	exec(t, holder, "SET synchronous_commit = on")
	released := make(chan error, 1)
	go func() {
		_, err := holder.Exec(ctx, "BEGIN; INSERT INTO held DEFAULT VALUES; NOTIFY held; COMMIT")
		released <- err
	}()
	for held := 0; held == 0; {
		if err := admin.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'AccessExclusiveLock' AND granted").Scan(&held); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 {
		if _, err := evento.Create().Event(happened{n}).Commit(ctx, ex); err != nil {
			t.Fatalf("Commit() = %v", err)
		}
		if err := ex.InTx(ctx, func(ctx context.Context) error {
			_, err := evento.Create().Event(happened{n}).Commit(ctx, ex)
			return err
		}); err != nil {
			t.Fatalf("InTx() = %v", err)
		}
	}
	select {
	case err := <-released:
		t.Errorf("the lock was not held: %v", err)
		released <- nil
	default:
	}
	closeAll(t, ex) // whose notification waits still
	exec(t, admin, fmt.Sprintf("SELECT pg_cancel_backend(%d)", holder.PgConn().PID()))
	if err := <-released; err != nil {
		t.Logf("the holder of the lock: %v", err)
	}
}

// A listener whose connection breaks, or goes silent for good, listens again.
func TestListenerRecovers(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	url := testserver.Postgres(t)
	p := newProxy(t, url)
	var log lockedBuffer
	ex := openWith(t, p.url, &postgres.Options{Schema: schema, PollInterval: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	postgres.SetAlive(ex, 50*time.Millisecond)
	other := openWith(t, url, &postgres.Options{Schema: schema})
	awaitHeard(t, ex, other, 0) // also what came before it listened
	for n, fault := range []func(){p.cut, p.freeze} {
		warned := strings.Count(log.String(), "listening for commits")
		fault()
		for began := time.Now(); strings.Count(log.String(), "listening for commits") == warned; time.Sleep(time.Millisecond) {
			if time.Since(began) > 5*time.Minute {
				t.Fatalf("fault %d was not noticed: %s", n, log.String())
			}
		}
		p.thaw()
		p.cut() // what was frozen is lost
		// It listens again after a while; what came meanwhile wakes it then.
		awaitHeard(t, ex, other, n+1)
	}
	for n := range 3 {
		awaitHeard(t, ex, other, n+10)
	}
}

// lockedBuffer is a buffer for concurrent use.
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
