package evento_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/sqlite"
)

// Commits beside 0 and 1,000 followers, each of an aggregate of its own. Every
// commit concerns one follower. "ratio" is that of the two medians; both are of
// one run, in turns.
func BenchmarkCommitBesideFollowers(b *testing.B) {
	for name, open := range map[string]func(*testing.B) evento.Executor{
		"memory": func(*testing.B) evento.Executor { return memory.New(nil) },
		"sqlite": func(b *testing.B) evento.Executor {
			ex, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "events.db"), nil)
			if err != nil {
				b.Fatal(err)
			}
			return ex
		},
	} {
		b.Run(name, func(b *testing.B) { commitBesideFollowers(b, open) })
	}
}

func commitBesideFollowers(b *testing.B, open func(*testing.B) evento.Executor) {
	const followers, turn = 1000, 100
	alone, beside := open(b), open(b)
	defer func() {
		for _, ex := range []evento.Executor{alone, beside} {
			if err := ex.Close(); err != nil {
				b.Error(err)
			}
		}
	}()
	var received atomic.Int64
	stop := startFollowers(b, beside, followers, &received)
	defer stop()
	b.ResetTimer()
	var took [2][]time.Duration
	for n := 0; n < b.N; n += turn {
		for i, ex := range []evento.Executor{alone, beside} {
			for k := range min(turn, b.N-n) {
				began := time.Now()
				if _, err := deposit((n+k)%followers).Commit(b.Context(), ex); err != nil {
					b.Fatal(err)
				}
				took[i] = append(took[i], time.Since(began))
			}
		}
	}
	for received.Load() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	medians := [2]time.Duration{}
	for i := range took {
		slices.Sort(took[i])
		medians[i] = took[i][len(took[i])/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(medians[0].Nanoseconds())/1000, "µs-alone")
	b.ReportMetric(float64(medians[1].Nanoseconds())/1000, "µs-beside")
	b.ReportMetric(float64(medians[1])/float64(medians[0]), "ratio")
}

func deposit(id int) *evento.CommitBuilder {
	return evento.Aggregate(fmt.Sprint("account ", id)).AnyVersion().Event(MoneyDeposited{Amount: 1})
}

// startFollowers starts followers of an aggregate each, and returns when each
// has been given an event.
func startFollowers(b *testing.B, ex evento.Executor, n int, received *atomic.Int64) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var running, ready sync.WaitGroup
	for i := range n {
		if _, err := deposit(i).Commit(ctx, ex); err != nil {
			b.Fatal(err)
		}
		ready.Add(1)
		running.Go(func() {
			q := evento.Query{Filters: []evento.Filter{evento.ByID(Account, fmt.Sprint("account ", i))}}
			first := true
			for _, err := range evento.Follow(ctx, ex, q, cursor.Value("")) {
				switch {
				case err != nil:
					return
				case first:
					first = false
					ready.Done()
				default:
					received.Add(1)
				}
			}
		})
	}
	ready.Wait()
	return func() { cancel(); running.Wait() }
}
