// Snapshots.

package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// read lends a connection to fn, that of the transaction to which ctx belongs
// if it does.
func (ex *Executor) read(ctx context.Context, fn func(c *conn) error) error {
	if err := ex.check(ctx); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.do(ctx, func(tx *transaction) error { return fn(tx.conn) })
	}
	c, err := ex.readers.get(ctx, ex.closing)
	if err != nil {
		return ex.readError(ctx, err)
	}
	defer ex.readers.put(c)
	if err := fn(c); err != nil {
		return ex.readError(ctx, err)
	}
	return nil
}

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (snapshot evento.Snapshot, err error) {
	err = ex.read(ctx, func(c *conn) error {
		s, err := c.stmt("SELECT version, position, cursor, data FROM evento_snapshot WHERE projection = ? AND revision = ? AND variant = ? AND type = ? AND id = ?")
		if err != nil {
			return err
		}
		err = bind(s, key.Projection, key.Revision, key.Variant, string(key.AggregateType), key.AggregateID)
		switch {
		case err != nil:
		case s.Step():
			snapshot = evento.Snapshot{
				Version:  uint64(s.ColumnInt64(0)),
				Position: uint64(s.ColumnInt64(1)),
				Cursor:   cursor.Value(s.ColumnText(2)),
				Data:     s.ColumnBlob(3, nil),
			}
		case s.Err() == nil:
			err = fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, key.Projection, key.AggregateType, key.AggregateID)
		}
		return errors.Join(err, s.Err(), c.done(s))
	})
	return snapshot, err
}

type snapshotOp struct {
	refused
	key      evento.SnapshotKey
	snapshot evento.Snapshot
}

func (op *snapshotOp) apply(tx *transaction) error {
	k, s := &op.key, &op.snapshot
	data := s.Data
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	return tx.conn.exec(`INSERT INTO evento_snapshot (projection, revision, variant, type, id, version, position, cursor, data, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (projection, revision, variant, type, id) DO UPDATE
SET version = excluded.version, position = excluded.position, cursor = excluded.cursor, data = excluded.data, updated_at = excluded.updated_at
WHERE (excluded.version, excluded.position) >= (version, position)`,
		k.Projection, k.Revision, k.Variant, string(k.AggregateType), k.AggregateID,
		s.Version, s.Position, string(s.Cursor), data, tx.now)
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	return ex.do(ctx, &snapshotOp{key: key, snapshot: s}, len(s.Data))
}
