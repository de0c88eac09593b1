package evento_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// slowly reads pages that each take a second.
func slowly(store evento.Executor) evento.Executor {
	return &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		time.Sleep(time.Second)
		return store.Read(ctx, q, args)
	}}
}

// While events are worked on, the next page is read.
func TestNextPageIsReadMeanwhile(t *testing.T) {
	t.Parallel()
	work := func() { time.Sleep(time.Millisecond) } // a second for a page of 1,000
	load := func(ctx context.Context, ex evento.Executor) error {
		_, err := evento.NewProjection[int]("p", Account).Handler(evento.Apply(func(*int, evento.Event[MoneyDeposited]) error {
			work()
			return nil
		})).Load(ctx, ex, "a")
		return err
	}
	for name, test := range map[string]struct {
		run  func(ctx context.Context, ex evento.Executor) error
		want time.Duration
	}{
		"load": {load, 6 * time.Second},
		// A transaction has one connection, which is the handlers' too.
		"load in a transaction": {func(ctx context.Context, ex evento.Executor) error {
			return load(evento.TxContext(ctx), ex)
		}, 10 * time.Second},
		// Nothing is read beside the first page, and the last again.
		"events": {func(ctx context.Context, ex evento.Executor) error {
			for _, err := range evento.Events(ctx, ex, evento.Query{}) {
				if err != nil {
					return err
				}
				work()
			}
			return nil
		}, 8 * time.Second},
		"subscription": {func(ctx context.Context, ex evento.Executor) error {
			return evento.NewSubscription("s").ChunkSize(1000).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
				work()
				return nil
			})).Execute(ctx, ex)
		}, 9 * time.Second}, // and looks whether more came
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				deposits(t, store, "a", 5000)
				began := time.Now()
				if err := test.run(t.Context(), slowly(store)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
			})
		})
	}
}

// A page that was read ahead and was not full may lack what was committed
// since.
func TestReadAheadMissesNothing(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	deposits(t, store, "a", 2500)
	third := make(chan struct{})
	reads := 0
	ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		page, err := store.Read(ctx, q, args)
		if reads++; reads == 3 {
			close(third)
		}
		return page, err
	}}
	last := uint64(0)
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if last = e.Position; last == 1500 {
			<-third
			deposits(t, store, "b", 1)
		}
	}
	if last != 2501 {
		t.Errorf("the last event was at position %d, want 2501", last)
	}
}
