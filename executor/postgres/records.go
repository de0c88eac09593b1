// Records.

package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (page *evento.RecordPage, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	err = ex.call(ctx, func() error {
		page, err = ex.readRecords(ctx, q)
		return err
	})
	return page, err
}

func (ex *Executor) readRecords(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	after, most := sqlstore.RecordsAfter(q)
	text, args := ex.sql.records, []any{q.Kind, after.Key, after.Part, most}
	if q.Key != "" {
		text, args = ex.sql.recordsOf, append(args, q.Key)
	}
	var found []evento.Record
	var now time.Time
	batch := &pgx.Batch{}
	batch.Queue(text, args...).Query(func(rows pgx.Rows) error {
		r := evento.Record{RecordKey: evento.RecordKey{Kind: q.Kind}}
		var revision int64
		_, err := pgx.ForEachRow(rows, []any{&r.Key, &r.Part, &revision, &r.ChangedAt, &r.Value}, func() error {
			r.Revision, r.ChangedAt = uint64(revision), r.ChangedAt.UTC()
			found = append(found, r)
			r.Value = nil // the next has one of its own
			return nil
		})
		return err
	})
	batch.Queue(ex.sql.now).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	if err := ex.sendBeside(ctx, batch); err != nil {
		return nil, err
	}
	return sqlstore.RecordPage(found, most, now.UTC()), nil
}

// sendBeside sends a batch in the transaction that ctx belongs to, or beside it.
func (ex *Executor) sendBeside(ctx context.Context, batch *pgx.Batch) error {
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.tx.SendBatch(ctx, batch).Close()
	}
	return ex.beside(ctx, func(conn *pgxpool.Conn) error { return conn.SendBatch(ctx, batch).Close() })
}

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	return ex.call(ctx, func() error {
		if t := ex.openTransactionOf(ctx); t != nil {
			t.wake = t.wake || s.Wake
			// A savepoint, as the transaction goes on when a record is stale.
			return pgx.BeginFunc(ctx, t.tx, func(tx pgx.Tx) error { return ex.swap(ctx, tx, s) })
		}
		err := ex.beside(ctx, func(conn *pgxpool.Conn) error { return ex.swapAtOnce(ctx, conn, s) })
		if err == nil && s.Wake {
			ex.committed()
		}
		return err
	})
}

// change is the statement of a change.
func (ex *Executor) change(c evento.Change) (text string, args []any) {
	value := sqlstore.NotNull(c.Value)
	switch {
	case c.Remove:
		return ex.sql.removeRecord, []any{c.Kind, c.Key, c.Part, int64(c.Revision)}
	case c.Revision == 0:
		return ex.sql.makeRecord, []any{c.Kind, c.Key, c.Part, value}
	}
	return ex.sql.changeRecord, []any{c.Kind, c.Key, c.Part, value, int64(c.Revision)}
}

// swap makes the changes one by one.
func (ex *Executor) swap(ctx context.Context, db querier, s evento.Swap) error {
	for _, c := range sqlstore.InOrder(s.Changes) {
		text, args := ex.change(c)
		tag, err := db.Exec(ctx, text, args...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return fmt.Errorf("%w: %s %q %q is not at revision %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, c.Revision)
		}
	}
	return nil
}

// swapAtOnce makes the changes in a transaction. One is a transaction by itself.
func (ex *Executor) swapAtOnce(ctx context.Context, conn *pgxpool.Conn, s evento.Swap) error {
	if len(s.Changes) == 1 {
		return ex.swap(ctx, conn, s)
	}
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error { return ex.swap(ctx, tx, s) })
}
