// What becomes of a write: accepted, refused, or stored already.

package sqlstore

import "github.com/evento-go/evento"

// Judging is what [Judge] asks of a transaction in which nobody else appends.
type Judging interface {
	// Version is that of the aggregate of the write's append i.
	Version(i int) int64
	// VersionOf is the version at which the store has an event of that aggregate,
	// by its id.
	VersionOf(i int, id *evento.ID) (version int64, found bool, err error)
	// PositionOf is the position of that event, if it has this version.
	PositionOf(i int, version int64, id *evento.ID) (position int64, found bool, err error)
}

// Judge decides on a write. Receipts are those of the same write when it was stored
// before; refusal says why it does not fit. When there is neither it is to be
// appended.
func Judge(w *evento.Write, j Judging) (receipts []evento.Receipt, refusal, err error) {
	if w.Retry {
		if receipts, err = earlier(w, j); err != nil || receipts != nil {
			return receipts, nil, err
		}
	}
	for i := range w.Appends {
		a, actual := &w.Appends[i], uint64(j.Version(i))
		if a.AnyVersion || a.Expected == actual {
			continue
		}
		if receipts, err = earlier(w, j); err == nil && receipts == nil {
			refusal = &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: actual}
		}
		return receipts, refusal, err
	}
	return nil, nil, nil
}

// earlier looks for the whole write in the store, by the ids of its events.
func earlier(w *evento.Write, j Judging) ([]evento.Receipt, error) {
	receipts := make([]evento.Receipt, len(w.Appends))
	for i := range w.Appends {
		a := &w.Appends[i]
		first := int64(a.Expected) + 1
		if a.AnyVersion || w.Retry {
			v, found, err := j.VersionOf(i, &a.Events[0].ID)
			if err != nil || !found {
				return nil, err
			}
			first = v
		}
		for n := range a.Events {
			position, found, err := j.PositionOf(i, first+int64(n), &a.Events[n].ID)
			if err != nil || !found {
				return nil, err
			}
			receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: uint64(first) + uint64(n), Position: uint64(position)}
		}
	}
	return receipts, nil
}
