// Snapshots.

package mysql

import (
	"bytes"
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

func (ex *Executor) now() int64 { return ex.opts.Clock().UnixMicro() }

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (snapshot evento.Snapshot, err error) {
	if err := key.Check(); err != nil {
		return snapshot, err
	}
	err = ex.use(ctx, func(s *session) error {
		var version, position int64
		var at string
		var data []byte
		found, err := s.row(ctx, "SELECT version, position, place, data FROM evento_snapshot WHERE projection = ? AND revision = ? AND variant = ? AND type = ? AND aggregate_id = ?",
			[]any{key.Projection, int64(key.Revision), key.Variant, string(key.AggregateType), key.AggregateID},
			&version, &position, &at, &data)
		if err == nil && !found {
			err = fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, key.Projection, key.AggregateType, key.AggregateID)
		}
		snapshot = evento.Snapshot{Version: uint64(version), Position: uint64(position), Cursor: cursor.Value(at), Data: data}
		return err
	})
	if err != nil {
		return evento.Snapshot{}, err
	}
	return snapshot, nil
}

// further is whether the new snapshot is at least as far along as the one that
// is there. Assignments are made from left to right, hence version and
// position come last.
const further = "(VALUES(version), VALUES(position)) >= (version, position)"

const saveSnapshot = `INSERT INTO evento_snapshot (projection, revision, variant, type, aggregate_id, place, data, updated_at, position, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE
place = IF(` + further + `, VALUES(place), place),
data = IF(` + further + `, VALUES(data), data),
updated_at = IF(` + further + `, VALUES(updated_at), updated_at),
position = IF(` + further + `, VALUES(position), position),
version = GREATEST(VALUES(version), version)`

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, sn evento.Snapshot) error {
	if err := store.CheckSnapshot(key, sn); err != nil {
		return err
	}
	now := ex.now()
	return ex.use(ctx, func(s *session) error {
		if len(sn.Data) > s.maxPacket-packetSpare {
			return fmt.Errorf("%w: a snapshot of %d bytes, the server's max_allowed_packet is %d", evento.ErrTooLarge, len(sn.Data), s.maxPacket)
		}
		_, err := s.exec(ctx, saveSnapshot, key.Projection, int64(key.Revision), key.Variant, string(key.AggregateType), key.AggregateID,
			string(sn.Cursor), sqlstore.NotNull(sn.Data), now, int64(sn.Position), int64(sn.Version))
		return err
	})
}

// The conditions are ranges of the primary key, in its order; of a comparison of
// rows the server would not see that.
const (
	snapshotHeads  = "SELECT projection, revision, variant, type, aggregate_id, version, position, LENGTH(data) FROM evento_snapshot FORCE INDEX (PRIMARY) "
	snapshotStates = "SELECT projection, revision, variant, type, aggregate_id, version, position, LENGTH(data), place, data FROM evento_snapshot FORCE INDEX (PRIMARY) "
	snapshotsAfter = "WHERE projection > ? OR projection = ? AND (" + keysAfter + ") ORDER BY projection, revision, variant, type, aggregate_id LIMIT ?"
	snapshotsOf    = "WHERE projection = ? AND (" + keysAfter + ") ORDER BY revision, variant, type, aggregate_id LIMIT ?"
	keysAfter      = "revision > ? OR revision = ? AND (variant > ? OR variant = ? AND (type > ? OR type = ? AND aggregate_id > ?))"
)

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (page *evento.SnapshotPage, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	err = ex.use(ctx, func(s *session) (err error) {
		page, err = s.snapshots(ctx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

func (s *session) snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	after, most := sqlstore.SnapshotsAfter(q)
	revision, t := int64(after.Revision), string(after.AggregateType)
	args := []any{after.Projection, after.Projection, revision, revision, after.Variant, after.Variant, t, t, after.AggregateID, int64(most)}
	text, which, columns := snapshotHeads, snapshotsAfter, 8
	if q.States {
		text, columns = snapshotStates, 10
	}
	if q.Projection != "" {
		which, args = snapshotsOf, args[1:]
	}
	page := store.SnapshotsOf(q)
	rows := 0
	err := s.stream(ctx, text+which, args, columns, func(values []sqldriver.Value) (more bool, err error) {
		found, err := snapshotOf(values)
		if err != nil {
			return false, err
		}
		rows++
		// Cut by size, what is left is not read; see page.fetch.
		return page.Take(found) || rows == most, nil
	})
	if err != nil {
		return nil, err
	}
	return page.Page(), nil
}

// snapshotOf copies a row, whose bytes are the driver's.
func snapshotOf(values []sqldriver.Value) (s evento.StoredSnapshot, err error) {
	number := func(column int) int64 {
		n, ok := values[column].(int64)
		if !ok && err == nil {
			err = fmt.Errorf("evento: mysql: column %d of a snapshot is of type %T", column+1, values[column])
		}
		return n
	}
	s.SnapshotKey = evento.SnapshotKey{
		Projection:    string(octets(values[0])),
		Revision:      uint64(number(1)),
		Variant:       string(octets(values[2])),
		AggregateType: evento.AggregateType(octets(values[3])),
		AggregateID:   string(octets(values[4])),
	}
	s.Version, s.Position, s.Size = uint64(number(5)), uint64(number(6)), int(number(7))
	if len(values) > 8 {
		s.Cursor, s.Data = cursor.Value(octets(values[8])), bytes.Clone(octets(values[9]))
	}
	return s, err
}

const (
	removeSnapshots = "DELETE FROM evento_snapshot WHERE "
	snapshotIs      = "(projection = ? AND revision = ? AND variant = ? AND type = ? AND aggregate_id = ?)"
)

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := store.CheckKeys(keys); err != nil {
		return err
	}
	// In their order, so that no two who remove the same wait for each other.
	keys = slices.SortedFunc(slices.Values(keys), evento.SnapshotKey.Compare)
	return ex.use(ctx, func(s *session) error {
		for chunk := range slices.Chunk(keys, maxLegs) {
			n := powerOfTwo(len(chunk))
			var args []any
			for i := range n {
				k := &chunk[min(i, len(chunk)-1)] // the last one again
				args = append(args, k.Projection, int64(k.Revision), k.Variant, string(k.AggregateType), k.AggregateID)
			}
			if _, err := s.exec(ctx, removeSnapshots+repeat(snapshotIs, " OR ", n), args...); err != nil {
				return err
			}
		}
		return nil
	})
}
