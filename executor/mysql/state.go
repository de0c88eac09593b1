// Subscribers and snapshots.

package mysql

import (
	"context"
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func (ex *Executor) now() int64 { return ex.opts.Clock().UnixMicro() }

// UpsertSubscriber implements [evento.Executor].
func (ex *Executor) UpsertSubscriber(ctx context.Context, key string, worker evento.ID) (at cursor.Value, err error) {
	now := ex.now()
	err = ex.use(ctx, func(s *session) error {
		if _, err := s.exec(ctx, "INSERT INTO evento_subscriber (name, worker, place, updated_at) VALUES (?, ?, '', ?) ON DUPLICATE KEY UPDATE worker = ?, updated_at = ?",
			key, worker[:], now, worker[:], now); err != nil {
			return err
		}
		// Nobody but this worker may move the cursor now.
		at, err = s.subscriberCursor(ctx, key)
		return err
	})
	if err != nil {
		return "", err
	}
	ex.changed.Notify()
	return at, nil
}

// SubscriberCursor implements [evento.Executor].
func (ex *Executor) SubscriberCursor(ctx context.Context, key string) (at cursor.Value, err error) {
	err = ex.use(ctx, func(s *session) error {
		at, err = s.subscriberCursor(ctx, key)
		return err
	})
	return at, err
}

func (s *session) subscriberCursor(ctx context.Context, key string) (cursor.Value, error) {
	var at string
	found, err := s.row(ctx, "SELECT place FROM evento_subscriber WHERE name = ?", []any{key}, &at)
	if err == nil && !found {
		err = fmt.Errorf("%w: subscriber %q", evento.ErrNotFound, key)
	}
	return cursor.Value(at), err
}

// SubscriberRunning implements [evento.Executor].
func (ex *Executor) SubscriberRunning(ctx context.Context, key string, worker evento.ID) (running bool, err error) {
	err = ex.use(ctx, func(s *session) error {
		running, err = s.owns(ctx, key, worker)
		return err
	})
	return running, err
}

func (s *session) owns(ctx context.Context, key string, worker evento.ID) (bool, error) {
	return s.row(ctx, "SELECT 1 FROM evento_subscriber WHERE name = ? AND worker = ?", []any{key, worker[:]}, new(int64))
}

// Acknowledge implements [evento.Executor].
func (ex *Executor) Acknowledge(ctx context.Context, key string, worker evento.ID, at cursor.Value) error {
	now := ex.now()
	return ex.use(ctx, func(s *session) error {
		r, err := s.exec(ctx, "UPDATE evento_subscriber SET place = ?, updated_at = ? WHERE name = ? AND worker = ?",
			string(at), now, key, worker[:])
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n > 0 {
			return err
		}
		// A row that is the same as before does not count as affected.
		owns, err := s.owns(ctx, key, worker)
		if err == nil && !owns {
			err = fmt.Errorf("%w: key %q", evento.ErrTakenOver, key)
		}
		return err
	})
}

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
