package executortest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// conditionMutants judge the conditions of writes wrongly.
func conditionMutants() []mutant {
	// without judges the conditions by reading, and stores the write in any case when
	// they hold.
	without := func(b *bent, ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		for i, c := range w.Unless {
			page, err := b.handle.Read(ctx, c.Query, cursor.Onward(1, c.After))
			if err != nil {
				return nil, err
			}
			if len(page.Edges) > 0 {
				return nil, &evento.ConflictError{Condition: i + 1, Position: page.Edges[0].Node.Position}
			}
		}
		w.Unless = nil
		time.Sleep(time.Millisecond) // in which others write
		return b.handle.Write(ctx, w)
	}
	changed := func(change func(*evento.Condition)) func(b *bent) {
		return func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				w.Unless = slices.Clone(w.Unless)
				for i := range w.Unless {
					change(&w.Unless[i])
				}
				return b.handle.Write(ctx, w)
			}
		}
	}
	return []mutant{
		{"conditions passed over", []string{"Conditions/Each", "Conditions/Several", "Conditions/Racers", "Conditions/FarBehind", "History/Fixed"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				w.Unless = nil
				return b.handle.Write(ctx, w)
			}
		}},
		{"conditions judged before the lock", []string{"Conditions/Racers"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				if !w.Retry {
					return without(b, ctx, w)
				}
				return b.handle.Write(ctx, w)
			}
		}},
		{"conditions judged before earlier attempts", []string{"Conditions/Retry"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) { return without(b, ctx, w) }
		}},
		{"the first condition alone judged", []string{"Conditions/Several", "History/Fixed"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				w.Unless = w.Unless[:min(len(w.Unless), 1)]
				return b.handle.Write(ctx, w)
			}
		}},
		{"the first filter of a condition alone judged", []string{"Conditions/Each", "History/Fixed"}, changed(func(c *evento.Condition) { c.Query.Filters = c.Query.Filters[:min(len(c.Query.Filters), 1)] })},
		{"of a condition's tags the first alone judged", []string{"Conditions/Each", "Tags/Conditions", "History/Fixed"}, changed(func(c *evento.Condition) {
			c.Query.Filters = slices.Clone(c.Query.Filters)
			for i := range c.Query.Filters {
				f := &c.Query.Filters[i]
				f.Tags = f.Tags[:min(len(f.Tags), 1)]
			}
		})},
		{"a condition's tags passed over", []string{"Conditions/Each", "Tags/Conditions", "History/Fixed"}, changed(func(c *evento.Condition) {
			c.Query.Filters = slices.Clone(c.Query.Filters)
			for i := range c.Query.Filters {
				c.Query.Filters[i].Tags = nil
			}
			if slices.ContainsFunc(c.Query.Filters, func(f evento.Filter) bool { return f.AggregateType == "" }) {
				c.Query.Filters = nil // everything
			}
		})},
		{"the routing key of a condition passed over", []string{"Conditions/Each", "History/Fixed"}, changed(func(c *evento.Condition) { c.Query.RoutingKey, c.Query.Unrouted = "", false })},
		{"a condition's place passed over", []string{"Conditions/Each", "Conditions/Several", "History/Fixed"}, changed(func(c *evento.Condition) { c.After = "" })},
	}
}

