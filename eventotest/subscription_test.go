package eventotest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	given := func(t testing.TB, amount int) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).ID("ann").
			Given(AccountOpened{"Ann"}, MoneyDeposited{5}, eventotest.Of("ben", AccountOpened{"Ben"})).
			When(func(ctx context.Context, ex evento.Executor) error { return transfer(ctx, ex, "ann", "ben", amount) })
	}
	wantPass(t, func(t testing.TB) { given(t, 2).Then(MoneyWithdrawn{2}, MoneyDeposited{2}) })
	wantPass(t, func(t testing.TB) {
		given(t, 2).Then(eventotest.Of("ann", MoneyWithdrawn{2}), eventotest.Of("ben", MoneyDeposited{2}))
	})
	wantPass(t, func(t testing.TB) { given(t, 6).ThenError(errPoor) })
	wantFail(t, func(t testing.TB) {
		given(t, 2).Then(eventotest.Of("ann", MoneyWithdrawn{2}), eventotest.Of("carl", MoneyDeposited{2}))
	}, `- AggregateID: "carl"`, `+ AggregateID: "ben"`)
	wantFail(t, func(t testing.TB) { given(t, 2).Then(MoneyWithdrawn{2}) }, `+ eventotest.event{Payload: eventotest_test.MoneyDeposited{Amount: 2}, AggregateID: "ben"}`)
	wantFail(t, func(t testing.TB) { given(t, 6).Then() }, "the command failed: not enough money")

	half := func(ctx context.Context, ex evento.Executor) error {
		_, err := evento.Aggregate("x").Event(MoneyDeposited{1}).RoutingKey("eu").RequestedBy("ann").Codec(evento.JSON()).Commit(ctx, ex)
		return errors.Join(err, errPoor)
	}
	wantFail(t, func(t testing.TB) { eventotest.Command(t).When(half).ThenError(errPoor) }, `eventotest.unknown{Kind: "bank/Account MoneyDeposited", Data: `, `AggregateID: "x"`)
	by := evento.Metadata{RequestedBy: "ann"}
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).When(half).ThenError(errPoor, eventotest.Event{
			Payload: MoneyDeposited{1}, AggregateID: "x", RoutingKey: "eu", Metadata: by, Codec: evento.JSON(),
			Timestamp: time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC),
		})
	})
	for want, event := range map[string]eventotest.Event{
		`- RoutingKey: "us"`:   {Payload: MoneyDeposited{1}, RoutingKey: "us"},
		`- RequestedBy: "b"`:   {Payload: MoneyDeposited{1}, Metadata: evento.Metadata{RequestedBy: "b"}},
		`- Codec: "cbor"`:      {Payload: MoneyDeposited{1}, Codec: evento.CBOR()},
		`- Timestamp: s"1999-`: {Payload: MoneyDeposited{1}, Timestamp: time.Date(1999, time.May, 1, 0, 0, 0, 0, time.UTC)},
		`- ID: "0000000000`:    {Payload: MoneyDeposited{1}, ID: evento.ID{15: 1}},
	} {
		wantFail(t, func(t testing.TB) { eventotest.Command(t).When(half).ThenError(errPoor, event) }, want)
	}
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).Compare(cmpopts.IgnoreFields(MoneyDeposited{}, "Amount")).When(half).ThenError(errPoor, MoneyDeposited{7})
	})
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, welcome()).Given(AccountOpened{"Ann"}, eventotest.Of("ben", AccountOpened{"Ben"})).
			Then(eventotest.Of("1", MoneyDeposited{10}), eventotest.Of("ben", MoneyDeposited{10})).
			ThenHandled(AccountOpened{"Ann"}, AccountOpened{"Ben"})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, welcome()).Given(eventotest.Event{Payload: AccountOpened{"Ann"}, RoutingKey: "eu"}).Then().ThenHandled()
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, welcome()).Given(AccountOpened{"Ann"}).Then(MoneyDeposited{11})
	}, "the new events are not those wanted", "- eventotest_test.MoneyDeposited{Amount: 11}", "+ eventotest_test.MoneyDeposited{Amount: 10}")
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, welcome()).Given(AccountOpened{"Ann"}).ThenHandled()
	}, "the handled events are not those wanted", `+ eventotest.event{Payload: eventotest_test.AccountOpened{Owner: "Ann"}, AggregateID: "1"}`)
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, evento.NewSubscription("none")).Then()
	}, "the subscription failed:", "there is none")
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, welcome().Transactional()).Given(AccountOpened{"Ann"}).Then(MoneyDeposited{10})
	})
	wantFail(t, func(t testing.TB) {
		eventotest.SubscribeFunc(t, func(evento.Executor) *evento.SubscriptionBuilder { return nil }).Then()
	}, "the function returned no builder")
}

