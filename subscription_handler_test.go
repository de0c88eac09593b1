package evento_test

import (
	"context"
	"errors"
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

// The narrowest handler of an event is called, in whatever order they were given.
func TestNarrowestHandler(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	mixed(t, ex)
	var got []string
	raw := func(name string) func(context.Context, evento.RawEvent) error {
		return func(_ context.Context, e evento.RawEvent) error {
			got = append(got, fmt.Sprint(name, e.Position))
			return nil
		}
	}
	handlers := []evento.SubscriptionHandler{
		evento.Handle(func(_ context.Context, e evento.Event[MoneyDeposited]) error {
			got = append(got, fmt.Sprint("deposit", e.Position))
			return nil
		}),
		evento.HandleAll(Account, raw("account")),
		evento.HandleEvery(raw("every")),
	}
	for round := range 2 {
		got = nil
		noErr(t, evento.NewSubscription(fmt.Sprint(round)).All().SafetyCheck().Handler(handlers...).Execute(t.Context(), ex))
		want(t, "handled", got, "account1", "deposit2", "account3", "account4", "every5", "deposit6", "account7", "account8")
		slices.Reverse(handlers)
	}
}

// What is known of a call: the attempt, and whether the event comes again.
func TestDeliveryFrom(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	deposits(t, ex, "a", 3)
	var got []string
	fails := 2
	b := evento.NewSubscription("s").RoutingKey("eu").Retry(5).Logger(silent).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
		d := evento.DeliveryFrom(ctx)
		got = append(got, fmt.Sprintf("%s %s %d %d %t", d.Key, d.RoutingKey, e.Position, d.Attempt, d.Replay))
		if e.Position == 5 && fails > 0 {
			fails--
			return errPoor
		}
		return nil
	}))
	commit(t, ex, evento.Aggregate("eu").Event(MoneyDeposited{}, MoneyDeposited{}).RoutingKey("eu"))
	noErr(t, b.Execute(t.Context(), ex))
	want(t, "calls", got, "s eu 4 1 false", "s eu 5 1 false", "s eu 5 2 false", "s eu 5 3 false")
	got = nil
	noErr(t, evento.ControlOf(ex, "s").RoutingKey("eu").ResetToStart(t.Context()))
	commit(t, ex, evento.Aggregate("eu").AnyVersion().Event(MoneyDeposited{}))
	noErr(t, b.Execute(t.Context(), ex))
	want(t, "calls after a reset", got, "s eu 4 1 true", "s eu 5 1 true", "s eu 6 1 false")
	if d := evento.DeliveryFrom(t.Context()); d != (evento.Delivery{}) {
		t.Errorf("outside of a handler: %+v", d)
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	for _, transactional := range []bool{false, true} {
		var got list[string]
		var ex evento.Executor = newStore(t)
		h := evento.HandleAll(Account, func(_ context.Context, e evento.RawEvent) error {
			if e.Position == 2 {
				return errPoor
			}
			return nil
		})
		b := evento.NewSubscription("s").Handler(h).Retry(1).AcceptFailure().Logger(silent)
		if transactional {
			ex = newTransactor(t)
			b.Transactional().ChunkSize(1)
		}
		deposits(t, ex, "a", 3)
		noErr(t, b.Hooks(evento.SubscriptionHooks{
			Handle: func(ctx context.Context, key string, es []evento.RawEvent, next func(context.Context) error) error {
				got.add(fmt.Sprint("handle ", es[0].Position))
				return next(ctx)
			},
			Retry: func(_ context.Context, _ string, e evento.RawEvent, n int, _ error) {
				got.add(fmt.Sprint("retry ", e.Position, n))
			},
			GaveUp: func(_ context.Context, _ string, e evento.RawEvent, n int, _ error) {
				got.add(fmt.Sprint("gave up ", e.Position, n))
			},
			Owner: func(_ context.Context, _ string, p int, owner bool) { got.add(fmt.Sprint("owner ", p, owner)) },
			Stored: func(_ context.Context, _ string, _ int, e evento.RawEvent) {
				got.add(fmt.Sprint("stored ", e.Position))
			},
		}).Execute(t.Context(), ex))
		all := slices.DeleteFunc(got.all(), func(s string) bool { return s == "stored 1" }) // when depends on the clock
		want(t, "hooks", all, "owner 0 true", "handle 1", "handle 2", "retry 2 1", "handle 2", "gave up 2 2", "stored 2", "stored 3", "owner 0 false")
	}
}

// Each hook's context says of which of the subscriptions with one key it is told,
// also when a handler of another has started it.
func TestHooksOfARoutingKey(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}, MoneyDeposited{}).RoutingKey("eu"))
	commit(t, ex, evento.Aggregate("outer").Event(AccountOpened{}))
	var got list[string]
	note := func(ctx context.Context, hook, key string) {
		d := evento.DeliveryFrom(ctx)
		got.add(fmt.Sprint(hook, " ", key, " ", d.Key, " ", d.RoutingKey))
	}
	inner := func() *evento.SubscriptionBuilder {
		return evento.NewSubscription("s").RoutingKey("eu").Retry(1).Logger(silent).Hooks(evento.SubscriptionHooks{
			Handle: func(ctx context.Context, key string, es []evento.RawEvent, next func(context.Context) error) error {
				note(ctx, "handle", key)
				return next(ctx)
			},
			Retry:  func(ctx context.Context, key string, _ evento.RawEvent, _ int, _ error) { note(ctx, "retry", key) },
			GaveUp: func(ctx context.Context, key string, _ evento.RawEvent, _ int, _ error) { note(ctx, "gave up", key) },
			Owner:  func(ctx context.Context, key string, _ int, _ bool) { note(ctx, "owner", key) },
			Stored: func(ctx context.Context, key string, _ int, _ evento.RawEvent) { note(ctx, "stored", key) },
		}).Handler(evento.HandleAll(Account, func(ctx context.Context, e evento.RawEvent) error {
			if note(ctx, "handler", "s"); e.Version == 2 {
				return errPoor
			}
			return nil
		}))
	}
	var failed *evento.HandlerError
	outer := evento.NewSubscription("outer").Handler(evento.HandleAll(Account, func(ctx context.Context, _ evento.RawEvent) error {
		if err := inner().Execute(ctx, ex); !errors.As(err, &failed) {
			t.Errorf("Execute: %v, want a HandlerError", err)
		}
		return nil
	}))
	noErr(t, outer.Execute(t.Context(), ex))
	all := got.all()
	slices.Sort(all)
	const twice = " s " + "s eu" // by the hook's parameter, and by its context
	want(t, "hooks", slices.Compact(all), "gave up"+twice, "handle"+twice, "handler"+twice, "owner"+twice, "retry"+twice, "stored"+twice)
	text := `evento: subscription "s" of routing key "eu": bank/Account MoneyDeposited of "a", version 2, position 2, failed 2 times: not enough money`
	if failed.Key != "s" || failed.RoutingKey != "eu" || failed.Error() != text {
		t.Errorf("%q of %q %q, want %q", failed, failed.Key, failed.RoutingKey, text)
	}
	if s, err := evento.ControlOf(ex, "s").RoutingKey("eu").Status(t.Context()); err != nil || s.Partitions[0].Error != text {
		t.Errorf("status %+v, %v, want the error %q", s, err, text)
	}
}