// recordMutantsOfWrites change the records of a write, and not with it.
func recordMutantsOfWrites() []mutant {
	swapping := func(change func(b *bent, ctx context.Context, w evento.Write) ([]evento.Receipt, error)) func(b *bent) {
		return func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				if w.Swap == nil || w.Swap.Check() != nil {
					return b.handle.Write(ctx, w)
				}
				return change(b, ctx, w)
			}
		}
	}
	return []mutant{
		{"a write's records passed over", []string{"WithRecords/Both", "WithRecords/Neither", "WithRecords/Once", "History/Fixed"}, swapping(func(b *bent, ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			w.Swap = nil
			return b.handle.Write(ctx, w)
		})},
		{"a write's records changed before it", []string{"WithRecords/Neither", "WithRecords/Retry", "History/Fixed"}, swapping(func(b *bent, ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			if err := b.handle.Swap(ctx, *w.Swap); err != nil {
				return nil, err
			}
			w.Swap = nil
			return b.handle.Write(ctx, w)
		})},
		{"a write's records changed behind it", []string{"WithRecords/Neither", "WithRecords/Once", "History/Fixed"}, swapping(func(b *bent, ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			s := *w.Swap
			w.Swap = nil
			receipts, err := b.handle.Write(ctx, w)
			if err == nil {
				err = b.handle.Swap(ctx, s)
			}
			return receipts, err
		})},
	}
}

