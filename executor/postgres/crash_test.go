package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// history is what callers and a subscriber saw of a store in trouble.
type history struct {
	mu      sync.Mutex
	acked   map[int]evento.Receipt // by number
	unknown int
	handled []evento.Event[happened]
}

func (h *history) ack(n int, r evento.Receipt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[n] = r
}

func (h *history) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.acked)
}

// handle is a subscription's handler.
func (h *history) handle(_ context.Context, e evento.Event[happened]) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handled = append(h.handled, e)
	return nil
}

// check compares it with the store: each of the numbers below n is there once,
// where its receipt says; versions have no gaps; what the subscriber saw is
// there, first deliveries in order, none left out.
func (h *history) check(t *testing.T, ex evento.Executor, n int) {
	t.Helper()
	log := map[evento.ID]evento.RawEvent{}
	seen, versions := map[int]int{}, map[string]uint64{}
	var last uint64
	for raw, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := evento.Decode[happened](raw)
		if err != nil {
			t.Fatal(err)
		}
		log[raw.ID] = raw
		seen[e.Data.N]++
		if r, ok := h.acked[e.Data.N]; ok && (r.Version != raw.Version || r.Position != 0 && r.Position != raw.Position) {
			t.Errorf("%d is at version %d, position %d; its receipt is %+v", e.Data.N, raw.Version, raw.Position, r)
		}
		if versions[raw.AggregateID]++; raw.Version != versions[raw.AggregateID] || raw.Position != last+1 {
			t.Errorf("position %d, after %d, is version %d of %s, want version %d", raw.Position, last, raw.Version, raw.AggregateID, versions[raw.AggregateID])
		}
		last = raw.Position
	}
	for i := range n {
		if seen[i] != 1 {
			t.Errorf("event %d is there %d times", i, seen[i])
		}
	}
	if len(seen) != n {
		t.Errorf("%d events, want %d", len(seen), n)
	}
	var handled uint64
	for _, e := range h.handled {
		switch stored, ok := log[e.ID]; {
		case !ok || stored.Position != e.Position || stored.Version != e.Version:
			t.Errorf("a subscriber saw %+v, the store has %+v", e, stored)
		case e.Position == handled+1:
			handled++
		case e.Position > handled:
			t.Errorf("a subscriber saw position %d after %d", e.Position, handled)
			handled = e.Position
		}
	}
	if handled != last {
		t.Errorf("a subscriber saw %d of %d positions", handled, last)
	}
}

// awaitAll waits until a subscription has handled so many different events.
func (h *history) awaitAll(t *testing.T, s *evento.Subscription, n int) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		h.mu.Lock()
		var most uint64
		for _, e := range h.handled {
			most = max(most, e.Position)
		}
		h.mu.Unlock()
		if most >= uint64(n) {
			return
		}
		if s.Err() != nil || time.Since(began) > 5*time.Minute {
			t.Errorf("the subscription saw %d of %d events, %v", most, n, s.Err())
			return
		}
	}
}

// persist commits until the outcome is known, with the same builder. Whatever a
// server in trouble says, it is no conflict.
func (h *history) persist(ctx context.Context, t *testing.T, n int, commit func(*evento.CommitBuilder) (evento.Receipt, error)) {
	b := evento.Aggregate(fmt.Sprint("a-", n%5)).AnyVersion().Event(happened{n})
	for {
		r, err := commit(b)
		switch {
		case err == nil:
			h.ack(n, r)
			return
		case ctx.Err() != nil || errors.Is(err, evento.ErrConflict) || errors.Is(err, evento.ErrInvalid):
			t.Errorf("Commit() of %d = %v", n, err)
			return
		case errors.Is(err, evento.ErrOutcomeUnknown):
			h.mu.Lock()
			h.unknown++
			h.mu.Unlock()
		}
	}
}

