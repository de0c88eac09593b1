package executortest_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// recordMutants keep records badly.
func recordMutants() []mutant {
	return []mutant{
		{"revisions ignored", []string{"Records/Revisions", "Records/AllOrNothing", "Records/OneWins", "Records/Shared", "History/Fixed"}, comparing(func(int) bool { return false })},
		{"only the first record compared", []string{"Records/AllOrNothing", "History/Fixed"}, comparing(func(i int) bool { return i == 0 })},
		{"a swap in pieces", []string{"Records/AllOrNothing", "Records/Together", "History/Fixed"}, func(b *bent) {
			b.swap = b.inPieces
		}},
		{"a swap compared as one and made in pieces", []string{"Records/Together"}, func(b *bent) {
			var mu sync.Mutex
			b.swap = func(ctx context.Context, s evento.Swap) error {
				mu.Lock()
				defer mu.Unlock()
				if err := b.compare(ctx, s); err != nil {
					return err
				}
				return b.inPieces(ctx, s)
			}
		}},
		{"a swap cancelled half-way", []string{"Contexts/EndingSwaps"}, func(b *bent) {
			b.swap = func(ctx context.Context, s evento.Swap) error {
				if err := b.compare(ctx, s); err != nil {
					return err
				}
				return b.inPieces(ctx, s)
			}
		}},
		{"a swap compared long before it is made", []string{"Records/OneWins", "Records/Counter"}, func(b *bent) {
			swap := b.swap
			comparing(func(int) bool { return false })(b)
			blind := b.swap
			b.swap = func(ctx context.Context, s evento.Swap) error {
				if err := b.compare(ctx, s); err != nil {
					return swap(ctx, s)
				}
				time.Sleep(time.Millisecond) // the way to the store
				return blind(ctx, s)
			}
		}},
		{"a stale swap told as another error", []string{"Records/Revisions", "History/Fixed"}, func(b *bent) {
			b.swap = func(ctx context.Context, s evento.Swap) error {
				if err := b.handle.Swap(ctx, s); errors.Is(err, evento.ErrSwapped) {
					return errors.New("try again")
				} else if err != nil {
					return err
				}
				return nil
			}
		}},
		{"Wake forgotten", []string{"Changed/Swap", "Changed/SwapSeen"}, func(b *bent) {
			b.swap = func(ctx context.Context, s evento.Swap) error {
				s.Wake = false
				return b.handle.Swap(ctx, s)
			}
		}},
		{"waking before the swap is visible", []string{"Changed/SwapSeen"}, func(b *bent) {
			b.swap = func(ctx context.Context, s evento.Swap) error {
				if s.Wake {
					s.Wake = false
					b.store.notify()
					time.Sleep(time.Millisecond) // the swap
				}
				return b.handle.Swap(ctx, s)
			}
		}},
		{"a revision that does not rise", []string{"Records/Revisions", "Records/OneWins", "History/Fixed"}, func(b *bent) {
			comparing(func(int) bool { return false })(b)
			eachRecord(b, func(r *evento.Record) { r.Revision = 1 })
		}},
		{"a revision that goes on after removal", []string{"Records/Revisions", "Records/AllOrNothing", "Records/Shared", "History/Fixed"}, revisionsGoOn},
		{"a removed record left empty", []string{"Records/Revisions", "Records/AllOrNothing", "Records/Apart", "History/Fixed"}, func(b *bent) {
			b.swap = func(ctx context.Context, s evento.Swap) error {
				if err := s.Check(); err != nil {
					return err
				}
				eachChange(&s, func(c *evento.Change) {
					if c.Remove {
						c.Remove, c.Value = false, nil
					}
				})
				return b.handle.Swap(ctx, s)
			}
		}},
		{"After included", []string{"Records/Pages", "Records/RandomPages", "History/Fixed"}, listing(func(r *evento.Record, q evento.RecordQuery) bool {
			return r.Compare(q.After) >= 0
		}, nil)},
		{"After taken for a whole key", []string{"Records/Pages", "Records/RandomPages"}, listing(func(r *evento.Record, q evento.RecordQuery) bool {
			return cmp.Or(cmp.Compare(r.Kind, q.After.Kind), cmp.Compare(r.Key, q.After.Key)) > 0
		}, nil)},
		{"After taken without its key", []string{"Records/Pages"}, listing(func(r *evento.Record, q evento.RecordQuery) bool {
			return r.Part > q.After.Part
		}, nil)},
		{"After taken without its kind", []string{"Records/Pages"}, listing(func(r *evento.Record, q evento.RecordQuery) bool {
			q.After.Kind = r.Kind
			return r.Compare(q.After) > 0
		}, nil)},
		{"a key taken for a beginning", []string{"Records/Order", "Records/Apart", "Records/Pages"}, func(b *bent) {
			b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
				key := q.Key
				q.Key = ""
				p, err := b.handle.Records(ctx, q)
				if err == nil {
					p.Records = slices.DeleteFunc(p.Records, func(r evento.Record) bool { return !strings.HasPrefix(r.Key, key) })
				}
				return p, err
			}
		}},
		{"an order of folded names", []string{"Records/Order"}, listing(behind, func(a, b evento.Record) int {
			return cmp.Or(strings.Compare(strings.ToLower(a.Key), strings.ToLower(b.Key)), strings.Compare(strings.ToLower(a.Part), strings.ToLower(b.Part)))
		})},
		{"an order of UTF-16", []string{"Records/Order"}, listing(behind, func(a, b evento.Record) int {
			return cmp.Or(slices.Compare(utf16.Encode([]rune(a.Key)), utf16.Encode([]rune(b.Key))), slices.Compare(utf16.Encode([]rune(a.Part)), utf16.Encode([]rune(b.Part))))
		})},
		{"an order of keys and parts put together", []string{"Records/Order"}, listing(behind, func(a, b evento.Record) int {
			return strings.Compare(a.Key+"/"+a.Part, b.Key+"/"+b.Part)
		})},
		{"an order of changes", []string{"Records/Order", "History/Fixed"}, listing(behind, func(a, b evento.Record) int {
			return a.ChangedAt.Compare(b.ChangedAt)
		})},
		{"Limit ignored", []string{"Records/Pages", "Records/RandomPages"}, func(b *bent) {
			b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
				q.Limit = 0
				return b.handle.Records(ctx, q)
			}
		}},
		{"a limit over the most cut", []string{"Records/RefusedQueries"}, func(b *bent) {
			b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
				q.Limit = min(q.Limit, evento.MaxRecords)
				return b.handle.Records(ctx, q)
			}
		}},
		{"More left out", []string{"Records/Pages", "Records/RandomPages", "History/Fixed"}, eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) { p.More = false })},
		{"More of a full page guessed", []string{"Records/Pages"}, eachRecordPage(func(p *evento.RecordPage, q evento.RecordQuery) {
			p.More = len(p.Records) == cmp.Or(q.Limit, evento.MaxRecords)
		})},
		{"a page of several moments", []string{"Records/Together"}, func(b *bent) {
			b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
				p, err := b.handle.Records(ctx, q)
				if err != nil {
					return nil, err
				}
				for i := range p.Records {
					r, now, err := b.record(ctx, p.Records[i].RecordKey)
					if err != nil {
						return nil, err
					}
					if r.Revision > 0 {
						p.Records[i], p.Now = r, now
					}
					runtime.Gosched()
				}
				return p, nil
			}
		}},
		{"kinds folded", []string{"Records/Apart"}, recordKeys(func(k *evento.RecordKey) { k.Kind = strings.ToLower(k.Kind) })},
		{"keys folded", []string{"Records/Order", "Records/Apart"}, recordKeys(func(k *evento.RecordKey) { k.Key = strings.ToLower(k.Key) })},
		{"parts folded", []string{"Records/Order", "Records/Apart"}, recordKeys(func(k *evento.RecordKey) { k.Part = strings.ToLower(k.Part) })},
		{"parts trimmed", []string{"Records/Order", "Records/Apart"}, recordKeys(func(k *evento.RecordKey) { k.Part = strings.TrimRight(k.Part, " ") })},
		{"all kinds one", []string{"Records/Apart", "Records/Pages"}, recordKeys(func(k *evento.RecordKey) { k.Kind = "one" })},
		{"keys and parts put together", []string{"Records/Apart"}, putTogether},
		{"values taken for text", []string{"Records/Values", "Records/Largest"}, eachChanged(func(c *evento.Change) { c.Value = bytes.ToValidUTF8(c.Value, []byte("?")) })},
		{"values cut at NUL", []string{"Records/Values", "Records/Largest"}, eachChanged(func(c *evento.Change) { c.Value, _, _ = bytes.Cut(c.Value, []byte{0}) })},
		{"values trimmed", []string{"Records/Values"}, eachChanged(func(c *evento.Change) { c.Value = bytes.TrimSpace(c.Value) })},
		{"no value taken for null", []string{"Records/Values"}, eachChanged(func(c *evento.Change) {
			if c.Value == nil {
				c.Value = []byte("null")
			}
		})},
		{"values over the most cut", []string{"Records/Refused"}, eachChanged(func(c *evento.Change) { c.Value = c.Value[:min(len(c.Value), evento.MaxRecord)] })},
		{"a record's bytes shared", []string{"Records/BytesAreCopied"}, func(b *bent) {
			var values sync.Map
			b.swap = func(ctx context.Context, s evento.Swap) error {
				err := b.handle.Swap(ctx, s)
				for _, c := range s.Changes {
					values.Store(c.RecordKey, c.Value)
				}
				return err
			}
			eachRecord(b, func(r *evento.Record) {
				if v, ok := values.Load(r.RecordKey); ok {
					r.Value = v.([]byte)
				}
			})
		}},
		{"a refused swap made without what is refused", []string{"Records/Refused"}, func(b *bent) {
			b.swap = func(ctx context.Context, s evento.Swap) error {
				err := b.handle.Swap(ctx, s)
				if errors.Is(err, evento.ErrInvalid) && len(s.Changes) > 1 {
					_ = b.handle.Swap(ctx, evento.Swap{Changes: s.Changes[:1]})
				}
				return err
			}
		}},
		{"the time of a record that of its making", []string{"Records/Times"}, func(b *bent) {
			var made sync.Map
			eachRecord(b, func(r *evento.Record) {
				at, _ := made.LoadOrStore(r.RecordKey, r.ChangedAt)
				r.ChangedAt = at.(time.Time)
			})
		}},
		{"the time of a record that of its key", []string{"Records/Times"}, eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) {
			for i := range p.Records {
				p.Records[i].ChangedAt = slices.MaxFunc(p.Records, func(a, b evento.Record) int { return a.ChangedAt.Compare(b.ChangedAt) }).ChangedAt
			}
		})},
		{"times in another zone", []string{"Records/Times"}, eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) {
			for i := range p.Records {
				p.Records[i].ChangedAt = p.Records[i].ChangedAt.In(time.FixedZone("", 3600))
			}
		})},
		{"Now in seconds", []string{"Records/Times"}, eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) { p.Now = p.Now.Truncate(time.Second) })},
		{"Now the time of the last change", []string{"Records/Times"}, eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) {
			for i, r := range p.Records {
				if i == 0 || r.ChangedAt.After(p.Now) {
					p.Now = r.ChangedAt
				}
			}
		})},
		{"Now that falls", []string{"Records/Times"}, func(b *bent) {
			var pages atomic.Int64
			eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) {
				if pages.Add(1)%2 == 0 {
					p.Now = p.Now.Add(time.Minute)
				}
			})(b)
		}},
		{"an ended context swaps", []string{"Contexts/Ended"}, func(b *bent) {
			b.swap = func(ctx context.Context, s evento.Swap) error {
				err := b.handle.Swap(context.WithoutCancel(ctx), s)
				return cmp.Or(ctx.Err(), err)
			}
		}},
		{"an ended context lists records", []string{"Contexts/Ended"}, func(b *bent) {
			b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
				return b.handle.Records(context.WithoutCancel(ctx), q)
			}
		}},
		{"records not outliving the executor", []string{"Reopen/Everything", "Records/Shared", "Records/OneWins"}, func(b *bent) {
			own := memory.New(nil)
			b.records, b.swap = own.Records, own.Swap
			b.shut = sync.OnceValue(func() error { return errors.Join(own.Close(), b.handle.Close()) })
		}},
		{"swaps acknowledged and lost by Close", []string{"Reopen/CallsUnderWay"}, func(b *bent) {
			var closing atomic.Bool
			lost := make(chan struct{}, 1)
			b.swap = func(ctx context.Context, s evento.Swap) error {
				if !closing.Load() {
					return b.handle.Swap(ctx, s)
				}
				if err := b.begin(); err != nil {
					return err
				}
				b.mu.RUnlock()
				select {
				case lost <- struct{}{}:
				default:
				}
				return nil
			}
			b.shut = func() error {
				closing.Store(true)
				for range 2 {
					select {
					case <-lost:
					case <-time.After(100 * time.Millisecond): // nobody swaps
					}
				}
				return b.handle.Close()
			}
		}},
		{"records of another executor seen late", []string{"Records/Shared"}, func(b *bent) {
			var mu sync.Mutex
			seen := map[evento.RecordQuery]*evento.RecordPage{}
			b.swap = func(ctx context.Context, s evento.Swap) error {
				mu.Lock()
				defer mu.Unlock()
				clear(seen)
				return b.handle.Swap(ctx, s)
			}
			b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
				mu.Lock()
				defer mu.Unlock()
				if p := seen[q]; p != nil {
					return p, nil
				}
				p, err := b.handle.Records(ctx, q)
				if err == nil {
					seen[q] = p
				}
				return p, err
			}
		}},
	}
}

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

// eachChanged changes changes on their way to the store.
func eachChanged(change func(*evento.Change)) func(*bent) {
	return func(b *bent) {
		b.swap = func(ctx context.Context, s evento.Swap) error {
			eachChange(&s, change)
			return b.handle.Swap(ctx, s)
		}
	}
}