// writeMutants store what they should not, or not what they should.
func writeMutants() []mutant {
	return []mutant{
		{"a position handed out before commit", []string{"?Order/Concurrent", "?Order/Shared"}, latecomers},
		{"half of a conflict stored", []string{"Atomic/NothingOfAConflict", "History/Fixed"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) (receipts []evento.Receipt, err error) {
				for _, one := range apart(w) {
					r, err := b.handle.Write(ctx, one)
					if err != nil {
						return nil, err
					}
					receipts = append(receipts, r...)
				}
				return receipts, nil
			}
		}},
		{"half of a commit visible", []string{"Atomic/NeverHalf"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) (receipts []evento.Receipt, err error) {
				if slices.ContainsFunc(w.Appends, func(a evento.Append) bool { return !a.AnyVersion }) {
					return b.handle.Write(ctx, w)
				}
				for _, one := range apart(w) {
					r, err := b.handle.Write(ctx, one)
					if err != nil {
						return nil, err
					}
					receipts = append(receipts, r...)
					time.Sleep(time.Millisecond) // between two transactions
				}
				return receipts, nil
			}
		}},
		{"acknowledged and lost", []string{"Order/Concurrent", "Append/Versions", "History/Fixed"}, func(b *bent) {
			n := 0
			var mu sync.Mutex
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				mu.Lock()
				n++
				lost := n%5 == 0
				mu.Unlock()
				if !lost {
					return b.handle.Write(ctx, w)
				}
				var receipts []evento.Receipt
				for _, a := range w.Appends {
					receipts = append(receipts, evento.Receipt{AggregateID: a.AggregateID, Version: a.Expected + uint64(len(a.Events)), Position: 1})
				}
				return receipts, nil
			}
		}},
		{"acknowledged before visible", []string{"Append/Versions", "Append/First"}, func(b *bent) {
			var mu sync.Mutex
			var stale *page // as it was before the last write
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				mu.Lock()
				defer mu.Unlock()
				var err error
				if stale, err = b.handle.Read(ctx, evento.Query{}, cursor.Forward(cursor.MaxPage, "")); err != nil {
					return nil, err
				}
				return b.handle.Write(ctx, w)
			}
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				mu.Lock()
				defer mu.Unlock()
				if stale != nil && args.At() == "" && len(q.Filters) == 0 {
					return stale, nil
				}
				return b.handle.Read(ctx, q, args)
			}
		}},
		{"ids folded", []string{"Names/Apart"}, ids(strings.ToLower)},
		{"ids trimmed", []string{"Names/Apart"}, ids(func(s string) string { return max(strings.TrimRight(s, " "), " ") })},
		{"ids cut", []string{"Names/Apart"}, ids(func(s string) string { return s[:min(len(s), 254)] })},
		{"names not checked", []string{"Names/Refused", "Payloads/MetadataRefused"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				if errors.Is(err, evento.ErrInvalid) || errors.Is(err, evento.ErrTooLarge) {
					return make([]evento.Receipt, len(w.Appends)), nil
				}
				return receipts, err
			}
		}},
		{"payloads limited to less", []string{"Payloads/Largest"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				for _, a := range w.Appends {
					for _, e := range a.Events {
						if len(e.Data) > 8<<20 {
							return nil, evento.ErrTooLarge
						}
					}
				}
				return b.handle.Write(ctx, w)
			}
		}},
		{"a later routing key taken", []string{"Routing/FirstEventDecides", "Routing/Several", "History/Fixed"}, func(b *bent) {
			var keys sync.Map
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				for _, a := range w.Appends {
					for _, e := range a.Events {
						keys.Store(e.ID, a.RoutingKey)
					}
				}
				return b.handle.Write(ctx, w)
			}
			eachEvent(b, func(e *evento.RawEvent) {
				if key, ok := keys.Load(e.ID); ok {
					e.RoutingKey = key.(string)
				}
			})
		}},
		{"a retry stored twice", []string{"Retry/FirstReceipts", "Retry/Concurrent", "Library/Commit", "History/Fixed"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				if err != nil || !w.Retry {
					return receipts, err
				}
				again := evento.Write{Appends: slices.Clone(w.Appends)}
				for i := range again.Appends {
					a := &again.Appends[i]
					a.Expected, a.AnyVersion = 0, true
				}
				return b.handle.Write(ctx, again)
			}
		}},
		{"a retry told by its versions", []string{"Retry/OtherIDsConflict", "Conflict/Versions", "History/Fixed"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				var conflict *evento.ConflictError
				if !errors.As(err, &conflict) || conflict.Actual < conflict.Expected+uint64(len(w.Appends[0].Events)) {
					return receipts, err
				}
				receipts = make([]evento.Receipt, len(w.Appends))
				for i, a := range w.Appends {
					receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: a.Expected + uint64(len(a.Events)), Position: 1}
				}
				return receipts, nil
			}
		}},
		{"a retry told by its first event", []string{"Retry/SomeIDsConflict"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				if !errors.Is(err, evento.ErrConflict) {
					return receipts, err
				}
				w.Appends = slices.Clone(w.Appends)
				for i := range w.Appends {
					w.Appends[i].Events = w.Appends[i].Events[:1]
				}
				return b.handle.Write(ctx, w)
			}
		}},
		{"the last conflict named", []string{"Conflict/FirstIsNamed"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				if errors.Is(err, evento.ErrConflict) {
					w.Appends = slices.Clone(w.Appends)
					slices.Reverse(w.Appends)
					return b.handle.Write(ctx, w)
				}
				return receipts, err
			}
		}},
		{"a conflict without its versions", []string{"Conflict/Versions", "Conflict/OneWins"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				if errors.Is(err, evento.ErrConflict) {
					return nil, evento.ErrConflict
				}
				return receipts, err
			}
		}},
		{"versions compared before the write", []string{"Conflict/OneWins"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				w.Appends = slices.Clone(w.Appends)
				for i := range w.Appends {
					a := &w.Appends[i]
					p, err := b.handle.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByID(a.AggregateType, a.AggregateID)}}, cursor.Backward(1, ""))
					if err != nil {
						return nil, err
					}
					var actual uint64
					if len(p.Edges) > 0 {
						actual = p.Edges[0].Node.Version
					}
					if a.Expected == actual {
						a.Expected, a.AnyVersion = 0, true
					}
				}
				time.Sleep(time.Millisecond) // the way to the store
				return b.handle.Write(ctx, w)
			}
		}},
		{"a routing key chosen before the write", []string{"Routing/Concurrent"}, func(b *bent) {
			var keys sync.Map
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				a := w.Appends[0]
				p, err := b.handle.Read(ctx, evento.Query{Filters: []evento.Filter{evento.ByID(a.AggregateType, a.AggregateID)}}, cursor.Onward(1, ""))
				if err != nil {
					return nil, err
				}
				if len(p.Edges) == 0 {
					for _, e := range a.Events {
						keys.Store(e.ID, a.RoutingKey)
					}
				}
				time.Sleep(time.Millisecond) // the way to the store
				return b.handle.Write(ctx, w)
			}
			eachEvent(b, func(e *evento.RawEvent) {
				if key, ok := keys.Load(e.ID); ok {
					e.RoutingKey = key.(string)
				}
			})
		}},
		{"a receipt of the first event", []string{"Append/Versions", "Append/SeveralAggregates", "History/Fixed"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				for i := range receipts {
					receipts[i].Position -= uint64(len(w.Appends[i].Events) - 1)
				}
				return receipts, err
			}
		}},
		{"a cancelled write stored", []string{"Contexts/Ended"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(context.WithoutCancel(ctx), w)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return receipts, err
			}
		}},
		{"a write cancelled under way stored", []string{"Contexts/EndingWrites"}, func(b *bent) {
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(time.Millisecond): // while it is being stored
					return receipts, err
				}
			}
		}},
	}
}

