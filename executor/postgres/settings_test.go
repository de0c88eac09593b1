package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	programs "os/exec"
	"os/user"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// A role whose transactions are serializable, or read one snapshot, is served as
// any: all at once, with names that are new to all.
func TestIsolationOfRole(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"serializable", "repeatable%20read"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			ctx := deadlined(t)
			schema := newSchema(t)
			url := testserver.Postgres(t) + "&default_transaction_isolation=" + level
			const callers, rounds = 8, 15
			executors := make([]*postgres.Executor, callers)
			for i := range executors {
				executors[i], _ = openOn(t, url, schema, 3)
			}
			fails := func(what string, err error) {
				if err != nil {
					t.Errorf("%s = %v", what, err)
				}
			}
			for round := range rounds {
				start := make(chan struct{})
				var wg sync.WaitGroup
				for i, ex := range executors {
					wg.Go(func() {
						<-start
						w := evento.Write{Appends: []evento.Append{{
							AggregateType: evento.AggregateType(fmt.Sprint("test/T-", round)), AggregateID: "a", AnyVersion: true, RoutingKey: fmt.Sprint("key-", round),
							Events: []evento.NewEvent{{ID: evento.NewID(), Name: "New", Codec: "json", Data: []byte("{}")}},
						}}}
						write := func(ctx context.Context) error {
							_, err := ex.Write(ctx, w)
							return err
						}
						if i%2 == 0 {
							fails("Write()", write(ctx))
						} else {
							fails("InTx()", ex.InTx(ctx, write))
						}
						page, err := ex.Records(ctx, evento.RecordQuery{Kind: "test"})
						fails("Records()", err)
						revision := uint64(0)
						if len(page.Records) > 0 {
							revision = page.Records[0].Revision
						}
						if err := swap(ctx, ex, revision, "s"); err != nil && !errors.Is(err, evento.ErrSwapped) {
							t.Errorf("Swap() = %v", err)
						}
						fails("SaveSnapshot()", ex.SaveSnapshot(ctx, evento.SnapshotKey{Projection: "p", AggregateType: "t", AggregateID: "a"}, evento.Snapshot{Version: uint64(round)}))
						_, err = ex.Read(ctx, evento.Query{RoutingKey: fmt.Sprint("key-", round)}, cursor.Forward(10, ""))
						fails("Read()", err)
					})
				}
				close(start)
				wg.Wait()
			}
			stored := 0
			for _, err := range evento.Events(ctx, executors[0], evento.Query{}) {
				fails("Events()", err)
				stored++
			}
			if stored != callers*rounds {
				t.Errorf("%d events, want %d", stored, callers*rounds)
			}
		})
	}
}

// A server that gives up on a statement says why, to all that wait, and nothing
// is stored.
func TestTimeoutsOfRole(t *testing.T) {
	t.Parallel()
	for setting, says := range map[string]string{"statement_timeout": "statement timeout", "lock_timeout": "lock timeout"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			ctx := deadlined(t)
			schema := newSchema(t)
			config := poolConfig(t, testserver.Postgres(t), 8)
			// Only while the counter is locked: on a busy machine any statement may
			// take longer.
			var limited atomic.Bool
			config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
				if limited.Load() {
					c.RuntimeParams[setting] = "200"
				}
				return nil
			}
			ex, pool := openConfigured(t, config, schema)
			commit(t, ex, 0)
			lock := effects(t, schema)
			exec := func(text string) {
				t.Helper()
				if _, err := lock.Exec(ctx, text); err != nil {
					t.Fatal(err)
				}
			}
			exec("BEGIN; SELECT FROM " + schema + ".counter FOR UPDATE")
			limited.Store(true)
			pool.Reset()
			const callers = 40
			var mu sync.Mutex
			reasons := map[*pgconn.PgError]bool{} // of commits, as the server gave them
			var wg sync.WaitGroup
			for n := range callers {
				wg.Go(func() {
					b := evento.Create().Event(happened{n + 1})
					var reason *pgconn.PgError
					_, err := b.Commit(ctx, ex)
					if errors.As(err, &reason) {
						mu.Lock()
						reasons[reason] = true
						mu.Unlock()
					}
					if n%8 == 0 {
						err = ex.InTx(ctx, func(ctx context.Context) error {
							_, err := b.Commit(ctx, ex)
							return errors.Join(err, effect(ctx, schema, n))
						})
					}
					if err == nil || !strings.Contains(err.Error(), says) || errors.Is(err, evento.ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Commit() = %v, want %q", err, says)
					}
				})
			}
			wg.Wait()
			if n := len(reasons); n == 0 || n > callers/2 {
				t.Errorf("%d statements had to fail for %d callers to be told, want them told together", n, callers)
			}
			exec("ROLLBACK")
			givenBack(t, pool)
			next := evento.Create().Event(happened{callers + 1}) // on the connections that have failed
			_, err := next.Commit(ctx, ex)
			for err != nil && strings.Contains(err.Error(), says) {
				_, err = next.Commit(ctx, ex)
			}
			if err != nil {
				t.Errorf("Commit() without the lock = %v", err)
			}
			limited.Store(false)
			pool.Reset()
			if got := numbers(t, ex); len(got) != 2 || got[0] != 1 || got[callers+1] != 1 || count(t, lock, schema, 0) != 0 {
				t.Errorf("stored %v, want nothing of what failed", got)
			}
		})
	}
}

