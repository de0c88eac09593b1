// Writes that were made before.

package pebble

import (
	"context"
	"slices"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// made is what was found of a write that may have been made before.
type made struct {
	receipts []evento.Receipt // position 0: not found
	upTo     uint64           // the position up to which was searched
}

func newMade(w *evento.Write) *made {
	return &made{receipts: make([]evento.Receipt, len(w.Appends))}
}

func (m *made) all() bool {
	return !slices.ContainsFunc(m.receipts, func(r evento.Receipt) bool { return r.Position == 0 })
}

// search looks for the events of a write, by their ids, from where it stopped
// the last time up to a position. The events of a write are stored together, so they
// are all before or all after that place.
func (ex *Executor) search(ctx context.Context, w *evento.Write, m *made, upTo uint64) error {
	for i := range w.Appends {
		if m.receipts[i].Position != 0 {
			continue
		}
		a := &w.Appends[i]
		first := uint64(0)
		if !w.Retry && !a.AnyVersion {
			first = a.Expected + 1
		}
		var err error
		if m.receipts[i], err = ex.find(ctx, a, first, m.upTo+1, upTo); err != nil {
			return err
		}
	}
	m.upTo = upTo
	return nil
}

// find returns the receipt of an append that is stored between two positions, its first
// event at a version; 0: at any version.
func (ex *Executor) find(ctx context.Context, a *evento.Append, first, from, to uint64) (r evento.Receipt, err error) {
	it, err := ex.iterate(ex.keys.aggregate(a.AggregateType, a.AggregateID), from, to)
	if err != nil {
		return r, err
	}
	defer func() { err = closeAfter(it, err) }()
	// From the end: what is tried again was tried lately.
	n := 0
	for ok := it.Last(); ok; ok = it.Prev() {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return r, ctx.Err()
		}
		v, err := valueOf(it)
		if err != nil {
			return r, err
		}
		if first > v.version() {
			return r, nil
		}
		if v.id() != a.Events[0].ID || first != 0 && first != v.version() {
			continue
		}
		position := v.position()
		if r, err = followed(it, a); err != nil || r.Position != 0 {
			return r, err
		}
		it.SeekGE(at(ex.keys.aggregate(a.AggregateType, a.AggregateID), position))
	}
	return r, nil
}

// followed looks whether the events of an append are those from where an
// iterator is.
func followed(it *lsm.Iterator, a *evento.Append) (evento.Receipt, error) {
	for i, ok := 0, true; ok; ok = it.Next() {
		v, err := valueOf(it)
		if err != nil || v.id() != a.Events[i].ID {
			return evento.Receipt{}, err
		}
		if i++; i == len(a.Events) {
			return evento.Receipt{AggregateID: a.AggregateID, Version: v.version(), Position: v.position()}, nil
		}
	}
	return evento.Receipt{}, it.Error()
}

// earlier returns the receipts of a write that was made before, once it is durable. It
// does not heed a context, because the write is made.
func (ex *Executor) earlier(m *made) ([]evento.Receipt, error) {
	last := uint64(0)
	for i := range m.receipts {
		last = max(last, m.receipts[i].Position)
	}
	if err := ex.shown(context.Background(), last); err != nil {
		return nil, store.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
	}
	return m.receipts, nil
}

// conflict answers a write that does not fit what was applied: it was made
// before, or it conflicts with what is durable.
func (ex *Executor) conflict(ctx context.Context, w *evento.Write, c *conflicted, applied uint64) ([]evento.Receipt, error) {
	if !w.Retry && c.err.Condition == 0 { // else it was looked for, or is not stored
		m := newMade(w)
		if err := ex.search(ctx, w, m, applied); err != nil {
			return nil, failure(err)
		}
		if m.all() {
			return ex.earlier(m)
		}
	}
	if err := ex.shown(ctx, c.position); err != nil {
		return nil, err
	}
	return nil, c.err
}
