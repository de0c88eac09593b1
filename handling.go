// Calling handlers: which, how often, and what comes of failures.

package evento

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/evento-go/evento/cursor"
)

// handleSome handles the first of the events, or, with a handler of batches, as
// many as it takes at once, and returns how many.
func (w *worker) handleSome(ctx, hctx context.Context, edges []cursor.Edge[RawEvent]) (int, error) {
	if parked, err := w.parked.has(ctx, w, &edges[0].Node); err != nil {
		return 0, err
	} else if parked {
		return 1, w.park(ctx, &edges[0], nil, 0)
	}
	if w.transactor != nil {
		return w.handleInTx(ctx, edges)
	}
	if batch := w.batchOf(&edges[0].Node); batch != nil && edges[0].Node.Position > w.alone {
		return w.handleBatch(ctx, hctx, batch, edges)
	}
	return 1, w.handle(ctx, hctx, &edges[0])
}

// handle calls the handler until it succeeds or its retries run out, and moves
// the place behind the event.
func (w *worker) handle(ctx, hctx context.Context, edge *cursor.Edge[RawEvent]) error {
	e := &edge.Node
	h, err := w.handlerOf(e)
	if err != nil {
		return err
	}
	if h == nil {
		w.passed(edge)
		return nil
	}
	attempts, err := w.attempt(ctx, e, func() error { return w.call(hctx, h, e) })
	switch {
	case err == nil:
		w.passed(edge)
		return nil
	case attempts == 0: // not the event's fault
		return err
	}
	return w.giveUp(ctx, edge, err, attempts)
}

// attempt calls fn until it succeeds or the retries run out. It returns the
// number of attempts with fn's last error, or 0 with a reason to end.
func (w *worker) attempt(ctx context.Context, e *RawEvent, fn func() error) (attempts int, err error) {
	for attempt := 1; ; attempt++ {
		err := fn()
		if err == nil {
			return attempt, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err() // the handler was cut short; that is no failure of the event
		}
		var store *storeError
		if errors.As(err, &store) {
			return 0, store.err
		}
		if attempt > w.retries || permanent(err) || undecodable(err, e) {
			return attempt, err
		}
		wait := backoff(attempt - 1)
		w.logger.WarnContext(ctx, "evento: a handler failed; trying again", append(about(e), "attempt", attempt, "error", err, "wait", wait)...)
		if w.hooks.Retry != nil {
			w.hooks.Retry(ctx, w.key, *e, attempt, err)
		}
		// What was handled before is not to wait for this event. A store that
		// fails is met again, and reported, after it.
		if err := w.storeAfter(ctx, storeSoon); errors.Is(err, ErrTakenOver) || errors.Is(err, errMoved) {
			return 0, err
		}
		if err := w.sleepOwning(ctx, wait); err != nil {
			return 0, err
		}
	}
}

// giveUp parks an event whose retries ran out, or ends the worker.
func (w *worker) giveUp(ctx context.Context, edge *cursor.Edge[RawEvent], err error, attempts int) error {
	if w.hooks.GaveUp != nil {
		w.hooks.GaveUp(ctx, w.key, edge.Node, attempts, err)
	}
	if !w.acceptFailure {
		return &HandlerError{Key: w.key, Event: edge.Node, Attempts: attempts, Err: err}
	}
	w.logger.ErrorContext(ctx, "evento: an event could not be handled and is parked", append(about(&edge.Node), "attempts", attempts, "error", err)...)
	return w.park(ctx, edge, err, attempts)
}

// about is what logs say of an event.
func about(e *RawEvent) []any {
	return []any{"event", e.ID.String(), "kind", string(e.AggregateType) + " " + e.Name, "aggregate", e.AggregateID, "position", e.Position}
}

// handlerOf finds the handler of an event; nil: it is skipped. Events of one
// kind often come in runs, so the last answer is kept.
func (w *worker) handlerOf(e *RawEvent) (handle, error) {
	kind := eventKind{e.AggregateType, e.Name}
	if kind != w.lastKind || w.last == nil {
		h := w.handlers[kind]
		if h == nil {
			h = w.handlers[eventKind{aggregateType: kind.aggregateType}]
		}
		w.lastKind, w.last = kind, h
	}
	if w.last == nil && !w.skip[kind] {
		return nil, fmt.Errorf("%w: subscription %q: %s of %q, version %d, position %d",
			ErrUnhandledEvent, w.key, kind, e.AggregateID, e.Version, e.Position)
	}
	return w.last, nil
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
		if err := pause(ctx, min(d, pollInterval), w.stopping, nil); err != nil {
			return err
		}
		if err := w.confirm(ctx); errors.Is(err, ErrTakenOver) || errors.Is(err, errMoved) {
			return err
		}
	}
	return nil
}

// call calls a handler.
func (w *worker) call(ctx context.Context, h handle, e *RawEvent) error {
	if w.hooks.Handle == nil {
		return guard(func() error { return h(ctx, w.codecs, e) })
	}
	return w.hooks.Handle(ctx, w.key, []RawEvent{*e}, func(ctx context.Context) error {
		return guard(func() error { return h(ctx, w.codecs, e) })
	})
}

// guard turns a panic into an error with its stack.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("evento: handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return fn()
}
