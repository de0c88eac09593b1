// Records.

package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/evento-go/evento"
)

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.lock(ctx); err != nil {
		return nil, err
	}
	defer ex.mu.Unlock()
	page := &evento.RecordPage{Now: ex.now()}
	from := evento.RecordKey{Kind: q.Kind, Key: q.Key}
	if q.After.Compare(from) >= 0 {
		from = q.After
	}
	at, found := ex.record(from)
	if found && from == q.After {
		at++
	}
	for most := cmp.Or(q.Limit, evento.MaxRecords); at < len(ex.records); at++ {
		r := *ex.records[at]
		if r.Kind != q.Kind || q.Key != "" && r.Key != q.Key {
			break
		}
		if page.More = len(page.Records) == most; page.More {
			break
		}
		r.Value = bytes.Clone(r.Value)
		page.Records = append(page.Records, r)
	}
	return page, nil
}

// record returns the place of a record, or, if it is not there, where it would be.
func (ex *Executor) record(key evento.RecordKey) (at int, found bool) {
	return slices.BinarySearchFunc(ex.records, key, func(r *evento.Record, key evento.RecordKey) int { return r.Compare(key) })
}

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	defer ex.mu.Unlock()
	if err := ex.swap(s.Changes); err != nil {
		return err
	}
	if s.Wake {
		ex.changed.Notify()
	}
	return nil
}

// swap makes all changes or none. The caller holds the lock.
func (ex *Executor) swap(changes []evento.Change) error {
	for _, c := range changes {
		at := uint64(0)
		if i, found := ex.record(c.RecordKey); found {
			at = ex.records[i].Revision
		}
		if at != c.Revision {
			return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
		}
	}
	now := ex.now()
	for _, c := range changes {
		i, found := ex.record(c.RecordKey)
		r := &evento.Record{RecordKey: c.RecordKey, Revision: c.Revision + 1, ChangedAt: now, Value: bytes.Clone(c.Value)}
		switch {
		case c.Remove:
			ex.records = slices.Delete(ex.records, i, i+1)
		case found:
			ex.records[i] = r
		default:
			ex.records = slices.Insert(ex.records, i, r)
		}
	}
	return nil
}
