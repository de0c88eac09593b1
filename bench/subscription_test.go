package bench

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// onEach runs a benchmark on a new store of each executor.
func onEach(b *testing.B, run func(b *testing.B, ex evento.Executor)) {
	b.Run("SQLite", func(b *testing.B) { run(b, openStore(b, filepath.Join(b.TempDir(), "events.db"))) })
	b.Run("Pebble", func(b *testing.B) {
		run(b, openPebbleWith(b, filepath.Join(b.TempDir(), "events"), &pebble.Options{CacheSize: 256 << 20}))
	})
	b.Run("Postgres", func(b *testing.B) {
		_, ex, _ := openPostgres(b)
		run(b, ex)
	})
	b.Run("MySQL", func(b *testing.B) { run(b, openMySQL(b, testserver.MySQL(b))) })
}

// execute handles all events with a new key, and returns events per second.
func execute(b *testing.B, ex evento.Executor, events int, set func(*evento.SubscriptionBuilder), handle func(evento.RawEvent) error) float64 {
	b.Helper()
	s := evento.NewSubscription(evento.NewID().String()).Handler(evento.HandleAll(account, func(_ context.Context, e evento.RawEvent) error { return handle(e) }))
	set(s)
	return rate(b, events, func() error { return s.Execute(context.Background(), ex) })
}

// BenchmarkPartitions compares eight partitions with one, with a handler that
// takes a millisecond.
func BenchmarkPartitions(b *testing.B) {
	events := inShort(400, 3200)
	onEach(b, func(b *testing.B, ex evento.Executor) {
		newGrownOf(b, ex, events, 1)
		work := func(partitions int) float64 {
			return execute(b, ex, events, func(s *evento.SubscriptionBuilder) { s.Partitions(partitions) }, func(evento.RawEvent) error {
				time.Sleep(time.Millisecond)
				return nil
			})
		}
		compare(b, 6, func() float64 { return work(8) }, func() float64 { return work(1) })
	})
}

// BenchmarkCatchUp compares a subscription with an empty handler with just reading
// all events.
func BenchmarkCatchUp(b *testing.B) {
	events := inShort(30_000, 300_000)
	onEach(b, func(b *testing.B, ex evento.Executor) {
		newGrownOf(b, ex, events, 100)
		analyze(b, ex)
		compare(b, 0.9,
			func() float64 {
				return execute(b, ex, events, func(*evento.SubscriptionBuilder) {}, func(evento.RawEvent) error { return nil })
			},
			func() float64 { return rate(b, events, func() error { return readAll(ex, events) }) })
	})
}

// analyze makes PostgreSQL's statistics of a store that was filled just now, which
// autovacuum does within a minute. The planner of a server that has none sorts all events
// of a kind for each of the first pages.
func analyze(b *testing.B, ex evento.Executor) {
	b.Helper()
	if _, ok := ex.(*postgres.Executor); !ok {
		return
	}
	conn, err := pgx.Connect(b.Context(), os.Getenv("EVENTO_TEST_POSTGRES"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err = conn.Exec(b.Context(), "ANALYZE"); err != nil {
		b.Fatal(err)
	}
	if err := conn.Close(b.Context()); err != nil {
		b.Error(err)
	}
}

// BenchmarkPoison compares a subscription that cannot handle the events of one
// aggregate in a thousand with one that can handle all.
func BenchmarkPoison(b *testing.B) {
	const events = 20_000
	onEach(b, func(b *testing.B, ex evento.Executor) {
		ids := newGrownOf(b, ex, events, 20).ids
		work := func(poison string) float64 {
			return execute(b, ex, events, func(s *evento.SubscriptionBuilder) { s.AcceptFailure().Logger(slog.New(slog.DiscardHandler)) }, func(e evento.RawEvent) error {
				if e.AggregateID == poison {
					return evento.Permanent(os.ErrInvalid)
				}
				return nil
			})
		}
		compare(b, 0.8, func() float64 { return work(ids[500]) }, func() float64 { return work("") })
	})
}

// BenchmarkPostgresOtherProcess compares the time from a commit to its handler on
// another executor, as in another process, with a round trip of LISTEN and NOTIFY.
// The rates are of sequential operations, so the ratio to reach is 1/1.5.
func BenchmarkPostgresOtherProcess(b *testing.B) {
	ctx := context.Background()
	pool, ex, schema := openPostgres(b)
	other, err := postgres.New(ctx, pool, &postgres.Options{Schema: schema})
	if err != nil {
		b.Fatal(err)
	}
	handled := make(chan time.Time, 1)
	sub, err := evento.NewSubscription("s").Handler(evento.HandleAll(account, func(context.Context, evento.RawEvent) error {
		handled <- time.Now()
		return nil
	})).Start(ctx, other)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := sub.Shutdown(ctx); err != nil {
			b.Error(err)
		}
		if err := other.Close(); err != nil {
			b.Error(err)
		}
	})
	listener, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close(ctx) })
	channel := "raw_" + strings.ToLower(evento.NewID().String())
	if _, err := listener.Exec(ctx, "LISTEN "+channel); err != nil {
		b.Fatal(err)
	}
	const each = 50
	var took []float64
	compare(b, 1/1.5,
		func() float64 {
			took = took[:0]
			for range each {
				if _, err := evento.Create().Event(payload).Commit(ctx, ex); err != nil {
					b.Fatal(err)
				}
				committed := time.Now()
				took = append(took, max(0, (<-handled).Sub(committed).Seconds()))
				time.Sleep(10 * time.Millisecond) // not in a burst
			}
			return 1 / median(took)
		},
		func() float64 {
			took = took[:0]
			for range each {
				began := time.Now()
				if _, err := pool.Exec(ctx, "NOTIFY "+channel); err != nil {
					b.Fatal(err)
				}
				if _, err := listener.WaitForNotification(ctx); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began).Seconds())
				time.Sleep(10 * time.Millisecond)
			}
			return 1 / median(took)
		})
	slices.Sort(took)
	b.ReportMetric(1e6*median(took), "µs-raw-p50")
}
