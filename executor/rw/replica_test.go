package rw_test

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

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/rw"
	"github.com/evento-go/evento/internal/testserver"
)

// replicated is a real PostgreSQL server with a streaming replica.
type replicated struct {
	primary, replica *testserver.PostgresServer
	stores           atomic.Int64
}

func startReplicated(t testing.TB, settings ...string) *replicated {
	t.Helper()
	primary := testserver.StartPostgres(t, settings...)
	return &replicated{primary: primary, replica: primary.Replica()}
}

const poolSize = 4

func openPostgres(t testing.TB, server *testserver.PostgresServer, schema string) *postgres.Executor {
	t.Helper()
	ex, err := postgres.Open(context.Background(), fmt.Sprint(server.URL, "&pool_max_conns=", poolSize),
		&postgres.Options{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return ex
}

// newStore makes a store and returns its schema once the replica has it.
func (r *replicated) newStore(t testing.TB) string {
	t.Helper()
	schema := fmt.Sprint("store_", r.stores.Add(1))
	if err := openPostgres(t, r.primary, schema).Close(); err != nil {
		t.Fatal(err)
	}
	r.settle(t)
	return schema
}

// settle returns when the replica shows what was committed.
func (r *replicated) settle(t testing.TB) {
	t.Helper()
	end := query[string](t, r.primary, "SELECT pg_current_wal_lsn()::text")
	until(t, r.replica, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", end)
}

// open reads from the replica and writes to the primary.
func (r *replicated) open(t testing.TB, schema string) *rw.Executor {
	t.Helper()
	return rw.New(openPostgres(t, r.replica, schema), openPostgres(t, r.primary, schema))
}

// query returns the one value that a server has for a query.
func query[T any](t testing.TB, server *testserver.PostgresServer, text string, args ...any) (v T) {
	t.Helper()
	connected(t, server, func(conn *pgx.Conn) error {
		return conn.QueryRow(context.Background(), text, args...).Scan(&v)
	})
	return v
}

// until asks a server until it says yes.
func until(t testing.TB, server *testserver.PostgresServer, text string, args ...any) {
	t.Helper()
	connected(t, server, func(conn *pgx.Conn) error {
		ask := time.NewTicker(time.Millisecond)
		defer ask.Stop()
		for yes := false; ; <-ask.C {
			if err := conn.QueryRow(context.Background(), text, args...).Scan(&yes); err != nil || yes {
				return err
			}
		}
	})
}

func connected(t testing.TB, server *testserver.PostgresServer, do func(*pgx.Conn) error) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(conn), conn.Close(context.Background())); err != nil {
		t.Fatal(err)
	}
}

// pause stops the replica from showing more, or lets it go on.
func (r *replicated) pause(t testing.TB, stop bool) {
	t.Helper()
	if !stop {
		query[any](t, r.replica, "SELECT pg_wal_replay_resume()")
		return
	}
	query[any](t, r.replica, "SELECT pg_wal_replay_pause()")
	until(t, r.replica, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
}

// The contract of one executor; what another one has committed may be seen late,
// so there is no Share, and one that is opened anew lets the replica catch up.
func TestReplicaContract(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, "fsync=off")
	var schemas sync.Map // by executor
	open := func(t testing.TB, schema any) evento.Executor {
		t.Helper()
		ex := r.open(t, schema.(string))
		schemas.Store(ex, schema)
		return ex
	}
	executortest.Test(t, executortest.Config{
		Transactor: true,
		Without:    passedOn(),
		Open: func(t testing.TB) evento.Executor {
			t.Helper()
			return open(t, r.newStore(t))
		},
		Reopen: func(t testing.TB, ex evento.Executor) evento.Executor {
			t.Helper()
			if err := ex.Close(); err != nil {
				t.Fatal(err)
			}
			r.settle(t)
			schema, _ := schemas.Load(ex)
			return open(t, schema)
		},
	})
}

// A replica that applies commits 100 ms late is waited for; one that stands
// still, or is gone, is not noticed, or tells what is wrong.
func TestReplicaReadYourWrites(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, "recovery_min_apply_delay=100ms")
	schema := r.newStore(t)
	read, write := &spy{Executor: openPostgres(t, r.replica, schema)}, &spy{Executor: openPostgres(t, r.primary, schema)}
	ex := rw.New(read, write)
	committed := 0
	check := func(when string) {
		t.Helper()
		for range 3 {
			committed++
			add(t, ex, "one", 1)
			l, err := totals.Load(t.Context(), ex, "one")
			if err != nil || l.State.N != committed {
				t.Fatalf("%s, after commit %d: got %+v, %v", when, committed, l, err)
			}
		}
	}
	check("on a replica that is late")
	if reads := write.reads.Load(); reads != 1+3 {
		t.Errorf("got %d reads of the primary, want one of its identity, and one of its end for each of 3 commits", reads)
	}
	r.pause(t, true)
	check("on one that stands still")
	r.pause(t, false)
	check("on one that goes on")
	r.replica.Kill()
	check("on one that is gone")
	r.replica.Restart()
	r.settle(t) // it begins with what was on its disk, which may be before the store
	check("on one that is back")
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}

