// Calls of the executor: how each begins, and when one is made again.

package postgres

import "context"

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
	for try := 1; ; try++ {
		err := fn()
		if !transient(err) || try == statementTries || ctx.Err() != nil || ex.openTransactionOf(ctx) != nil {
			return err
		}
	}
}
