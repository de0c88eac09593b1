package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
)

// eventoPeer is this library.
type eventoPeer struct {
	b  *testing.B
	ex evento.Executor
}

func openEventoPeer(b *testing.B, storage, at string) peer {
	b.Helper()
	if storage == "SQLite" {
		ex, err := sqlite.Open(context.Background(), at, nil)
		return &eventoPeer{b, opened(b, ex, err)}
	}
	ex, err := postgres.Open(context.Background(), at+"&pool_max_conns=64", nil)
	return &eventoPeer{b, opened(b, ex, err)}
}

func timed(do func() error) (time.Duration, error) {
	began := time.Now()
	err := do()
	return time.Since(began), err
}

func (p *eventoPeer) append(writers, commits, events int) (time.Duration, error) {
	w := newWriters(p.b, p.ex, writers)
	return timed(func() error { return w.append(commits, events) })
}

func (p *eventoPeer) load(loads, events int) (time.Duration, error) {
	id := fill(p.b, p.ex, 1, events)[0]
	return timed(func() error {
		for range loads {
			l, err := balances.Load(context.Background(), p.ex, id)
			if err != nil || l.State.Amount != int64(events)*100 {
				return errors.Join(err, fmt.Errorf("balance %d", l.State.Amount))
			}
		}
		return nil
	})
}

func (p *eventoPeer) catchUp(events int) (time.Duration, error) {
	n := 0
	took, err := timed(func() error {
		return evento.NewSubscription(evento.NewID().String()).
			Handler(evento.Handle(func(context.Context, evento.Event[deposited]) error { n++; return nil })).
			Execute(context.Background(), p.ex)
	})
	if n < events {
		err = errors.Join(err, fmt.Errorf("%d events", n))
	}
	return took, err
}

func (p *eventoPeer) latency(commits int) ([]float64, error) {
	got := make(chan time.Time, 1)
	stop := subscribe(p.b, p.ex, got)
	defer stop()
	return handlerTimes(p.ex, commits, got)
}

func (p *eventoPeer) deliver(writers, commits int) (lost int, err error) {
	ctx := context.Background()
	ids := make(chan string, writers+commits)
	sub, err := evento.NewSubscription("deliver").
		Handler(evento.HandleAll(account, func(_ context.Context, e evento.RawEvent) error { ids <- e.ID.String(); return nil })).
		Start(ctx, p.ex)
	if err != nil {
		return 0, err
	}
	if _, err := p.append(writers, commits, 1); err != nil {
		return 0, err
	}
	lost = missing(writers+commits, ids)
	return lost, sub.Shutdown(ctx)
}
