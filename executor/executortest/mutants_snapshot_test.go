package executortest_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/evento-go/evento"
)

// snapshotMutants list or remove snapshots badly.
func snapshotMutants() []mutant {
	return []mutant{
		{"snapshots in the order of their versions", []string{"Snapshots/Order", "Snapshots/Pages", "History/Fixed"}, listingSnapshots(nil, func(a, b evento.StoredSnapshot) int {
			return cmp.Compare(a.Version, b.Version)
		})},
		{"snapshots in an order of folded projections", []string{"Snapshots/Order"}, listingSnapshots(nil, func(a, b evento.StoredSnapshot) int {
			return strings.Compare(strings.ToLower(a.Projection), strings.ToLower(b.Projection))
		})},
		{"snapshots in an order of folded types", []string{"Snapshots/Order"}, listingSnapshots(nil, orderedBy(func(k *evento.SnapshotKey) {
			k.AggregateType = evento.AggregateType(strings.ToLower(string(k.AggregateType)))
		}))},
		{"snapshots in an order of folded ids", []string{"Snapshots/Order"}, listingSnapshots(nil, orderedBy(func(k *evento.SnapshotKey) { k.AggregateID = strings.ToLower(k.AggregateID) }))},
		{"revisions in the order of their digits", []string{"Snapshots/Order"}, listingSnapshots(nil, func(a, b evento.StoredSnapshot) int {
			return cmp.Or(cmp.Compare(a.Projection, b.Projection), cmp.Compare(fmt.Sprint(a.Revision), fmt.Sprint(b.Revision)))
		})},
		{"revisions in the order of their lower halves", []string{"Snapshots/Order"}, listingSnapshots(nil, orderedBy(func(k *evento.SnapshotKey) { k.Revision = uint64(uint32(k.Revision)) }))},
		{"revisions before projections", []string{"Snapshots/Order", "Snapshots/Pages"}, listingSnapshots(nil, func(a, b evento.StoredSnapshot) int {
			return cmp.Compare(a.Revision, b.Revision)
		})},
		{"variants after ids", []string{"Snapshots/Pages", "Snapshots/Order"}, listingSnapshots(nil, func(a, b evento.StoredSnapshot) int {
			return cmp.Or(cmp.Compare(a.Projection, b.Projection), cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.AggregateType, b.AggregateType), cmp.Compare(a.AggregateID, b.AggregateID))
		})},
		{"the snapshot of After listed", []string{"Snapshots/Pages", "History/Fixed"}, listingSnapshots(func(k, after evento.SnapshotKey) bool { return k.Compare(after) >= 0 }, nil)},
		{"After taken without its revision", []string{"Snapshots/Pages", "History/Fixed"}, listingSnapshots(func(k, after evento.SnapshotKey) bool {
			after.Revision = k.Revision
			return k.Compare(after) > 0
		}, nil)},
		{"After taken without its variant", []string{"Snapshots/Pages"}, listingSnapshots(func(k, after evento.SnapshotKey) bool {
			after.Variant = k.Variant
			return k.Compare(after) > 0
		}, nil)},
		{"After taken without its type", []string{"Snapshots/Pages"}, listingSnapshots(func(k, after evento.SnapshotKey) bool {
			after.AggregateType = k.AggregateType
			return k.Compare(after) > 0
		}, nil)},
		{"After taken field by field", []string{"Snapshots/Pages"}, listingSnapshots(func(k, after evento.SnapshotKey) bool {
			return k.Projection >= after.Projection && k.Revision >= after.Revision && k.Variant >= after.Variant && k.AggregateType >= after.AggregateType && k != after
		}, nil)},
		{"After that has to be there", []string{"Snapshots/Pages"}, func(b *bent) {
			b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
				if _, err := b.handle.Snapshot(ctx, q.After); err != nil {
					q.After = evento.SnapshotKey{}
				}
				return b.handle.Snapshots(ctx, q)
			}
		}},
		{"a projection ignored", []string{"Snapshots/Pages", "Snapshots/Order"}, asked(func(q *evento.SnapshotQuery) { q.Projection = "" })},
		{"a projection taken for a beginning", []string{"Snapshots/Pages", "Snapshots/Order"}, func(b *bent) {
			b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
				projection := q.Projection
				q.Projection = ""
				p, err := b.handle.Snapshots(ctx, q)
				if err == nil {
					p.Snapshots = slices.DeleteFunc(p.Snapshots, func(s evento.StoredSnapshot) bool { return !strings.HasPrefix(s.Projection, projection) })
				}
				return p, err
			}
		}},
		{"what is no text in After left out", []string{"Snapshots/RefusedQueries"}, asked(func(q *evento.SnapshotQuery) { q.After.AggregateID = strings.ToValidUTF8(q.After.AggregateID, "") })},
		{"keys of snapshots not checked", []string{"Snapshots/RefusedKeys"}, func(b *bent) {
			b.saveSnapshot = func(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
				if key.Check() == nil {
					return b.handle.SaveSnapshot(ctx, key, s)
				}
				return nil
			}
		}},
		{"After of snapshots refused that cannot be stored", []string{"Snapshots/AfterStrangeNames"}, func(b *bent) {
			b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
				if strings.ContainsAny(q.After.Projection+q.After.Variant+q.After.AggregateID, "\n\t\r\x1b\x7f") {
					return nil, evento.ErrInvalid
				}
				return b.handle.Snapshots(ctx, q)
			}
		}},
		{"the limit of snapshots ignored", []string{"Snapshots/Pages", "History/Fixed"}, asked(func(q *evento.SnapshotQuery) { q.Limit = 0 })},
		{"a limit of snapshots over the most cut", []string{"Snapshots/RefusedQueries"}, asked(func(q *evento.SnapshotQuery) { q.Limit = min(q.Limit, evento.MaxRecords) })},
		{"more snapshots left out", []string{"Snapshots/Pages", "Snapshots/LargePages", "History/Fixed"}, eachSnapshotPage(func(p *evento.SnapshotPage, _ evento.SnapshotQuery) { p.More = false })},
		{"more snapshots than a full page guessed", []string{"Snapshots/Pages"}, eachSnapshotPage(func(p *evento.SnapshotPage, q evento.SnapshotQuery) {
			p.More = len(p.Snapshots) == cmp.Or(q.Limit, evento.MaxRecords)
		})},
		{"more snapshots than a large page not told", []string{"Snapshots/LargePages"}, eachSnapshotPage(func(p *evento.SnapshotPage, q evento.SnapshotQuery) {
			p.More = p.More && len(p.Snapshots) == cmp.Or(q.Limit, evento.MaxRecords)
		})},
		{"states always", []string{"Snapshots/Order", "Snapshots/States", "Snapshots/LargePages", "History/Fixed"}, asked(func(q *evento.SnapshotQuery) { q.States = true })},
		{"states never", []string{"Snapshots/Order", "Snapshots/States", "Snapshots/LargePages", "History/Fixed"}, asked(func(q *evento.SnapshotQuery) { q.States = false })},
		{"cursors without states", []string{"Snapshots/States"}, eachSnapshotPage(func(p *evento.SnapshotPage, _ evento.SnapshotQuery) {
			for i := range p.Snapshots {
				p.Snapshots[i].Cursor = "cursor"
			}
		})},
		{"cursors not listed", []string{"Snapshots/States", "History/Fixed"}, eachSnapshotPage(func(p *evento.SnapshotPage, _ evento.SnapshotQuery) {
			for i := range p.Snapshots {
				p.Snapshots[i].Cursor = ""
			}
		})},
		{"sizes of what was not asked for", []string{"Snapshots/States", "Snapshots/Pages", "Snapshots/LargePages", "History/Fixed"}, eachSnapshotPage(func(p *evento.SnapshotPage, _ evento.SnapshotQuery) {
			for i := range p.Snapshots {
				p.Snapshots[i].Size = len(p.Snapshots[i].Data)
			}
		})},
		{"positions of snapshots in half", []string{"Snapshots/States"}, eachSnapshotPage(func(p *evento.SnapshotPage, _ evento.SnapshotQuery) {
			for i := range p.Snapshots {
				p.Snapshots[i].Position = uint64(uint32(p.Snapshots[i].Position))
			}
		})},
		{"pages of states not cut", []string{"Snapshots/LargePages"}, func(b *bent) {
			b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
				p, err := b.handle.Snapshots(ctx, q)
				for err == nil && p.More && q.Limit == 0 {
					var next *evento.SnapshotPage
					q.After = p.Snapshots[len(p.Snapshots)-1].SnapshotKey
					if next, err = b.handle.Snapshots(ctx, q); err == nil {
						p.Snapshots, p.More = append(p.Snapshots, next.Snapshots...), next.More
					}
				}
				return p, err
			}
		}},
		{"pages without states cut", []string{"Snapshots/LargePages"}, eachSnapshotPage(func(p *evento.SnapshotPage, _ evento.SnapshotQuery) {
			size := 0
			for i, s := range p.Snapshots {
				if size += s.Size; i > 0 && size > evento.PageBytes {
					p.Snapshots, p.More = p.Snapshots[:i], true
					return
				}
			}
		})},
		{"a state that is alone on no page", []string{"Snapshots/LargePages"}, eachSnapshotPage(func(p *evento.SnapshotPage, q evento.SnapshotQuery) {
			if q.States && len(p.Snapshots) == 1 && p.Snapshots[0].Size > evento.PageBytes {
				p.Snapshots, p.More = nil, true
			}
		})},
		{"the bytes of listed states shared", []string{"Snapshots/States"}, func(b *bent) {
			var states sync.Map
			eachSnapshotPage(func(p *evento.SnapshotPage, q evento.SnapshotQuery) {
				for i := range p.Snapshots {
					if s := &p.Snapshots[i]; q.States {
						data, _ := states.LoadOrStore(s.SnapshotKey, s.Data)
						s.Data = data.([]byte)
					}
				}
			})(b)
		}},
		{"snapshots not removed", []string{"Snapshots/Removed", "Snapshots/RemovedTogether", "Snapshots/Shared", "Reopen/Everything", "History/Fixed"}, func(b *bent) {
			b.removeSnapshots = func(ctx context.Context, _ []evento.SnapshotKey) error { return b.handle.RemoveSnapshots(ctx, nil) }
		}},
		{"only the first snapshots removed", []string{"Snapshots/Removed"}, func(b *bent) {
			b.removeSnapshots = func(ctx context.Context, keys []evento.SnapshotKey) error {
				const most = 64
				if len(keys) > evento.MaxRecords {
					return b.handle.RemoveSnapshots(ctx, keys)
				}
				return b.handle.RemoveSnapshots(ctx, keys[:min(len(keys), most)])
			}
		}},
		{"a snapshot that is missing an error of its removal", []string{"Snapshots/Removed", "History/Fixed"}, func(b *bent) {
			b.removeSnapshots = func(ctx context.Context, keys []evento.SnapshotKey) error {
				for _, key := range keys {
					if _, err := b.handle.Snapshot(ctx, key); err != nil {
						return err
					}
				}
				return b.handle.RemoveSnapshots(ctx, keys)
			}
		}},
		{"more snapshots removed than allowed", []string{"Snapshots/Removed"}, func(b *bent) {
			b.removeSnapshots = func(ctx context.Context, keys []evento.SnapshotKey) error {
				for c := range slices.Chunk(keys, evento.MaxRecords) {
					if err := b.handle.RemoveSnapshots(ctx, c); err != nil {
						return err
					}
				}
				return nil
			}
		}},
		{"removed with all of its revision", []string{"Snapshots/Removed"}, removingToo(func(a, b evento.SnapshotKey) bool {
			a.Revision = b.Revision
			return a == b
		})},
		{"removed with all variants", []string{"Snapshots/Removed"}, removingToo(func(a, b evento.SnapshotKey) bool {
			a.Variant = b.Variant
			return a == b
		})},
		{"removed with folded ids", []string{"Snapshots/Removed"}, removingToo(func(a, b evento.SnapshotKey) bool {
			return a.AggregateType == b.AggregateType && strings.EqualFold(a.AggregateID, b.AggregateID)
		})},
		{"a removed snapshot that keeps older ones out", []string{"Snapshots/Removed"}, func(b *bent) {
			var removed sync.Map
			b.removeSnapshots = func(ctx context.Context, keys []evento.SnapshotKey) error {
				for _, key := range keys {
					if s, err := b.handle.Snapshot(ctx, key); err == nil {
						removed.Store(key, s)
					}
				}
				return b.handle.RemoveSnapshots(ctx, keys)
			}
			b.saveSnapshot = func(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
				if old, ok := removed.Load(key); ok && old.(evento.Snapshot).Version > s.Version {
					return nil
				}
				return b.handle.SaveSnapshot(ctx, key, s)
			}
		}},
		{"an ended context lists snapshots", []string{"Contexts/Ended"}, func(b *bent) {
			b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
				return b.handle.Snapshots(context.WithoutCancel(ctx), q)
			}
		}},
		{"an ended context removes snapshots", []string{"Contexts/Ended"}, func(b *bent) {
			b.removeSnapshots = func(ctx context.Context, keys []evento.SnapshotKey) error {
				err := b.handle.RemoveSnapshots(context.WithoutCancel(ctx), keys)
				return cmp.Or(ctx.Err(), err)
			}
		}},
		{"none removed after Close", []string{"Close/MethodsAfter"}, func(b *bent) {
			b.removeSnapshots = func(ctx context.Context, keys []evento.SnapshotKey) error {
				if len(keys) == 0 {
					return ctx.Err()
				}
				return b.handle.RemoveSnapshots(ctx, keys)
			}
		}},
	}
}

