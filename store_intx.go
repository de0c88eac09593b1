// Events and the tables of an application in one transaction.

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

	// InTx runs fn in a transaction of the storage, which the package of the
	// executor finds in fn's context (its Tx function) for statements of the
	// caller. When fn returns nil, all that was done with that context is
	// committed together; when it returns an error, or panics, nothing is.
	// InTx within InTx joins the outer one.
	//
	// Events that fn commits with its context get their positions at the end,
	// so that a transaction that takes long keeps nobody waiting. Until then
	// their receipts have Position 0, and only fn sees them: with its context
	// Load, Update, Events and HasEvent include them, pages do not. A conflict
	// that can be seen is returned to fn; InTx returns one that came about
	// later, and nothing was stored.
	//
	// A Swap that is refused with [ErrSwapped] has done nothing: the transaction
	// goes on, sees what it has swapped before, and commits.
	//
	// Like the connection that it holds, fn's context is for one goroutine at
	// a time, and of no use after fn has returned. Calls that fn makes with
	// another context are not part of the transaction, and may wait for it. But
	// Records and Swap outside of transactions never wait for the connections
	// that transactions hold: so leases are renewed however many there are.
	// (Where there is one writer at a time, Swap waits for the transaction.)
	//
	// Errors: what fn returns, as it is; those of Write, with nothing stored;
	// [ErrOutcomeUnknown], after which InTx with the same builders settles it:
	// when all the events that fn commits are found to be stored already, so
	// was the rest of that transaction, and this one is rolled back and nil
	// returned.
	//
	// When fn returned nil, and what was done in the transaction keeps it from
	// being committed (a deferred constraint that does not hold, a statement
	// whose error fn passed over, one that ended the transaction), InTx returns
	// [ErrTxRefused], with the driver's error in it and nothing stored. It matches
	// neither ErrOutcomeUnknown nor ErrConflict, ErrClosed, ErrFull or
	// ErrReadOnly: it is about fn, and not about the store.
	//
	// InTx calls fn with a context that [TxContext] has made. It may look at
	// [TxIdleLimit].
	//
	// An executor on top of others that have no transactions returns
	// [errors.ErrUnsupported] before anything else, also when ctx has ended.
	// Any other returns the error of a context that has ended without touching
	// the storage. So InTx with such a context asks whether there are
	// transactions, and costs nothing.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
}

type (
	withinTxKey struct{}
	txIdleKey   struct{}
)

// TxContext marks a context as one of a transaction; it is for the authors of a
// [Transactor]. What is done with such a context shares the connection of the
// transaction, so the library reads nothing beside the caller, and executors made
// of executors ask the one that the transaction is of. The executor finds its
// transaction by a value of its own, which it adds.
func TxContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, withinTxKey{}, true)
}

// WithinTx reports whether a context is of a transaction, of whichever executor.
func WithinTx(ctx context.Context) bool { return ctx.Value(withinTxKey{}) != nil }

// TxIdleLimit is for how long a transaction that is begun with this context may
// do nothing before the storage is to end it, if it can: its process may have been
// halted, and others wait for its locks. 0: there is no limit. Transactional
// subscriptions set it, to twice their lease.
func TxIdleLimit(ctx context.Context) time.Duration {
	d, _ := ctx.Value(txIdleKey{}).(time.Duration)
	return d
}

func withTxIdleLimit(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, txIdleKey{}, d)
}
