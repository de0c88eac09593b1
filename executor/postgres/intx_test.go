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
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// deadlined bounds what must not hang.
func deadlined(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// openOn opens a store on a pool of so many connections, closed by the test's
// end, which checks that no connection was forgotten.
func openOn(t *testing.T, url, schema string, conns int32) (*postgres.Executor, *pgxpool.Pool) {
	t.Helper()
	return openConfigured(t, poolConfig(t, url, conns), schema)
}

func openConfigured(t *testing.T, config *pgxpool.Config, schema string) (*postgres.Executor, *pgxpool.Pool) {
	t.Helper()
	pool := poolOf(t, config)
	ex, err := postgres.New(t.Context(), pool, &postgres.Options{Schema: schema})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	t.Cleanup(func() {
		closeAll(t, ex)
		givenBack(t, pool)
	})
	return ex, pool
}

func testPool(t *testing.T, url string, conns int32) *pgxpool.Pool {
	t.Helper()
	return poolOf(t, poolConfig(t, url, conns))
}

func poolConfig(t *testing.T, url string, conns int32) *pgxpool.Config {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = conns
	return config
}

func poolOf(t *testing.T, config *pgxpool.Config) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// givenBack fails unless all connections go back to the pool. Those that broke
// are closed in the background.
func givenBack(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	ask := time.NewTicker(time.Millisecond)
	defer ask.Stop()
	for late := time.After(5 * time.Minute); pool.Stat().AcquiredConns() > 0; {
		select {
		case <-ask.C:
		case <-late:
			t.Errorf("%d connections of the pool were not given back", pool.Stat().AcquiredConns())
			return
		}
	}
}

// effects is a table of the caller, in the store's schema for it to be dropped
// with it.
func effects(t *testing.T, schema string) *pgx.Conn {
	t.Helper()
	conn := connect(t)
	exec(t, conn, "CREATE TABLE "+schema+".effect (n int NOT NULL)")
	return conn
}

// inSchema puts the schema's name into a statement.
func inSchema(text, schema string) string { return strings.ReplaceAll(text, "SCHEMA", schema) }

// count says how often n is in the table of effects.
func count(t *testing.T, conn *pgx.Conn, schema string, n int) (count int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM "+schema+".effect WHERE n = $1", n).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

// effect is what an InTx of these tests does to the caller's table.
func effect(ctx context.Context, schema string, n int) error {
	_, err := postgres.Tx(ctx).Exec(ctx, "INSERT INTO "+schema+".effect VALUES ($1)", n)
	return err
}

// Connections are cut in the middle of commits of InTx. InTx with the same
// builders settles an unknown outcome, with the effect on the caller's table
// once.
func TestInTxLostReplies(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	p := newProxy(t, testserver.Postgres(t))
	schema := newSchema(t)
	ex, _ := openOn(t, p.url, schema, 6)
	direct := openSchema(t, schema)
	defer closeAll(t, direct)
	admin := effects(t, schema)

	const atLeast, atMost = 50, 3000
	done, stored, notStored, definite := 0, 0, 0, 0
	for ; done < atLeast || stored == 0 || notStored == 0; done++ {
		if done == atMost {
			break
		}
		n := done
		own := evento.Aggregate(fmt.Sprint("own-", n)).Event(happened{n})
		common := evento.Aggregate("common").AnyVersion().Event(happened{1_000_000 + n})
		unknown := 0
		for cutting := true; ; cutting = rand.IntN(2) == 0 {
			err := ex.InTx(ctx, func(ctx context.Context) error {
				if err := effect(ctx, schema, n); err != nil {
					return err
				}
				if _, err := common.Commit(ctx, ex); err != nil {
					return err
				}
				_, err := own.Commit(ctx, ex)
				if cutting {
					time.AfterFunc(time.Duration(rand.IntN(2500))*time.Microsecond, p.cut)
				}
				return err
			})
			if err == nil {
				break
			}
			switch {
			case errors.Is(err, evento.ErrConflict), errors.Is(err, evento.ErrInvalid), ctx.Err() != nil:
				t.Fatalf("InTx() = %v", err)
			case !errors.Is(err, evento.ErrOutcomeUnknown):
				if unknown == 0 && count(t, admin, schema, n) != 0 {
					t.Fatalf("InTx() = %v, but it was stored", err)
				}
				definite++
				continue
			case count(t, admin, schema, n) == 1:
				stored++
			default:
				notStored++
			}
			unknown++
		}
	}
	if stored == 0 || notStored == 0 {
		t.Errorf("of the unknown outcomes %d were stored and %d were not: the test tested too little", stored, notStored)
	}
	seen := numbers(t, direct)
	for n := range done {
		if rows := count(t, admin, schema, n); seen[n] != 1 || seen[1_000_000+n] != 1 || rows != 1 {
			t.Errorf("%d: %d and %d events, %d effects, want one of each", n, seen[n], seen[1_000_000+n], rows)
		}
	}
	t.Logf("%d transactions, %d connections cut, unknown outcomes: %d stored, %d not; %d clear errors", done, p.cuts.Load(), stored, notStored, definite)
}

// A transaction with an append that waits for its end keeps nobody waiting.
func TestInTxHeldOpen(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	ex := openSchema(t, schema)
	other := openSchema(t, schema)
	defer closeAll(t, ex, other)
	const others = 40
	err := ex.InTx(ctx, func(tx context.Context) error {
		if _, err := evento.Aggregate("held").RoutingKey("held").Event(happened{others}).Commit(tx, ex); err != nil {
			return err
		}
		if _, err := evento.Aggregate("any").AnyVersion().Event(happened{others + 1}).Commit(tx, ex); err != nil {
			return err
		}
		var wg sync.WaitGroup
		for i := range others {
			wg.Go(func() {
				by := []evento.Executor{ex, other}[i%2]
				b := evento.Aggregate("any").AnyVersion().Event(happened{i})
				if _, err := b.Commit(ctx, by); err != nil {
					t.Errorf("Commit() beside a transaction = %v", err)
				}
			})
		}
		wg.Wait()
		for i, by := range []evento.Executor{ex, other} {
			handled := 0
			err := evento.NewSubscription(fmt.Sprint("s-", i)).All().Handler(evento.Handle(func(context.Context, evento.Event[happened]) error {
				handled++
				return nil
			})).Execute(ctx, by)
			if err != nil || handled != others {
				t.Errorf("a subscription beside a transaction handled %d events, %v, want %d", handled, err, others)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("InTx() = %v", err)
	}
	if seen := numbers(t, ex); len(seen) != others+2 {
		t.Errorf("%d events, want %d", len(seen), others+2)
	}
}

// What the function makes of an error of the server, or of the transaction
// itself, never commits half of it.
func TestInTxAborted(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	ex, pool := openOn(t, testserver.Postgres(t), schema, 2)
	admin := effects(t, schema)
	exec(t, admin, "CREATE TABLE "+schema+".deferred (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
	run := func(tx context.Context, text string) error {
		_, err := postgres.Tx(tx).Exec(tx, text)
		return err
	}
	for _, tt := range []struct {
		name string
		do   func(tx context.Context) error
		want string // "" : it is committed
	}{
		{"error swallowed", func(tx context.Context) error {
			if err := run(tx, "SELECT 1/0"); err == nil {
				t.Error("1/0 is no error")
			}
			return nil
		}, "rollback"},
		{"unfinished rows", func(tx context.Context) error {
			_, err := postgres.Tx(tx).Query(tx, "SELECT generate_series(1, 100)") //nolint:sqlclosecheck // the mistake
			return err
		}, "busy"},
		{"ended in SQL", func(tx context.Context) error { return run(tx, "ROLLBACK") }, "invalid"},
		{"ended and begun in SQL", func(tx context.Context) error { return run(tx, "ROLLBACK; BEGIN; SELECT 1/0") }, "division"},
		{"deferred constraint", func(tx context.Context) error {
			return run(tx, "INSERT INTO "+schema+".deferred VALUES (1), (1)")
		}, "23505"},
		{"Commit", func(tx context.Context) error { return postgres.Tx(tx).Commit(tx) }, "invalid"},
		{"Rollback", func(tx context.Context) error { return postgres.Tx(tx).Rollback(tx) }, "invalid"},
		{"savepoint rolled back", func(tx context.Context) error {
			return ignore(pgx.BeginFunc(tx, postgres.Tx(tx), func(sp pgx.Tx) error {
				_, err := sp.Exec(tx, "SELECT 1/0")
				return err
			}))
		}, ""},
		{"savepoint left open", func(tx context.Context) error {
			_, err := postgres.Tx(tx).Begin(tx)
			return err
		}, ""},
		{"savepoint committed", func(tx context.Context) error {
			return pgx.BeginFunc(tx, postgres.Tx(tx), func(sp pgx.Tx) error {
				_, err := sp.Exec(tx, "SELECT 1")
				return err
			})
		}, ""},
	} {
		for _, events := range []bool{true, false} {
			before, rows := len(numbers(t, ex)), count(t, admin, schema, 7)
			err := ex.InTx(ctx, func(tx context.Context) error {
				if err := effect(tx, schema, 7); err != nil {
					return err
				}
				if events {
					if _, err := evento.Create().Event(happened{before}).Commit(tx, ex); err != nil {
						return err
					}
				}
				return tt.do(tx)
			})
			stored, affected := len(numbers(t, ex))-before, count(t, admin, schema, 7)-rows
			switch {
			case tt.want == "" && (err != nil || affected != 1 || events != (stored == 1)):
				t.Errorf("%s, events %t: InTx() = %v, %d stored, %d effects, want all of it", tt.name, events, err, stored, affected)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || stored != 0 || affected != 0):
				t.Errorf("%s, events %t: InTx() = %v, %d stored, %d effects, want nothing and an error with %q", tt.name, events, err, stored, affected, tt.want)
			}
			givenBack(t, pool)
		}
	}
}

// Of a transaction that its own statements spoiled the error names the statement
// that did, by what the server said of it, however it was made.
func TestInTxNamesTheCause(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	ex, pool := openOn(t, testserver.Postgres(t), schema, 2)
	const (
		division  = "22012"
		noTable   = "42P01"
		notUnique = "23505"
		readOnly  = "25006"
	)
	const fails = "SELECT 1/(2-n) FROM generate_series(1, 3) n" // at the second row
	run := func(tx context.Context, text string) { _, _ = postgres.Tx(tx).Exec(tx, text) }
	query := func(tx context.Context, text string, read bool) {
		rows, _ := postgres.Tx(tx).Query(tx, text)
		for read && rows.Next() {
		}
		if !read {
			rows.Close()
		}
	}
	batch := func(tx context.Context, texts ...string) pgx.BatchResults {
		b := &pgx.Batch{}
		for _, text := range texts {
			b.Queue(text)
		}
		return postgres.Tx(tx).SendBatch(tx, b)
	}
	for name, tt := range map[string]struct {
		do   func(tx context.Context)
		code string // "": it is not known
	}{
		"Exec": {func(tx context.Context) { run(tx, "SELECT 1/0") }, division},
		"the first of two": {func(tx context.Context) {
			run(tx, "SELECT 1/0")
			run(tx, "SELECT FROM nowhere")
			run(tx, "nonsense") // is refused before the server looks at the transaction
		}, division},
		"QueryRow":    {func(tx context.Context) { _ = postgres.Tx(tx).QueryRow(tx, "SELECT 1/0").Scan(nil) }, division},
		"Query":       {func(tx context.Context) { query(tx, "SELECT FROM nowhere", false) }, noTable},
		"rows read":   {func(tx context.Context) { query(tx, fails, true) }, division},
		"rows closed": {func(tx context.Context) { query(tx, fails, false) }, division},
		"Prepare":     {func(tx context.Context) { _, _ = postgres.Tx(tx).Prepare(tx, "", "SELECT FROM nowhere") }, noTable},
		"CopyFrom": {func(tx context.Context) {
			_, _ = postgres.Tx(tx).CopyFrom(tx, pgx.Identifier{"nowhere"}, []string{"n"}, pgx.CopyFromRows(nil))
		}, noTable},
		"SendBatch": {func(tx context.Context) { _ = batch(tx, "SELECT 1", "SELECT 1/0").Close() }, division},
		"SendBatch, by Exec": {func(tx context.Context) {
			results := batch(tx, "SELECT 1/0")
			_, _ = results.Exec()
			_ = results.Close()
		}, division},
		"SendBatch, by Query": {func(tx context.Context) {
			results := batch(tx, fails)
			rows, _ := results.Query()
			rows.Close()
			_ = results.Close()
		}, division},
		"SendBatch, by QueryRow": {func(tx context.Context) {
			results := batch(tx, "SELECT 1/0")
			_ = results.QueryRow().Scan(nil)
			_ = results.Close()
		}, division},
		"in a savepoint": {func(tx context.Context) {
			sp, err := postgres.Tx(tx).Begin(tx)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = sp.Exec(tx, "SELECT 1/0")
		}, division},
		"after a savepoint that was rolled back": {func(tx context.Context) {
			_ = pgx.BeginFunc(tx, postgres.Tx(tx), func(sp pgx.Tx) error {
				_, err := sp.Exec(tx, "SELECT 1/0")
				return err
			})
			run(tx, "SELECT FROM nowhere")
		}, noTable},
		"of the executor": {func(tx context.Context) {
			run(tx, "ALTER TABLE "+schema+".record RENAME TO gone")
			_, _ = ex.Records(tx, evento.RecordQuery{Kind: "test"})
		}, noTable},
		"beside the transaction": {func(tx context.Context) { _, _ = postgres.Tx(tx).Conn().Exec(tx, "SELECT 1/0") }, ""},
		"a deferred constraint": {func(tx context.Context) {
			run(tx, "CREATE TEMP TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP")
			run(tx, "INSERT INTO once VALUES (1), (1)")
		}, notUnique},
		"read-only": {func(tx context.Context) { run(tx, "SET TRANSACTION READ ONLY") }, readOnly},
	} {
		err := ex.InTx(ctx, func(tx context.Context) error {
			tt.do(tx)
			_, _ = evento.Create().Event(happened{1}).Commit(tx, ex)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "could not be committed because of what was done in it") || errors.Is(err, evento.ErrReadOnly) {
			t.Errorf("%s: InTx() = %v", name, err)
		}
		var e *pgconn.PgError
		if errors.As(err, &e) != (tt.code != "") || e != nil && e.Code != tt.code {
			t.Errorf("%s: InTx() = %v, want the error of state %q in it", name, err, tt.code)
		}
		givenBack(t, pool)
	}
	if got := numbers(t, ex); len(got) != 0 {
		t.Errorf("stored %v, want nothing", got)
	}
	commit(t, ex, 2)
}

// InTx with a context that has ended does not ask for a connection.
func TestInTxProbe(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	ex, err := postgres.New(t.Context(), pool, &postgres.Options{Schema: newSchema(t), NoNotify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, ex)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	asked := func() int64 { return pool.Stat().AcquireCount() + pool.Stat().CanceledAcquireCount() }
	before := asked()
	for range 3 {
		if err := ex.InTx(ended, func(context.Context) error { t.Error("the function ran"); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("InTx() = %v, want %v", err, context.Canceled)
		}
	}
	if n := asked() - before; n != 0 {
		t.Errorf("the pool was asked for %d connections, want none", n)
	}
}

// A session that the server ends during the commit leaves its outcome unknown.
func TestInTxEndedAtCommit(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	ex, _ := openOn(t, testserver.Postgres(t), schema, 2)
	admin, killer := effects(t, schema), connect(t)
	exec(t, admin, inSchema(`CREATE TABLE SCHEMA.held (n int); INSERT INTO SCHEMA.held VALUES (0);
		CREATE FUNCTION SCHEMA.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM SCHEMA.held FOR UPDATE; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON SCHEMA.effect DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION SCHEMA.wait()`, schema))
	exec(t, admin, "BEGIN; SELECT FROM "+schema+".held FOR UPDATE")
	done, pid := make(chan error, 1), make(chan uint32, 1)
	b := evento.Create().Event(happened{1})
	fn := func(ctx context.Context) error {
		if err := effect(ctx, schema, 1); err != nil {
			return err
		}
		_, err := b.Commit(ctx, ex)
		pid <- postgres.Tx(ctx).Conn().PgConn().PID()
		return err
	}
	go func() { done <- ex.InTx(ctx, fn) }()
	session := <-pid
	for waits := false; !waits; { // at the COMMIT
		if err := killer.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'", session).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := killer.Exec(ctx, "SELECT pg_terminate_backend($1)", session); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Errorf("InTx() = %v, want %v", err, evento.ErrOutcomeUnknown)
	}
	exec(t, admin, "ROLLBACK")
	if err := ex.InTx(ctx, fn); err != nil {
		t.Errorf("InTx() again = %v", err)
	}
	if got := numbers(t, ex); got[1] != 1 || count(t, admin, schema, 1) != 1 {
		t.Errorf("%d events and %d effects, want one of each", got[1], count(t, admin, schema, 1))
	}
}

func ignore(error) error { return nil }

// A deadlock of two callers' rows is told to one of them; the other goes on.
func TestInTxDeadlock(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	ex := openSchema(t, schema)
	defer closeAll(t, ex)
	admin := effects(t, schema)
	exec(t, admin, "CREATE TABLE "+schema+".row AS SELECT n, 0 AS changes FROM generate_series(0, 1) n")
	change := func(ctx context.Context, n int) error {
		_, err := postgres.Tx(ctx).Exec(ctx, "UPDATE "+schema+".row SET changes = changes + 1 WHERE n = $1", n)
		return err
	}
	var both, wg sync.WaitGroup
	both.Add(2)
	errs := make([]error, 2)
	for i := range errs {
		wg.Go(func() {
			errs[i] = ex.InTx(ctx, func(tx context.Context) error {
				if err := effect(tx, schema, i); err != nil {
					return err
				}
				if _, err := evento.Create().Event(happened{i}).Commit(tx, ex); err != nil {
					return err
				}
				err := change(tx, i)
				both.Done()
				both.Wait()
				if err != nil {
					return err
				}
				return change(tx, 1-i)
			})
		})
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("InTx() = %v and %v, want an error of one", errs[0], errs[1])
	}
	seen := numbers(t, ex)
	for i, err := range errs {
		var e *pgconn.PgError
		if err != nil && (!errors.As(err, &e) || e.Code != "40P01") {
			t.Errorf("InTx() = %v, want the server's deadlock", err)
		}
		want := 1
		if err != nil {
			want = 0
		}
		if seen[i] != want || count(t, admin, schema, i) != want {
			t.Errorf("InTx() = %v, %d events, %d effects, want %d", err, seen[i], count(t, admin, schema, i), want)
		}
	}
}

// Many transactions on few connections, each with names that are new and that
// others make at the same time, in another order: none waits for ever, none
// fails.
func TestInTxSmallPool(t *testing.T) {
	t.Parallel()
	ctx := deadlined(t)
	schema := newSchema(t)
	small, _ := openOn(t, testserver.Postgres(t), schema, 2)
	large, _ := openOn(t, testserver.Postgres(t), schema, 8)
	const transactions, names, rounds = 20, 6, 3
	var wg sync.WaitGroup
	for round := range rounds {
		for i := range transactions {
			ex := small
			if i%2 == 0 {
				ex = large
			}
			wg.Go(func() {
				err := ex.InTx(ctx, func(tx context.Context) error {
					for _, n := range rand.Perm(names) {
						if n == 0 {
							n = names + i // of its own
						}
						a := evento.Append{
							AggregateType: evento.AggregateType(fmt.Sprint("test/T-", round, "-", n)), AggregateID: fmt.Sprint("a-", i),
							RoutingKey: fmt.Sprint("key-", round, "-", n),
							Events: []evento.NewEvent{
								{ID: evento.NewID(), Name: fmt.Sprint("First-", n), Codec: "json", Data: []byte("1")},
								{ID: evento.NewID(), Name: fmt.Sprint("Second-", n), Codec: "json", Data: []byte("2")},
							},
						}
						if _, err := ex.Write(tx, evento.Write{Appends: []evento.Append{a}}); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Errorf("InTx() of %d = %v", i, err)
				}
			})
		}
		wg.Wait()
	}
	stored := 0
	for e, err := range evento.Events(ctx, small, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if stored++; e.Position != uint64(stored) || string(e.AggregateType[7:]) != e.RoutingKey[4:] {
			t.Fatalf("event %d is %+v", stored, e)
		}
	}
	if want := transactions * names * rounds * 2; stored != want {
		t.Errorf("%d events, want %d", stored, want)
	}
}