// Parallel tests can share a builder; it is not changed.
func TestSubscriptionBuilderIsNotChanged(t *testing.T) {
	t.Parallel()
	calls := 0
	b := evento.NewSubscription("once").Retry(1).Handler(evento.Handle(func(context.Context, evento.Event[AccountOpened]) error {
		if calls++; calls%2 == 1 {
			return errPoor
		}
		return nil
	}))
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, b).Retries(1).Given(AccountOpened{"Ann"}).ThenHandled(AccountOpened{"Ann"}).Then()
	})
	if calls != 2 {
		t.Errorf("%d calls, want 2: both checks are of one run", calls)
	}
	calls = 0
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, b).Given(AccountOpened{"Ann"}).ThenError(errPoor)
	})
	calls = 0
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).Given(AccountOpened{"Ann"}).When(b.Execute).Then() // with the builder's retries
	})
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
	shared := welcome()
	for range 4 {
		t.Run("parallel", func(t *testing.T) {
			t.Parallel()
			eventotest.Subscribe(t, shared).Given(AccountOpened{"Ann"}).Redelivered(nil).Then(MoneyDeposited{10})
			eventotest.Project(t, accounts).Given(AccountOpened{"Ann"}).Then(Account{Owner: "Ann"})
		})
	}
}

// picky refuses deposits of 13.
func picky() *evento.SubscriptionBuilder {
	return evento.NewSubscription("picky").Handler(evento.Handle(func(_ context.Context, e evento.Event[MoneyDeposited]) error {
		if e.Data.Amount == 13 {
			return errPoor
		}
		return nil
	}))
}

func TestFailingHandler(t *testing.T) {
	t.Parallel()
	given := []evento.Payload{MoneyDeposited{1}, MoneyDeposited{13}, MoneyDeposited{2}, eventotest.Of("other", MoneyDeposited{3})}
	wantPass(t, func(t testing.TB) { eventotest.Subscribe(t, picky()).Given(given...).ThenError(errPoor) })
	wantFail(t, func(t testing.TB) { eventotest.Subscribe(t, picky()).Given(given...).Then() }, "the subscription failed: evento: subscription \"picky\"", "not enough money")
	wantFail(t, func(t testing.TB) { eventotest.Subscribe(t, picky()).Given(given[:1]...).ThenError(errPoor) }, "the subscription did not fail")
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, picky().AcceptFailure()).Given(given...).Redelivered(nil).
			ThenParked(MoneyDeposited{13}, MoneyDeposited{2}).
			ThenHandled(MoneyDeposited{1}, eventotest.Of("other", MoneyDeposited{3})).
			Then()
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, picky().AcceptFailure()).Given(given...).ThenParked(MoneyDeposited{13})
	}, "the parked events are not those wanted", "+ eventotest.event{Payload: eventotest_test.MoneyDeposited{Amount: 2}")
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, picky().AcceptFailure()).Given(given...).Then()
	}, `events were parked, and no ThenParked before this says so: bank/Account MoneyDeposited of "1": not enough money bank/Account MoneyDeposited of "1": waits behind another`)
}

