package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// promptly is what a caller waits at most, generously, when its context ended.
const promptly = 10 * time.Second

// swap makes a record, or changes it.
func swap(ctx context.Context, ex evento.Executor, revision uint64, key string) error {
	return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "test", Key: key}, Revision: revision}}})
}

// openPatient opens an executor whose callers wait for an outcome as long as it takes.
func openPatient(t *testing.T, pool *pgxpool.Pool, schema string) *postgres.Executor {
	t.Helper()
	ex, err := postgres.New(t.Context(), pool, postgres.WithPatience(postgres.Options{Schema: schema}, time.Hour))
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return ex
}

// Each call returns when its context ends while somebody else holds what it
// needs; it has done nothing then, and the connections are as good as before.
func TestCancelledBehindLock(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	pool := testPool(t, testserver.Postgres(t), 4)
	ex := openPatient(t, pool, schema)
	defer closeAll(t, ex)
	admin := effects(t, schema)
	commit(t, ex, 0)
	id := commit(t, ex, 1).AggregateID
	exec(t, admin, "INSERT INTO "+schema+".effect VALUES (-1)")
	if err := swap(t.Context(), ex, 0, "s"); err != nil {
		t.Fatal(err)
	}
	key := evento.SnapshotKey{Projection: "p", AggregateType: thing, AggregateID: id}
	if err := ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1, Position: 2}); err != nil {
		t.Fatal(err)
	}
	write := func(ctx context.Context) error {
		_, err := evento.Create().Event(happened{2}).Commit(ctx, ex)
		return err
	}
	unnamed := evento.Write{Appends: []evento.Append{{
		AggregateType: "test/New", AggregateID: "a", RoutingKey: "new",
		Events: []evento.NewEvent{{ID: evento.NewID(), Name: "New", Codec: "json", Data: []byte("{}")}},
	}}}
	for _, tt := range []struct {
		name, lock string
		call       func(ctx context.Context) error
	}{
		{"Write", "SELECT FROM SCHEMA.counter FOR UPDATE", write},
		{"Write with new names", "LOCK SCHEMA.type", func(ctx context.Context) error {
			_, err := ex.Write(ctx, unnamed)
			return err
		}},
		{"InTx at its commit", "SELECT FROM SCHEMA.counter FOR UPDATE", func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error { return errors.Join(effect(ctx, schema, 1), write(ctx)) })
		}},
		{"InTx with new names", "LOCK SCHEMA.type", func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				_, err := ex.Write(ctx, unnamed)
				return errors.Join(effect(ctx, schema, 1), err)
			})
		}},
		{"InTx at the caller's table", "SELECT FROM SCHEMA.effect FOR UPDATE", func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				if err := errors.Join(effect(ctx, schema, 1), write(ctx)); err != nil {
					return err
				}
				_, err := postgres.Tx(ctx).Exec(ctx, "DELETE FROM "+schema+".effect")
				return err
			})
		}},
		{"Read", "LOCK SCHEMA.event", func(ctx context.Context) error {
			_, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
			return err
		}},
		{"Swap of one", "SELECT FROM SCHEMA.record FOR UPDATE", func(ctx context.Context) error { return swap(ctx, ex, 1, "s") }},
		{"Swap of two", "SELECT FROM SCHEMA.record FOR UPDATE", func(ctx context.Context) error {
			return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{
				{RecordKey: evento.RecordKey{Kind: "test", Key: "a"}},
				{RecordKey: evento.RecordKey{Kind: "test", Key: "s"}, Revision: 1},
			}})
		}},
		{"Records", "LOCK SCHEMA.record", func(ctx context.Context) error {
			_, err := ex.Records(ctx, evento.RecordQuery{Kind: "test"})
			return err
		}},
		{"Snapshot", "LOCK SCHEMA.snapshot", func(ctx context.Context) error {
			_, err := ex.Snapshot(ctx, key)
			return err
		}},
		{"SaveSnapshot", "SELECT FROM SCHEMA.snapshot FOR UPDATE", func(ctx context.Context) error {
			return ex.SaveSnapshot(ctx, key, evento.Snapshot{Version: 2, Position: 3})
		}},
	} {
		exec(t, admin, "BEGIN; "+inSchema(tt.lock, schema))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tt.call(ctx) }()
		awaitLocked(t, schema)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want %v", tt.name, err, context.Canceled)
		}
		awaitLocks(t, schema, 0) // the server has given it up too
		exec(t, admin, "ROLLBACK")
		givenBack(t, pool)
	}
	if got := numbers(t, ex); len(got) != 2 || count(t, admin, schema, 1) != 0 {
		t.Errorf("stored %v and %d effects, want nothing of what was cancelled", got, count(t, admin, schema, 1))
	}
	if got, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "test"}); err != nil || len(got.Records) != 1 || got.Records[0].Revision != 1 {
		t.Errorf("Records() = %+v, %v, want the first", got, err)
	}
	if got, err := ex.Snapshot(t.Context(), key); err != nil || got.Version != 1 {
		t.Errorf("Snapshot() = %+v, %v, want the first", got, err)
	}
}

