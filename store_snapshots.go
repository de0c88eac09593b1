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

// SnapshotKey identifies the state that a snapshot holds.
//
// Why: docs/decisions.md, "Snapshots carry the shape of the state".
type SnapshotKey struct {
	// Projection and Revision are the projection's. A revision fits in 63
	// bits.
	Projection string `json:"projection"`
	Revision   uint64 `json:"revision"`
	// Variant distinguishes states of different shapes or with different related
	// aggregates. It is 64 hexadecimal digits: 32 for the shape and 32 for the
	// related aggregates.
	Variant       string        `json:"variant"`
	AggregateType AggregateType `json:"aggregateType"`
	AggregateID   string        `json:"aggregateId"`
}

// Compare orders keys by Projection, Revision, Variant, AggregateType and
// AggregateID, texts bytewise.
func (k SnapshotKey) Compare(other SnapshotKey) int {
	return cmp.Or(
		cmp.Compare(k.Projection, other.Projection), cmp.Compare(k.Revision, other.Revision), cmp.Compare(k.Variant, other.Variant),
		cmp.Compare(k.AggregateType, other.AggregateType), cmp.Compare(k.AggregateID, other.AggregateID))
}

// Check returns an error for a key that some store could not keep: its texts are names
// like any other, of which all but the projection's may be empty. Executors call it
// before they store or find a snapshot.
func (k SnapshotKey) Check() error {
	if err := checkName("projection name", k.Projection); err != nil {
		return err
	}
	if k.Revision > math.MaxInt64 {
		return fmt.Errorf("%w revision: %d", ErrInvalid, k.Revision)
	}
	for _, name := range []struct{ what, text string }{
		{"snapshot variant", k.Variant}, {"aggregate type", string(k.AggregateType)}, {"aggregate id", k.AggregateID},
	} {
		if name.text == "" {
			continue
		}
		if err := checkName(name.what, name.text); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot is a stored projection state.
type Snapshot struct {
	// Version is the aggregate's, Position that of the last applied event. Both fit
	// in 63 bits.
	Version  uint64 `json:"version"`
	Position uint64 `json:"position"`
	// Cursor is the place after which the replay continues.
	Cursor cursor.Value `json:"cursor"`
	// Data is the encoded state.
	Data []byte `json:"data"`
}

// SnapshotQuery chooses stored snapshots.
type SnapshotQuery struct {
	// Projection selects the snapshots of one projection; "" selects all.
	Projection string
	// After is the key after which the page begins. No snapshot needs to have it;
	// the zero value begins at the first. A key without an AggregateID is before
	// all snapshots of its projection, revision, variant and type. Its texts must
	// be valid UTF-8 without NUL; the other rules of stored names do not apply.
	After SnapshotKey
	// States asks for complete snapshots; otherwise the page has only their keys,
	// versions, positions and sizes.
	States bool
	// Limit is the most snapshots in the page, up to [MaxRecords]. 0: MaxRecords.
	Limit int
}

// Check returns an error for a query that no store accepts. Executors call it
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
	Snapshots []StoredSnapshot `json:"snapshots"`
	// More: there are further snapshots after these.
	More bool `json:"more"`
}

// StoredSnapshot is a snapshot with its key. Without States in the query its
// Cursor and Data are empty.
type StoredSnapshot struct {
	SnapshotKey
	Snapshot
	// Size is the number of bytes in Data, even if Data was not asked for.
	Size int `json:"size"`
}

// snapshots ranges over the snapshots of a query, page after page, each page twice
// as large as the one before. When a page has ended, next maps its last key to the
// key after which the next page begins; nil: that key itself. At most one error is
// yielded, and it is last.
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
