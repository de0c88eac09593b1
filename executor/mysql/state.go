// Snapshots.

package mysql

import (
	"context"
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func (ex *Executor) now() int64 { return ex.opts.Clock().UnixMicro() }

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (snapshot evento.Snapshot, err error) {
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
	data := sn.Data
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	now := ex.now()
	return ex.use(ctx, func(s *session) error {
		if len(data) > s.maxPacket-packetSpare {
			return fmt.Errorf("%w: a snapshot of %d bytes, the server's max_allowed_packet is %d", evento.ErrTooLarge, len(data), s.maxPacket)
		}
		_, err := s.exec(ctx, saveSnapshot, key.Projection, int64(key.Revision), key.Variant, string(key.AggregateType), key.AggregateID,
			string(sn.Cursor), data, now, int64(sn.Position), int64(sn.Version))
		return err
	})
}
