// Started subscriptions: one worker, one on standby, or several that share
// partitions.

package evento

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Subscription is a running worker of a subscription's key. Its methods are
// safe for concurrent use.
type Subscription struct {
	// ID is this worker's own; another Start of the same key has another.
	ID ID

	done     chan struct{}
	err      error // set before done is closed
	stop     func()
	stopping chan struct{}
	kill     context.CancelFunc
}

func newSubscription() *Subscription {
	s := &Subscription{ID: NewID(), done: make(chan struct{}), stopping: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.stopping) })
	return s
}

// run runs fn in the background.
func (s *Subscription) run(ctx context.Context, fn func(context.Context) error) {
	ctx, s.kill = context.WithCancel(ctx)
	go func() {
		s.err = errors.New("evento: a handler ended its goroutine")
		defer close(s.done)
		defer s.kill()
		s.err = fn(ctx)
	}()
}

// Done is closed when the worker has ended.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err is why the worker ended: nil while it runs and after a Shutdown,
// [ErrTakenOver], a [HandlerError], [ErrUnhandledEvent], the context's error,
// or that of a store that cannot go on.
func (s *Subscription) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Shutdown lets the worker finish the event in hand, stores the cursor after
// it, and returns when the worker has ended; nothing is handled after that. If
// ctx ends first, the handler's context is cancelled and ctx's error returned.
// It must not be called from one of the subscription's own handlers.
func (s *Subscription) Shutdown(ctx context.Context) error {
	s.stop()
	select {
	case <-s.done:
		return nil
	default:
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.kill()
		return ctx.Err()
	}
}

// unlessStopping is what a subscription ends with.
func unlessStopping(err error) error {
	if errors.Is(err, errStopping) {
		return nil
	}
	return err
}

// stand owns the key whenever nobody else does.
func (s *subscriber) stand(ctx context.Context, sub *Subscription, delay time.Duration) error {
	if err := pause(ctx, delay, sub.stopping, nil); err != nil {
		return unlessStopping(err)
	}
	for failures := 0; ; {
		changed := s.ex.Changed()
		w := s.worker(sub.ID, 0, sub.stopping)
		taken, left, err := w.take(ctx, true)
		switch {
		case err != nil && (final(err) || ctx.Err() != nil):
			return err
		case err != nil:
			left, changed = backoff(failures), nil
			failures++
			w.logger.WarnContext(ctx, "evento: the store failed a subscription on standby; trying again", "error", err, "wait", left)
		case taken:
			failures = 0
			err := w.run(ctx, func(ctx context.Context) error { return w.work(ctx, 0) })
			if !lost(err) {
				return err
			}
			w.logger.WarnContext(ctx, "evento: a subscription lost its key and waits again")
			continue
		}
		// A store that changes all the time is not looked at each time.
		if err = pause(ctx, min(left, standbyInterval), sub.stopping, nil); err == nil && left > standbyInterval {
			err = pause(ctx, min(left, pollInterval)-standbyInterval, sub.stopping, changed)
		}
		if err != nil {
			return unlessStopping(err)
		}
	}
}

// lost reports whether a worker ended because another one has its key.
func lost(err error) bool {
	var handler *HandlerError
	return errors.Is(err, ErrTakenOver) && !errors.As(err, &handler)
}

// owns tells the hook.
func (s *subscriber) owns(ctx context.Context, partition int, owner bool) {
	if s.hooks.Owner != nil {
		s.hooks.Owner(ctx, s.key, partition, owner)
	}
}

// checkPartitions makes the records of a new subscription, and refuses another
// number of partitions.
func (s *subscriber) checkPartitions(ctx context.Context) error {
	state, err := readSubscription(ctx, s.ex, s.key)
	if err != nil {
		return err
	}
	if state.revision != 0 {
		return state.check(s.key, s.partitions)
	}
	err = s.ex.Swap(ctx, Swap{Changes: newStates(s.key, s.partitions)})
	if errors.Is(err, ErrSwapped) {
		return s.checkPartitions(ctx) // somebody was faster
	}
	return err
}
