// What is read and written under single keys: snapshots, and see records.go.

package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// state is what is read and written under keys of its own. Pebble shows a batch
// before it is synced, so readers of a key that is being written get what it
// held before.
type state struct {
	mu      sync.RWMutex
	pending map[string]durable
}

// durable is what a key that is being written still holds on the disk.
type durable struct {
	value []byte        // nil: nothing
	done  chan struct{} // closed when it is written
}

// load returns the durable value of a key; nil when there is none.
func (ex *Executor) load(key []byte) ([]byte, error) {
	ex.state.mu.RLock()
	defer ex.state.mu.RUnlock()
	if d, ok := ex.state.pending[string(key)]; ok {
		return d.value, nil
	}
	v, err := ex.get(key)
	if err != nil {
		return nil, fmt.Errorf("evento: pebble: %w", classify(err))
	}
	return v, nil
}

// own makes the caller the only one that writes some keys, all different, and
// returns their values.
func (ex *Executor) own(ctx context.Context, keys ...[]byte) ([][]byte, error) {
	for {
		ex.state.mu.Lock()
		done := ex.state.taken(keys)
		if done == nil {
			break
		}
		ex.state.mu.Unlock()
		if err := ex.failed(); err != nil {
			return nil, err // the keys stay taken
		}
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer ex.state.mu.Unlock()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		var err error
		if values[i], err = ex.get(key); err != nil {
			return nil, fmt.Errorf("evento: pebble: %w", classify(err))
		}
	}
	done := make(chan struct{})
	for i, key := range keys {
		ex.state.pending[string(key)] = durable{values[i], done}
	}
	return values, nil
}

// taken returns the end of a write under way of one of the keys; nil when none
// is being written.
func (s *state) taken(keys [][]byte) <-chan struct{} {
	for _, key := range keys {
		if d, ok := s.pending[string(key)]; ok {
			return d.done
		}
	}
	return nil
}

// disown lets others read and write the keys that were owned together.
func (ex *Executor) disown(keys ...[]byte) {
	ex.state.mu.Lock()
	defer ex.state.mu.Unlock()
	close(ex.state.pending[string(keys[0])].done)
	if ex.failed() != nil {
		return // what Pebble shows may not be on the disk
	}
	for _, key := range keys {
		delete(ex.state.pending, string(key))
	}
}

// update replaces the value of a key, durably. Change is given the old value,
// and returns the new one, or nil to leave it.
func (ex *Executor) update(ctx context.Context, key []byte, change func(old []byte) ([]byte, error)) error {
	if err := ex.begin(ctx); err != nil {
		return err
	}
	defer ex.end()
	old, err := ex.own(ctx, key)
	if err != nil {
		return err
	}
	defer ex.disown(key)
	value, err := change(old[0])
	if err != nil || value == nil {
		return err
	}
	b := ex.db.NewBatchWithSize(len(key) + len(value) + batchHeader + recordLengths)
	if err := b.Set(key, value, nil); err != nil {
		return fmt.Errorf("evento: pebble: %w", err)
	}
	return ex.store(ctx, b, func() {})
}

// store makes a batch durable. What is only known in the order, such as the
// time, ready fills in.
func (ex *Executor) store(ctx context.Context, b *lsm.Batch, ready func()) error {
	if ex.disk != nil {
		if err := ex.disk.room(b.Len()); err != nil {
			return err
		}
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	ready()
	err := ex.apply(b)
	ex.unlock()
	if err != nil {
		return err
	}
	if err := ex.wait(b); err != nil {
		return err
	}
	_ = b.Close() // its memory goes to the next batch
	return nil
}

// A snapshot's value is its version, its position, 8 bytes each, the length of
// its cursor in 4 bytes, the cursor, and the data.
const snapshotHeader = 20

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (s evento.Snapshot, err error) {
	if err := ex.begin(ctx); err != nil {
		return s, err
	}
	defer ex.end()
	v, err := ex.load(ex.keys.snapshot(key))
	switch {
	case err != nil:
		return s, err
	case v == nil:
		return s, fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, key.Projection, key.AggregateType, key.AggregateID)
	}
	s.Version, s.Position = snapshotAt(v)
	n := binary.BigEndian.Uint32(v[16:])
	s.Cursor = cursor.Value(v[snapshotHeader : snapshotHeader+n])
	s.Data = bytes.Clone(v[snapshotHeader+n:]) // v may be another's, too
	return s, nil
}

func snapshotAt(v []byte) (version, position uint64) {
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	return ex.update(ctx, ex.keys.snapshot(key), func(old []byte) ([]byte, error) {
		if old != nil {
			version, position := snapshotAt(old)
			if version > s.Version || version == s.Version && position > s.Position {
				return nil, nil
			}
		}
		v := make([]byte, 0, snapshotHeader+len(s.Cursor)+len(s.Data))
		v = binary.BigEndian.AppendUint64(v, s.Version)
		v = binary.BigEndian.AppendUint64(v, s.Position)
		v = binary.BigEndian.AppendUint32(v, uint32(len(s.Cursor)))
		v = append(v, s.Cursor...)
		return append(v, s.Data...), nil
	})
}
