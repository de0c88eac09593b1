// Appends inside of a caller's transaction.

package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// transaction is what the context of [Executor.InTx] carries.
type transaction struct {
	sqlstore.Pending
	tx    pgx.Tx
	cause *cause
	names *sqlstore.Dictionary // looked up in it, and perhaps made in it
	wake  bool                 // a swap wants those who wait to be woken
}

type txKey struct{}

// Tx returns the transaction of [Executor.InTx], or of a transactional
// subscription, to which ctx belongs: for the statements of the caller that are
// to be committed together with its events. nil when ctx belongs to none.
//
// Its isolation level is READ COMMITTED. The executor ends it: Commit and
// Rollback are errors. Like every pgx.Tx it is for one goroutine at a time, and
// rows have to be read or closed before anything else is done with the context,
// loading and committing included. Begin makes savepoints as usual; what is
// committed to evento is not undone with them.
func Tx(ctx context.Context) pgx.Tx {
	tx, _ := ctx.Value(txKey{}).(pgx.Tx)
	return tx
}

// transactionOf is the one that ctx belongs to, or nil.
func (ex *Executor) transactionOf(ctx context.Context) *transaction {
	return sqlstore.TxOf[*transaction](ctx, ex)
}

// openTransactionOf is the one that ctx belongs to, unless it has ended, or nil.
func (ex *Executor) openTransactionOf(ctx context.Context) *transaction {
	return sqlstore.OpenTxOf[*transaction](ctx, ex)
}

// querier is what a pool and a transaction both are.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// db is the transaction that ctx belongs to, or the pool. A call in a transaction takes
// no second connection: the pool may have none.
func (ex *Executor) db(ctx context.Context) querier {
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.tx
	}
	return ex.pool
}

// InTx implements [evento.Transactor], on a connection of the pool. [Tx] gives
// the transaction to fn. Deadlocks and serialization errors of the caller's
// statements are returned as the server's errors: to make the whole again is
// the caller's to decide.
func (ex *Executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.Join(ctx, fn)
	}
	var fnErr error
	err := ex.once(ctx, func() error {
		conn, err := ex.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
		if err != nil {
			return err
		}
		t := &transaction{cause: &cause{conn: conn.Conn().PgConn()}, names: sqlstore.NewDictionary(ex.names)}
		t.tx = callersTx{notedTx{tx, t.cause}}
		committing := false
		defer func() {
			t.End()
			if !committing { // an error, or a panic
				rollBack(conn)
			}
		}()
		if limit := evento.TxIdleLimit(ctx); limit > 0 {
			// Of a process that is halted the server ends the transaction,
			// so that its locks are not in the way of the next owner.
			if _, err := tx.Exec(ctx, "SELECT set_config('idle_in_transaction_session_timeout', $1, true)", fmt.Sprint(limit.Milliseconds())); err != nil {
				return err
			}
		}
		inner := sqlstore.WithTx(context.WithValue(ctx, txKey{}, t.tx), ex, t)
		if fnErr = t.Run(inner, fn); fnErr != nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		committing = true
		return ex.commitTx(ctx, inner, conn, t)
	})
	err = cmp.Or(fnErr, err)
	ex.renews(err, new(renewal)) // for the next one: fn is not called again
	return err
}

// rollBack leaves the connection without a transaction, or closed.
func rollBack(conn *pgxpool.Conn) {
	if conn.Conn().IsClosed() || conn.Conn().PgConn().TxStatus() == 'I' {
		return
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = conn.Conn().Close(ctx) // the server rolls back what it has of it
	}
}

// commitTx appends what waits in the transaction and commits it, in one round trip.
// Afterwards the connection has no transaction. Why it blames whom: docs/decisions.md,
// "InTx: whose fault a failed commit is".
func (ex *Executor) commitTx(ctx, inner context.Context, conn *pgxpool.Conn, t *transaction) error {
	defer rollBack(conn)
	switch status := conn.Conn().PgConn().TxStatus(); {
	case conn.Conn().PgConn().IsBusy():
		return refused(errBusy)
	case status == 'I':
		return fmt.Errorf("%w statement: one of the function ended the transaction of InTx; nothing was stored", evento.ErrInvalid)
	case status == 'E': // an error that the function did not return
		return refused(t.cause.aborted())
	}
	l, err := ex.lastOf(inner, t)
	if err != nil {
		return ex.explain(ctx, conn, err)
	}
	refusal, err := ex.lookLocked(inner, t) // after the names: who makes some waits for the counter
	if err != nil {
		return ex.explain(ctx, conn, err)
	}
	t.End()
	if refusal != nil {
		return ex.notAppended(ctx, conn, l.groups, refusal)
	}

	var f roundTrip
	f.begin(conn.Conn())
	stop := context.AfterFunc(ctx, f.recall)
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	err = conn.SendBatch(sending, &l.batch).Close()
	stop()
	recalled, err := f.end(err, ex.replicated)
	if recalled {
		defer func() { _ = conn.Conn().Close(context.Background()) }()
	}
	switch {
	case err == nil:
		ex.published(t, l)
		return nil
	case recalled && code(err) == queryCanceled:
		return ctx.Err()
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return err
	case unknown(err) && !pgconn.SafeToRetry(err):
		return fmt.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
	case l.appended && code(err) != "": // such as by a deferred constraint
		return refused(err)
	case code(err) == divisionByZero || code(err) == uniqueViolation:
		return ex.notAppended(sending, conn, l.groups, err)
	}
	return ex.explain(sending, conn, err)
}

