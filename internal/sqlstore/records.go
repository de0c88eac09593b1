// Pages of records.

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
// so many rows were asked for. Its time is now, or later when a record was
// changed later: the store's clock may have been set back.
func RecordPage(found []evento.Record, rows int, now time.Time) *evento.RecordPage {
	page := &evento.RecordPage{Records: found, Now: now}
	for i := range found {
		if found[i].ChangedAt.After(page.Now) {
			page.Now = found[i].ChangedAt
		}
	}
	if page.More = rows > 0 && len(found) >= rows; page.More {
		page.Records = found[:rows-1]
	}
	return page
}

// InOrder sorts a copy of changes, so that no two swaps wait for each other.
func InOrder(changes []evento.Change) []evento.Change {
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b evento.Change) int { return a.Compare(b.RecordKey) })
	return changes
}
