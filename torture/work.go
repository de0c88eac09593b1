package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Worker is one that works on a store: in a process of its own, or in this one.
type Worker struct {
	// Name is unique: a worker that replaces one that was killed has another one.
	Name string
	// History is the file to which all workers append.
	History string
	// Writers is how many goroutines write. 0: it follows and handles alone.
	Writers int
	// Seed is that of its random choices.
	Seed uint64
}

// Keys of the subscriptions.
const (
	inOrder     = "torture-in-order"   // one partition
	partitioned = "torture-partitions" // four
)

// lease is that of the subscriptions: workers are killed, and others take over.
const lease = time.Second

// Work does a worker's work on a store until ctx ends: it writes, follows the log, handles events
// in two subscriptions, and makes deadlines come true. While the store fails it goes on. Errors:
// those of the history's file, and nil when ctx ends.
func Work(ctx context.Context, ex evento.Executor, w Worker) (err error) {
	h, err := openHistory(w.History)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	failed := make(chan error, w.Writers+5)
	start := func(do func() error) {
		all.Go(func() {
			err := do()
			failed <- err
			if err != nil {
				cancel()
			}
		})
	}
	for i := range w.Writers {
		start(func() error {
			wr := &writer{ex: ex, history: h, r: rand.New(rand.NewPCG(w.Seed, uint64(i))), name: fmt.Sprint(w.Name, "-", i), heads: map[string]uint64{}}
			return wr.run(ctx)
		})
	}
	start(func() error { return observe(ctx, ex, h, w.Name) })
	start(func() error { return watch(ctx, ex, h, w.Name) })
	start(func() error { return handle(ctx, ex, h, inOrder, 1) })
	start(func() error { return handle(ctx, ex, h, partitioned, 4) })
	start(func() error {
		_ = evento.RunDeadlines(ctx, ex) // ctx ends, or the executor closes
		return nil
	})
	all.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

// pausing waits before something is tried again, unless ctx ends.
func pausing(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// Observers write so many events at once into the history, or all of some time.
const (
	observedAtOnce = 64
	observedEvery  = 50 * time.Millisecond
)

// observe follows the log from its present end on.
func observe(ctx context.Context, ex evento.Executor, h *history, name string) error {
	for n := 1; ctx.Err() == nil; n++ {
		last, err := ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
		if err != nil {
			pausing(ctx)
			continue
		}
		by, from := fmt.Sprint(name, "-", n), uint64(0)
		if len(last.Edges) > 0 {
			from = last.Edges[0].Node.Position
		}
		if err := h.add(entry{What: follows, By: by, Position: from}); err != nil {
			return err
		}
		if err := observeFrom(ctx, ex, h, by, last.PageInfo.EndCursor); err != nil {
			return err
		}
	}
	return nil
}

func observeFrom(ctx context.Context, ex evento.Executor, h *history, by string, at cursor.Value) error {
	e := entry{What: observed, By: by}
	wrote := time.Now()
	write := func() error {
		if len(e.Events) == 0 {
			return nil
		}
		err := h.add(e)
		e.Events, wrote = e.Events[:0], time.Now()
		return err
	}
	for event, err := range evento.Follow(ctx, ex, evento.Query{}, at) {
		if err != nil {
			break
		}
		e.Events = append(e.Events, placeOf(&event))
		if len(e.Events) < observedAtOnce && time.Since(wrote) < observedEvery {
			continue
		}
		if err := write(); err != nil {
			return err
		}
	}
	return write()
}

// watch reads again and again where the subscriptions are.
func watch(ctx context.Context, ex evento.Executor, h *history, name string) error {
	for ; ctx.Err() == nil; pausing(ctx) {
		for _, key := range []string{inOrder, partitioned} {
			s, err := evento.ControlOf(ex, key).StatusWithin(ctx, 1)
			if err != nil {
				continue // it is not there yet, or the store fails
			}
			e := entry{What: stored, Op: name, By: key}
			for i := range s.Partitions {
				e.Places = append(e.Places, s.Partitions[i].Position)
			}
			if err := h.add(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// handle runs a subscription that writes into the history what it handles. Now and then its
// handler fails, and is called again.
func handle(ctx context.Context, ex evento.Executor, h *history, key string, partitions int) error {
	unwritten := make(chan error, 1)
	for ctx.Err() == nil {
		b := evento.NewSubscription(key).Lease(lease).Logger(slog.New(slog.DiscardHandler)).Retry(100).
			Handler(evento.HandleEvery(func(_ context.Context, e evento.RawEvent) error {
				if rand.IntN(200) == 0 {
					return errors.New("the handler fails now and then")
				}
				err := h.add(entry{What: delivered, By: key, Events: []place{placeOf(&e)}})
				if err != nil {
					select {
					case unwritten <- err:
					default:
					}
				}
				return err
			}))
		if partitions > 1 {
			b.Partitions(partitions)
		} else {
			b.Standby()
		}
		if err := evento.Run(ctx, ex, b); err != nil { // of the store: it goes on
			pausing(ctx)
		}
		select {
		case err := <-unwritten:
			return err
		default:
		}
	}
	return nil
}
