// Pages of records and of snapshots.

package sqlstore

import (
	"cmp"
	"slices"
	"time"

	"github.com/evento-go/evento"
)

// RecordsAfter says how a query of records is asked: for those of its kind and
// key that come after a key and part, and for so many rows. One of them is only
// to know whether there are more; 0: there is nothing to ask for.
func RecordsAfter(q evento.RecordQuery) (after evento.RecordKey, rows int) {
	switch after = q.After; {
	case after.Kind < q.Kind:
		after = evento.RecordKey{} // all of them
	case after.Kind > q.Kind || q.Key != "" && after.Key > q.Key:
		return after, 0
	}
	return after, cmp.Or(q.Limit, evento.MaxRecords) + 1
}

// RecordPage makes a page of the records that were found, in their order, when
// so many rows were asked for.
func RecordPage(found []evento.Record, rows int, now time.Time) *evento.RecordPage {
	page := &evento.RecordPage{Records: found, Now: now}
	if page.More = rows > 0 && len(found) >= rows; page.More {
		page.Records = found[:rows-1]
	}
	return page
}

// SnapshotsAfter says how a query of snapshots is asked: for those of its
// projection that come after a key, and for so many rows. One of them is only to
// know whether there are more; 0: there is nothing to ask for. Where the query
// has a projection and there are rows to ask for, the key has the same one.
func SnapshotsAfter(q evento.SnapshotQuery) (after evento.SnapshotKey, rows int) {
	after = q.After
	switch {
	case q.Projection == "":
	case after.Projection < q.Projection:
		after = evento.SnapshotKey{Projection: q.Projection}
	case after.Projection > q.Projection:
		return after, 0
	}
	return after, cmp.Or(q.Limit, evento.MaxRecords) + 1
}

// InOrder sorts a copy of changes, so that no two swaps wait for each other.
func InOrder(changes []evento.Change) []evento.Change {
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b evento.Change) int { return a.Compare(b.RecordKey) })
	return changes
}
