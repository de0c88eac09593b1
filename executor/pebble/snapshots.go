// Snapshots.

package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// A snapshot's value is its version, its position, 8 bytes each, the length of
// its cursor in 4 bytes, the cursor, and the data.
const snapshotHeader = 20

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (s evento.Snapshot, err error) {
	if err := key.Check(); err != nil {
		return s, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return s, err
	}
	defer ex.gate.Leave()
	at := ex.keys.snapshot(key)
	v, err := ex.load(at)
	switch {
	case err != nil:
		return s, err
	case v == nil:
		return s, fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, key.Projection, key.AggregateType, key.AggregateID)
	}
	s, err = snapshotOf(at, v)
	s.Data = bytes.Clone(s.Data) // v may be another's, too
	return s, err
}

// snapshotOf reads a value. Its data are the value's.
func snapshotOf(key, v []byte) (s evento.Snapshot, err error) {
	if len(v) < snapshotHeader || uint64(len(v)-snapshotHeader) < uint64(binary.BigEndian.Uint32(v[snapshotHeader-4:])) {
		return s, fmt.Errorf("%w: the snapshot at %q is cut short", evento.ErrDecode, key)
	}
	n := binary.BigEndian.Uint32(v[snapshotHeader-4:])
	s.Version, s.Position = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
	s.Cursor, s.Data = cursor.Value(v[snapshotHeader:snapshotHeader+n]), v[snapshotHeader+n:]
	return s, nil
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := store.CheckSnapshot(key, s); err != nil {
		return err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	at, size := ex.keys.snapshot(key), snapshotHeader+len(s.Cursor)+len(s.Data)
	return ex.change(ctx, [][]byte{at}, size, func(b *lsm.Batch, old [][]byte) error {
		if old[0] != nil {
			was, err := snapshotOf(at, old[0])
			if err != nil || was.Version > s.Version || was.Version == s.Version && was.Position > s.Position {
				return err
			}
		}
		v := make([]byte, 0, size)
		v = binary.BigEndian.AppendUint64(v, s.Version)
		v = binary.BigEndian.AppendUint64(v, s.Position)
		v = binary.BigEndian.AppendUint32(v, uint32(len(s.Cursor)))
		v = append(append(v, s.Cursor...), s.Data...)
		return failure(b.Set(at, v, nil))
	})
}

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	from := ex.keys.snapshots(q.Projection)
	to := end(from)
	if q.After != (evento.SnapshotKey{}) {
		from = later(from, append(ex.keys.snapshot(q.After), 0))
	}
	page := store.SnapshotsOf(q)
	err := ex.list(ctx, from, to, func(key, value []byte) (more bool, err error) {
		var s evento.StoredSnapshot
		var ok bool
		if s.SnapshotKey, ok = ex.keys.snapshotKey(key); !ok {
			return false, fmt.Errorf("%w: the key %q is no snapshot's", evento.ErrDecode, key)
		}
		if s.Snapshot, err = snapshotOf(key, value); err != nil {
			return false, err
		}
		if s.Size = len(s.Data); q.States {
			s.Data = bytes.Clone(s.Data)
		}
		return page.Take(s), nil
	})
	if err != nil {
		return nil, err
	}
	return page.Page(), nil
}

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := store.CheckKeys(keys); err != nil {
		return err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	if len(keys) == 0 {
		return nil
	}
	ats := make([][]byte, len(keys))
	for i, key := range keys {
		ats[i] = ex.keys.snapshot(key)
	}
	slices.SortFunc(ats, bytes.Compare)
	ats = slices.CompactFunc(ats, bytes.Equal)
	return ex.change(ctx, ats, 0, func(b *lsm.Batch, _ [][]byte) error {
		for _, at := range ats {
			if err := b.Delete(at, nil); err != nil {
				return failure(err)
			}
		}
		return nil
	})
}
