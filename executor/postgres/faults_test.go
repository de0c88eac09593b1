package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

const thing evento.AggregateType = "test/Thing"

type happened struct{ N int }

func (happened) AggregateType() evento.AggregateType { return thing }
func (happened) EventName() string                   { return "Happened" }

func commit(t *testing.T, ex evento.Executor, n int) evento.Receipt {
	t.Helper()
	r, err := evento.Create().Event(happened{n}).Commit(t.Context(), ex)
	if err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	return r
}

func numbers(t *testing.T, ex evento.Executor) map[int]int {
	t.Helper()
	seen := map[int]int{}
	last := uint64(0)
	for raw, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatalf("Events() = %v", err)
		}
		if raw.Position != last+1 {
			t.Errorf("position %d comes after %d", raw.Position, last)
		}
		last = raw.Position
		e, err := evento.Decode[happened](raw)
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Data.N]++
	}
	return seen
}

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), testserver.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, text string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func closeAll(t *testing.T, executors ...evento.Executor) {
	t.Helper()
	for _, ex := range executors {
		if err := ex.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
}

// A transaction of somebody else, begun before and open all the while, with an
// id of its own and locks on its own tables, delays nobody.
func TestUnrelatedTransaction(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex := openSchema(t, schema)
	defer closeAll(t, ex)
	other := connect(t)
	exec(t, other, "CREATE TABLE "+schema+".unrelated (n int)")
	exec(t, other, "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO "+schema+".unrelated VALUES (1)")
	for n := range 5 {
		commit(t, ex, n)
	}
	handled := 0
	err := evento.NewSubscription("s").Handler(evento.Handle(func(context.Context, evento.Event[happened]) error {
		handled++
		return nil
	})).Execute(t.Context(), ex)
	if err != nil || handled != 5 {
		t.Errorf("handled %d events, %v, want 5 while another transaction is open", handled, err)
	}
	exec(t, other, "COMMIT")
}

// A writer that got its positions first and commits last: those behind it wait,
// and readers meet its events before theirs; or it rolls back, and leaves no
// gap.
func TestSlowCommit(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			schema := newSchema(t)
			ex := openSchema(t, schema)
			defer closeAll(t, ex)
			commit(t, ex, 0)

			slow := connect(t)
			exec(t, slow, "BEGIN; "+appendByHand(schema))
			done := make(chan evento.Receipt)
			go func() {
				r, err := evento.Create().Event(happened{1}).Commit(context.Background(), ex)
				if err != nil {
					t.Errorf("Commit() behind a slow one = %v", err)
				}
				done <- r
			}()
			awaitLocked(t, schema)
			if got := numbers(t, ex); len(got) != 1 {
				t.Errorf("readers see %v, want only what was committed", got)
			}
			exec(t, slow, end)
			want := uint64(3)
			if end == "ROLLBACK" {
				want = 2
			}
			if r := <-done; r.Position != want {
				t.Errorf("position %d after %s, want %d", r.Position, end, want)
			}
			numbers(t, ex) // checks that there is no gap
		})
	}
}

