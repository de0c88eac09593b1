// Calls of the executor: how each begins, and when one is made again.

package postgres

import (
	"context"
	"time"
)

// statementTries is how often a statement is made that fails because another
// was faster, which then got on: where a role's transactions are serializable
// by default, even one that only looks.
const statementTries = 100

// once runs one call of the executor.
func (ex *Executor) once(ctx context.Context, fn func() error) error {
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	return classify(fn())
}

// call runs one call that is one statement, or reads only.
func (ex *Executor) call(ctx context.Context, fn func() error) error {
	return ex.once(ctx, func() error { return ex.again(ctx, fn) })
}

// again runs one statement, or what reads only. When that fails outside of a
// transaction for a reason that passes, nothing was done.
func (ex *Executor) again(ctx context.Context, fn func() error) error {
	var sessions renewal
	for try := 1; ; try++ {
		err := fn()
		switch {
		case err == nil || ctx.Err() != nil || ex.openTransactionOf(ctx) != nil:
			return err
		case transient(err) && try < statementTries, ex.renews(err, &sessions):
		default:
			return err
		}
	}
}

// readOnlyFor is how long a server counts as read-only that was found to be.
const readOnlyFor = time.Second

// renewal is whether a call is made again on new sessions.
type renewal bool

// renews reports whether a call that has failed with err is to be made once more, on new
// sessions: those in the pool may be read-only because their server was, as a standby
// before it was promoted, and do not notice that it is no longer.
func (ex *Executor) renews(err error, r *renewal) bool {
	if code(err) != readOnlyTransaction {
		return false
	}
	now := time.Since(ex.began)
	if *r {
		ex.readOnlyUntil.Store(int64(now + readOnlyFor))
		return false
	}
	if now < time.Duration(ex.readOnlyUntil.Load()) {
		return false
	}
	*r = true
	ex.pool.Reset()
	ex.reserve.pool.Reset()
	return true
}
