package bench

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// BenchmarkLatency measures, with one writer at a time, how long a commit of one event takes,
// and how long it is from its end until a subscription's handler in the same process has the
// event.
func BenchmarkLatency(b *testing.B) {
	measure := func(b *testing.B, ex evento.Executor) {
		b.Run("append", func(b *testing.B) { latencies(b, func(each int) ([]float64, error) { return commitTimes(ex, each) }) })
		b.Run("handler", func(b *testing.B) {
			got := make(chan time.Time, 1)
			stop := subscribe(b, ex, got)
			latencies(b, func(each int) ([]float64, error) { return handlerTimes(ex, each, got) })
			stop()
		})
	}
	onEach(b, measure)
	b.Run("JetStream", func(b *testing.B) {
		measure(b, openJetStream(b, testserver.NATS(b, testserver.NATSOptions{}).URL(), "latency", b.TempDir()))
	})
}

// latencies reports percentiles of the milliseconds that rounds have taken.
func latencies(b *testing.B, round func(each int) (ms []float64, err error)) {
	b.Helper()
	each := inShort(100, 2000)
	var all []float64
	for b.Loop() {
		ms, err := round(each)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, ms...)
	}
	b.ReportMetric(0, "ns/op")
	reportPercentiles(b, all)
}

func reportPercentiles(b *testing.B, ms []float64) {
	b.Helper()
	slices.Sort(ms)
	b.ReportMetric(ms[len(ms)/2], "ms-p50")
	b.ReportMetric(ms[len(ms)*99/100], "ms-p99")
	b.ReportMetric(ms[len(ms)*999/1000], "ms-p99.9")
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// commitTimes commits to one aggregate, and returns how long each commit took.
func commitTimes(ex evento.Executor, commits int) (ms []float64, err error) {
	ctx := context.Background()
	r, err := evento.Create().Event(payload).Commit(ctx, ex)
	for range commits {
		if err != nil {
			return nil, err
		}
		began := time.Now()
		r, err = evento.Aggregate(r.AggregateID).OriginalVersion(r.Version).Event(payload).Commit(ctx, ex)
		ms = append(ms, milliseconds(time.Since(began)))
	}
	return ms, err
}

// subscribe starts a subscription that sends the time at which it handles each event, and
// returns what stops it.
func subscribe(b *testing.B, ex evento.Executor, handled chan<- time.Time) (stop func()) {
	b.Helper()
	ctx := context.Background()
	sub, err := evento.NewSubscription(evento.NewID().String()).StartAtEnd().
		Handler(evento.HandleAll(account, func(context.Context, evento.RawEvent) error {
			handled <- time.Now()
			return nil
		})).Start(ctx, ex)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if err := sub.Shutdown(ctx); err != nil {
			b.Error(err)
		}
	}
}

// handlerTimes commits one event at a time, and returns how long after each commit its
// handler was called: 0 if that was before Commit had returned.
func handlerTimes(ex evento.Executor, commits int, handled <-chan time.Time) (ms []float64, err error) {
	for range commits {
		if _, err := evento.Create().Event(payload).Commit(context.Background(), ex); err != nil {
			return nil, err
		}
		committed := time.Now()
		ms = append(ms, max(0, milliseconds((<-handled).Sub(committed))))
	}
	return ms, nil
}