// latecomers are commits that took their positions and become visible only
// when a reader went past them, or after a while.
func latecomers(b *bent) {
	type late struct {
		from, to uint64
		passed   chan struct{}
	}
	var mu sync.Mutex
	var hidden []*late
	b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
		if len(w.Appends) < 2 {
			return b.handle.Write(ctx, w)
		}
		mu.Lock()
		receipts, err := b.handle.Write(ctx, w)
		if err != nil {
			mu.Unlock()
			return receipts, err
		}
		l := &late{to: receipts[len(receipts)-1].Position, passed: make(chan struct{})}
		l.from = receipts[0].Position - uint64(len(w.Appends[0].Events)) + 1
		hidden = append(hidden, l)
		mu.Unlock()
		select {
		case <-l.passed:
		case <-time.After(20 * time.Millisecond):
		}
		mu.Lock()
		hidden = slices.DeleteFunc(hidden, func(o *late) bool { return o == l })
		mu.Unlock()
		b.store.notify()
		return receipts, nil
	}
	b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
		mu.Lock()
		defer mu.Unlock()
		p, err := b.handle.Read(ctx, q, args)
		if err != nil {
			return nil, err
		}
		p.Edges = slices.DeleteFunc(p.Edges, func(e cursor.Edge[evento.RawEvent]) bool {
			return slices.ContainsFunc(hidden, func(l *late) bool { return l.from <= e.Node.Position && e.Node.Position <= l.to })
		})
		if len(p.Edges) == 0 {
			p.PageInfo = cursor.PageInfo{StartCursor: args.At(), EndCursor: args.At()}
			return p, nil
		}
		end := p.Edges[len(p.Edges)-1]
		p.PageInfo.EndCursor = end.Cursor
		for _, l := range hidden {
			select {
			case <-l.passed:
			default:
				if l.to < end.Node.Position {
					close(l.passed)
				}
			}
		}
		return p, nil
	}
}

// apart is each append as a write of its own.
func apart(w evento.Write) []evento.Write {
	var ws []evento.Write
	for _, a := range w.Appends {
		ws = append(ws, evento.Write{Appends: []evento.Append{a}, Retry: w.Retry})
	}
	return ws
}

// ids changes aggregate ids on their way to the store.
func ids(change func(string) string) func(*bent) {
	return func(b *bent) {
		b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
			w.Appends = slices.Clone(w.Appends)
			for i := range w.Appends {
				w.Appends[i].AggregateID = change(w.Appends[i].AggregateID)
			}
			return b.handle.Write(ctx, w)
		}
		b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
			q.Filters = slices.Clone(q.Filters)
			for i := range q.Filters {
				q.Filters[i].AggregateID = change(q.Filters[i].AggregateID)
			}
			return b.handle.Read(ctx, q, args)
		}
	}
}

// eachEvent changes events on their way from the store.
func eachEvent(b *bent, change func(*evento.RawEvent)) {
	read := b.read
	b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
		p, err := read(ctx, q, args)
		if err == nil {
			for i := range p.Edges {
				change(&p.Edges[i].Node)
			}
		}
		return p, err
	}
}
