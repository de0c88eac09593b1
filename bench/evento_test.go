package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/evento-go/evento"
)

// TestMain gives the process a heap like that of a small program. The heap of a
// benchmark is only a few megabytes: the garbage collector would run after every
// four allocated megabytes, and most figures would measure it.
//
// Some benchmarks run this program again, to measure a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if err := child(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	heap := make([]byte, 64<<20)
	m.Run()
	runtime.KeepAlive(heap)
}

const account evento.AggregateType = "bank/Account"

// deposited is about 300 bytes encoded.
type deposited struct {
	Amount int64
	Text   string
}

func (deposited) AggregateType() evento.AggregateType { return account }
func (deposited) EventName() string                   { return "MoneyDeposited" }

var payload = deposited{Amount: 100, Text: string(slices.Repeat([]byte("x"), 270))}

type balance struct{ Amount int64 }

var balances = evento.NewProjection[balance]("balance", account).Handler(evento.Apply(add))

func add(v *balance, e evento.Event[deposited]) error {
	v.Amount += e.Data.Amount
	return nil
}

// opened closes c at the end of the benchmark.
func opened[C io.Closer](b *testing.B, c C, err error) C {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}

// writers append n events in total, from several goroutines, each to an aggregate
// of its own.
type writers struct {
	ex    evento.Executor
	heads []evento.Receipt
}

func newWriters(b *testing.B, ex evento.Executor, n int) *writers {
	b.Helper()
	w := &writers{ex: ex}
	for range n {
		r, err := evento.Create().Event(payload).Commit(context.Background(), ex)
		if err != nil {
			b.Fatal(err)
		}
		w.heads = append(w.heads, r)
	}
	return w
}

func (w *writers) append(n, events int) error {
	var wg sync.WaitGroup
	errs := make([]error, len(w.heads))
	payloads := slices.Repeat([]evento.Payload{payload}, events)
	for i := range w.heads {
		wg.Go(func() {
			for range n / len(w.heads) {
				r, err := evento.Aggregate(w.heads[i].AggregateID).OriginalVersion(w.heads[i].Version).
					Event(payloads...).Commit(context.Background(), w.ex)
				if err != nil {
					errs[i] = err
					return
				}
				w.heads[i] = r
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fill commits aggregates with a number of events each.
func fill(b *testing.B, ex evento.Executor, aggregates, events int) (ids []string) {
	b.Helper()
	w := newWriters(b, ex, aggregates)
	const most = 1000
	for left := events - 1; left > 0; left -= most {
		if err := w.append(aggregates, min(left, most)); err != nil {
			b.Fatal(err)
		}
	}
	for _, h := range w.heads {
		ids = append(ids, h.AggregateID)
	}
	return ids
}

// loadRate loads aggregates; it takes every step-th one.
func loadRate(b *testing.B, ex evento.Executor, ids []string, loads, step, events int) float64 {
	b.Helper()
	return rate(b, loads, func() error {
		for i := range loads {
			l, err := balances.Load(context.Background(), ex, ids[i*step%len(ids)])
			if err != nil {
				return err
			}
			if l.State.Amount != int64(events)*100 {
				return fmt.Errorf("balance %d", l.State.Amount)
			}
		}
		return nil
	})
}

func readAll(ex evento.Executor, events int) error {
	n := 0
	for _, err := range evento.Events(context.Background(), ex, evento.Query{}) {
		if err != nil {
			return err
		}
		n++
	}
	if n != events {
		return fmt.Errorf("%d events", n)
	}
	return nil
}

// subscriptionRate measures a new subscription that handles all events.
func subscriptionRate(b *testing.B, ex evento.Executor, events int) float64 {
	b.Helper()
	n := 0
	r := rate(b, events, func() error {
		return evento.NewSubscription(evento.NewID().String()).All().
			Handler(evento.HandleAll(account, func(context.Context, evento.RawEvent) error { n++; return nil })).
			Execute(context.Background(), ex)
	})
	if n != events {
		b.Fatalf("%d events", n)
	}
	return r
}
