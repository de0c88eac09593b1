package executortest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// stateMutants keep events well, and snapshots, wake-ups or the end of the
// executor badly.
func stateMutants() []mutant {
	return []mutant{
		{"a snapshot undone by an older one", []string{"Snapshots/NeverBack", "History/Fixed"}, ownSnapshots(nil)},
		{"snapshots of all revisions one", []string{"Snapshots/KeysApart", "History/Fixed"}, ownSnapshots(func(k *evento.SnapshotKey) { k.Revision = 0 })},
		{"snapshots of all variants one", []string{"Snapshots/KeysApart"}, ownSnapshots(func(k *evento.SnapshotKey) { k.Variant = "" })},
		{"snapshots of all projections one", []string{"Snapshots/KeysApart"}, ownSnapshots(func(k *evento.SnapshotKey) { k.Projection = "" })},
		{"snapshots of all types one", []string{"Snapshots/KeysApart"}, ownSnapshots(func(k *evento.SnapshotKey) { k.AggregateType = "" })},
		{"a snapshot's bytes shared", []string{"Snapshots/BytesAreCopied"}, ownSnapshots(nil)},
		{"snapshots not outliving the executor", []string{"Reopen/Everything"}, ownSnapshots(nil)},
		{"Changed never closed", []string{"Changed/Commit", "Changed/Swap", "Changed/Close", "Changed/NeverMissed"}, func(b *bent) {
			b.changed = func() <-chan struct{} { return make(chan struct{}) }
		}},
		{"Changed closed for every other commit", []string{"Changed/Commit"}, func(b *bent) {
			b.changed = func() <-chan struct{} {
				ch := make(chan struct{})
				go func() {
					<-b.handle.Changed()
					<-b.handle.Changed()
					close(ch)
				}()
				return ch
			}
		}},
		{"Changed closed before the commit is visible", []string{"Changed/NeverMissed"}, func(b *bent) {
			var changed store.Signal
			b.changed = changed.Wait
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				changed.Notify()
				time.Sleep(time.Millisecond) // the commit
				return b.handle.Write(ctx, w)
			}
		}},
		{"Changed not closed by Close", []string{"Changed/Close"}, func(b *bent) {
			closed := make(chan struct{})
			b.changed = func() <-chan struct{} {
				select {
				case <-closed:
					return make(chan struct{})
				default:
					return b.handle.Changed()
				}
			}
			b.shut = sync.OnceValue(func() error { close(closed); return b.handle.Close() })
		}},
		{"Changed deaf to other executors", []string{"Changed/Shared"}, func(b *bent) {
			var changed store.Signal
			b.changed = changed.Wait
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				defer changed.Notify()
				return b.handle.Write(ctx, w)
			}
		}},
		{"no feed", []string{"Follow/Feed"}, func(b *bent) {
			b.feed = func() *evento.Feed { return nil }
		}},
		{"a feed for each who asks", []string{"Follow/Feed"}, func(b *bent) {
			b.feed = func() *evento.Feed { return new(evento.Feed) }
		}},
		{"a feed that ends with the executor", []string{"Follow/Feed"}, func(b *bent) {
			var closed atomic.Bool
			b.feed = func() *evento.Feed {
				if closed.Load() {
					return new(evento.Feed)
				}
				return b.handle.Feed()
			}
			b.shut = func() error { closed.Store(true); return b.handle.Close() }
		}},
		{"no transactions, told of contexts that go on", []string{"InTx/Unsupported"}, func(b *bent) {
			b.inTx = func(ctx context.Context, fn func(context.Context) error) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return unsupported(ctx, fn)
			}
		}},
		{"no transactions, and the function run", []string{"InTx/Unsupported"}, func(b *bent) {
			b.inTx = func(ctx context.Context, fn func(context.Context) error) error {
				return errors.Join(fn(ctx), errors.ErrUnsupported)
			}
		}},
		{"Close an error the second time", []string{"Close/Twice"}, func(b *bent) {
			b.shut = func() error {
				err := b.begin()
				if err == nil {
					b.mu.RUnlock()
					return b.handle.Close()
				}
				return err
			}
		}},
		{"working after Close", []string{"Close/MethodsAfter"}, func(b *bent) {
			b.shut = func() error { return nil }
		}},
		{"a write stored that Close refused", []string{"Reopen/CallsUnderWay"}, func(b *bent) {
			var closing atomic.Bool
			b.write = func(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
				receipts, err := b.handle.Write(ctx, w)
				if closing.Load() {
					return nil, evento.ErrClosed
				}
				return receipts, err
			}
			b.shut = func() error {
				closing.Store(true)
				time.Sleep(time.Millisecond) // until the calls under way are done
				return b.handle.Close()
			}
		}},
		{"the last event lost by Close", []string{"Reopen/Everything", "Reopen/Again"}, func(b *bent) {
			// A store that was written to before this executor was opened
			// was reopened, as far as these subtests go.
			p, err := b.handle.Read(context.Background(), evento.Query{}, cursor.Backward(1, ""))
			if err != nil || len(p.Edges) == 0 {
				return
			}
			lost := p.Edges[0].Node.ID
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				p, err := b.handle.Read(ctx, q, args)
				if err == nil && len(p.Edges) > 0 && p.Edges[len(p.Edges)-1].Node.ID == lost {
					p.Edges = p.Edges[:len(p.Edges)-1]
				}
				return p, err
			}
		}},
		{"another store after reopening", []string{"Reopen/Everything", "Reopen/Again"}, func(b *bent) {
			p, err := b.handle.Read(context.Background(), evento.Query{}, cursor.Backward(1, ""))
			if err != nil || len(p.Edges) == 0 {
				return
			}
			positions := cursor.NewPositions(evento.NewID())
			b.read = func(ctx context.Context, q evento.Query, args cursor.Args) (*page, error) {
				if _, err := positions.Position(args.At()); err != nil {
					return nil, err
				}
				p, err := b.handle.Read(ctx, q, args)
				if err == nil {
					for i := range p.Edges {
						p.Edges[i].Cursor = positions.Value(p.Edges[i].Node.Position)
					}
				}
				return p, err
			}
		}},
	}
}

// ownSnapshots keeps snapshots apart from the store, under keys that are
// changed, the last one given, and without copying its bytes.
func ownSnapshots(change func(*evento.SnapshotKey)) func(*bent) {
	if change == nil {
		change = func(*evento.SnapshotKey) {}
	}
	return func(b *bent) {
		var mu sync.Mutex
		snapshots := map[evento.SnapshotKey]evento.Snapshot{}
		b.snapshot = func(_ context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
			mu.Lock()
			defer mu.Unlock()
			change(&key)
			s, ok := snapshots[key]
			if !ok {
				return s, evento.ErrNotFound
			}
			return s, nil
		}
		b.saveSnapshot = func(_ context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
			mu.Lock()
			defer mu.Unlock()
			change(&key)
			snapshots[key] = s
			return nil
		}
	}
}