// A server is killed, and shut down, in the middle of commits, and started
// again. Nothing that was acknowledged, or shown, is lost; what is unknown is
// settled; the subscription and the executor go on by themselves.
func TestServerCrash(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	server := testserver.StartPostgres(t, "max_wal_size=64MB")
	const schema = "evento"
	ex, _ := openOn(t, server.URL, schema, 8)
	exec(t, connectTo(t, server.URL), "CREATE TABLE evento.effect (n int NOT NULL)")
	h := &history{acked: map[int]evento.Receipt{}}
	sub, err := evento.NewSubscription("s").Handler(evento.Handle(h.handle)).Start(ctx, ex)
	if err != nil {
		t.Fatal(err)
	}
	const writers, crashes, between = 8, 4, 60
	var next atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		wg.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-stop:
					return
				default:
				}
				n := int(next.Add(1)) - 1
				h.persist(ctx, t, n, func(b *evento.CommitBuilder) (r evento.Receipt, err error) {
					if w%2 == 0 {
						return b.Commit(ctx, ex)
					}
					err = ex.InTx(ctx, func(ctx context.Context) error {
						if err := effect(ctx, schema, n); err != nil {
							return err
						}
						r, err = b.Commit(ctx, ex)
						return err
					})
					r.Version = 0
					return r, err
				})
			}
		})
	}
	for crash := range crashes {
		for goal := h.size() + between + rand.IntN(40); h.size() < goal && ctx.Err() == nil; {
			time.Sleep(100 * time.Microsecond)
		}
		if crash%2 == 0 {
			server.Kill()
		} else {
			server.StopAtOnce()
		}
		server.Restart()
	}
	for goal := h.size() + between; h.size() < goal && ctx.Err() == nil; {
		time.Sleep(100 * time.Microsecond)
	}
	close(stop)
	wg.Wait()
	n := int(next.Load())
	h.awaitAll(t, sub, n)
	if err := sub.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	for i, r := range h.acked {
		if r.Version == 0 {
			delete(h.acked, i) // InTx: its version is not final
		}
	}
	h.check(t, ex, n)
	rows, err := connectTo(t, server.URL).Query(ctx, "SELECT n FROM evento.effect")
	if err != nil {
		t.Fatal(err)
	}
	effects, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(effects)
	if got := len(effects); got == 0 || len(slices.Compact(effects)) != got {
		t.Errorf("%d effects, want each once", got)
	}
	if h.unknown == 0 {
		t.Error("no outcome was unknown: the test tested nothing")
	}
	t.Logf("%d commits, %d with a table; %d crashes, %d unknown outcomes settled; %d deliveries", n, len(effects), crashes, h.unknown, len(h.handled))
}

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Every method says soon and clearly that the server is gone, and works when it
// is there again.
func TestServerStopped(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	ex, pool := openOn(t, server.URL, "evento", 4)
	commit(t, ex, 0)
	key := evento.SnapshotKey{Projection: "p", AggregateType: thing, AggregateID: "a"}
	n := 1
	for _, tt := range []struct {
		name string
		call func(ctx context.Context) error
	}{
		{"Write", func(ctx context.Context) error {
			_, err := evento.Aggregate("a").AnyVersion().Event(happened{n}).Commit(ctx, ex)
			return err
		}},
		{"InTx", func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				_, err := evento.Aggregate("a").AnyVersion().Event(happened{n}).Commit(ctx, ex)
				return err
			})
		}},
		{"Read", func(ctx context.Context) error {
			_, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
			return err
		}},
		{"Swap", func(ctx context.Context) error { return swap(ctx, ex, 0, evento.NewID().String()) }},
		{"Records", func(ctx context.Context) error {
			_, err := ex.Records(ctx, evento.RecordQuery{Kind: "test"})
			return err
		}},
		{"Snapshot", func(ctx context.Context) error {
			_, err := ex.Snapshot(ctx, key)
			return err
		}},
		{"SaveSnapshot", func(ctx context.Context) error { return ex.SaveSnapshot(ctx, key, evento.Snapshot{Version: 1}) }},
	} {
		// The server is stopped once: each call finds a pool that was used, or
		// one whose connections are known to be dead.
		if tt.name == "Write" || tt.name == "Read" {
			commit(t, ex, n)
			n++
			server.Stop()
		}
		began := time.Now()
		for range 2 {
			err := tt.call(t.Context())
			if err == nil || time.Since(began) > promptly || strings.TrimSpace(err.Error()) == "" {
				t.Errorf("%s without a server = %v after %s, want an error soon", tt.name, err, time.Since(began))
			}
		}
		if err := tt.call(t.Context()); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s without a server = %v, want its address", tt.name, err)
		}
		if tt.name == "InTx" || tt.name == "SaveSnapshot" {
			server.Restart()
			if err := tt.call(t.Context()); err != nil {
				t.Errorf("%s when the server is there again = %v", tt.name, err)
			}
		}
	}
	givenBack(t, pool)
}

// A server that accepts no more connections says so; a pool that has some waits
// for them, until the context ends.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	server := testserver.StartPostgres(t, "max_connections=6", "superuser_reserved_connections=0", "max_wal_senders=0")
	ex, _ := openOn(t, server.URL, "evento", 10)
	commit(t, ex, 0)
	// Of the six, the pool has some; the others are taken.
	var others []*pgx.Conn
	for {
		conn, err := pgx.Connect(ctx, server.URL)
		if err != nil {
			break
		}
		others = append(others, conn)
	}
	var wg sync.WaitGroup
	var refused atomic.Int64
	judge := func(call string, err error) {
		if err == nil {
			return
		}
		refused.Add(1)
		if !strings.Contains(err.Error(), "too many clients") && !strings.Contains(err.Error(), "remaining connection slots") || errors.Is(err, evento.ErrOutcomeUnknown) {
			t.Errorf("%s = %v, want an error that names the reason", call, err)
		}
	}
	for n := range 20 {
		wg.Go(func() {
			judge("InTx()", ex.InTx(ctx, func(ctx context.Context) error {
				_, err := evento.Create().Event(happened{n + 1}).Commit(ctx, ex)
				return err
			}))
			_, err := evento.Create().Event(happened{100 + n}).Commit(ctx, ex)
			judge("Commit()", err)
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("no connection was refused: the test tested nothing")
	}
	for _, conn := range others {
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	for n := range 5 {
		// The server may need a moment to see that they are gone.
		b := evento.Create().Event(happened{200 + n})
		for _, err := b.Commit(ctx, ex); err != nil; _, err = b.Commit(ctx, ex) {
			if ctx.Err() != nil {
				t.Fatalf("Commit() with connections again = %v", err)
			}
		}
	}
	full := testPool(t, server.URL, 1)
	alone, err := postgres.New(ctx, full, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, alone)
	held, err := full.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := evento.Create().Event(happened{300}).Commit(short, alone); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Commit() with a pool that is used up = %v, want %v", err, context.DeadlineExceeded)
	}
	held.Release()
	commit(t, alone, 301)
}
