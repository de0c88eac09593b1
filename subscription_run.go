// Running subscriptions: starting one, executing one once, running all of a
// program, and shutting down.

package evento

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Subscription is a running worker of a subscription's key. Its methods are
// safe for concurrent use.
type Subscription struct {
	// ID is this worker's own; another Start of the same key has another.
	ID ID
	// Key and RoutingKey are the subscription's.
	Key, RoutingKey string

	done     chan struct{}
	err      error // set before done is closed
	stop     func()
	stopping chan struct{}
	kill     context.CancelFunc
}

func newSubscription(n subscriptionName) *Subscription {
	s := &Subscription{ID: NewID(), Key: n.key, RoutingKey: n.routingKey, done: make(chan struct{}), stopping: make(chan struct{})}
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
		s.err = unlessStopping(cutShort(ctx, fn(ctx)))
	}()
}

// unlessStopping returns the error with which a subscription ends: nil after a
// Shutdown.
func unlessStopping(err error) error {
	if errors.Is(err, errStopping) {
		return nil
	}
	return err
}

// cutShort returns the context's error when it has ended and the outcome of a change
// of the subscription's own is unknown: that is of no interest to others.
func cutShort(ctx context.Context, err error) error {
	var handler *HandlerError
	if ctx.Err() != nil && errors.Is(err, ErrOutcomeUnknown) && !errors.As(err, &handler) {
		return ctx.Err()
	}
	return err
}

