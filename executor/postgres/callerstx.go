// The transaction that callers get.

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evento-go/evento"
)

var errNotTheirs = fmt.Errorf("%w call: InTx ends the transaction when its function returns", evento.ErrInvalid)

var errBusy = errors.New("the connection is busy with rows of a query that were not closed")

// callersTx is a transaction that its user cannot end.
type callersTx struct{ notedTx }

func (callersTx) Commit(context.Context) error   { return errNotTheirs }
func (callersTx) Rollback(context.Context) error { return errNotTheirs }

// cause keeps the error of the statement that aborted the transaction. The server
// tells it once, and from then on only that the transaction is aborted; the caller may
// have passed over it.
type cause struct {
	conn *pgconn.PgConn
	err  error
}

// forget is called before each statement. When the transaction is whole, the caller has
// rolled back to a savepoint since.
func (c *cause) forget() {
	if c.conn.TxStatus() == 'T' {
		c.err = nil
	}
}

func (c *cause) note(err error) {
	if c.err == nil && code(err) != "" && code(err) != inFailedTransaction {
		c.err = err
	}
}

// aborted is why the transaction is.
func (c *cause) aborted() error {
	if c.err == nil {
		return pgx.ErrTxCommitRollback
	}
	return fmt.Errorf("%w: by a statement that failed: %w", pgx.ErrTxCommitRollback, c.err)
}

// notedTx is a transaction, or a savepoint of one, that notes the cause.
type notedTx struct {
	pgx.Tx
	cause *cause
}

func (t notedTx) Begin(ctx context.Context) (pgx.Tx, error) {
	t.cause.forget()
	tx, err := t.Tx.Begin(ctx)
	if err != nil {
		t.cause.note(err)
		return nil, err
	}
	return notedTx{tx, t.cause}, nil
}

func (t notedTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	t.cause.forget()
	tag, err := t.Tx.Exec(ctx, sql, args...)
	t.cause.note(err)
	return tag, err
}

func (t notedTx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	t.cause.forget()
	s, err := t.Tx.Prepare(ctx, name, sql)
	t.cause.note(err)
	return s, err
}

func (t notedTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error) {
	t.cause.forget()
	n, err := t.Tx.CopyFrom(ctx, table, columns, from)
	t.cause.note(err)
	return n, err
}

func (t notedTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	t.cause.forget()
	rows, err := t.Tx.Query(ctx, sql, args...)
	t.cause.note(err)
	return notedRows{rows, t.cause}, err
}

func (t notedTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	t.cause.forget()
	return notedRow{t.Tx.QueryRow(ctx, sql, args...), t.cause}
}

func (t notedTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	t.cause.forget()
	return notedBatch{t.Tx.SendBatch(ctx, b), t.cause}
}

type notedRow struct {
	pgx.Row
	cause *cause
}

func (r notedRow) Scan(dest ...any) error {
	err := r.Row.Scan(dest...)
	r.cause.note(err)
	return err
}

type notedRows struct {
	pgx.Rows
	cause *cause
}

func (r notedRows) Next() bool {
	next := r.Rows.Next()
	if !next {
		r.cause.note(r.Err())
	}
	return next
}

func (r notedRows) Close() {
	r.Rows.Close()
	r.cause.note(r.Err())
}

type notedBatch struct {
	pgx.BatchResults
	cause *cause
}

func (b notedBatch) Exec() (pgconn.CommandTag, error) {
	tag, err := b.BatchResults.Exec()
	b.cause.note(err)
	return tag, err
}

func (b notedBatch) Query() (pgx.Rows, error) {
	rows, err := b.BatchResults.Query()
	b.cause.note(err)
	return notedRows{rows, b.cause}, err
}

func (b notedBatch) QueryRow() pgx.Row { return notedRow{b.BatchResults.QueryRow(), b.cause} }

func (b notedBatch) Close() error {
	err := b.BatchResults.Close()
	b.cause.note(err)
	return err
}