// Of two commits on their way in one transaction one is given up, be it that
// which does it for both; the other is stored when the counter is free.
func TestCancelledOfBatch(t *testing.T) {
	t.Parallel()
	for cancelled, tries := 0, 0; cancelled < 6; tries++ { // it is one or the other that leads
		if cancelledOfBatch(t) {
			cancelled++
		} else if tries > 100 {
			t.Fatal("nobody was ever cancelled")
		}
	}
}

// cancelledOfBatch reports whether there was a batch that had to wait: who
// waits for a row's lock does not get it in turn.
func cancelledOfBatch(t *testing.T) bool {
	t.Helper()
	ctx := deadlined(t)
	schema := newSchema(t)
	ex := openPatient(t, newPool(t), schema)
	defer closeAll(t, ex)
	lock := "BEGIN; SELECT FROM " + schema + ".counter FOR UPDATE"
	first, second := connect(t), connect(t)
	exec(t, first, lock)
	write := func(ctx context.Context, n int) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := evento.Create().Event(happened{n}).Commit(ctx, ex)
			done <- err
		}()
		return done
	}
	ahead := write(ctx, 0)
	awaitLocks(t, schema, 1)
	held := make(chan struct{})
	go func() {
		defer close(held)
		if _, err := second.Exec(ctx, lock); err != nil {
			t.Error(err)
		}
	}()
	awaitLocks(t, schema, 2)
	ending, cancel := context.WithCancel(ctx)
	givenUp, goesOn := write(ending, 1), write(ctx, 2)
	exec(t, first, "ROLLBACK")
	if err := <-ahead; err != nil {
		t.Fatal(err)
	}
	<-held
	for observer := connect(t); countLocks(ctx, t, observer, schema) != 1; { // the batch of two
		select {
		case err := <-goesOn:
			cancel()
			if err := errors.Join(err, <-givenUp); err != nil {
				t.Fatal(err)
			}
			return false // it was faster
		default:
		}
	}
	cancel()
	if err := <-givenUp; !errors.Is(err, context.Canceled) {
		t.Errorf("Commit() = %v, want %v", err, context.Canceled)
	}
	awaitLocks(t, schema, 1) // the other
	select {
	case err := <-goesOn:
		t.Errorf("Commit() of the other = %v while the counter is locked", err)
		goesOn <- err
	default:
	}
	exec(t, second, "ROLLBACK")
	if err := <-goesOn; err != nil {
		t.Errorf("Commit() of the other = %v", err)
	}
	if got := numbers(t, ex); len(got) != 2 || got[0] != 1 || got[2] != 1 {
		t.Errorf("stored %v, want 0 and 2", got)
	}
	return true
}

// Contexts end at any moment, while the counter is now locked and now not: an
// error that is not "unknown" means that nothing was stored, and no error that
// all was.
func TestCancelledAtAnyTime(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	ex, _ := openOn(t, testserver.Postgres(t), schema, 8)
	admin := effects(t, schema)

	stop, locked := make(chan struct{}), make(chan struct{})
	locks := connect(t)
	go func() {
		defer close(locked)
		for ctx := context.Background(); ; {
			err := pgx.BeginFunc(ctx, locks, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "SELECT pg_sleep($1), position FROM "+schema+".counter FOR UPDATE", rand.Float64()*0.06)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()

	// One round is enough on most machines. Where hardly anything is fast enough to
	// be stored, or everything is, the contexts of the next are longer, or shorter.
	const writers, commits, rounds, enough = 8, 25, 10, 10
	longest := 50 * time.Millisecond
	stored, ended := 0, 0
	var outcomes []error
	for round := 0; round < rounds && (stored < enough || ended < enough); round++ {
		first := len(outcomes)
		outcomes = append(outcomes, make([]error, writers*commits)...)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range commits {
					n := first + w*commits + i
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(longest))))
					do := func(ctx context.Context) error {
						_, err := evento.Aggregate(fmt.Sprint("a-", w%3)).AnyVersion().Event(happened{n}).Commit(ctx, ex)
						return err
					}
					if w%2 == 0 {
						outcomes[n] = do(ctx)
					} else {
						outcomes[n] = ex.InTx(ctx, func(ctx context.Context) error {
							return errors.Join(effect(ctx, schema, n), do(ctx))
						})
					}
					cancel()
				}
			})
		}
		wg.Wait()
		for _, err := range outcomes[first:] {
			switch {
			case err == nil:
				stored++
			case errors.Is(err, context.DeadlineExceeded):
				ended++
			}
		}
		switch {
		case stored < enough:
			longest *= 2
		case ended < enough:
			longest /= 2
		}
	}
	close(stop)
	<-locked
	seen := numbers(t, ex)
	for n, err := range outcomes {
		want := 0
		switch {
		case err == nil:
			want = 1
		case errors.Is(err, evento.ErrOutcomeUnknown):
			t.Errorf("%d: %v, although the server answered", n, err)
			want = seen[n]
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("%d: %v, want the context's error", n, err)
		}
		effects := want
		if n/commits%2 == 0 {
			effects = 0
		}
		if got := count(t, admin, schema, n); seen[n] != want || got != effects {
			t.Errorf("%d: %v, %d events and %d effects, want %d and %d", n, err, seen[n], got, want, effects)
		}
	}
	if stored < enough || ended < enough {
		t.Errorf("%d were stored and %d ended: the test tested too little", stored, ended)
	}
	t.Logf("%d stored, %d cancelled", stored, ended)
}