// A subscription that reads a replica is given every event once and in order,
// while the replica stands still, is killed, and comes back, and the primary is
// killed too.
func TestReplicaSubscription(t *testing.T) {
	t.Parallel()
	r := startReplicated(t)
	schema := r.newStore(t)
	ex := r.open(t, schema)
	const writers, rounds, each = 4, 5, 20
	const all = writers * rounds * each
	var seen []uint64
	progress := make(chan int, all)
	s, err := evento.NewSubscription("all").Logger(slog.New(slog.DiscardHandler)).
		Handler(evento.Handle(func(_ context.Context, e evento.Event[added]) error {
			seen = append(seen, e.Position)
			progress <- len(seen)
			return nil
		})).Start(t.Context(), ex)
	if err != nil {
		t.Fatal(err)
	}
	other := openPostgres(t, r.primary, schema) // another process
	commits := func() {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				by := evento.Executor(ex)
				if w%2 == 0 {
					by = other
				}
				for range each {
					b := evento.Aggregate(fmt.Sprint(w)).AnyVersion().Event(added{N: w})
					_, err := b.Commit(t.Context(), by)
					for err != nil && t.Context().Err() == nil { // until it is known to be there
						_, err = b.Commit(t.Context(), by)
					}
				}
			})
		}
		wg.Wait()
	}
	caughtUp := func(n int) {
		t.Helper()
		for at := 0; at < n; {
			select {
			case at = <-progress:
			case <-s.Done():
				t.Fatalf("the subscription ended after %d events of %d: %v", at, n, s.Err())
			}
		}
	}
	for round, fault := range []func(){
		func() {},
		func() { r.pause(t, true); commits(); r.pause(t, false) },
		func() { r.replica.Kill(); commits(); r.replica.Restart() },
		func() {
			done := make(chan struct{})
			go func() { defer close(done); commits() }()
			<-progress // in the middle of it
			r.primary.Kill()
			r.primary.Restart()
			<-done
		},
	} {
		fault()
		if round == 0 {
			commits()
		}
		caughtUp((round + 1) * writers * each)
	}
	commits()
	caughtUp(all)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for i, p := range seen {
		if p != uint64(i)+1 {
			t.Fatalf("event %d handled is that of position %d", i+1, p)
		}
	}
	for _, ex := range []evento.Executor{ex, other} {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Who takes a replica for the primary is told so, and nothing is stored.
func TestReplicaAsWriter(t *testing.T) {
	t.Parallel()
	r := startReplicated(t)
	if _, err := postgres.Open(t.Context(), r.replica.URL, nil); !errors.Is(err, evento.ErrReadOnly) {
		t.Errorf("Open of a new store on a replica: got %v, want the error %q", err, evento.ErrReadOnly)
	}
	schema := r.newStore(t)
	ex := rw.New(openPostgres(t, r.replica, schema), openPostgres(t, r.replica, schema))
	for name, do := range map[string]func() error{
		"Commit": func() error {
			_, err := evento.Create().Event(added{N: 1}).Commit(t.Context(), ex)
			return err
		},
		"Swap": func() error { return ex.Swap(t.Context(), swapAt(0)) },
		"SaveSnapshot": func() error {
			return ex.SaveSnapshot(t.Context(), evento.SnapshotKey{Projection: "p", Variant: strings.Repeat("0", 64), AggregateType: counter, AggregateID: "one"}, evento.Snapshot{Version: 1})
		},
	} {
		if err := do(); !errors.Is(err, evento.ErrReadOnly) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("%s: got %v, want the error %q", name, err, evento.ErrReadOnly)
		}
	}
	if got := count(t, ex); got != 0 {
		t.Errorf("got %d events, want none", got)
	}
	// A type and an event that are known already are refused by the commit itself.
	on := r.open(t, schema)
	add(t, on, "one", 1)
	if got := count(t, on); got != 1 { // which waits for the replica
		t.Fatalf("got %d events, want 1", got)
	}
	if _, err := evento.Aggregate("one").AnyVersion().Event(added{N: 2}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrReadOnly) {
		t.Errorf("Commit of a known event: got %v, want the error %q", err, evento.ErrReadOnly)
	}
	for _, ex := range []evento.Executor{ex, on} {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}
}
