// Records.

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	var page *evento.RecordPage
	err := ex.read(ctx, func(c *conn) (err error) {
		page, err = ex.readRecords(c, q)
		return err
	})
	return page, err
}

func (ex *Executor) readRecords(c *conn, q evento.RecordQuery) (_ *evento.RecordPage, err error) {
	after, rows := sqlstore.RecordsAfter(q)
	text := "SELECT key, part, revision, changed_at, value FROM evento_record WHERE kind = ? AND (key, part) > (?, ?) ORDER BY key, part LIMIT ?"
	args := []any{q.Kind, after.Key, after.Part, int64(rows)}
	if q.Key != "" {
		text = "SELECT key, part, revision, changed_at, value FROM evento_record WHERE kind = ? AND (key, part) > (?, ?) AND key = ? ORDER BY key, part LIMIT ?"
		args = []any{q.Kind, after.Key, after.Part, q.Key, int64(rows)}
	}
	s, err := c.stmt(text)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Err(), c.done(s)) }()
	if err := bind(s, args...); err != nil {
		return nil, err
	}
	var found []evento.Record
	for s.Step() {
		found = append(found, recordOf(s, q.Kind))
	}
	return sqlstore.RecordPage(found, rows, ex.opts.Clock().UTC().Truncate(time.Microsecond)), nil
}

func recordOf(s *sqlite3.Stmt, kind string) evento.Record {
	return evento.Record{
		RecordKey: evento.RecordKey{Kind: kind, Key: s.ColumnText(0), Part: s.ColumnText(1)},
		Revision:  uint64(s.ColumnInt64(2)),
		ChangedAt: time.UnixMicro(s.ColumnInt64(3)).UTC(),
		Value:     s.ColumnBlob(4, nil),
	}
}

type swapOp struct {
	refused
	swap evento.Swap
}

func (op *swapOp) apply(tx *transaction) (err error) {
	op.err, err = tx.swap(op.swap.Changes)
	tx.woken = tx.woken || op.swap.Wake && op.err == nil
	return err
}

// swap looks at all records before it changes any: nobody else writes.
func (tx *transaction) swap(changes []evento.Change) (refusal, err error) {
	for _, c := range changes {
		v, _, err := tx.conn.query("SELECT revision FROM evento_record WHERE kind = ? AND key = ? AND part = ?", 1, c.Kind, c.Key, c.Part)
		if err != nil {
			return nil, err
		}
		if at := uint64(v[0]); at != c.Revision {
			return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision), nil
		}
	}
	now := tx.ex.opts.Clock().UnixMicro()
	for _, c := range changes {
		if err := change(tx.conn, c, now); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func change(conn *conn, c evento.Change, now int64) error {
	value := sqlstore.NotNull(c.Value)
	switch {
	case c.Remove:
		return conn.exec("DELETE FROM evento_record WHERE kind = ? AND key = ? AND part = ?", c.Kind, c.Key, c.Part)
	case c.Revision == 0:
		return conn.exec("INSERT INTO evento_record (kind, key, part, revision, changed_at, value, checksum) VALUES (?, ?, ?, 1, ?, ?, ?)",
			c.Kind, c.Key, c.Part, now, value, recordChecksum(c, now))
	}
	return conn.exec("UPDATE evento_record SET revision = revision + 1, changed_at = ?, value = ?, checksum = ? WHERE kind = ? AND key = ? AND part = ?",
		now, value, recordChecksum(c, now), c.Kind, c.Key, c.Part)
}

func recordChecksum(c evento.Change, now int64) int64 {
	var r rowSum
	r.text(c.Kind)
	r.text(c.Key)
	r.text(c.Part)
	r.int(int64(c.Revision) + 1)
	r.int(now)
	return r.sum(c.Value)
}

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	size := 0
	for _, c := range s.Changes {
		size += len(c.Key) + len(c.Value)
	}
	return ex.do(ctx, &swapOp{swap: s}, size)
}
