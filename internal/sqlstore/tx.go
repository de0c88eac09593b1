// The caller's transaction in a context.

package sqlstore

import (
	"context"

	"github.com/evento-go/evento"
)

// txKey is the context key for an owner's transaction.
type txKey struct{ owner any }

// WithTx returns a context of a transaction of owner, an executor.
func WithTx(ctx context.Context, owner, tx any) context.Context {
	return context.WithValue(evento.TxContext(ctx), txKey{owner}, tx)
}

// TxOf returns the transaction of owner that ctx carries, or nil.
func TxOf(ctx context.Context, owner any) any { return ctx.Value(txKey{owner}) }
