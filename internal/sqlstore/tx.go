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
func TxOf[T any](ctx context.Context, owner any) (tx T) {
	tx, _ = ctx.Value(txKey{owner}).(T)
	return tx
}

// OpenTxOf is TxOf, but for one that has ended it is nil.
func OpenTxOf[T interface {
	comparable
	Ended() bool
}](ctx context.Context, owner any) T {
	var none T
	if tx := TxOf[T](ctx, owner); tx != none && !tx.Ended() {
		return tx
	}
	return none
}