// allSnapshots reads all that there are.
func (b *bent) allSnapshots(ctx context.Context, q evento.SnapshotQuery) ([]evento.StoredSnapshot, error) {
	q.Limit, q.After = 0, evento.SnapshotKey{}
	var all []evento.StoredSnapshot
	for {
		p, err := b.handle.Snapshots(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Snapshots...)
		if !p.More {
			return all, nil
		}
		q.After = all[len(all)-1].SnapshotKey
	}
}

// orderedBy orders by keys that are changed before.
func orderedBy(change func(*evento.SnapshotKey)) func(a, b evento.StoredSnapshot) int {
	return func(a, b evento.StoredSnapshot) int {
		change(&a.SnapshotKey)
		change(&b.SnapshotKey)
		return a.Compare(b.SnapshotKey)
	}
}

// listingSnapshots makes pages of the snapshots behind After by another rule and
// another order; nil is the right one.
func listingSnapshots(behind func(k, after evento.SnapshotKey) bool, order func(a, b evento.StoredSnapshot) int) func(*bent) {
	if behind == nil {
		behind = func(k, after evento.SnapshotKey) bool { return k.Compare(after) > 0 }
	}
	return func(b *bent) {
		b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
			if err := q.Check(); err != nil {
				return nil, err
			}
			all, err := b.allSnapshots(ctx, q)
			if err != nil {
				return nil, err
			}
			if q.After != (evento.SnapshotKey{}) {
				all = slices.DeleteFunc(all, func(s evento.StoredSnapshot) bool { return !behind(s.SnapshotKey, q.After) })
			}
			if order != nil {
				slices.SortStableFunc(all, order)
			}
			n := min(len(all), cmp.Or(q.Limit, evento.MaxRecords))
			return &evento.SnapshotPage{Snapshots: all[:n], More: n < len(all)}, nil
		}
	}
}

