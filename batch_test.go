package evento_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// Batches are runs of one handler's events within a chunk.
func TestHandleBatch(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 5)
	commit(t, ex, evento.Aggregate("a").AnyVersion().Event(MoneyWithdrawn{Amount: 1}))
	deposits(t, ex, "b", 4)
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "n"}))
	commit(t, ex, evento.Aggregate("o").AnyVersion().Event(&renamed{Name: "m"}))
	deposits(t, ex, "c", 1)
	for _, test := range []struct {
		chunk int
		want  []string
	}{
		{300, []string{"d[1 2 3 4 5]", "w6", "d[7 8 9 10]", "o[11 12]", "d[13]"}},
		{3, []string{"d[1 2 3]", "d[4 5]", "w6", "d[7 8 9]", "d[10]", "o[11 12]", "d[13]"}},
		{1, []string{"d[1]", "d[2]", "d[3]", "d[4]", "d[5]", "w6", "d[7]", "d[8]", "d[9]", "d[10]", "o[11]", "o[12]", "d[13]"}},
	} {
		var got []string
		noErr(t, evento.NewSubscription(fmt.Sprint(test.chunk)).ChunkSize(test.chunk).Handler(
			evento.HandleBatch(func(_ context.Context, es []evento.Event[MoneyDeposited]) error {
				var ps []uint64
				for _, e := range es {
					ps = append(ps, e.Position)
				}
				got = append(got, fmt.Sprint("d", ps))
				return nil
			}),
			evento.Handle(func(_ context.Context, e evento.Event[MoneyWithdrawn]) error {
				got = append(got, fmt.Sprint("w", e.Position))
				return nil
			}),
			evento.HandleAllBatch(ownerType, func(_ context.Context, es []evento.RawEvent) error {
				var ps []uint64
				for _, e := range es {
					ps = append(ps, e.Position)
				}
				got = append(got, fmt.Sprint("o", ps))
				return nil
			})).Execute(t.Context(), ex))
		want(t, fmt.Sprint("chunks of ", test.chunk), got, test.want...)
	}
}

// A batch that fails is tried again as often as Retry says, and then one by
// one: the poison is found, and all others are handled, in order. What cannot
// be decoded is not tried again.
func TestFailingBatch(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 3} {
		for _, undecodable := range []bool{false, true} {
			ex := newStore(t)
			deposits(t, ex, "a", 2)
			deposits(t, ex, "b", 1)
			if undecodable {
				writeRaw(t, ex, "p", MoneyDeposited{}, "cbor", []byte("\xff"))
			} else {
				deposits(t, ex, "p", 1)
			}
			deposits(t, ex, "a", 2)
			deposits(t, ex, "p", 1)
			var got list[string]
			var failed list[int]
			var retried atomic.Int64
			noErr(t, evento.NewSubscription("s").Partitions(partitions).Retry(2).AcceptFailure().Logger(silent).Hooks(evento.SubscriptionHooks{
				Retry: func(context.Context, string, evento.RawEvent, int, error) { retried.Add(1) },
			}).Handler(
				evento.HandleBatch(func(_ context.Context, es []evento.Event[MoneyDeposited]) error {
					for _, e := range es {
						if e.AggregateID == "p" && e.Version == 1 {
							failed.add(len(es))
							return errPoor
						}
					}
					for _, e := range es {
						got.add(fmt.Sprint(e.AggregateID, e.Version))
					}
					return nil
				})).Execute(t.Context(), ex))
			a := slices.DeleteFunc(got.all(), func(s string) bool { return s[0] != 'a' })
			want(t, "handled of a", a, "a1", "a2", "a3", "a4")
			if n := len(got.all()); n != 5 {
				t.Errorf("handled %v, want 5", got.all())
			}
			if undecodable && retried.Load() > 0 {
				t.Error("what cannot be decoded was tried again")
			}
			parked := parkedOf(t, ex)
			if len(parked) != 2 || parked[1] != "p2 0 " {
				t.Errorf("parked %v, want p1 and p2", parked)
			}
			if tries := failed.all(); !undecodable && partitions == 1 && !slices.Equal(tries, []int{7, 7, 7, 1, 1, 1}) || undecodable && len(tries) > 0 {
				t.Errorf("failed in batches of %v, want three of 7 and three alone", tries)
			}
		}
	}
}

// Without AcceptFailure the cursor is stored behind what succeeded.
func TestFailingBatchStops(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 10)
	err := evento.NewSubscription("s").ChunkSize(4).Retry(0).Logger(silent).Handler(evento.HandleAllBatch(Account, func(_ context.Context, es []evento.RawEvent) error {
		if slices.ContainsFunc(es, func(e evento.RawEvent) bool { return e.Position == 7 }) {
			return errPoor
		}
		return nil
	})).Execute(t.Context(), ex)
	if err == nil {
		t.Error("a failing batch has no error")
	}
	wantStored(t, ex, "s", 6)
}

// What a worker costs an event, besides its handler; with pages that are read
// already.
func BenchmarkWorker(b *testing.B) {
	store := memory.New(nil)
	for range 100 {
		c := evento.Aggregate("a").AnyVersion()
		for range 1000 {
			c.Event(MoneyDeposited{Amount: 1})
		}
		if _, err := c.Commit(b.Context(), store); err != nil {
			b.Fatal(err)
		}
	}
	pages := map[cursor.Args]*cursor.Page[evento.RawEvent]{}
	ex := &hooked{Executor: store, read: func(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		if pages[args] == nil {
			page, err := store.Read(ctx, q, args)
			if err != nil {
				return nil, err
			}
			pages[args] = page
		}
		return pages[args], nil
	}}
	b.ReportAllocs()
	b.ResetTimer()
	handled := 0
	for handled < b.N {
		err := evento.NewSubscription(fmt.Sprint(handled)).Handler(evento.HandleAll(Account, func(context.Context, evento.RawEvent) error {
			handled++
			return nil
		})).Execute(b.Context(), ex)
		if err != nil {
			b.Fatal(err)
		}
	}
}