// What passes is tried again; what does not is the server's own error. In a
// transaction of the caller it is the caller's to try again.
func TestPassingErrors(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	ex, _ := openOn(t, testserver.Postgres(t), schema, 4)
	admin := effects(t, schema)
	exec := func(text string) {
		t.Helper()
		if _, err := admin.Exec(ctx, inSchema(text, schema)); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE SEQUENCE SCHEMA.failures")
	refuse := func(code string, times int) {
		t.Helper()
		exec(fmt.Sprintf(`ALTER SEQUENCE SCHEMA.failures RESTART; DROP TRIGGER IF EXISTS refuse ON SCHEMA.event;
			CREATE OR REPLACE FUNCTION SCHEMA.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('SCHEMA.failures') <= %d THEN RAISE EXCEPTION 'refused' USING ERRCODE = '%s'; END IF; RETURN NULL; END $$;
			CREATE TRIGGER refuse BEFORE INSERT ON SCHEMA.event EXECUTE FUNCTION SCHEMA.refuse()`, times, code))
	}
	const always = 1_000_000
	n := 0
	for _, tt := range []struct {
		code  string
		times int
		is    error // nil and always: the server's
	}{
		{"40001", 3, nil},
		{"40P01", 3, nil},
		{"40001", always, nil},
		{"53100", always, evento.ErrFull},
		{"25006", always, evento.ErrReadOnly},
		{"42501", always, nil},
		{"XX000", always, nil},
	} {
		for _, inTx := range []bool{false, true} {
			refuse(tt.code, tt.times)
			before := len(numbers(t, ex))
			var wg sync.WaitGroup
			for range 5 {
				n++
				b := evento.Create().Event(happened{n})
				wg.Go(func() {
					var err error
					if inTx {
						err = ex.InTx(ctx, func(ctx context.Context) error {
							_, err := b.Commit(ctx, ex)
							return err
						})
					} else {
						_, err = b.Commit(ctx, ex)
					}
					var e *pgconn.PgError
					switch told := errors.As(err, &e) && e.Code == tt.code; {
					case err == nil && tt.times != always:
					case inTx && tt.times != always && told:
					case tt.times == always && told && (tt.is == nil || errors.Is(err, tt.is)):
					default:
						t.Errorf("%s %d times, InTx %t: Commit() = %v", tt.code, tt.times, inTx, err)
					}
				})
			}
			wg.Wait()
			if stored := len(numbers(t, ex)) - before; tt.times == always && stored != 0 || tt.times != always && !inTx && stored != 5 {
				t.Errorf("%s %d times, InTx %t: %d stored", tt.code, tt.times, inTx, stored)
			}
		}
	}
	exec("DROP TRIGGER refuse ON SCHEMA.event")
	commit(t, ex, always)
}

// Who may not write is told so by every call that writes, and may read.
func TestReadOnlyRole(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	owner := openSchema(t, schema)
	commit(t, owner, 0)
	closeAll(t, owner)
	effects(t, schema)
	role := "reader_" + schema
	newRole(t, role, "")
	asOwner(t, "GRANT USAGE ON SCHEMA "+schema+" TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA "+schema+" TO "+role)
	base := testserver.Postgres(t)
	for _, tt := range []struct {
		name, url string
		is        error
		says      string
	}{
		{"read-only", base + "&default_transaction_read_only=on", evento.ErrReadOnly, "read-only"},
		{"no rights", strings.Replace(base, "evento@", role+"@", 1), nil, "permission denied"},
	} {
		ex, _ := openOn(t, tt.url, schema, 3)
		write := func(ctx context.Context) error {
			_, err := evento.Create().Event(happened{1}).Commit(ctx, ex)
			return err
		}
		unnamed := evento.Write{Appends: []evento.Append{{
			AggregateType: "test/New", AggregateID: "a",
			Events: []evento.NewEvent{{ID: evento.NewID(), Name: "New", Codec: "json", Data: []byte("{}")}},
		}}}
		_, errNew := ex.Write(ctx, unnamed)
		for what, err := range map[string]error{
			"Write":                write(ctx),
			"Write with new names": errNew,
			"InTx":                 ex.InTx(ctx, write),
			"InTx with new names": ex.InTx(ctx, func(ctx context.Context) error {
				_, err := ex.Write(ctx, unnamed)
				return err
			}),
			"InTx with a table": ex.InTx(ctx, func(ctx context.Context) error { return effect(ctx, schema, 1) }),
			"Swap":              swap(ctx, ex, 0, "s"),
			"SaveSnapshot":      ex.SaveSnapshot(ctx, evento.SnapshotKey{Projection: "p", AggregateType: "t", AggregateID: "a"}, evento.Snapshot{Version: 1}),
		} {
			// What a caller's function returns is returned as it is.
			if err == nil || !strings.Contains(err.Error(), tt.says) || tt.is != nil && !errors.Is(err, tt.is) && what != "InTx with a table" {
				t.Errorf("%s: %s = %v, want %v, %q", tt.name, what, err, tt.is, tt.says)
			}
		}
		if got := numbers(t, ex); len(got) != 1 {
			t.Errorf("%s: stored %v, want what was there", tt.name, got)
		}
	}
}

// Sessions that are read-only though the server no longer is are not kept.
func TestReadOnlySessions(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	const conns = 3
	ex, pool := openOn(t, testserver.Postgres(t), newSchema(t), conns)
	makeReadOnly := func() {
		held := make([]*pgxpool.Conn, conns)
		for i := range held {
			conn, err := pool.Acquire(ctx)
			if err == nil {
				_, err = conn.Exec(ctx, "SET default_transaction_read_only = on")
			}
			if err != nil {
				t.Fatal(err)
			}
			held[i] = conn
		}
		for _, conn := range held {
			conn.Release()
		}
	}
	write := func(ctx context.Context) error {
		_, err := evento.Create().Event(happened{1}).Commit(ctx, ex)
		return err
	}
	key := evento.SnapshotKey{Projection: "p", AggregateType: "t", AggregateID: "a"}
	for _, call := range []struct {
		name string
		call func() error
	}{
		{"Write with new names", func() error { return write(ctx) }},
		{"Write", func() error { return write(ctx) }},
		{"Swap", func() error { return swap(ctx, ex, 0, "s") }},
		{"Swap of two", func() error {
			return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{
				{RecordKey: evento.RecordKey{Kind: "test", Key: "a"}}, {RecordKey: evento.RecordKey{Kind: "test", Key: "b"}},
			}})
		}},
		{"SaveSnapshot", func() error { return ex.SaveSnapshot(ctx, key, evento.Snapshot{Version: 1}) }},
		{"RemoveSnapshots", func() error { return ex.RemoveSnapshots(ctx, []evento.SnapshotKey{key}) }},
		{"Import", func() error {
			e := evento.RawEvent{
				ID: evento.NewID(), Position: 3, AggregateType: "test/Imported", AggregateID: "a", Version: 1,
				Name: "Made", Codec: "json", Data: []byte("{}"), Timestamp: time.Now().Add(time.Hour).Truncate(time.Microsecond),
			}
			return ex.Import(ctx, []evento.RawEvent{e})
		}},
		{"InTx, after one that fails", func() error {
			if err := ex.InTx(ctx, write); !errors.Is(err, evento.ErrReadOnly) {
				t.Errorf("InTx = %v, want %v: its function is not called again", err, evento.ErrReadOnly)
			}
			return ex.InTx(ctx, write)
		}},
	} {
		makeReadOnly()
		if err := call.call(); err != nil {
			t.Errorf("%s on sessions that are read-only = %v", call.name, err)
		}
	}
}

