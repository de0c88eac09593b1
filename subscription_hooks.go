package evento

import "context"

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
