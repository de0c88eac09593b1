// The running side of a subscription.

package evento

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Subscription is a running worker of a subscription's key. Its methods are
// safe for concurrent use.
type Subscription struct {
	// ID is this worker's own; another Start of the same key has another.
	ID ID

	done chan struct{}
	err  error // set before done is closed
	stop func()
	kill context.CancelFunc
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

const (
	// pollInterval is how long an idle worker sleeps when nothing wakes it.
	pollInterval = time.Second
	// storeSoon is how much work a crash may repeat: after a chunk, or with
	// nothing left to do, the cursor is stored when it was not for this long.
	// A durable write for every chunk would cost more than reading it.
	storeSoon = 20 * time.Millisecond
	// storeInterval is the longest that handled events go without the cursor
	// being stored within a chunk.
	storeInterval = time.Second
	// passedInterval is the same for events that were only passed over.
	passedInterval = 10 * time.Second
	// confirmInterval is the longest that a worker goes on without asking
	// whether it still owns the key.
	confirmInterval = 100 * time.Millisecond
	// finalTimeout bounds storing the cursor when the context has ended.
	finalTimeout = 5 * time.Second

	firstBackoff = 10 * time.Millisecond
	mostBackoff  = 10 * time.Second
)

// worker is one owner of a key. It is used by one goroutine.
type worker struct {
	id            ID
	key           string
	ex            Executor
	query         Query
	handlers      map[eventKind]handle
	skip          map[eventKind]bool
	safetyCheck   bool
	codecs        codecs
	chunkSize     int
	retries       int
	acceptFailure bool
	data          shared
	logger        *slog.Logger

	lastKind eventKind // the one whose handler is last
	last     handle

	stopping <-chan struct{} // nil: never
	at       cursor.Value    // everything up to here is handled
	handled  bool            // something was, since the cursor was stored
	stored   cursor.Value    // the cursor in the store
	// storedAt and confirmed are when the cursor was stored last, and when
	// the store last said that this worker owns the key.
	storedAt, confirmed time.Time
}

func (w *worker) start(ctx context.Context, delay time.Duration) *Subscription {
	stopping := make(chan struct{})
	w.stopping = stopping
	ctx, kill := context.WithCancel(ctx)
	s := &Subscription{
		ID: w.id, done: make(chan struct{}),
		stop: sync.OnceFunc(func() { close(stopping) }), kill: kill,
	}
	go func() {
		s.err = errors.New("evento: a handler ended its goroutine")
		defer close(s.done)
		defer kill()
		s.err = w.finish(ctx, w.run(ctx, delay))
	}()
	return s
}

// errStopping ends the loops when Shutdown was called; it stays in this file.
var errStopping = errors.New("stopping")

// run handles events until there is a reason to end.
func (w *worker) run(ctx context.Context, delay time.Duration) error {
	if delay > 0 {
		if err := w.sleep(ctx, delay); err != nil {
			return err
		}
	}
	for failures := 0; ; {
		changed := w.ex.Changed()
		more, err := w.chunk(ctx)
		switch {
		case err == nil:
			failures = 0
		case final(err) || ctx.Err() != nil:
			return err
		default:
			wait := backoff(failures)
			failures++
			w.logger.WarnContext(ctx, "evento: the store failed a subscription; trying again", "error", err, "wait", wait)
			if err := w.sleep(ctx, wait); err != nil {
				return err
			}
			continue
		}
		if more {
			continue
		}
		idle := pollInterval
		if w.handled {
			idle = storeSoon
		}
		poll := time.NewTimer(idle)
		select {
		case <-changed:
		case <-poll.C:
		case <-w.stopping:
			err = errStopping
		case <-ctx.Done():
			err = ctx.Err()
		}
		poll.Stop()
		if err != nil {
			return err
		}
	}
}

// execute handles what is pending.
func (w *worker) execute(ctx context.Context) error {
	for {
		before := w.at
		more, err := w.chunk(ctx)
		switch {
		case err != nil:
			return w.finish(ctx, err)
		case !more && w.at == before:
			return w.store(ctx)
		}
	}
}

// final tells the errors that end a worker from those that a store gets over.
func final(err error) bool {
	var handler *HandlerError
	for _, target := range []error{errStopping, ErrTakenOver, ErrUnhandledEvent, ErrInvalid, ErrClosed, cursor.ErrInvalid} {
		if errors.Is(err, target) {
			return true
		}
	}
	return errors.As(err, &handler)
}

// finish stores the exact place, also when the context has ended, and returns
// what the worker ends with.
func (w *worker) finish(ctx context.Context, reason error) error {
	// A handler's error is the event's, whatever it is about.
	var handler *HandlerError
	if !errors.As(reason, &handler) && (errors.Is(reason, ErrTakenOver) || errors.Is(reason, ErrClosed)) {
		return reason
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
	defer cancel()
	err := w.store(ctx)
	if errors.Is(reason, errStopping) {
		return err
	}
	return errors.Join(reason, err)
}

// chunk reads and handles the next events, and reports whether there may be
// more. What was handled counts even when it returns an error.
func (w *worker) chunk(ctx context.Context) (more bool, err error) {
	if err := w.confirm(ctx); err != nil {
		return false, err
	}
	page, err := w.ex.Read(ctx, w.query, cursor.Onward(w.chunkSize, w.at))
	if err != nil {
		return false, err
	}
	if len(page.Edges) == 0 {
		w.at = page.PageInfo.EndCursor
		if w.handled {
			return false, w.storeAfter(ctx, storeSoon)
		}
		return false, w.storeAfter(ctx, passedInterval)
	}
	hctx := context.WithValue(w.data.into(ctx), executorKey{}, w.ex)
	for i := range page.Edges {
		select {
		case <-w.stopping:
			return false, errStopping
		default:
		}
		if err := w.handle(ctx, hctx, &page.Edges[i].Node); err != nil {
			return false, err
		}
		w.at, w.handled = page.Edges[i].Cursor, true
		if err := w.storeAfter(ctx, storeInterval); err != nil {
			return true, err
		}
	}
	return page.PageInfo.HasNextPage, w.storeAfter(ctx, storeSoon)
}

// confirm asks whether the worker still owns its key, if it has not heard so
// lately.
func (w *worker) confirm(ctx context.Context) error {
	now := time.Now()
	if now.Sub(w.confirmed) < confirmInterval {
		return nil
	}
	running, err := w.ex.SubscriberRunning(ctx, w.key, w.id)
	if err != nil {
		return err
	}
	if !running {
		return fmt.Errorf("%w: key %q", ErrTakenOver, w.key)
	}
	w.confirmed = now
	return nil
}

// storeAfter stores the cursor if that was not done for a time.
func (w *worker) storeAfter(ctx context.Context, d time.Duration) error {
	if time.Since(w.storedAt) < d {
		return nil
	}
	return w.store(ctx)
}

// store acknowledges the place up to which everything is handled.
func (w *worker) store(ctx context.Context) error {
	if w.at == w.stored {
		w.handled = false
		return nil
	}
	now, at := time.Now(), w.at
	if err := w.ex.Acknowledge(ctx, w.key, w.id, at); err != nil {
		return err
	}
	w.stored, w.storedAt, w.confirmed, w.handled = at, now, now, false
	return nil
}

// handle calls the handler until it succeeds or its retries run out.
func (w *worker) handle(ctx, hctx context.Context, e *RawEvent) error {
	h := w.handlerOf(eventKind{e.AggregateType, e.Name})
	if h == nil {
		if w.skip[eventKind{e.AggregateType, e.Name}] {
			return nil
		}
		return fmt.Errorf("%w: subscription %q: %s %s of %q, version %d, position %d",
			ErrUnhandledEvent, w.key, e.AggregateType, e.Name, e.AggregateID, e.Version, e.Position)
	}
	for attempt := 1; ; attempt++ {
		err := call(hctx, h, w.codecs, e)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err() // the handler was cut short; that is no failure of the event
		}
		log := w.logger.With("event", e.ID.String(), "kind", string(e.AggregateType)+" "+e.Name,
			"aggregate", e.AggregateID, "position", e.Position, "attempt", attempt, "error", err)
		if attempt > w.retries || undecodable(err, e) {
			if w.acceptFailure {
				log.ErrorContext(ctx, "evento: an event could not be handled; going on without it")
				return nil
			}
			return &HandlerError{Key: w.key, Event: *e, Attempts: attempt, Err: err}
		}
		wait := backoff(attempt - 1)
		log.WarnContext(ctx, "evento: a handler failed; trying again", "wait", wait)
		// What was handled before is not to wait for this event. A store that
		// fails is met again, and reported, after it.
		if err := w.storeAfter(ctx, storeSoon); errors.Is(err, ErrTakenOver) {
			return err
		}
		if err := w.sleepOwning(ctx, wait); err != nil {
			return err
		}
	}
}

// handlerOf finds the handler of a kind. Events of one kind often come in runs,
// so the last answer is kept.
func (w *worker) handlerOf(kind eventKind) handle {
	if kind != w.lastKind || w.last == nil {
		h := w.handlers[kind]
		if h == nil {
			h = w.handlers[eventKind{aggregateType: kind.aggregateType}]
		}
		w.lastKind, w.last = kind, h
	}
	return w.last
}

// undecodable reports whether an error says of this very event that it cannot
// be decoded: trying again does not help.
func undecodable(err error, e *RawEvent) bool {
	var d *DecodeError
	return errors.As(err, &d) && d.ID == e.ID
}

// sleepOwning sleeps, and ends early when the key was taken over.
func (w *worker) sleepOwning(ctx context.Context, d time.Duration) error {
	for ; d > 0; d -= pollInterval {
		if err := w.sleep(ctx, min(d, pollInterval)); err != nil {
			return err
		}
		if err := w.confirm(ctx); errors.Is(err, ErrTakenOver) {
			return err
		}
	}
	return nil
}

// call turns a panic into an error with its stack.
func call(ctx context.Context, h handle, codecs codecs, e *RawEvent) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("evento: handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return h(ctx, codecs, e)
}

// sleep waits, unless the worker is to end first.
func (w *worker) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-w.stopping:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff doubles with each failure, and is spread over its upper half so that
// workers that failed together do not try again together.
func backoff(failures int) time.Duration {
	d := mostBackoff
	if failures < 10 { // 10 ms × 2^10 is over the most
		d = min(d, firstBackoff<<failures)
	}
	return d/2 + rand.N(d/2+1)
}