// A disk that is full is told as such, and the store goes on when there is
// room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	server := testserver.StartPostgres(t)
	dir, err := os.MkdirTemp("", "evento-small-") //nolint:usetesting // the server may not enter the test's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	owner := ""
	if u, err := user.Lookup("nobody"); err == nil {
		owner = ",uid=" + u.Uid // as whom the superuser runs servers
	}
	if out, err := programs.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "size=2m,mode=700"+owner, "tmpfs", dir).CombinedOutput(); err != nil {
		testserver.LeaveOut(t, fmt.Sprintf("a small file system needs the superuser: %v %s", err, out))
	}
	t.Cleanup(func() {
		server.Stop()
		if out, err := programs.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	ex, _ := openOn(t, server.URL, "evento", 4)
	commit(t, ex, 0)
	admin := connectTo(t, server.URL)
	exec(t, admin, "CREATE TABLESPACE small LOCATION '"+dir+"'")
	exec(t, admin, "ALTER TABLE evento.event SET TABLESPACE small")
	data := make([]byte, 50_000)
	_, _ = rand.Read(data) // so that it cannot be compressed
	write := func(ctx context.Context, id evento.ID) error {
		_, err := ex.Write(ctx, evento.Write{Retry: true, Appends: []evento.Append{{
			AggregateType: thing, AggregateID: "a", AnyVersion: true,
			Events: []evento.NewEvent{{ID: id, Name: "Big", Codec: "raw", Data: data}},
		}}})
		return err
	}
	const callers, each = 8, 10
	var mu sync.Mutex
	stored, refused := map[evento.ID]bool{}, map[evento.ID]bool{}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				id := evento.NewID()
				call := func(ctx context.Context) error { return write(ctx, id) }
				if i%2 == 0 {
					call = func(ctx context.Context) error {
						return ex.InTx(ctx, func(ctx context.Context) error { return write(ctx, id) })
					}
				}
				err := call(ctx)
				mu.Lock()
				switch {
				case err == nil:
					stored[id] = true
				case errors.Is(err, evento.ErrFull):
					refused[id] = true
				default:
					t.Errorf("Write() on a full disk = %v, want %v", err, evento.ErrFull)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(stored) == 0 || len(refused) == 0 {
		t.Errorf("%d were stored and %d refused: the test tested nothing", len(stored), len(refused))
	}
	check := func(want map[evento.ID]bool) {
		t.Helper()
		n := uint64(0)
		for e, err := range evento.Events(ctx, ex, evento.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; e.Position != n || n > 1 && (!want[e.ID] || e.Version != n-1) {
				t.Errorf("event %d is at position %d, version %d; it was acknowledged: %t", n, e.Position, e.Version, want[e.ID])
			}
		}
		if int(n) != len(want)+1 {
			t.Errorf("%d events, want %d", n, len(want)+1)
		}
	}
	check(stored)
	if out, err := programs.CommandContext(ctx, "mount", "-o", "remount,size=32m", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v %s", err, out)
	}
	for id := range refused {
		if err := write(ctx, id); err != nil {
			t.Errorf("Write() with room again = %v", err)
		}
		stored[id] = true
	}
	check(stored)
	t.Logf("%d refused", len(refused))
}
