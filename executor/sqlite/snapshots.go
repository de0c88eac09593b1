// Snapshots.

package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (snapshot evento.Snapshot, err error) {
	if err := key.Check(); err != nil {
		return snapshot, err
	}
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
	return tx.conn.exec(`INSERT INTO evento_snapshot (projection, revision, variant, type, id, version, position, cursor, data, updated_at, checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (projection, revision, variant, type, id) DO UPDATE
SET version = excluded.version, position = excluded.position, cursor = excluded.cursor, data = excluded.data, updated_at = excluded.updated_at, checksum = excluded.checksum
WHERE (excluded.version, excluded.position) >= (version, position)`,
		k.Projection, k.Revision, k.Variant, string(k.AggregateType), k.AggregateID,
		s.Version, s.Position, string(s.Cursor), sqlstore.NotNull(s.Data), tx.now, snapshotChecksum(k, s, tx.now))
}

func snapshotChecksum(k *evento.SnapshotKey, s *evento.Snapshot, now int64) int64 {
	var r rowSum
	r.text(k.Projection)
	r.int(int64(k.Revision))
	r.text(k.Variant)
	r.text(string(k.AggregateType))
	r.text(k.AggregateID)
	r.int(int64(s.Version))
	r.int(int64(s.Position))
	r.text(string(s.Cursor))
	r.int(now)
	return r.sum(s.Data)
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := store.CheckSnapshot(key, s); err != nil {
		return err
	}
	return ex.do(ctx, &snapshotOp{key: key, snapshot: s}, len(s.Data))
}

// SQLite takes the length of a state from the row's header, without reading the
// state.
const (
	snapshotHeads  = "SELECT projection, revision, variant, type, id, version, position, length(data) FROM evento_snapshot "
	snapshotStates = "SELECT projection, revision, variant, type, id, version, position, length(data), cursor, data FROM evento_snapshot "
	snapshotsAfter = "WHERE (projection, revision, variant, type, id) > (?, ?, ?, ?, ?) ORDER BY projection, revision, variant, type, id LIMIT ?"
	snapshotsOf    = "WHERE projection = ? AND (revision, variant, type, id) > (?, ?, ?, ?) ORDER BY revision, variant, type, id LIMIT ?"
)

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (page *evento.SnapshotPage, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	err = ex.read(ctx, func(c *conn) (err error) {
		page, err = c.snapshots(q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

func (c *conn) snapshots(q evento.SnapshotQuery) (_ *evento.SnapshotPage, err error) {
	text, which := snapshotHeads, snapshotsAfter
	if q.States {
		text = snapshotStates
	}
	if q.Projection != "" {
		which = snapshotsOf
	}
	s, err := c.stmt(text + which)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Err(), c.done(s)) }()
	after, rows := sqlstore.SnapshotsAfter(q)
	if err := bind(s, after.Projection, after.Revision, after.Variant, string(after.AggregateType), after.AggregateID, int64(rows)); err != nil {
		return nil, err
	}
	page := store.SnapshotsOf(q)
	for s.Step() && page.Take(snapshotOf(s, q.States)) {
	}
	return page.Page(), nil
}

func snapshotOf(s *sqlite3.Stmt, state bool) evento.StoredSnapshot {
	found := evento.StoredSnapshot{
		SnapshotKey: evento.SnapshotKey{
			Projection:    s.ColumnText(0),
			Revision:      uint64(s.ColumnInt64(1)),
			Variant:       s.ColumnText(2),
			AggregateType: evento.AggregateType(s.ColumnText(3)),
			AggregateID:   s.ColumnText(4),
		},
		Snapshot: evento.Snapshot{Version: uint64(s.ColumnInt64(5)), Position: uint64(s.ColumnInt64(6))},
		Size:     s.ColumnInt(7),
	}
	if state {
		found.Cursor, found.Data = cursor.Value(s.ColumnText(8)), s.ColumnBlob(9, nil)
	}
	return found
}

type removeSnapshotsOp struct {
	refused
	keys []evento.SnapshotKey
}

func (op *removeSnapshotsOp) apply(tx *transaction) error {
	for _, k := range op.keys {
		if err := tx.conn.exec("DELETE FROM evento_snapshot WHERE projection = ? AND revision = ? AND variant = ? AND type = ? AND id = ?",
			k.Projection, k.Revision, k.Variant, string(k.AggregateType), k.AggregateID); err != nil {
			return err
		}
	}
	return nil
}

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := store.CheckKeys(keys); err != nil {
		return err
	}
	if len(keys) == 0 {
		return ex.gate.Check(ctx)
	}
	size := 0
	for _, k := range keys {
		size += len(k.Projection) + len(k.Variant) + len(k.AggregateType) + len(k.AggregateID)
	}
	return ex.do(ctx, &removeSnapshotsOp{keys: keys}, size)
}
