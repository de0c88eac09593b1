// Snapshots, as executors store them.

package evento

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/evento-go/evento/cursor"
)

// SnapshotKey says whose state a snapshot is. Snapshots with different keys
// never meet.
type SnapshotKey struct {
	// Projection and Revision are the projection's. A revision fits in 63
	// bits.
	Projection string
	Revision   uint64
	// Variant tells apart states of different shape, or that joined in
	// different related aggregates: 64 hexadecimal digits, half of them for
	// either.
	Variant       string
	AggregateType AggregateType
	AggregateID   string
}

// Compare orders keys by Projection, Revision, Variant, AggregateType and
// AggregateID, texts bytewise.
func (k SnapshotKey) Compare(other SnapshotKey) int {
	return cmp.Or(
		cmp.Compare(k.Projection, other.Projection), cmp.Compare(k.Revision, other.Revision), cmp.Compare(k.Variant, other.Variant),
		cmp.Compare(k.AggregateType, other.AggregateType), cmp.Compare(k.AggregateID, other.AggregateID))
}

// Snapshot is a stored projection state.
type Snapshot struct {
	// Version is the aggregate's, Position that of the last event applied.
	Version, Position uint64
	// Cursor is the place after which replay goes on.
	Cursor cursor.Value
	// Data is the encoded state.
	Data []byte
}

// SnapshotQuery chooses stored snapshots.
type SnapshotQuery struct {
	// Projection chooses those of one projection; "" chooses all.
	Projection string
	// After goes on behind a key, which need not exist; the zero value begins
	// with the first. A key without an AggregateID is before all those of its
	// projection, revision, variant and type. Its texts are valid UTF-8 without
	// NUL, and otherwise may be what is not stored.
	After SnapshotKey
	// States asks for the snapshots themselves; otherwise the page has their
	// keys, versions and positions.
	States bool
	// Limit is the most snapshots in the page, up to [MaxRecords]. 0: MaxRecords.
	Limit int
}

// Check returns an error for a query that no store takes. Executors call it
// first.
func (q SnapshotQuery) Check() error {
	if q.Projection != "" {
		if err := checkName("projection name", q.Projection); err != nil {
			return err
		}
	}
	if q.Limit < 0 || q.Limit > MaxRecords {
		return fmt.Errorf("%w limit: %d snapshots, 0 to %d are allowed", ErrInvalid, q.Limit, MaxRecords)
	}
	if q.After.Revision > math.MaxInt64 {
		return fmt.Errorf("%w revision: %d", ErrInvalid, q.After.Revision)
	}
	return checkAfter(q.After.Projection, q.After.Variant, string(q.After.AggregateType), q.After.AggregateID)
}

// SnapshotPage is what Snapshots returns.
type SnapshotPage struct {
	Snapshots []StoredSnapshot
	// More: there are snapshots behind these.
	More bool
}

// StoredSnapshot is a snapshot with its key. Without States in the query its
// Cursor and Data are empty.
type StoredSnapshot struct {
	SnapshotKey
	Snapshot
	// Size is the number of bytes in Data, also when that was not asked for.
	Size int
}

// snapshots ranges over the snapshots of a query, page after page, each page twice
// as large as the one before. Next says behind which key to go on when a page ended
// with another; nil: behind that one. At most one error is yielded, and it is last.
func snapshots(ctx context.Context, ex Executor, q SnapshotQuery, next func(last SnapshotKey) SnapshotKey) iter.Seq2[StoredSnapshot, error] {
	return func(yield func(StoredSnapshot, error) bool) {
		for q := q; ; q.Limit = min(2*q.Limit, MaxRecords) {
			page, err := ex.Snapshots(ctx, q)
			if err != nil {
				yield(StoredSnapshot{}, err)
				return
			}
			for _, s := range page.Snapshots {
				if !yield(s, nil) {
					return
				}
				q.After = s.SnapshotKey
			}
			if !page.More {
				return
			}
			if next != nil {
				q.After = next(q.After)
			}
		}
	}
}