// asked changes queries on their way to the store.
func asked(change func(*evento.SnapshotQuery)) func(*bent) {
	return func(b *bent) {
		b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
			change(&q)
			return b.handle.Snapshots(ctx, q)
		}
	}
}

func eachSnapshotPage(change func(*evento.SnapshotPage, evento.SnapshotQuery)) func(*bent) {
	return func(b *bent) {
		b.snapshots = func(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
			p, err := b.handle.Snapshots(ctx, q)
			if err == nil {
				change(p, q)
			}
			return p, err
		}
	}
}

// removingToo removes others with those that are to be removed.
func removingToo(other func(a, b evento.SnapshotKey) bool) func(*bent) {
	return func(b *bent) {
		b.removeSnapshots = func(ctx context.Context, keys []evento.SnapshotKey) error {
			err := b.handle.RemoveSnapshots(ctx, keys)
			if err != nil || len(keys) == 0 {
				return err
			}
			all, err := b.allSnapshots(ctx, evento.SnapshotQuery{})
			if err != nil {
				return err
			}
			var too []evento.SnapshotKey
			for _, s := range all {
				if slices.ContainsFunc(keys, func(k evento.SnapshotKey) bool { return other(s.SnapshotKey, k) }) && len(too) < evento.MaxRecords {
					too = append(too, s.SnapshotKey)
				}
			}
			return b.handle.RemoveSnapshots(ctx, too)
		}
	}
}
