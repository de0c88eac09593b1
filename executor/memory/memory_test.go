package memory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/memory"
)

var config = executortest.Config{
	Open: func(testing.TB) evento.Executor { return memory.New(nil) },
}

func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, config)
}

func BenchmarkExecutor(b *testing.B) { executortest.Benchmark(b, config) }

type renamed struct{ To string }

func (renamed) AggregateType() evento.AggregateType { return "memory/Thing" }
func (renamed) EventName() string                   { return "Renamed" }

// The clock's times are recorded in UTC and microseconds, and never fall.
func TestClock(t *testing.T) {
	t.Parallel()
	noon := time.Date(2024, 5, 6, 12, 0, 0, 0, time.UTC)
	clock := []time.Time{
		noon.Add(1999 * time.Nanosecond),
		noon.Add(time.Hour).In(time.FixedZone("", 2*60*60)),
		noon, // set back
		noon.Add(2 * time.Hour),
	}
	want := []time.Time{noon.Add(time.Microsecond), noon.Add(time.Hour), noon.Add(time.Hour), noon.Add(2 * time.Hour)}

	i := -1
	ex := memory.New(&memory.Options{Clock: func() time.Time { i++; return clock[i] }})
	for range clock {
		if _, err := evento.Create().Event(renamed{}).Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
	}
	var got []time.Time
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Timestamp)
	}
	if !slices.Equal(got, want) {
		t.Errorf("with the clock at %v: got %v, want %v", clock, got, want)
	}
}

// Records have the time of the clock as it is, in UTC and microseconds, also
// when it was set back.
func TestClockOfRecords(t *testing.T) {
	t.Parallel()
	noon := time.Date(2024, 5, 6, 12, 0, 0, 0, time.UTC)
	clock := noon
	ex := memory.New(&memory.Options{Clock: func() time.Time { return clock }})
	key := evento.RecordKey{Kind: "kind", Key: "key"}
	for i, tt := range []struct{ clock, want time.Time }{
		{noon.Add(1999 * time.Nanosecond), noon.Add(time.Microsecond)},
		{noon.Add(time.Hour).In(time.FixedZone("", 2*60*60)), noon.Add(time.Hour)},
		{noon, noon}, // set back
		{noon.Add(2 * time.Hour), noon.Add(2 * time.Hour)},
	} {
		clock = tt.clock
		if _, err := evento.Create().Event(renamed{}).Commit(t.Context(), ex); err != nil {
			t.Fatal(err)
		}
		if err := ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: key, Revision: uint64(i)}}}); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(-time.Minute) // between the change and the look at it
		p, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"})
		if err != nil {
			t.Fatal(err)
		}
		if got, now := p.Records[0].ChangedAt, tt.want.Add(-time.Minute); got != tt.want || p.Now != now {
			t.Errorf("with the clock at %v: got a change at %v and %v now, want %v and %v", tt.clock, got, p.Now, tt.want, now)
		}
	}
}

func ExampleNew() {
	ctx := context.Background()
	ex := memory.New(nil)
	if _, err := evento.Aggregate("one").Event(renamed{To: "first"}).Commit(ctx, ex); err != nil {
		fmt.Println(err)
	}
	for e, err := range evento.Events(ctx, ex, evento.Query{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Position, e.AggregateID, e.Version, e.Name)
	}
	if err := ex.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: 1 one 1 Renamed
}
