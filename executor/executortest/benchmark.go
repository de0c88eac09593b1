package executortest

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Benchmark measures stores that c.Open opens, each sub-benchmark on one of
// its own. "events/s" counts the events that were appended, read, replayed or
// handled, all sub-benchmarks alike; payloads of appends have 300 bytes.
//
//   - Append: one event a write by one writer and by 64, to new aggregates,
//     and 100 events a write;
//   - Load: replaying a projection of 5, 100 and 10,000 events, and of 10,000
//     with a snapshot at the last (the events that it stands for count);
//   - Read: every event in pages of 1,000, and one event in 20 by its name;
//   - Subscription: catching up with a handler that does nothing.
func Benchmark(b *testing.B, c Config) {
	b.Helper()
	c = c.withDefaults(b)
	run := func(name string, bench func(context.Context, *testing.B, evento.Executor) (events int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			events := bench(b.Context(), b, c.open(b))
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
	run("Append/1Writer", benchAppend(1))
	run("Append/64Writers", benchAppendWriters)
	run("Append/100Events", benchAppend(100))
	run("Load/5", benchLoad(5, 0))
	run("Load/100", benchLoad(100, 0))
	run("Load/10000", benchLoad(10_000, 0))
	run("Load/10000Snapshot", benchLoad(10_000, 1000))
	run("Read/All", benchRead(evento.Query{}))
	run("Read/Filtered", benchRead(filtered(evento.Filter{AggregateType: thing, Name: "Rare"})))
	run("Subscription", benchSubscription)
}

// benchWrite is a write of n events to a new aggregate.
func benchWrite(n int, payload []byte) evento.Write {
	a := to(evento.NewID().String(), 0, many(n, "Happened")...)
	for i := range a.Events {
		a.Events[i].Data = payload
	}
	return write(a)
}

func benchAppend(n int) func(context.Context, *testing.B, evento.Executor) int {
	return func(ctx context.Context, b *testing.B, ex evento.Executor) int {
		payload := make([]byte, 300)
		for b.Loop() {
			if _, err := ex.Write(ctx, benchWrite(n, payload)); err != nil {
				b.Fatal(err)
			}
		}
		return n * b.N
	}
}

func benchAppendWriters(ctx context.Context, b *testing.B, ex evento.Executor) int {
	const writers = 64
	procs := runtime.GOMAXPROCS(0)
	b.SetParallelism((writers + procs - 1) / procs)
	payload := make([]byte, 300)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := ex.Write(ctx, benchWrite(1, payload)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	return b.N
}

// benchLoad loads one of several accounts with n events each.
func benchLoad(n int, snapshotEvery uint64) func(context.Context, *testing.B, evento.Executor) int {
	return func(ctx context.Context, b *testing.B, ex evento.Executor) int {
		accounts := max(1, 1000/n)
		for i := range accounts {
			for left := n; left > 0; left -= 1000 {
				deposit(ctx, b, ex, fmt.Sprint(i), min(left, 1000))
			}
		}
		p := balances(new(int)).SnapshotEvery(snapshotEvery)
		load := func(i int) {
			l, err := p.Load(ctx, ex, fmt.Sprint(i))
			if err != nil || l.SnapshotErr != nil || l.State.Total != n {
				b.Fatalf("Load: %+v, %v, want a total of %d", l, err, n)
			}
		}
		load(0) // stores the snapshot, if there is to be one
		for i := 0; b.Loop(); i++ {
			load(i % accounts)
		}
		return n * b.N
	}
}

// benchFill commits n events, of which one in 20 is "Rare".
func benchFill(ctx context.Context, b *testing.B, ex evento.Executor, n int) {
	b.Helper()
	payload := make([]byte, 300)
	for range n / 100 {
		w := evento.Write{}
		for range 5 {
			one := benchWrite(20, payload)
			one.Appends[0].Events[7].Name = "Rare"
			w.Appends = append(w.Appends, one.Appends...)
		}
		commit(ctx, b, ex, w.Appends...)
	}
}

func benchRead(q evento.Query) func(context.Context, *testing.B, evento.Executor) int {
	return func(ctx context.Context, b *testing.B, ex evento.Executor) int {
		const n = 20_000
		benchFill(ctx, b, ex, n)
		want := n
		if len(q.Filters) > 0 {
			want = n / 20
		}
		for b.Loop() {
			got := 0
			for at, more := cursor.Value(""), true; more; {
				p, err := ex.Read(ctx, q, cursor.Onward(1000, at))
				if err != nil {
					b.Fatal(err)
				}
				got += len(p.Edges)
				at, more = p.PageInfo.EndCursor, p.PageInfo.HasNextPage
			}
			if got != want {
				b.Fatalf("got %d events, want %d", got, want)
			}
		}
		return want * b.N
	}
}

func benchSubscription(ctx context.Context, b *testing.B, ex evento.Executor) int {
	const n = 20_000
	benchFill(ctx, b, ex, n)
	for i := 0; b.Loop(); i++ {
		got := 0
		err := evento.NewSubscription(fmt.Sprint("key ", i)).ChunkSize(1000).
			Handler(evento.HandleAll(thing, func(context.Context, evento.RawEvent) error { got++; return nil })).
			Execute(ctx, ex)
		if err != nil || got != n {
			b.Fatalf("Execute: handled %d events, %v, want %d", got, err, n)
		}
	}
	return n * b.N
}
