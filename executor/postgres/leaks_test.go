package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// After contexts that ended, functions that failed and panicked, connections
// that were cut and sessions that were ended, nothing is left: no connection of
// the pool in use, no open transaction, and after Close no session and no
// goroutine.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	schema := newSchema(t)
	p := newProxy(t, testserver.Postgres(t))
	config, err := pgxpool.ParseConfig(p.url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 4
	config.ConnConfig.RuntimeParams["application_name"] = schema
	admin := connect(t)
	sessions := func(where string) (n int) {
		t.Helper()
		if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND "+where, schema).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var stacks bytes.Buffer
	running := func() bool {
		stacks.Reset()
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
			t.Error(err)
		}
		return strings.Contains(stacks.String(), schema)
	}
	await := func(what string, none func() bool) {
		t.Helper()
		for began := time.Now(); !none(); time.Sleep(time.Millisecond) {
			if time.Since(began) > 5*time.Minute {
				t.Errorf("%s are left", what)
				return
			}
		}
	}
	var opened int
	// Goroutines have the labels of who started them.
	pprof.Do(t.Context(), pprof.Labels("store", schema), func(ctx context.Context) {
		pool, err := pgxpool.NewWithConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		ex, err := postgres.New(ctx, pool, &postgres.Options{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 40 {
					mischief(ctx, t, ex, i*100+n)
				}
			})
		}
		wg.Go(func() {
			for range 20 {
				_, err := admin.Exec(t.Context(), "SELECT pg_sleep(0.02), pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 ORDER BY random() LIMIT 1", schema)
				if err != nil {
					t.Error(err)
				}
				p.cut()
			}
		})
		wg.Wait()
		givenBack(t, pool)
		opened = int(pool.Stat().NewConnsCount())
		await("open transactions", func() bool { return sessions("state LIKE 'idle in transaction%'") == 0 })
		await("waiting statements", func() bool { return sessions("wait_event_type = 'Lock'") == 0 })
		numbers(t, ex)
		if !running() || sessions("true") == 0 {
			t.Error("the goroutines or sessions of the store are not found")
		}
		closeAll(t, ex)
	})
	await("sessions", func() bool { return sessions("true") == 0 })
	await("goroutines", func() bool { return !running() })
	if t.Failed() {
		for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
			if strings.Contains(stack, schema) {
				t.Log(stack)
			}
		}
	}
	if opened < 10 {
		t.Errorf("%d connections were made: the test tested nothing", opened)
	}
	t.Logf("%d connections were made, none is left", opened)
}

// mischief is a call that ends in one of many ways.
func mischief(ctx context.Context, t *testing.T, ex *postgres.Executor, n int) {
	defer func() {
		if p := recover(); p != nil && p != "mischief" {
			t.Errorf("panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(40))*time.Millisecond)
	defer cancel()
	b := evento.Aggregate("a").AnyVersion().Event(happened{n})
	in := func(fn func(ctx context.Context) error) {
		_ = ex.InTx(ctx, fn) // any error
	}
	switch rand.IntN(9) {
	case 0, 1:
		_, _ = b.Commit(ctx, ex)
	case 2:
		in(func(ctx context.Context) error {
			_, err := b.Commit(ctx, ex)
			return err
		})
	case 3:
		in(func(ctx context.Context) error {
			_, _ = b.Commit(ctx, ex)
			return errors.New("mischief")
		})
	case 4:
		in(func(ctx context.Context) error {
			_, _ = b.Commit(ctx, ex)
			_, _ = postgres.Tx(ctx).Query(ctx, "SELECT generate_series(1, 1000)") //nolint:sqlclosecheck // the mischief
			panic("mischief")
		})
	case 5:
		for _, err := range evento.Events(ctx, ex, evento.Query{}) {
			_ = err
			break
		}
	case 6:
		sub, err := evento.NewSubscription("s").Handler(evento.Handle(func(context.Context, evento.Event[happened]) error { return nil })).Start(ctx, ex)
		if err == nil {
			cancel()
			<-sub.Done()
		}
	case 7:
		_ = swap(ctx, ex, 0, fmt.Sprint(n))
	case 8:
		_, _ = ex.Records(ctx, evento.RecordQuery{Kind: "test"})
	}
}
