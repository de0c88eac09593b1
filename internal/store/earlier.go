// Finding a write that was made before, by reading.

package store

import (
	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// earlierPage is how many events are read at a time, from the end: what is tried again was
// tried lately.
const earlierPage = 100

// FindEarlier returns the receipts of a write whose events are stored; nil: they are not.
// The events of a write are stored together, so the last of each append tells.
func FindEarlier(read Reader, w *evento.Write) ([]evento.Receipt, error) {
	receipts := make([]evento.Receipt, len(w.Appends))
	for i := range w.Appends {
		a := &w.Appends[i]
		found, err := findAppend(read, a, w.Retry || a.AnyVersion)
		if err != nil || found == nil {
			return nil, err
		}
		receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: found.Version, Position: found.Position}
	}
	return receipts, nil
}

// findAppend returns the last event of an append, if it is stored at the version that was
// expected, or anywhere.
func findAppend(read Reader, a *evento.Append, anywhere bool) (*evento.RawEvent, error) {
	last := a.Events[len(a.Events)-1].ID
	q := evento.Query{Filters: []evento.Filter{evento.ByID(a.AggregateType, a.AggregateID)}}
	for before := cursor.Value(""); ; {
		page, err := read(q, cursor.Backward(earlierPage, before))
		if err != nil {
			return nil, err
		}
		for i := len(page.Edges) - 1; i >= 0; i-- {
			switch e := &page.Edges[i].Node; {
			case e.ID == last:
				return e, nil
			case !anywhere && e.Version <= a.Expected:
				return nil, nil
			}
		}
		if !page.PageInfo.HasPreviousPage {
			return nil, nil
		}
		before = page.PageInfo.StartCursor
	}
}
