package evento

import "context"

// SubscriptionHooks are told what a subscription does; package eventotel makes
// traces and metrics of it. A nil field is not called. They are called from the
// subscription's goroutines, with partitions from several at once, and have to
// return soon.
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
