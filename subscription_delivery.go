// What a handler finds in its context.

package evento

import (
	"context"
	"reflect"
	"slices"
)

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
