// Package idle carries, from subscriptions to executors, for how long a
// transaction may have nothing to do.
package idle

import (
	"context"
	"time"
)

type key struct{}

// With returns a context by which a transaction is begun that the
// storage is to end, if it can, when nothing was asked of it for so long: its
// process was halted, and others wait for its locks.
func With(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, key{}, d)
}

// Limit returns that limit; 0: there is none.
func Limit(ctx context.Context) time.Duration {
	d, _ := ctx.Value(key{}).(time.Duration)
	return d
}