// A write that waits for another to the same aggregate is judged by what that has
// committed, however much of it was to be seen when it began to wait.
func TestSlowCommitToAggregate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		end              string
		expected, actual uint64 // the version that is expected, and that it meets
	}{
		{"COMMIT", 1, 2}, {"COMMIT", 2, 2}, {"ROLLBACK", 1, 1}, {"ROLLBACK", 2, 1},
	} {
		t.Run(fmt.Sprint(tt.end, tt.expected), func(t *testing.T) {
			t.Parallel()
			schema := newSchema(t)
			ex := openSchema(t, schema)
			defer closeAll(t, ex)
			a := commit(t, ex, 0)
			slow := connect(t)
			exec(t, slow, "BEGIN; "+appendByHand(schema))
			type result struct {
				receipt evento.Receipt
				err     error
			}
			done := make(chan result)
			go func() {
				r, err := evento.Aggregate(a.AggregateID).OriginalVersion(tt.expected).Event(happened{1}).Commit(context.Background(), ex)
				done <- result{r, err}
			}()
			awaitLocked(t, schema)
			exec(t, slow, tt.end)
			got := <-done
			var conflict *evento.ConflictError
			switch fits := tt.expected == tt.actual; {
			case fits && (got.err != nil || got.receipt.Version != tt.actual+1 || got.receipt.Position != tt.actual+1):
				t.Errorf("Commit() = %+v, %v, want version and position %d", got.receipt, got.err, tt.actual+1)
			case !fits && (!errors.As(got.err, &conflict) || conflict.Actual != tt.actual):
				t.Errorf("Commit() = %+v, %v, want a conflict with version %d", got.receipt, got.err, tt.actual)
			}
			numbers(t, ex) // checks that there is no gap
		})
	}
}

// appendByHand appends a second event to a store's only aggregate.
func appendByHand(schema string) string {
	return "UPDATE " + schema + ".counter SET position = position + 1; " +
		"INSERT INTO " + schema + ".event SELECT c.position, e.recorded_at, 2, e.kind_id, e.type_id, e.routing_id, gen_random_uuid(), e.codec, e.aggregate_id, e.data, e.metadata " +
		"FROM " + schema + ".event e, " + schema + ".counter c"
}

// awaitLocked returns when somebody waits for a lock in the schema.
func awaitLocked(t *testing.T, schema string) {
	t.Helper()
	awaitLocks(t, schema, 1)
}

// awaitLocks returns when so many wait for locks in the schema.
func awaitLocks(t *testing.T, schema string, want int) {
	t.Helper()
	ctx, conn := deadlined(t), connect(t)
	for countLocks(ctx, t, conn, schema) != want {
	}
}

func countLocks(ctx context.Context, t *testing.T, conn *pgx.Conn, schema string) (n int) {
	t.Helper()
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%'||$1||'%'", schema).Scan(&n); err != nil {
		t.Fatalf("counting who waits for locks in %s: %v", schema, err)
	}
	return n
}

