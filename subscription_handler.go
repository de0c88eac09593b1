// Handlers of a subscription (for one event, or for several), the contents of their
// context, and the hooks around them.

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

// SubscriptionHandler handles one kind of event, every event of an aggregate type,
// or every event. [Handle], [HandleAll], [HandleEvery], [HandleBatch] and
// [HandleAllBatch] make it. If several handlers match an event, the most specific
// one is called.
type SubscriptionHandler struct {
	kinds []eventKind // without a name: every event of the type; without a type: every event
	handler
	err error
}

// handler is a user's function. One for batches is also called with single events.
type handler struct {
	one  func(context.Context, codecs, *RawEvent) error
	many func(context.Context, codecs, []RawEvent) error
}

// Handle makes a handler of the events with payload D, including those stored under
// its former names, see [Renamed]. Its context is derived from the subscription's,
// with [Data], [ExecutorFrom] and [DeliveryFrom]. What is committed with this
// context has the event as its cause, unless the commit says otherwise. When the
// handler returns nil, the event is handled; after an error or a panic it is called
// again, with the event as it is in the store.
//
// Events come at least once: after a crash, those after the last stored cursor come
// again. A handler that is not idempotent can recognise them by Position or ID.
//
// With its own context, a handler may pause or reset its own subscription with
// [ControlOf], and call Shutdown on it.
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

// HandleAll makes a handler of every event of an aggregate type, undecoded.
func HandleAll(t AggregateType, fn func(context.Context, RawEvent) error) SubscriptionHandler {
	return handleRaw(fn).ofType(t)
}

// HandleEvery makes a handler of every event of any type, undecoded.
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

// HandleBatch makes a handler of several consecutive events with payload D, up to a
// whole chunk: for a read model that is written in bulk. When it returns nil, all
// of them are handled. When it still fails after all retries, it is called with
// each event alone, to find the one that fails. What it commits has the last event
// as its cause.
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

// HandleAllBatch is HandleBatch for every event of an aggregate type, undecoded.
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

// handlerOf returns the handler of an event; nil: the event is skipped. It caches
// the last result, as consecutive events often have the same kind.
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

// Permanent marks a handler's error as permanent: the event fails at once, without
// retries. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// hopeless reports whether retrying cannot help: the error is permanent, or this
// event cannot be decoded.
func hopeless(err error, e *RawEvent) bool {
	var p *permanentError
	var d *DecodeError
	return errors.As(err, &p) || errors.As(err, &d) && d.ID == e.ID
}

// Delivery describes a call of a subscription's handler.
type Delivery struct {
	// Key and RoutingKey are the subscription's; RoutingKey is "" if the
	// subscription has none, or has All.
	Key, RoutingKey string
	// Attempt counts the calls for the event or batch, from 1.
	Attempt int
	// Replay: the subscription had already passed this event, or the whole batch,
	// and was then reset. An event that is repeated after a crash is no replay, as
	// it may not have been handled; nor is a retried parked event.
	//
	// Why: docs/decisions.md, "A replay is only what is certain to be one".
	Replay bool
}

// DeliveryFrom returns the delivery of the handler call that has this context. In
// [SubscriptionHooks] other than Handle, only Key and RoutingKey are set. In other
// contexts it is the zero Delivery.
func DeliveryFrom(ctx context.Context) Delivery {
	h := handling(ctx)
	if h == nil {
		n, _ := ctx.Value(hookedKey{}).(subscriptionName)
		return Delivery{Key: n.key, RoutingKey: n.routingKey}
	}
	return Delivery{Key: h.worker.name.key, RoutingKey: h.worker.name.routingKey, Attempt: h.attempt, Replay: h.replay}
}

// ExecutorFrom returns the executor of the subscription whose handler has this
// context; nil for any other context.
func ExecutorFrom(ctx context.Context) Executor {
	if h := handling(ctx); h != nil {
		return h.ex
	}
	return nil
}

// handlerContext is the context of one handler call. It is immutable, so a handler
// may keep it.
type handlerContext struct {
	context.Context
	worker  *worker
	ex      Executor  // of the subscription, or of the transaction
	event   *RawEvent // the cause of what is committed; of a batch the last
	attempt int
	replay  bool
}

type handlingKey struct{}

// hookContext is the context of a call of any hook except Handle. Its parent may be
// the context of another subscription's handler that has started this one.
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

// handling returns the handler call that has this context; nil if there is none.
func handling(ctx context.Context) *handlerContext {
	h, _ := ctx.Value(handlingKey{}).(*handlerContext)
	return h
}

// contextsAtOnce is how many contexts are allocated at a time: allocating each
// alone would be a large part of the cost of a light handler.
const contextsAtOnce = 32

// contextFor returns the context of a handler call.
func (w *worker) contextFor(ctx context.Context, ex Executor, attempt int, replay bool, event *RawEvent) *handlerContext {
	if len(w.contexts) == 0 {
		w.contexts = make([]handlerContext, contextsAtOnce)
	}
	h := &w.contexts[0]
	w.contexts = w.contexts[1:]
	h.Context, h.worker, h.ex, h.event, h.attempt, h.replay = ctx, w, ex, event, attempt, replay
	return h
}

// causedBy adds the cause to a commit's metadata, if its context is a handler's and
// the commit does not set it itself.
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

// dataKey is the context key of a value that was given to a Data method.
type dataKey struct{ t reflect.Type }

// shared are the values that were given to a builder's Data method.
type shared []any

// find returns the last value given of a type; nil: there is none.
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
// projection or subscription whose handler has this context, and whether there is
// one. T must be exactly the type of the given value.
func Data[T any](ctx context.Context) (T, bool) {
	v, ok := ctx.Value(dataKey{reflect.TypeFor[T]()}).(T)
	return v, ok
}

// SubscriptionHooks are called when a subscription does something; package
// eventotel makes traces and metrics from them. A nil field is not called. The
// subscription's goroutines call them, with partitions several at once, and they
// must return soon. key is the subscription's; [DeliveryFrom] returns its routing
// key from each hook's context.
type SubscriptionHooks struct {
	// Handle is called around each call of a handler, with one event or with a
	// batch. It calls next once, with ctx or a context derived from it, and returns
	// its error.
	Handle func(ctx context.Context, key string, events []RawEvent, next func(context.Context) error) error
	// Retry is called when a handler has failed and will be called again.
	Retry func(ctx context.Context, key string, e RawEvent, attempt int, err error)
	// GaveUp is called when an event has failed after all retries: it is parked, or
	// the subscription ends.
	GaveUp func(ctx context.Context, key string, e RawEvent, attempts int, err error)
	// Owner is called when a partition was taken, and when it was given up or taken
	// over.
	Owner func(ctx context.Context, key string, partition int, owner bool)
	// Stored is called when the cursor was stored behind e, the last handled event.
	Stored func(ctx context.Context, key string, partition int, e RawEvent)
}

// of returns hooks with contexts that identify the subscription. Handle needs none:
// its context is already the handler's.
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
