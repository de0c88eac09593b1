// Package intx marks the contexts that belong to a transaction: whatever is done
// with one shares the transaction's connection.
package intx

import "context"

// key is that of a context's value: what owner, an executor, put there; of nil,
// that anybody did.
type key struct{ owner any }

// Into returns a context that carries a transaction of owner.
func Into(ctx context.Context, owner, tx any) context.Context {
	return context.WithValue(context.WithValue(ctx, key{owner}, tx), key{}, true)
}

// Of returns the transaction of owner that ctx carries, or nil.
func Of(ctx context.Context, owner any) any { return ctx.Value(key{owner}) }

// In reports whether ctx carries a transaction of any executor.
func In(ctx context.Context) bool { return ctx.Value(key{}) != nil }