// Connections are cut in the middle of commits. A commit that cannot know its
// outcome says so, and committing again settles it: each is there once.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	c := newProxy(t, testserver.Postgres(t))
	schema := newSchema(t)
	ex, err := postgres.Open(t.Context(), c.url, &postgres.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, ex)

	const writers, commits = 8, 40
	var mu sync.Mutex
	unknown, made := 0, 0
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range commits {
				b := evento.Aggregate(fmt.Sprint("a-", w)).OriginalVersion(uint64(n))
				if w%2 == 0 {
					b = evento.Aggregate("shared").AnyVersion()
				}
				b.Event(happened{w*commits + n})
				for {
					_, err := b.Commit(t.Context(), ex)
					if err == nil {
						break
					}
					if errors.Is(err, evento.ErrOutcomeUnknown) {
						mu.Lock()
						unknown++
						mu.Unlock()
					} else if errors.Is(err, evento.ErrConflict) || errors.Is(err, evento.ErrInvalid) {
						t.Errorf("Commit() = %v", err)
						return
					}
				}
				mu.Lock()
				made++
				if made%7 == 0 && rand.IntN(2) == 0 {
					go c.cut()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if c.cuts.Load() == 0 || unknown == 0 {
		t.Errorf("%d connections were cut and %d outcomes unknown: the test tested nothing", c.cuts.Load(), unknown)
	}
	// Seen from a connection that is not cut.
	direct := openSchema(t, schema)
	defer closeAll(t, direct)
	seen := numbers(t, direct)
	for n := range writers * commits {
		if seen[n] != 1 {
			t.Errorf("event %d is there %d times", n, seen[n])
		}
	}
	t.Logf("%d commits, %d connections cut, %d unknown outcomes settled", made, c.cuts.Load(), unknown)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	base := testserver.Postgres(t)
	with := func(option string) string { return base + "&" + option }
	newer, current := newSchema(t), newSchema(t)
	closeAll(t, openSchema(t, newer), openSchema(t, current))
	admin := connect(t)
	exec(t, admin, "INSERT INTO "+newer+".migration VALUES (9000)")
	role := "poor_" + current
	newRole(t, role, "")
	for _, tt := range []struct {
		name, url string
		opts      *postgres.Options
		is        error
		says      string
	}{
		{"no URL", "nonsense://", nil, nil, "postgres"},
		{"server gone", "postgres://evento:geheim@127.0.0.1:1/x?connect_timeout=2", nil, nil, "127.0.0.1"},
		{"no such database", strings.Replace(base, "/postgres?", "/nowhere?", 1), nil, nil, "nowhere"},
		{"newer", base, &postgres.Options{Schema: newer}, evento.ErrNewerStore, "9000"},
		{"not migrated", base, &postgres.Options{Schema: "absent", NoMigrate: true}, evento.ErrInvalid, "migration 0"},
		{"long schema", base, &postgres.Options{Schema: strings.Repeat("x", 64)}, evento.ErrInvalid, "63"},
		{"loses", with("options=-c%20synchronous_commit%3Doff"), &postgres.Options{Schema: current}, evento.ErrInvalid, "synchronous_commit"},
		{"read-only", with("default_transaction_read_only=on"), &postgres.Options{Schema: "absent"}, evento.ErrReadOnly, "absent"},
		{"no permission", strings.Replace(base, "evento@", role+"@", 1), &postgres.Options{Schema: current}, nil, "permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ex, err := postgres.Open(t.Context(), tt.url, tt.opts)
			if err == nil {
				closeAll(t, ex)
				t.Fatal("Open() = nil, want an error")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("Open() = %v, want %v", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("Open() = %v, want it to say %q, and no password", err, tt.says)
			}
		})
	}
}

// A role that may not write is told so, and nothing is stored.
func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex := openSchema(t, schema)
	commit(t, ex, 1)
	// A standby refuses to lock the counter; here the table refuses.
	admin := connect(t)
	exec(t, admin, "CREATE FUNCTION "+schema+".refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'standby' USING ERRCODE = '25006'; END $$; "+
		"CREATE TRIGGER refuse BEFORE INSERT ON "+schema+".event EXECUTE FUNCTION "+schema+".refuse()")
	if _, err := evento.Create().Event(happened{2}).Commit(t.Context(), ex); !errors.Is(err, evento.ErrReadOnly) {
		t.Errorf("Commit() = %v, want %v", err, evento.ErrReadOnly)
	}
	exec(t, admin, "DROP TRIGGER refuse ON "+schema+".event")
	if r := commit(t, ex, 3); r.Position != 2 {
		t.Errorf("position %d, want 2", r.Position)
	}
	closeAll(t, ex)
}

// A cancelled commit that waits in the queue returns, and is not stored.
func TestCancelledWhileLocked(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex := openSchema(t, schema)
	defer closeAll(t, ex)
	commit(t, ex, 0)
	lock := connect(t)
	exec(t, lock, "BEGIN; SELECT FROM "+schema+".counter FOR UPDATE")
	first := make(chan error)
	go func() {
		_, err := evento.Create().Event(happened{1}).Commit(context.Background(), ex)
		first <- err
	}()
	awaitLocked(t, schema)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := evento.Create().Event(happened{2}).Commit(ctx, ex); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Commit() behind one under way = %v, want %v", err, context.DeadlineExceeded)
	}
	exec(t, lock, "ROLLBACK")
	if err := <-first; err != nil {
		t.Errorf("Commit() after the lock was released = %v", err)
	}
	if got := numbers(t, ex); got[1] != 1 || got[2] != 0 {
		t.Errorf("stored %v, want the first commit alone", got)
	}
}
