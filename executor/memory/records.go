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
	for _, r := range ex.records {
		if r.Kind == q.Kind && (q.Key == "" || r.Key == q.Key) && r.Compare(q.After) > 0 {
			r.Value = bytes.Clone(r.Value)
			page.Records = append(page.Records, r)
		}
	}
	slices.SortFunc(page.Records, func(a, b evento.Record) int { return a.Compare(b.RecordKey) })
	if most := cmp.Or(q.Limit, evento.MaxRecords); len(page.Records) > most {
		page.Records, page.More = page.Records[:most], true
	}
	return page, nil
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
		if at := ex.records[c.RecordKey].Revision; at != c.Revision {
			return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
		}
	}
	now := ex.now()
	for _, c := range changes {
		if c.Remove {
			delete(ex.records, c.RecordKey)
			continue
		}
		ex.records[c.RecordKey] = evento.Record{RecordKey: c.RecordKey, Revision: c.Revision + 1, ChangedAt: now, Value: bytes.Clone(c.Value)}
	}
	return nil
}
