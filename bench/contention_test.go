package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/internal/testserver"
)

// beside runs fn while goroutines do their part over and over.
func beside(b *testing.B, goroutines int, part func(i int) error, fn func() float64) float64 {
	b.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := part(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // until they are at it
	r := fn()
	close(stop)
	wg.Wait()
	return r
}

// BenchmarkConflicts compares an innocent writer beside 50 that commit with a stale
// version with one beside 50 that succeed.
func BenchmarkConflicts(b *testing.B) {
	const others, commits = 50, 200
	ctx := context.Background()
	onEach(b, func(b *testing.B, ex evento.Executor) {
		hot := newWriters(b, ex, 1)
		if err := hot.append(3, 1); err != nil {
			b.Fatal(err)
		}
		innocent, own := newWriters(b, ex, 1), newWriters(b, ex, others)
		measure := func() float64 { return rate(b, commits, func() error { return innocent.append(commits, 1) }) }
		compare(b, 1./3,
			func() float64 {
				return beside(b, others, func(int) error {
					_, err := evento.Aggregate(hot.heads[0].AggregateID).OriginalVersion(1).Event(payload).Commit(ctx, ex)
					if !errors.Is(err, evento.ErrConflict) {
						return fmt.Errorf("a stale commit: %w", err)
					}
					return nil
				}, measure)
			},
			func() float64 {
				return beside(b, others, func(i int) error {
					r, err := evento.Aggregate(own.heads[i].AggregateID).OriginalVersion(own.heads[i].Version).Event(payload).Commit(ctx, ex)
					own.heads[i] = r
					return err
				}, measure)
			})
	})
}

// updates makes 50 goroutines update one aggregate four times each, in turns on each
// executor, and returns updates per second. It adds how long each took.
func updates(b *testing.B, lock sync.Locker, took *[]time.Duration, executors ...evento.Executor) float64 {
	b.Helper()
	const callers, each = 50, 4
	ctx := context.Background()
	r, err := evento.Create().Event(payload).Commit(ctx, executors[0])
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	return rate(b, callers*each, func() error {
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for range each {
					began := time.Now()
					lock.Lock()
					_, err := balances.Update(ctx, executors[i%len(executors)], r.AggregateID, func(*evento.Loaded[balance]) ([]evento.Payload, error) {
						return []evento.Payload{payload}, nil
					})
					lock.Unlock()
					errs[i] = errors.Join(errs[i], err)
					mu.Lock()
					*took = append(*took, time.Since(began))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
}

type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

func compareUpdates(b *testing.B, reach float64, executors ...evento.Executor) {
	b.Helper()
	var took, locked []time.Duration
	compare(b, reach,
		func() float64 { return updates(b, noLock{}, &took, executors...) },
		func() float64 { return updates(b, &sync.Mutex{}, &locked, executors...) })
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)-1])/float64(took[len(took)/2]), "slowest/median")
}

// BenchmarkHotAggregate compares updates of one aggregate by 50 goroutines with the same
// behind a mutex.
func BenchmarkHotAggregate(b *testing.B) {
	onEach(b, func(b *testing.B, ex evento.Executor) { compareUpdates(b, 1./2, ex) })
}

// BenchmarkHotAggregateOfTwo is that with two executors on one store, which know no more
// of each other than two processes do.
func BenchmarkHotAggregateOfTwo(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "events.db")
		compareUpdates(b, 1./3, openStore(b, path), openStore(b, path))
	})
	b.Run("Postgres", func(b *testing.B) {
		pool, ex, schema := openPostgres(b)
		other, err := postgres.New(context.Background(), pool, &postgres.Options{Schema: schema})
		compareUpdates(b, 1./3, ex, opened(b, other, err))
	})
	b.Run("MySQL", func(b *testing.B) {
		dsn := testserver.MySQL(b)
		compareUpdates(b, 1./3, openMySQL(b, dsn), openMySQL(b, dsn))
	})
}
