// Handlers of a subscription (one event at a time, or several), what they find in
// their context, and the hooks around them.

package evento

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
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

// Delivery is what the library knows of a call of a subscription's handler.
type Delivery struct {
	// Key and RoutingKey are the subscription's; RoutingKey is "" where it
	// chooses the events without one, or all.
	Key, RoutingKey string
	// Attempt counts the calls for the event, or batch, from 1.
	Attempt int
	// Replay: the subscription was past this event before, and was reset since.
	// Of a batch: past all of it. An event that comes again after a crash is
	// no replay, as it may have been handled or not; nor is a parked event that is
	// tried again.
	Replay bool
}

// DeliveryFrom returns what is known of the call whose handler has this context.
// In [SubscriptionHooks] other than Handle it has Key and RoutingKey alone. Elsewhere
// it is the zero Delivery.
func DeliveryFrom(ctx context.Context) Delivery {
	h := handling(ctx)
	if h == nil {
		n, _ := ctx.Value(hookedKey{}).(subscriptionName)
		return Delivery{Key: n.key, RoutingKey: n.routingKey}
	}
	return Delivery{Key: h.worker.name.key, RoutingKey: h.worker.name.routingKey, Attempt: h.attempt, Replay: h.replay}
}

// ExecutorFrom returns the executor on which the subscription whose handler
// has this context runs; nil outside of one.
func ExecutorFrom(ctx context.Context) Executor {
	if h := handling(ctx); h != nil {
		return h.worker.ex
	}
	return nil
}

// handlerContext is the context of one call of a handler. It does not change, so
// that a handler may keep it.
type handlerContext struct {
	context.Context
	worker  *worker
	event   *RawEvent // what commits are caused by; of a batch the last
	attempt int
	replay  bool
}

type handlingKey struct{}

// hookContext is the context of one call of a hook that is not called around a
// handler. Around it may be a handler of another subscription, which has started
// this one.
type hookContext struct {
	context.Context
	name subscriptionName
}

type hookedKey struct{}

// Value implements [context.Context].
func (h *hookContext) Value(key any) any {
	switch key.(type) {
	case hookedKey:
		return h.name
	case handlingKey:
		return nil
	}
	return h.Context.Value(key)
}

// Value implements [context.Context].
func (h *handlerContext) Value(key any) any {
	switch key := key.(type) {
	case handlingKey:
		return h
	case dataKey:
		if v := h.worker.data.find(key.t); v != nil {
			return v
		}
	}
	return h.Context.Value(key)
}

// handling is the call that has a context; nil outside of one.
func handling(ctx context.Context) *handlerContext {
	h, _ := ctx.Value(handlingKey{}).(*handlerContext)
	return h
}

// contextsAtOnce is for how many calls contexts are made together: one by one
// they would be a large part of what a light handler costs.
const contextsAtOnce = 32

// contextFor is the context of a call for events.
func (w *worker) contextFor(ctx context.Context, attempt int, replay bool, event *RawEvent) *handlerContext {
	if len(w.contexts) == 0 {
		w.contexts = make([]handlerContext, contextsAtOnce)
	}
	h := &w.contexts[0]
	w.contexts = w.contexts[1:]
	h.Context, h.worker, h.event, h.attempt, h.replay = ctx, w, event, attempt, replay
	return h
}

// causedBy adds to the metadata of a commit what it was caused by, when its
// context is a handler's and it does not say so itself.
func (m Metadata) causedBy(ctx context.Context) Metadata {
	if m.CausationID != "" && m.CorrelationID != "" {
		return m
	}
	h := handling(ctx)
	if h == nil {
		return m
	}
	cause := h.event.ID.String()
	if m.CorrelationID == "" {
		m.CorrelationID = h.event.Metadata.CorrelationID
	}
	if m.CorrelationID == "" {
		m.CorrelationID = cause
	}
	if m.CausationID == "" {
		m.CausationID = cause
	}
	return m
}

// dataKey is the context key of a value that was given to Data.
type dataKey struct{ t reflect.Type }

// shared is what builders collect with their Data methods.
type shared []any

// find returns the value of a type that was given last; nil: there is none.
func (s shared) find(t reflect.Type) any {
	for _, v := range slices.Backward(s) {
		if reflect.TypeOf(v) == t {
			return v
		}
	}
	return nil
}

func (s shared) into(ctx context.Context) context.Context {
	for _, v := range s {
		ctx = context.WithValue(ctx, dataKey{reflect.TypeOf(v)}, v)
	}
	return ctx
}

// Data returns the value of type T that was given to the Data method of the
// projection or subscription whose handler has this context, and whether
// there is one. T is the type of the value exactly as it was given.
func Data[T any](ctx context.Context) (T, bool) {
	v, ok := ctx.Value(dataKey{reflect.TypeFor[T]()}).(T)
	return v, ok
}

// SubscriptionHooks are told what a subscription does; package eventotel makes
// traces and metrics of it. A nil field is not called. They are called from the
// subscription's goroutines, with partitions from several at once, and have to
// return soon. key is the subscription's; [DeliveryFrom] has its routing key
// from the context of each of them.
type SubscriptionHooks struct {
	// Handle is called around each call of a handler: with one event, or
	// with those of a batch. It calls next, once, with ctx or one made from
	// it, and returns its error.
	Handle func(ctx context.Context, key string, events []RawEvent, next func(context.Context) error) error
	// Retry is called when a handler failed and is to be called again.
	Retry func(ctx context.Context, key string, e RawEvent, attempt int, err error)
	// GaveUp is called when the retries ran out: the event is parked, or the
	// subscription ends.
	GaveUp func(ctx context.Context, key string, e RawEvent, attempts int, err error)
	// Owner is called when a partition was taken, and when it was given up or
	// lost.
	Owner func(ctx context.Context, key string, partition int, owner bool)
	// Stored is called when the cursor was stored behind e, the last event
	// that was handled.
	Stored func(ctx context.Context, key string, partition int, e RawEvent)
}

// of makes hooks whose contexts say which subscription they are told of. That of
// Handle is the handler's, which does already.
func (h SubscriptionHooks) of(n subscriptionName) SubscriptionHooks {
	in := func(ctx context.Context) context.Context { return &hookContext{ctx, n} }
	if retry := h.Retry; retry != nil {
		h.Retry = func(ctx context.Context, key string, e RawEvent, attempt int, err error) {
			retry(in(ctx), key, e, attempt, err)
		}
	}
	if gaveUp := h.GaveUp; gaveUp != nil {
		h.GaveUp = func(ctx context.Context, key string, e RawEvent, attempts int, err error) {
			gaveUp(in(ctx), key, e, attempts, err)
		}
	}
	if owner := h.Owner; owner != nil {
		h.Owner = func(ctx context.Context, key string, partition int, owned bool) {
			owner(in(ctx), key, partition, owned)
		}
	}
	if stored := h.Stored; stored != nil {
		h.Stored = func(ctx context.Context, key string, partition int, e RawEvent) { stored(in(ctx), key, partition, e) }
	}
	return h
}
