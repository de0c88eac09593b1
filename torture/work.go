package torture

import (
	"cmp"
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
	// Patience is that of [Options]. 0: 3 minutes.
	Patience time.Duration
}

// Keys of the subscriptions.
const (
	inOrder     = "torture-in-order"   // one partition
	partitioned = "torture-partitions" // four
)

// lease is that of the subscriptions: workers are killed, and others take over.
const lease = time.Second

// Work does a worker's work on a store until ctx ends: it writes, follows the log, handles events
// in two subscriptions, and makes deadlines come true. While the store fails it goes on. When ctx
// ends it stops writing, and goes on with the rest until that has come to the position which is the
// last one then. It gives that up when there is no progress for as long as its patience.
//
// Errors: those of the history's file, and of a store that fails or does not answer in the end; nil
// when ctx ends.
func Work(ctx context.Context, ex evento.Executor, w Worker) error {
	return w.work(context.WithoutCancel(ctx), ctx.Done(), ex)
}

// work is [Work] until told is closed. It ends at once when ctx ends, as if it was killed.
func (w Worker) work(ctx context.Context, told <-chan struct{}, store evento.Executor) (err error) {
	w.Patience = cmp.Or(w.Patience, defaultPatience)
	h, err := openHistory(w.History)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	following, stop := context.WithCancel(ctx)
	defer stop()
	writing, stopWriting := context.WithCancel(following)
	defer stopWriting()
	ex := newBounded(store, "worker "+w.Name, w.Patience, following.Done(), stop)
	at := &reached{}
	writers, followers := w.writers(writing, ex, h, stop), w.followers(following, ex, h, at, stop)
	select {
	case <-told:
	case <-following.Done():
	}
	stopWriting()
	writers.Wait()
	var last *entry
	if following.Err() == nil {
		last, err = w.arrive(following, ex, at)
	}
	if following.Err() != nil { // it is killed, or something else has failed
		last, err = nil, nil
	}
	stop()
	followers.Wait()
	switch {
	case ex.err() != nil:
		return ex.err()
	case writers.err != nil || followers.err != nil || err != nil || last == nil:
		return cmp.Or(writers.err, followers.err, err)
	}
	return h.add(*last)
}

// writers start what a worker writes.
func (w Worker) writers(ctx context.Context, ex evento.Executor, h *history, stop func()) *crew {
	c := &crew{stop: stop}
	for i := range w.Writers {
		c.start(func() error {
			wr := &writer{ex: ex, history: h, r: rand.New(rand.NewPCG(w.Seed, uint64(i))), name: fmt.Sprint(w.Name, "-", i), heads: map[string]uint64{}}
			return wr.run(ctx)
		})
	}
	return c
}

// followers start all else.
func (w Worker) followers(ctx context.Context, ex evento.Executor, h *history, at *reached, stop func()) *crew {
	c := &crew{stop: stop}
	c.start(func() error { return observe(ctx, ex, h, w.Name, at) })
	c.start(func() error { return watch(ctx, ex, h, w.Name) })
	c.start(func() error { return handle(ctx, ex, h, w.Name, inOrder, 1) })
	c.start(func() error { return handle(ctx, ex, h, w.Name, partitioned, 4) })
	c.start(func() error {
		_ = evento.RunDeadlines(ctx, ex) // ctx ends, or the executor closes
		return nil
	})
	return c
}

// crew are goroutines. When one fails, stop is called.
type crew struct {
	sync.WaitGroup
	stop func()

	once sync.Once
	err  error // the first; it is read after Wait
}

func (c *crew) start(do func() error) {
	c.Go(func() {
		if err := do(); err != nil {
			c.once.Do(func() { c.err = err })
			c.stop()
		}
	})
}

// Observers write so many events at once into the history, or all of some time.
const (
	observedAtOnce = 64
	observedEvery  = 50 * time.Millisecond
)

// observe follows the log from its present end on.
func observe(ctx context.Context, ex evento.Executor, h *history, name string, at *reached) error {
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
		if err := h.add(entry{What: follows, Op: name, By: by, Position: from}); err != nil {
			return err
		}
		at.set(from)
		if err := observeFrom(ctx, ex, h, by, last.PageInfo.EndCursor, at); err != nil {
			return err
		}
	}
	return nil
}

// observeFrom follows the log until ctx ends. A range that ends earlier, and without an error, is
// noted.
func observeFrom(ctx context.Context, ex evento.Executor, h *history, by string, from cursor.Value, at *reached) error {
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
	for event, err := range evento.Follow(ctx, ex, evento.Query{}, from) {
		if err != nil {
			return write()
		}
		e.Events = append(e.Events, placeOf(&event))
		at.set(event.Position)
		if len(e.Events) < observedAtOnce && time.Since(wrote) < observedEvery {
			continue
		}
		if err := write(); err != nil {
			return err
		}
	}
	if err := write(); err != nil {
		return err
	}
	return h.add(entry{What: stopped, By: by})
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
// handler fails, and is called again. A subscription that ends by itself, and without an error, is
// noted.
func handle(ctx context.Context, ex evento.Executor, h *history, name, key string, partitions int) error {
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
		err := evento.Run(ctx, ex, b)
		ended := ctx.Err() != nil
		select {
		case err := <-unwritten:
			return err
		default:
		}
		switch {
		case err != nil: // of the store: it goes on
			pausing(ctx)
		case !ended:
			if err := h.add(entry{What: stopped, By: name + " in " + key}); err != nil {
				return err
			}
		}
	}
	return nil
}
