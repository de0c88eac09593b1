// Handlers of a subscription: one event at a time, or several.

package evento

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
)

// SubscriptionHandler is what a subscription does with one kind of event, with
// every event of a type, or with every event. [Handle], [HandleAll],
// [HandleEvery], [HandleBatch] and [HandleAllBatch] make it. Where several are
// for an event, the narrowest is called.
type SubscriptionHandler struct {
	kinds []eventKind // without a name: every event of the type; without a type: every event
	handler
	err error
}

// handler is a user's function. One that takes several events takes one as well.
type handler struct {
	one  func(context.Context, codecs, *RawEvent) error
	many func(context.Context, codecs, []RawEvent) error
}

// Handle makes a handler of the events with payload D, those stored under its
// former names included, see [Renamed]. Its context is the subscription's, with
// [Data], [ExecutorFrom] and [DeliveryFrom]; what is committed with it carries
// the event as its cause, unless the commit says otherwise. The event counts as
// handled when it returns nil; an error, or a panic, makes it be called again,
// with the event as it is in the store.
//
// Events come at least once: after a crash those since the last stored
// cursor come again. A handler that is not idempotent by nature can tell by the
// event's Position or ID.
//
// A handler may pause or reset its own subscription with [ControlOf], and call
// Shutdown on it, with its own context.
func Handle[D Payload](fn func(context.Context, Event[D]) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	var h SubscriptionHandler
	if h.kinds, h.err = kindsFor[D](); h.err != nil {
		return h
	}
	decode := decoder[D]()
	h.one = func(ctx context.Context, codecs codecs, raw *RawEvent) error {
		e, err := decode(codecs, raw)
		if err != nil {
			return err
		}
		return fn(ctx, e)
	}
	return h
}

// HandleAll makes a handler of every event of a type of aggregate, undecoded.
func HandleAll(t AggregateType, fn func(context.Context, RawEvent) error) SubscriptionHandler {
	return handleRaw(fn).ofType(t)
}

// HandleEvery makes a handler of every event, of whatever type, undecoded.
func HandleEvery(fn func(context.Context, RawEvent) error) SubscriptionHandler {
	return handleRaw(fn)
}

func handleRaw(fn func(context.Context, RawEvent) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	h := SubscriptionHandler{kinds: []eventKind{{}}}
	h.one = func(ctx context.Context, _ codecs, raw *RawEvent) error { return fn(ctx, *raw) }
	return h
}

// HandleBatch makes a handler that is given events with payload D that follow
// each other, as many as a chunk has: for a read model that is written in bulk.
// They count as handled when it returns nil. When it fails until the retries
// run out, they are handed over one by one, so that the one that fails is found.
// What it commits is caused by the last of them.
func HandleBatch[D Payload](fn func(context.Context, []Event[D]) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	var h SubscriptionHandler
	if h.kinds, h.err = kindsFor[D](); h.err != nil {
		return h
	}
	decode := decoder[D]()
	h.many = func(ctx context.Context, codecs codecs, raws []RawEvent) error {
		events := make([]Event[D], len(raws))
		for i := range raws {
			var err error
			if events[i], err = decode(codecs, &raws[i]); err != nil {
				return Permanent(err)
			}
		}
		return fn(ctx, events)
	}
	return h
}

// HandleAllBatch is HandleBatch for every event of a type of aggregate,
// undecoded.
func HandleAllBatch(t AggregateType, fn func(context.Context, []RawEvent) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	h := SubscriptionHandler{kinds: []eventKind{{}}}
	h.many = func(ctx context.Context, _ codecs, raws []RawEvent) error { return fn(ctx, raws) }
	return h.ofType(t)
}

// ofType narrows a handler of every event.
func (h SubscriptionHandler) ofType(t AggregateType) SubscriptionHandler {
	switch err := checkName("aggregate type", string(t)); {
	case h.err != nil:
	case err != nil:
		h.err = err
	case strings.HasSuffix(string(t), "*"):
		h.err = fmt.Errorf("%w aggregate type %s: there are no patterns; HandleEvery is for every type", ErrInvalid, shorten(string(t)))
	default:
		h.kinds = []eventKind{{aggregateType: t}}
	}
	return h
}

// handlerOf finds the handler of an event; nil: it is skipped. Events of one
// kind often come in runs, so the last answer is kept.
func (w *worker) handlerOf(e *RawEvent) (*handler, error) {
	kind := eventKind{e.AggregateType, e.Name}
	if kind != w.lastKind || w.lastHandler == nil {
		h := w.handlers[kind]
		if h == nil {
			h = w.handlers[eventKind{aggregateType: kind.aggregateType}]
		}
		if h == nil {
			h = w.handlers[eventKind{}]
		}
		w.lastKind, w.lastHandler = kind, h
	}
	if w.lastHandler == nil && !w.skip[kind] {
		return nil, fmt.Errorf("%w: subscription %s: %s of %q, version %d, position %d",
			ErrUnhandledEvent, w.name, kind, e.AggregateID, e.Version, e.Position)
	}
	return w.lastHandler, nil
}

// call calls a handler with an event, or with a batch.
func (w *worker) call(ctx context.Context, h *handler, e *RawEvent, batch []RawEvent) error {
	if w.hooks.Handle == nil {
		return w.callGuarded(ctx, h, e, batch)
	}
	events := batch
	if events == nil {
		events = []RawEvent{*e}
	}
	return w.hooks.Handle(ctx, w.name.key, events, func(ctx context.Context) error {
		return w.callGuarded(ctx, h, e, batch)
	})
}

// callGuarded turns a panic into an error with its stack.
func (w *worker) callGuarded(ctx context.Context, h *handler, e *RawEvent, batch []RawEvent) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("evento: handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	if h.many == nil {
		return h.one(ctx, w.codecs, e)
	}
	return h.many(ctx, w.codecs, batch)
}

// Permanent marks an error of a handler as one that trying again does not help:
// the event counts as failed at once. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// hopeless reports whether trying again does not help: an error says so, or that
// this very event cannot be decoded.
func hopeless(err error, e *RawEvent) bool {
	var p *permanentError
	var d *DecodeError
	return errors.As(err, &p) || errors.As(err, &d) && d.ID == e.ID
}
