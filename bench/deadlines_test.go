package bench

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// BenchmarkDeadline measures how late a deadline comes true when one is set at a time and
// nobody else writes: the timestamp of its event after the time at which it was due.
func BenchmarkDeadline(b *testing.B) {
	const ofEachRound = 20
	onEach(b, func(b *testing.B, ex evento.Executor) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- evento.RunDeadlines(ctx, ex) }()
		var late []float64 // ms
		for len(late) < ofEachRound*b.N {
			ms, err := lateDeadline(ctx, ex)
			if err != nil {
				b.Fatal(err)
			}
			late = append(late, ms)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			b.Fatal(err)
		}
		slices.Sort(late)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(late[len(late)/2], "ms-late-p50")
		b.ReportMetric(late[len(late)*99/100], "ms-late-p99")
	})
}

// lateDeadline sets a deadline that is due soon, and returns by how many milliseconds it is
// late.
func lateDeadline(ctx context.Context, ex evento.Executor) (ms float64, err error) {
	due := time.Now().Add(20 * time.Millisecond).Truncate(time.Microsecond)
	r, err := evento.Create().Event(payload).Deadline("due", due, payload).Commit(ctx, ex)
	if err != nil {
		return 0, err
	}
	at, err := ex.CursorAt(r.Position)
	if err != nil {
		return 0, err
	}
	for e, err := range evento.Follow(ctx, ex, evento.Query{Filters: []evento.Filter{evento.ByID(account, r.AggregateID)}}, at) {
		return float64(e.Timestamp.Sub(due).Microseconds()) / 1000, err
	}
	return 0, errors.New("nothing has followed")
}