func TestRedelivered(t *testing.T) {
	t.Parallel()
	counting := func(counts map[string]*int, once bool) *evento.SubscriptionBuilder {
		return evento.NewSubscription("counting").Handler(evento.Handle(func(_ context.Context, e evento.Event[AccountOpened]) error {
			if counts[e.Data.Owner] == nil {
				counts[e.Data.Owner] = new(int)
			} else if once {
				return nil
			}
			*counts[e.Data.Owner]++
			return nil
		}))
	}
	// The report is the handlers' own map of pointers: the test compares with its
	// former contents.
	wantFail(t, func(t testing.TB) {
		counts := map[string]*int{}
		eventotest.Subscribe(t, counting(counts, false)).Given(AccountOpened{"Ann"}).Redelivered(func() any { return counts }).Then()
	}, "the events came again, and what the test reports is not the same (-once +twice)", `"Ann": &1`, `"Ann": &2`)
	wantPass(t, func(t testing.TB) {
		counts := map[string]*int{}
		eventotest.Subscribe(t, counting(counts, true)).Given(AccountOpened{"Ann"}).Redelivered(func() any { return counts }).Then()
	})
	careless := evento.NewSubscription("careless").Handler(evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
		_, err := evento.Aggregate(e.AggregateID).AnyVersion().Event(MoneyDeposited{10}).Commit(ctx, evento.ExecutorFrom(ctx))
		return err
	}))
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, careless).Given(AccountOpened{"Ann"}).Then(MoneyDeposited{10})
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, careless).Given(AccountOpened{"Ann"}).Redelivered(nil).Then(MoneyDeposited{10})
	}, "when the events came again, the new events are not those wanted", "eventotest_test.MoneyDeposited{Amount: 10}")
	fragile := func(parks bool) *evento.SubscriptionBuilder {
		calls := 0
		b := evento.NewSubscription("fragile").Handler(evento.Handle(func(context.Context, evento.Event[AccountOpened]) error {
			if calls++; calls > 1 {
				return errPoor
			}
			return nil
		}))
		if parks {
			b.AcceptFailure()
		}
		return b
	}
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, fragile(false)).Given(AccountOpened{"Ann"}).Redelivered(nil).Then()
	}, "the subscription failed when its events came again", "not enough money")
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, fragile(true)).Given(AccountOpened{"Ann"}).Redelivered(nil).Then()
	}, "when the events came again, others were parked", "not enough money")
}

// A subscription with partitions, and one whose handlers need the executor.
func TestSubscriptionOfManyAggregates(t *testing.T) {
	t.Parallel()
	build := func(ex evento.Executor) *evento.SubscriptionBuilder {
		return evento.NewSubscription("matching").Partitions(3).Handler(
			evento.Handle(func(ctx context.Context, e evento.Event[AccountOpened]) error {
				return accountsUpdate(ctx, ex, e.AggregateID)
			}))
	}
	ids := []string{"a", "b", "c", "d", "e"}
	given := make([]evento.Payload, len(ids))
	for i, id := range ids {
		given[i] = eventotest.Of(id, AccountOpened{id})
	}
	eventotest.SubscribeFunc(t, build).Given(given...).ThenHandled(given...)
}

func accountsUpdate(ctx context.Context, ex evento.Executor, id string) error {
	_, err := accounts.Update(ctx, ex, id, func(*evento.Loaded[Account]) ([]evento.Payload, error) {
		return []evento.Payload{MoneyDeposited{1}}, nil
	})
	return err
}

// A subscription with a routing key is another than that of the key alone; the
// events that it parks are found.
func TestSubscriptionOfARoutingKey(t *testing.T) {
	t.Parallel()
	eu := func(id string, amount int) eventotest.Event {
		return eventotest.Event{Payload: MoneyDeposited{amount}, AggregateID: id, RoutingKey: "eu"}
	}
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, picky().RoutingKey("eu").AcceptFailure()).
			Given(eu("a", 13), MoneyDeposited{13}, eu("b", 2)).
			Redelivered(nil).
			ThenParked(eu("a", 13)).
			ThenHandled(eu("b", 2))
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, picky().RoutingKey("eu").AcceptFailure()).Given(eu("a", 13)).Then()
	}, "events were parked")
}

// Redelivered events come as after a crash: they are no replay, so a handler cannot
// recognise them by that.
func TestRedeliveredIsNoReplay(t *testing.T) {
	t.Parallel()
	calls := 0
	careless := evento.NewSubscription("careless").Handler(evento.Handle(func(ctx context.Context, _ evento.Event[AccountOpened]) error {
		if !evento.DeliveryFrom(ctx).Replay {
			calls++
		}
		return nil
	}))
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, careless).Given(AccountOpened{"Ann"}).Redelivered(func() any { return calls }).Then()
	}, "what the test reports is not the same")
	if calls != 2 {
		t.Errorf("%d calls that are no replay, want 2", calls)
	}
}
