// Snapshots: each tenant has projections of its own.
//
// The ids of aggregates are unique in the store, so the snapshots of two tenants would not meet
// anyway. The prefix keeps a tenant from listing and removing those of others, and from finding
// what the store's own loads have saved. It is before the Projection, which is compared first:
// so what belongs to a tenant is together in the order of keys, and in the tenant's own order.

package routed

import (
	"cmp"
	"context"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

func (ex *Executor) storedKey(key evento.SnapshotKey) evento.SnapshotKey {
	key.Projection = ex.prefix + key.Projection
	return key
}

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (s evento.Snapshot, err error) {
	if err := key.Check(); err != nil {
		return s, err
	}
	leave, err := ex.enter(ctx)
	if err != nil {
		return s, err
	}
	defer leave()
	return ex.of.Snapshot(ctx, ex.storedKey(key))
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := store.CheckSnapshot(key, s); err != nil {
		return err
	}
	leave, err := ex.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return ex.of.SaveSnapshot(ctx, ex.storedKey(key), s)
}

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	leave, err := ex.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	stored := make([]evento.SnapshotKey, len(keys))
	for i := range keys {
		stored[i] = ex.storedKey(keys[i])
	}
	return ex.of.RemoveSnapshots(ctx, stored)
}

// firstListed is how many snapshots are read at first to list those of all projections. What
// comes behind the tenant's own is read for nothing.
const firstListed = 32

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	leave, err := ex.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	stored := q
	stored.After = ex.storedKey(q.After)
	if q.Projection == "" {
		return ex.allSnapshots(ctx, q, stored)
	}
	stored.Projection = ex.prefix + q.Projection
	page, err := ex.of.Snapshots(ctx, stored)
	if err != nil {
		return nil, err
	}
	for i := range page.Snapshots {
		page.Snapshots[i].Projection = q.Projection
	}
	return page, nil
}

// allSnapshots lists the snapshots of all projections: of those that the store has from a key
// on, the ones before the first without the prefix.
func (ex *Executor) allSnapshots(ctx context.Context, q, stored evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	most := cmp.Or(q.Limit, evento.MaxRecords)
	filled := store.SnapshotsOf(q)
	for n := firstListed; ; n *= 2 {
		left := most - len(filled.Page().Snapshots)
		stored.Limit = min(n, left+1, evento.MaxRecords) // one more, to know whether there are more
		page, err := ex.of.Snapshots(ctx, stored)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Snapshots {
			stored.After = s.SnapshotKey
			name, mine := strings.CutPrefix(s.Projection, ex.prefix)
			if !mine {
				return filled.Page(), nil
			}
			s.Projection = name
			if name != "" && !filled.Take(s) {
				return filled.Page(), nil
			}
		}
		if !page.More {
			return filled.Page(), nil
		}
	}
}
