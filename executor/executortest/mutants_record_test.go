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
	"github.com/evento-go/evento/cursor"
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
		{"After refused that cannot be stored", []string{"Records/AfterStrangeNames"}, func(b *bent) {
			b.records = func(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
				if strings.ContainsAny(q.After.Kind+q.After.Key+q.After.Part, "\n\t\r\x1b\x7f") {
					return nil, evento.ErrInvalid
				}
				return b.handle.Records(ctx, q)
			}
		}},
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
		{"Now ahead of the clock of changes", []string{"Records/Times"}, eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) { p.Now = p.Now.Add(time.Minute) })},
		{"Now behind the clock of changes", []string{"Records/Times"}, eachRecordPage(func(p *evento.RecordPage, _ evento.RecordQuery) { p.Now = p.Now.Add(-time.Minute) })},
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
			p, err := b.handle.Read(context.Background(), evento.Query{}, cursor.Backward(1, ""))
			if err != nil || len(p.Edges) > 0 {
				return // it was reopened, to be looked at
			}
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
					case <-time.After(time.Second): // nobody swaps
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
