// How executors are bent to keep records badly.

package executortest_test

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento"
)

// record reads one record, as it is in the store.
func (b *bent) record(ctx context.Context, k evento.RecordKey) (evento.Record, time.Time, error) {
	all, now, err := b.allRecords(ctx, evento.RecordQuery{Kind: k.Kind, Key: k.Key})
	if i := slices.IndexFunc(all, func(r evento.Record) bool { return r.RecordKey == k }); i >= 0 {
		return all[i], now, err
	}
	return evento.Record{}, now, err
}

func (b *bent) allRecords(ctx context.Context, q evento.RecordQuery) ([]evento.Record, time.Time, error) {
	var all []evento.Record
	for {
		p, err := b.handle.Records(ctx, q)
		if err != nil {
			return nil, time.Time{}, err
		}
		all = append(all, p.Records...)
		if !p.More {
			return all, p.Now, nil
		}
		q.After = all[len(all)-1].RecordKey
	}
}

// compare returns ErrSwapped when a swap would.
func (b *bent) compare(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	for _, c := range s.Changes {
		r, _, err := b.record(ctx, c.RecordKey)
		if err != nil {
			return err
		}
		if r.Revision != c.Revision {
			return evento.ErrSwapped
		}
	}
	return nil
}

// inPieces makes each change as a swap of its own.
func (b *bent) inPieces(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	for i := range s.Changes {
		if err := b.handle.Swap(ctx, evento.Swap{Changes: s.Changes[i : i+1], Wake: s.Wake}); err != nil {
			return err
		}
		for range 20 { // the way to the store
			runtime.Gosched()
		}
	}
	return nil
}

// comparing looks only at the revisions of some changes, by their number.
func comparing(which func(int) bool) func(*bent) {
	return func(b *bent) {
		var mu sync.Mutex
		b.swap = func(ctx context.Context, s evento.Swap) error {
			if err := s.Check(); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for { // until nobody comes between
				made := evento.Swap{Wake: s.Wake}
				compared := false
				for i, c := range s.Changes {
					if which(i) {
						compared = true
						made.Changes = append(made.Changes, c)
						continue
					}
					r, _, err := b.record(ctx, c.RecordKey)
					if err != nil {
						return err
					}
					if c.Revision = r.Revision; !c.Remove || r.Revision > 0 {
						made.Changes = append(made.Changes, c)
					}
				}
				if len(made.Changes) == 0 {
					return nil
				}
				if err := b.handle.Swap(ctx, made); compared || !errors.Is(err, evento.ErrSwapped) {
					return err
				}
			}
		}
	}
}

// revisionsGoOn counts the revisions of a record that was removed on.
func revisionsGoOn(b *bent) {
	var mu sync.Mutex
	before := map[evento.RecordKey]uint64{}
	b.swap = func(ctx context.Context, s evento.Swap) error {
		mu.Lock()
		defer mu.Unlock()
		asked := slices.Clone(s.Changes)
		eachChange(&s, func(c *evento.Change) {
			if c.Revision > before[c.RecordKey] {
				c.Revision -= before[c.RecordKey]
			}
		})
		err := b.handle.Swap(ctx, s)
		if err == nil {
			for _, c := range asked {
				if c.Remove {
					before[c.RecordKey] = c.Revision
				}
			}
		}
		return err
	}
	b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
		mu.Lock()
		defer mu.Unlock()
		p, err := b.handle.Records(ctx, q)
		if err == nil {
			for i := range p.Records {
				p.Records[i].Revision += before[p.Records[i].RecordKey]
			}
		}
		return p, err
	}
}

// recordKeys changes keys on their way to the store.
func recordKeys(change func(*evento.RecordKey)) func(*bent) {
	return func(b *bent) {
		b.swap = func(ctx context.Context, s evento.Swap) error {
			eachChange(&s, func(c *evento.Change) { change(&c.RecordKey) })
			return b.handle.Swap(ctx, s)
		}
		b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
			kind := q.Kind
			k := evento.RecordKey{Kind: q.Kind, Key: q.Key}
			change(&k)
			q.Kind, q.Key = k.Kind, k.Key
			if q.After != (evento.RecordKey{}) {
				change(&q.After)
			}
			p, err := b.handle.Records(ctx, q)
			if err == nil {
				for i := range p.Records {
					p.Records[i].Kind = kind
				}
			}
			return p, err
		}
	}
}

// putTogether stores a record under its key and part in one.
func putTogether(b *bent) {
	var originals sync.Map
	b.swap = func(ctx context.Context, s evento.Swap) error {
		if err := s.Check(); err != nil {
			return err
		}
		eachChange(&s, func(c *evento.Change) {
			original := c.RecordKey
			c.Key, c.Part = c.Key+c.Part, ""
			originals.LoadOrStore(c.RecordKey, original)
		})
		return b.handle.Swap(ctx, s)
	}
	b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
		all, now, err := b.allRecords(ctx, evento.RecordQuery{Kind: q.Kind})
		if err != nil {
			return nil, err
		}
		for i := range all {
			original, _ := originals.Load(all[i].RecordKey)
			all[i].RecordKey = original.(evento.RecordKey)
		}
		return &evento.RecordPage{Records: slices.DeleteFunc(all, func(r evento.Record) bool { return q.Key != "" && r.Key != q.Key }), Now: now}, nil
	}
}

func behind(r *evento.Record, q evento.RecordQuery) bool { return r.Compare(q.After) > 0 }

// listing makes pages of the records behind After by another order; nil is the
// right one.
func listing(behind func(*evento.Record, evento.RecordQuery) bool, order func(a, b evento.Record) int) func(*bent) {
	return func(b *bent) {
		b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
			if err := q.Check(); err != nil {
				return nil, err
			}
			all, now, err := b.allRecords(ctx, evento.RecordQuery{Kind: q.Kind, Key: q.Key})
			if err != nil {
				return nil, err
			}
			if q.After != (evento.RecordKey{}) {
				all = slices.DeleteFunc(all, func(r evento.Record) bool { return !behind(&r, q) })
			}
			if order != nil {
				slices.SortStableFunc(all, order)
			}
			n := min(len(all), cmp.Or(q.Limit, evento.MaxRecords))
			return &evento.RecordPage{Records: all[:n], More: n < len(all), Now: now}, nil
		}
	}
}

func eachRecordPage(change func(*evento.RecordPage, evento.RecordQuery)) func(*bent) {
	return func(b *bent) {
		b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
			p, err := b.handle.Records(ctx, q)
			if err == nil {
				change(p, q)
			}
			return p, err
		}
	}
}

// eachRecord changes records on their way from the store.
func eachRecord(b *bent, change func(*evento.Record)) {
	eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) {
		for i := range p.Records {
			change(&p.Records[i])
		}
	})(b)
}

// eachChange changes changes, which stay the caller's.
func eachChange(s *evento.Swap, change func(*evento.Change)) {
	s.Changes = slices.Clone(s.Changes)
	for i := range s.Changes {
		change(&s.Changes[i])
	}
}

// eachChanged changes what is swapped on its way to the store.
func eachChanged(change func(*evento.Change)) func(*bent) {
	return func(b *bent) {
		b.swap = func(ctx context.Context, s evento.Swap) error {
			eachChange(&s, change)
			return b.handle.Swap(ctx, s)
		}
	}
}