// The network swallows everything, and keeps the connections: a caller whose
// context ends is told within seconds that the outcome is unknown, or that
// nothing was done.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	p := newProxy(t, testserver.Postgres(t))
	ex, _ := openOn(t, p.url, schema, 4)
	admin := effects(t, schema)
	commit(t, ex, 0)
	one := evento.Create().Event(happened{1})
	two := evento.Create().Event(happened{2})
	inTx := func(ctx context.Context, between func()) error {
		return ex.InTx(ctx, func(ctx context.Context) error {
			if err := effect(ctx, schema, 2); err != nil {
				return err
			}
			_, err := two.Commit(ctx, ex)
			between()
			return err
		})
	}
	for _, tt := range []struct {
		name string
		want error
		call func(ctx context.Context) error
	}{
		{"InTx at its commit", evento.ErrOutcomeUnknown, func(ctx context.Context) error { return inTx(ctx, p.freeze) }},
		{"Commit", evento.ErrOutcomeUnknown, func(ctx context.Context) error {
			p.freeze()
			_, err := one.Commit(ctx, ex)
			return err
		}},
		{"Read", context.DeadlineExceeded, func(ctx context.Context) error {
			p.freeze()
			_, err := ex.Read(ctx, evento.Query{}, cursor.Forward(1, ""))
			return err
		}},
		{"InTx at its begin", context.DeadlineExceeded, func(ctx context.Context) error {
			p.freeze()
			return inTx(ctx, func() {})
		}},
	} {
		givenUp(t, tt.name, tt.want, func(ctx context.Context) error {
			err := tt.call(ctx)
			if deadline, _ := ctx.Deadline(); time.Since(deadline) > promptly {
				t.Errorf("%s = %v, %s after its deadline, want it soon", tt.name, err, time.Since(deadline))
			}
			p.thaw()
			if _, err := ex.Read(deadlined(t), evento.Query{}, cursor.Forward(1, "")); err != nil {
				t.Errorf("Read() when the network works again = %v", err)
			}
			return err
		})
	}
	if _, err := one.Commit(t.Context(), ex); err != nil {
		t.Errorf("Commit() again = %v", err)
	}
	if err := inTx(t.Context(), func() {}); err != nil {
		t.Errorf("InTx() again = %v", err)
	}
	if got := numbers(t, ex); got[1] != 1 || got[2] != 1 || count(t, admin, schema, 2) != 1 {
		t.Errorf("stored %v, and %d effects, want each once", got, count(t, admin, schema, 2))
	}
}

// givenUp makes a call that gives up while it waits, and wants its error. On a busy
// machine it may give up before it has come so far: then it is made again, and has more
// time.
func givenUp(t *testing.T, name string, want error, call func(context.Context) error) {
	t.Helper()
	for patience := 200 * time.Millisecond; ; patience *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := call(ctx)
		cancel()
		if errors.Is(err, want) {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) || patience > time.Minute {
			t.Errorf("%s = %v, want %v", name, err, want)
			return
		}
	}
}

// A commit that waits for standbys is committed and may not be replicated when its
// caller gives up: the outcome is unknown, and made again it is found.
func TestCancelledBeforeReplicated(t *testing.T) {
	t.Parallel()
	server := testserver.StartPostgres(t)
	ex, err := postgres.Open(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, ex, 0)
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	standbys := func(names string) {
		for _, text := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + names + "'", "SELECT pg_reload_conf()"} {
			if _, err := conn.Exec(context.Background(), text); err != nil {
				t.Fatal(err)
			}
		}
		for now := "-"; now != names; {
			if err := conn.QueryRow(context.Background(), "SHOW synchronous_standby_names").Scan(&now); err != nil {
				t.Fatal(err)
			}
		}
	}
	standbys("nobody")
	if ex, err = postgres.Open(t.Context(), server.URL, nil); err != nil {
		t.Fatal(err)
	}
	one, two := evento.Create().Event(happened{1}), evento.Create().Event(happened{2})
	calls := map[string]func(context.Context) error{
		"Commit": func(ctx context.Context) error {
			_, err := one.Commit(ctx, ex)
			return err
		},
		"InTx": func(ctx context.Context) error {
			return ex.InTx(ctx, func(ctx context.Context) error {
				_, err := two.Commit(ctx, ex)
				return err
			})
		},
	}
	for name, call := range calls {
		givenUp(t, name+" without a standby", evento.ErrOutcomeUnknown, call)
	}
	standbys("")
	for name, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s again = %v", name, err)
		}
	}
	if got := numbers(t, ex); got[1] != 1 || got[2] != 1 {
		t.Errorf("stored %v, want each once", got)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}