// Done is closed when the worker has ended.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err returns why the worker ended: nil while it runs and after a Shutdown; else
// [ErrTakenOver], a [HandlerError], [ErrUnhandledEvent], the context's error, or a
// permanent error of the store.
func (s *Subscription) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Shutdown lets the worker finish the current event and store the cursor after it,
// and returns when the worker has ended. If ctx ends first, Shutdown cancels the
// handler's context and returns ctx's error. Called with the context of one of the
// subscription's own handlers, it returns at once, and the worker ends after that
// handler.
func (s *Subscription) Shutdown(ctx context.Context) error {
	s.stop()
	if h := handling(ctx); h != nil && h.worker.lease.worker == s.ID {
		return nil
	}
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

// Start makes a new worker the owner of the key and processes events in the
// background until the context ends, Shutdown is called, an event has failed after
// all retries, or a newer worker takes over. While the store fails, it waits and
// tries again.
//
// A worker that already owns the key is asked to hand it over: it finishes the
// current event, stores the cursor, and ends with [ErrTakenOver]; then the new
// worker begins. If it does not answer within its lease, it is fenced off. Start
// does not wait for this. See Standby and Partitions for workers that share a key.
//
// Errors: [ErrInvalid] for a mistake in the builder, and for a selection that
// differs from the key's stored one; [errors.ErrUnsupported]; [ErrDamaged]; those
// of [Executor].
//
// Why: docs/decisions.md, "A key is handed over".
func (b *SubscriptionBuilder) Start(ctx context.Context, ex Executor) (*Subscription, error) {
	s, err := b.subscriber(ctx, ex)
	if err != nil {
		return nil, err
	}
	sub := newSubscription(s.name)
	if b.partitions > 1 {
		if _, err := s.state(ctx); err != nil {
			return nil, cutShort(ctx, err)
		}
		sub.run(ctx, func(ctx context.Context) error { return s.share(ctx, sub, b.delay) })
		return sub, nil
	}
	how, began := byHandOver, time.Now()
	if b.standby {
		how = byStandby
	}
	w := s.worker(sub.ID, 0, sub.stopping)
	taken, left, err := w.take(ctx, w.manner(ctx, how))
	if err != nil {
		return nil, cutShort(ctx, err)
	}
	sub.run(ctx, func(ctx context.Context) error {
		if !taken {
			if err := w.await(ctx, how, left); err != nil {
				return err
			}
		}
		err := w.run(ctx, b.delay-time.Since(began))
		for b.standby && lost(err) {
			w.logger.WarnContext(ctx, "evento: a subscription lost its key and waits again")
			w = s.worker(sub.ID, 0, sub.stopping)
			if err = w.await(ctx, how, 0); err == nil {
				err = w.run(ctx, 0)
			}
		}
		return err
	})
	return sub, nil
}

// lost reports whether a worker ended because another worker took over its key.
func lost(err error) bool {
	var handler *HandlerError
	return errors.Is(err, ErrTakenOver) && !errors.As(err, &handler)
}

// Execute processes all pending events, also those that its handlers commit
// meanwhile, stores the cursor, and returns. Meanwhile it owns the key, with all
// partitions: workers that were running hand it over and end with [ErrTakenOver],
// or wait.
//
// Errors: [ErrInvalid]; [errors.ErrUnsupported]; a [HandlerError], with the
// cursor stored before the event that failed; [ErrUnhandledEvent]; [ErrPaused];
// [ErrTakenOver]; [ErrDamaged]; those of [Executor].
func (b *SubscriptionBuilder) Execute(ctx context.Context, ex Executor) error {
	s, err := b.subscriber(ctx, ex)
	if err != nil {
		return err
	}
	// Handlers of one partition may commit events of another.
	for id := NewID(); ; {
		var wg sync.WaitGroup
		var moved atomic.Bool
		errs := make([]error, b.partitions)
		for p := range errs {
			wg.Go(func() {
				did, err := s.execute(ctx, id, p)
				if errs[p] = err; did {
					moved.Store(true)
				}
			})
		}
		wg.Wait()
		if err := join(errs...); err != nil || !moved.Load() || b.partitions == 1 {
			return err
		}
	}
}

// execute handles the pending events of a partition, and reports whether there were
// any.
func (s *subscriber) execute(ctx context.Context, id ID, partition int) (moved bool, err error) {
	w := s.worker(id, partition, nil)
	w.once = true
	if err := w.await(ctx, w.manner(ctx, byHandOver), 0); err != nil {
		return false, err
	}
	from := w.lease.state().Cursor
	err = w.run(ctx, 0)
	return w.progress.at != from, err
}

// take makes the worker the owner if that is possible now; else it returns after
// what time to try again. The first worker of a key makes the records.
func (w *worker) take(ctx context.Context, how manner) (taken bool, left time.Duration, err error) {
	for {
		w.lease.changed = w.ex.Changed()
		state, err := w.state(ctx)
		if err != nil {
			return false, 0, err
		}
		var more []Change
		if !state.shared.sameEvents(&w.shared.Selection) {
			more = append(more, Change{RecordKey: w.name.shared(), Revision: state.revision, Value: encodeState(w.shared)})
		}
		was := state.partitions[w.lease.partition]
		taken, left, err := w.lease.take(ctx, state, how, more...)
		switch {
		case errors.Is(err, ErrSwapped):
			continue // another was faster
		case err != nil:
			return false, 0, err
		case taken:
			w.tellTaken(ctx, &was)
			w.owns(ctx, w.lease.partition, true)
		default:
			w.tellWaiting(ctx, &was, left)
		}
		return taken, left, nil
	}
}

// owns calls the Owner hook.
func (s *subscriber) owns(ctx context.Context, partition int, owner bool) {
	if s.hooks.Owner != nil {
		s.hooks.Owner(ctx, s.name.key, partition, owner)
	}
}

// state reads the subscription's records. It makes those of a new subscription, and
// refuses a subscription that differs from the stored one.
func (s *subscriber) state(ctx context.Context) (*subscriptionState, error) {
	for {
		state, err := s.name.read(ctx, s.ex)
		if err != nil {
			return nil, err
		}
		if state.revision != 0 {
			return state, state.check(&s.shared)
		}
		at, position, err := s.start.find(ctx, s.ex)
		if err != nil {
			return nil, wrap(err, "subscription %s", s.name)
		}
		err = s.ex.Swap(ctx, Swap{Changes: s.name.newRecords(s.shared, at, position)})
		if err != nil && !errors.Is(err, ErrSwapped) {
			return nil, err
		}
	}
}

// shutdownGrace is how long Run lets handlers finish when its context has ended.
const shutdownGrace = 10 * time.Second

// Run starts subscriptions and runs them until the context ends or one of them
// ends. Then it shuts all of them down: each finishes its current event and stores
// its cursor. After 10 seconds the contexts of running handlers are cancelled. Run
// returns why the first subscription ended; nil if the context has ended and all
// have stored their cursors.
//
// Errors: those of Start and of [Subscription.Err]; [ErrInvalid] without builders,
// and for two with the same key and routing key.
func Run(ctx context.Context, ex Executor, builders ...*SubscriptionBuilder) error {
	if err := checkTogether(builders); err != nil {
		return err
	}
	var subs []*Subscription
	ended := make(chan error, len(builders))
	var err error
	for _, b := range builders {
		var sub *Subscription
		// The current event is finished when ctx ends.
		if sub, err = b.Start(context.WithoutCancel(ctx), ex); err != nil {
			break
		}
		subs = append(subs, sub)
		go func() {
			<-sub.Done()
			ended <- sub.Err()
		}()
	}
	if err == nil {
		select {
		case err = <-ended:
		case <-ctx.Done():
		}
	}
	for _, sub := range subs {
		sub.stop()
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	for _, sub := range subs {
		if sub.Shutdown(grace) != nil {
			<-sub.Done()
		}
		if err == nil {
			err = sub.Err()
		}
	}
	return err
}

// checkTogether refuses builders that cannot run together.
func checkTogether(builders []*SubscriptionBuilder) error {
	if len(builders) == 0 {
		return fmt.Errorf("%w run: there is no subscription", ErrInvalid)
	}
	seen := map[subscriptionName]bool{}
	for i, b := range builders {
		switch {
		case b == nil:
			return fmt.Errorf("%w run: subscription %d is nil", ErrInvalid, i+1)
		case seen[b.name()]:
			return fmt.Errorf("%w run: subscription %s is in it twice", ErrInvalid, b.name())
		}
		seen[b.name()] = true
	}
	return nil
}
