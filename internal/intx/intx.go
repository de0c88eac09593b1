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

// RefusedError is the error of a transaction that could not be committed because of
// what was done in it, though its function returned nil. It was rolled back.
type RefusedError struct {
	Store string // the name of the executor's package
	Err   error  // what the driver says, or why
}

func (e *RefusedError) Error() string {
	return "evento: " + e.Store + ": InTx: the transaction could not be committed because of what was done in it: " + e.Err.Error()
}

// Unwrap returns what the driver says.
func (e *RefusedError) Unwrap() error { return e.Err }
