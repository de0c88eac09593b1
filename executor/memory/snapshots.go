// Snapshots.

package memory

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
	if err := key.Check(); err != nil {
		return evento.Snapshot{}, err
	}
	if err := ex.rlock(ctx); err != nil {
		return evento.Snapshot{}, err
	}
	defer ex.mu.RUnlock()
	s, ok := ex.snapshots[key]
	if !ok {
		return evento.Snapshot{}, fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, key.Projection, key.AggregateType, key.AggregateID)
	}
	s.Data = bytes.Clone(s.Data)
	return s, nil
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := store.CheckSnapshot(key, s); err != nil {
		return err
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	defer ex.mu.Unlock()
	if old, ok := ex.snapshots[key]; ok && (old.Version > s.Version || old.Version == s.Version && old.Position > s.Position) {
		return nil
	}
	if _, known := ex.snapshots[key]; !known {
		ex.inOrder = nil
	}
	s.Data = bytes.Clone(s.Data)
	ex.snapshots[key] = s
	return nil
}

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.lock(ctx); err != nil {
		return nil, err
	}
	defer ex.mu.Unlock()
	if ex.inOrder == nil {
		ex.inOrder = slices.SortedFunc(maps.Keys(ex.snapshots), evento.SnapshotKey.Compare)
	}
	page := store.SnapshotsOf(q)
	from, after := slices.BinarySearchFunc(ex.inOrder, q.After, evento.SnapshotKey.Compare)
	if after {
		from++
	}
	for _, key := range ex.inOrder[from:] {
		if q.Projection != "" && key.Projection != q.Projection {
			continue
		}
		s := evento.StoredSnapshot{SnapshotKey: key, Snapshot: ex.snapshots[key], Size: len(ex.snapshots[key].Data)}
		if q.States {
			s.Data = bytes.Clone(s.Data)
		}
		if !page.Take(s) {
			break
		}
	}
	return page.Page(), nil
}

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := store.CheckKeys(keys); err != nil {
		return err
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	defer ex.mu.Unlock()
	for _, key := range keys {
		delete(ex.snapshots, key)
	}
	ex.inOrder = nil
	return nil
}
