// Events and the application's own tables in one transaction.

package evento

import (
	"context"
	"time"
)

// Transactor is an [Executor] whose storage can commit events together with
// the tables of an application: executor/sqlite, executor/postgres and
// executor/mysql, and executor/rw and executor/group on top of them.
//
//	err := ex.InTx(ctx, func(ctx context.Context) error {
//		if _, err := postgres.Tx(ctx).Exec(ctx, "UPDATE stock SET …"); err != nil {
//			return err
//		}
//		_, err := evento.Aggregate(id).AnyVersion().Event(StockCounted{…}).Commit(ctx, ex)
//		return err
//	})
type Transactor interface {
	Executor

	// InTx runs fn in a transaction of the storage. The Tx function of the
	// executor's package finds it in fn's context, for the caller's own statements.
	// When fn returns nil, everything that was done with that context is committed
	// together; when it returns an error, or panics, nothing is. InTx within InTx
	// joins the outer transaction; when the inner function fails, the outer one cannot
	// be committed any more.
	//
	// Events that fn commits with its context get their positions at the end, so
	// that a long transaction does not make others wait. Until then their receipts
	// have Position 0, and only fn can read them: with its context, Load, Update,
	// Events and HasEvent include them; pages do not. A conflict that can be found
	// during the transaction is returned to fn. If one arises later, InTx returns
	// it and nothing was stored.
	//
	// A Swap that is refused with [ErrSwapped] has changed nothing. The transaction
	// goes on, still contains its earlier swaps, and commits.
	//
	// Like the connection of the transaction, fn's context may be used by one
	// goroutine at a time, and not after fn has returned. Calls that fn makes with
	// another context, such as that of the function around it, are not part of the
	// transaction: they are committed whatever becomes of it or, in a storage with one
	// writer at a time, wait for it until their context ends. But
	// Records and Swap outside transactions never wait for the connections that
	// transactions hold, so leases are renewed whatever the number of transactions.
	// (In a storage with one writer at a time, Swap waits for the transaction.)
	//
	// Errors: what fn returns, unchanged; those of Write, with nothing stored;
	// [ErrOutcomeUnknown], after which InTx with the same builders finds out the
	// outcome: if all events that fn commits are stored already, then so is the
	// rest of the first transaction, and InTx rolls this one back and returns nil.
	//
	// When fn returned nil, but what it did prevents the commit (a deferred
	// constraint that does not hold, a failed statement whose error fn ignored, a
	// statement that ended the transaction, an InTx within it that failed), InTx returns
	// [ErrTxRefused], which wraps the driver's error; nothing was stored. It matches neither
	// ErrOutcomeUnknown nor ErrConflict, ErrClosed, ErrFull or ErrReadOnly: the
	// cause is fn, not the store.
	//
	// InTx calls fn with a context made by [TxContext]. It may use [TxIdleLimit].
	//
	// An executor on top of others that have no transactions returns
	// [errors.ErrUnsupported] first of all, also when ctx has ended. Any other
	// executor returns the error of a context that has ended, without accessing the
	// storage. So InTx with such a context is a cheap test for transactions.
	//
	// Why: docs/decisions.md, "InTx: appends wait until the end".
	//
	// Why: docs/decisions.md, "InTx: whose fault a failed commit is".
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
}

type (
	withinTxKey struct{}
	txIdleKey   struct{}
)

// TxContext marks a context as that of a transaction; it is for authors of a
// [Transactor]. All calls with such a context share the connection of the
// transaction, so the library does not read concurrently with the caller, and an
// executor made of executors uses the one that runs the transaction. The executor
// adds a context value of its own, by which it finds its transaction.
func TxContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, withinTxKey{}, true)
}

// WithinTx reports whether ctx is the context of a transaction, of any executor.
func WithinTx(ctx context.Context) bool { return ctx.Value(withinTxKey{}) != nil }

// TxIdleLimit returns how long a transaction that is begun with ctx may stay idle
// before the storage aborts it, if the storage can do that. Its process may have
// been halted while others wait for its locks. 0: no limit. Transactional
// subscriptions set it to twice their lease.
func TxIdleLimit(ctx context.Context) time.Duration {
	d, _ := ctx.Value(txIdleKey{}).(time.Duration)
	return d
}

func withTxIdleLimit(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, txIdleKey{}, d)
}
