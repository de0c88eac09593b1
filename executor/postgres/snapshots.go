// Snapshots.

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, k evento.SnapshotKey) (s evento.Snapshot, err error) {
	if err := k.Check(); err != nil {
		return s, err
	}
	err = ex.call(ctx, func() error {
		var version, position int64
		err := ex.db(ctx).QueryRow(ctx, ex.sql.snapshot, k.Projection, int64(k.Revision), k.Variant, string(k.AggregateType), k.AggregateID).
			Scan(&version, &position, &s.Cursor, &s.Data)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, k.Projection, k.AggregateType, k.AggregateID)
		}
		s.Version, s.Position = uint64(version), uint64(position)
		return err
	})
	if err != nil {
		return evento.Snapshot{}, err
	}
	return s, nil
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, k evento.SnapshotKey, s evento.Snapshot) error {
	if err := store.CheckSnapshot(k, s); err != nil {
		return err
	}
	return ex.call(ctx, func() error {
		_, err := ex.db(ctx).Exec(ctx, ex.sql.saveSnapshot, k.Projection, int64(k.Revision), k.Variant, string(k.AggregateType), k.AggregateID,
			int64(s.Version), int64(s.Position), string(s.Cursor), sqlstore.NotNull(s.Data))
		return err
	})
}

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (page *evento.SnapshotPage, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	err = ex.call(ctx, func() error {
		page, err = ex.readSnapshots(ctx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

func (ex *Executor) readSnapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	text := ex.sql.snapshots
	if q.Projection != "" {
		text = ex.sql.snapshotsOf
	}
	after, most := sqlstore.SnapshotsAfter(q)
	rows, err := ex.db(ctx).Query(ctx, text, after.Projection, int64(after.Revision), after.Variant, string(after.AggregateType), after.AggregateID,
		most, q.States, int64(evento.PageBytes))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	page := store.SnapshotsOf(q)
	for rows.Next() {
		var s evento.StoredSnapshot
		var revision, version, position int64
		if err := rows.Scan(&s.Projection, &revision, &s.Variant, &s.AggregateType, &s.AggregateID, &version, &position, &s.Size, &s.Cursor, &s.Data); err != nil {
			return nil, err
		}
		s.Revision, s.Version, s.Position = uint64(revision), uint64(version), uint64(position)
		if !page.Take(s) {
			break
		}
	}
	rows.Close()
	return page.Page(), rows.Err()
}

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := store.CheckKeys(keys); err != nil {
		return err
	}
	n := len(keys)
	projections, revisions, variants, types, ids := make([]string, n), make([]int64, n), make([]string, n), make([]string, n), make([]string, n)
	for i, k := range keys {
		projections[i], revisions[i], variants[i], types[i], ids[i] = k.Projection, int64(k.Revision), k.Variant, string(k.AggregateType), k.AggregateID
	}
	return ex.call(ctx, func() error {
		if n == 0 {
			return nil
		}
		_, err := ex.db(ctx).Exec(ctx, ex.sql.removeSnapshots, projections, revisions, variants, types, ids)
		return err
	})
}