// last is what is sent at the end of a transaction.
type last struct {
	batch    pgx.Batch
	ops      []*appendOp
	groups   []group
	appended bool // all of ops; what follows is the commit
}

// lastOf makes the names that the appends of a transaction need, and the batch
// that appends and commits.
func (ex *Executor) lastOf(ctx context.Context, t *transaction) (*last, error) {
	l := &last{}
	for _, w := range t.Writes() {
		l.ops = append(l.ops, &appendOp{write: w})
	}
	if err := ex.makeNames(ctx, l.ops); err != nil {
		return nil, err
	}
	for _, op := range l.ops {
		if _, err := ex.lookUpNames(ctx, op); err != nil {
			return nil, err
		}
	}
	if len(l.ops) > 0 {
		l.batch.Queue(ex.sql.lockFrom)
		l.groups = groupsOf(l.ops)
		for i := range l.groups {
			ex.queueAppend(&l.batch, &l.groups[i])
		}
		ids := idsOf(l.ops...)
		l.batch.Queue(ex.sql.allAppended, ids, len(ids)).Query(func(rows pgx.Rows) error {
			rows.Close()
			l.appended = rows.Err() == nil
			return rows.Err()
		})
	}
	l.appended = len(l.ops) == 0
	l.batch.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return refused(t.cause.aborted())
		}
		return nil
	})
	return l, nil
}

// published tells everybody of what a transaction has committed.
func (ex *Executor) published(t *transaction, l *last) {
	t.names.Publish()
	for _, g := range l.groups {
		for _, o := range g.outcomes {
			ex.noteHead(o.position)
		}
	}
	if len(l.ops) > 0 || t.wake {
		ex.committed()
	}
}

// refused is the error for a transaction that its own statements spoiled.
func refused(err error) error { return fmt.Errorf("%w: %w", evento.ErrTxRefused, err) }

// explain rolls back and says of the error of a statement of the executor's
// whether the caller's statements are the cause: they can make a transaction
// read-only.
func (ex *Executor) explain(ctx context.Context, conn *pgxpool.Conn, err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != readOnlyTransaction || e.Routine != "PreventCommandIfReadOnly" {
		return err
	}
	rollBack(conn)
	var readOnly string
	if e := conn.QueryRow(ctx, "SHOW transaction_read_only").Scan(&readOnly); e == nil && readOnly == "off" {
		return refused(err)
	}
	return err
}

// groupsOf keeps the order of the writes, and puts two of one aggregate into
// two groups.
func groupsOf(ops []*appendOp) (groups []group) {
	for len(ops) > 0 {
		taken := aggregates{}
		n := 0
		for n < len(ops) && taken.take(ops[n], false) {
			n++
		}
		groups, ops = append(groups, group{ops: ops[:n]}), ops[n:]
	}
	return groups
}

// notAppended rolls back and says why not all was appended: nil, when an earlier
// attempt had appended it.
func (ex *Executor) notAppended(ctx context.Context, conn *pgxpool.Conn, groups []group, err error) error {
	rollBack(conn)
	all := true
	for _, g := range groups {
		for _, op := range g.ops {
			earlier, e := ex.earlier(ctx, conn.Conn(), op)
			if e != nil {
				return e
			}
			all = all && earlier
		}
	}
	if all {
		return nil
	}
	for _, g := range groups {
		next := 0
		for _, op := range g.ops {
			n := len(op.write.Appends)
			if next+n > len(g.outcomes) {
				break // the statement failed
			}
			if o := g.outcomes[next : next+n]; !o[0].fits {
				return op.conflict(o)
			}
			next += n
		}
	}
	return err
}

// findHead is for [sqlstore.Pending].
func (ex *Executor) findHead(ctx context.Context, a evento.AggregateKey) (sqlstore.Head, error) {
	return ex.headOf(ctx, ex.db(ctx), a)
}

func (ex *Executor) headOf(ctx context.Context, on querier, a evento.AggregateKey) (h sqlstore.Head, err error) {
	var version int64
	err = on.QueryRow(ctx, ex.sql.headOf, string(a.Type), a.ID).Scan(&version, &h.RoutingKey)
	h.Version = uint64(version)
	return h, orNone(err)
}
