package eventotest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

// shaky is the subscription collect, whose handlers fail after their commits: the first
// calls, as often as it says, and always for an order that it names.
func shaky(times int, always string) *evento.SubscriptionBuilder {
	failing := func(ctx context.Context, e evento.RawEvent) error {
		err := collectPayment(ctx, e)
		if times--; err == nil && (times >= 0 || e.AggregateID == always) {
			return errPoor
		}
		return err
	}
	return evento.NewSubscription("collect").Transactional().Handler(evento.HandleAll(orderType, failing))
}

// Handlers that fail have committed nothing: no events, no deadlines, no records.
func TestTransactionalFails(t *testing.T) {
	t.Parallel()
	placed := func(id string) evento.Payload { return eventotest.Of(id, Placed{"rock", "ann"}) }
	requested := func(id string) []evento.Payload {
		return []evento.Payload{eventotest.Of(id, Requested{}), payment(id, time.Time{})}
	}
	once := evento.Record{RecordKey: evento.RecordKey{Kind: "requests", Key: "ann"}, Value: []byte("1")}
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(1, "")).Given(placed("o1")).ThenError(errPoor).ThenRecords()
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(2, "")).Retries(2).Given(placed("o1")).Then(requested("o1")...).ThenRecords(once)
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(2, "")).Retries(1).Given(placed("o1")).ThenError(errPoor).ThenRecords()
	})
	// What the events before have led to stays.
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(0, "o2")).Given(placed("o1"), placed("o2"), placed("o3")).
			ThenError(errPoor, requested("o1")...).ThenRecords(once)
	})
	// One that is parked has led to nothing, and those of other orders come.
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(0, "o2").AcceptFailure()).Given(placed("o1"), placed("o2"), placed("o3")).
			ThenParked(placed("o2")).ThenHandled(placed("o1"), placed("o3"), requested("o1")[0], requested("o3")[0]).
			Then(slices.Concat(requested("o1"), requested("o3"))...).
			ThenRecords(evento.Record{RecordKey: once.RecordKey, Value: []byte("2")})
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(0, "")).Given(placed("o1")).ThenError(errPoor)
	}, "the subscription did not fail")
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(1, "")).Given(placed("o1")).ThenError(errPoor, requested("o1")...)
	}, "the new events are not those wanted", "- eventotest.event{Payload: eventotest_test.Requested{}")

	// Without a transaction, what the handler has committed before it failed stays.
	wantPass(t, func(t testing.TB) {
		careless := evento.NewSubscription("careless").Handler(evento.Handle(func(ctx context.Context, e evento.Event[Placed]) error {
			return errors.Join(collectPayment(ctx, e.RawEvent), errPoor)
		}))
		eventotest.Subscribe(t, careless).Given(placed("o1")).ThenError(errPoor, requested("o1")...).ThenRecords(once)
	})
}

func TestThenRecords(t *testing.T) {
	t.Parallel()
	key := evento.RecordKey{Kind: "requests", Key: "ann"}
	record := func(value string) evento.Record { return evento.Record{RecordKey: key, Value: []byte(value)} }
	other := evento.Record{RecordKey: evento.RecordKey{Kind: "others", Key: "k", Part: "p"}, Value: []byte{0xff}}
	run := func(t testing.TB, given ...evento.Record) *eventotest.SubscriptionTest {
		t.Helper()
		return eventotest.Subscribe(t, collect()).Given(eventotest.Of("o1", Placed{"rock", "ann"})).GivenRecords(given...)
	}
	wantPass(t, func(t testing.TB) { run(t).ThenRecords(record("1")) })
	wantPass(t, func(t testing.TB) { run(t, other, record("7")).ThenRecords(record("8"), other) })
	wantPass(t, func(t testing.TB) {
		at := record("8")
		at.Revision = 2
		run(t, record("7")).ThenRecords(at)
	})
	wantFail(t, func(t testing.TB) {
		at := record("8")
		at.Revision = 3
		run(t, record("7")).ThenRecords(at)
	}, "the records are not those wanted (-want +got)", "- Revision: 3", "+ Revision: 2")
	wantFail(t, func(t testing.TB) { run(t).ThenRecords() }, "the records are not those wanted", `+ {Kind: "requests", Key: "ann", Value: "1"}`)
	wantFail(t, func(t testing.TB) { run(t).ThenRecords(record("1"), other) }, `- {Kind: "others", Key: "k", Part: "p", Value: "\xff"}`)
	wantFail(t, func(t testing.TB) { run(t, other).ThenRecords(record("1")) }, `+ {Kind: "others"`)
	wantFail(t, func(t testing.TB) { run(t, other, other).ThenRecords() }, `eventotest: the given record "others" "k" "p" cannot be stored`)
	wantFail(t, func(t testing.TB) { run(t, evento.Record{}).ThenRecords() }, "cannot be stored: evento: invalid record kind")
	wantFail(t, func(t testing.TB) {
		run(t, evento.Record{RecordKey: evento.RecordKey{Kind: "subscription", Key: "collect"}}).ThenRecords()
	}, `eventotest: the given record "subscription" "collect" "" is one of the library's`)

	// A command, and a decision.
	request := func(ctx context.Context, ex evento.Executor) error { return countRequest(ctx, ex, "ann") }
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).GivenRecords(record("1")).When(request).ThenRecords(record("2"))
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).GivenRecords(record("1")).Decide(request).ThenRecords(record("2"))
	})
	wantPass(t, func(t testing.TB) {
		o := eventotest.Command(t).When(func(ctx context.Context, ex evento.Executor) error {
			return errors.Join(request(ctx, ex), errPoor)
		})
		o.ThenError(errPoor)
		o.ThenRecords(record("1"))
	})
	wantFail(t, func(t testing.TB) { eventotest.Command(t).When(request).ThenRecords() }, "the records are not those wanted")

	// Handled twice, it is counted twice.
	wantFail(t, func(t testing.TB) {
		counting := evento.NewSubscription("counting").Handler(evento.Handle(func(ctx context.Context, e evento.Event[Placed]) error {
			return countRequest(ctx, evento.ExecutorFrom(ctx), e.Data.Customer)
		}))
		eventotest.Subscribe(t, counting).Given(eventotest.Of("o1", Placed{"rock", "ann"})).Redelivered(nil).ThenRecords(record("1"))
	}, "the events came again, and the records are not the same (-once +twice)", `- Value: "1"`, `+ Value: "2"`)
	wantPass(t, func(t testing.TB) { run(t).Redelivered(nil).ThenRecords(record("1")) })
}

// Deadlines that a subscription sets and clears, and those that come true while it runs.
func TestSubscriptionAt(t *testing.T) {
	t.Parallel()
	placed := eventotest.Event{Payload: Placed{"rock", "ann"}, AggregateID: "o1", Timestamp: noon}
	due := noon.Add(24 * time.Hour)
	requested, overdue := eventotest.Of("o1", Requested{}), eventotest.Event{Payload: Overdue{}, AggregateID: "o1", Timestamp: due}
	cancelled := eventotest.Event{Payload: Cancelled{}, AggregateID: "o1", Timestamp: due}
	given := func(t testing.TB, more ...evento.Payload) *eventotest.SubscriptionTest {
		t.Helper()
		return eventotest.Subscribe(t, collect()).Given(placed).Given(more...)
	}
	wantPass(t, func(t testing.TB) { given(t).Then(requested, payment("o1", due)) })
	wantPass(t, func(t testing.TB) { given(t).At(due.Add(-1)).Then(requested, payment("o1", due)) })
	wantPass(t, func(t testing.TB) {
		given(t).At(due).Then(requested, overdue, cancelled).ThenHandled(placed, requested, overdue, cancelled).ThenParked()
	})
	wantPass(t, func(t testing.TB) { given(t).At(due.Add(time.Hour)).Then(requested, overdue, cancelled) })
	wantPass(t, func(t testing.TB) { given(t).At(noon.Add(time.Hour)).At(due).Then(requested, overdue, cancelled) })
	wantPass(t, func(t testing.TB) {
		given(t, eventotest.Of("o1", Paid{})).At(due).Then(eventotest.Of("o1", Closed{}))
	})
	// One that was set before.
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, collect()).Given(placed, eventotest.Of("o1", Requested{}), payment("o1", due)).At(due).
			Redelivered(nil).Then(overdue, cancelled)
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, collect()).Given(placed, eventotest.Of("o1", Requested{}), payment("o1", due), eventotest.Of("o1", Paid{})).
			Then(eventotest.Of("o1", Closed{}), eventotest.Cleared("o1", "payment"))
	})
	wantFail(t, func(t testing.TB) { given(t).At(due).Then(requested, payment("o1", due)) }, "the new events are not those wanted", "+ eventotest.event{Payload: eventotest_test.Overdue{}", "shop/Order Cancelled")
	wantFail(t, func(t testing.TB) {
		given(t).At(due).Then(requested, overdue, cancelled, eventotest.Cleared("o1", "payment"))
	},
		"the deadlines are not those wanted", `- eventotest.cleared{Name: "payment", AggregateID: "o1"}`)
	wantFail(t, func(t testing.TB) { given(t).At(noon.Add(-time.Second)).Then() },
		"eventotest: At: 2026-03-02T11:59:59Z is before the last event, which is of 2026-03-02T12:00:01Z")

	// One deadline sets the next, and time stands at each.
	daily := evento.NewSubscription("daily").Handler(evento.Handle(func(ctx context.Context, e evento.Event[Overdue]) error {
		_, err := evento.Aggregate(e.AggregateID).OriginalVersion(e.Version).Event(Requested{}).
			Deadline("payment", e.Timestamp.Add(24*time.Hour), Overdue{}).Commit(ctx, evento.ExecutorFrom(ctx))
		if errors.Is(err, evento.ErrConflict) {
			return nil
		}
		return err
	}))
	day := func(n int) time.Time { return noon.AddDate(0, 0, n) }
	at := func(n int, p evento.Payload) evento.Payload {
		return eventotest.Event{Payload: p, AggregateID: "o1", Timestamp: day(n)}
	}
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, daily).Given(placed, payment("o1", day(1))).At(day(3).Add(time.Hour)).Redelivered(nil).
			Then(at(1, Overdue{}), at(1, Requested{}), at(2, Overdue{}), at(2, Requested{}), at(3, Overdue{}), at(3, Requested{}), payment("o1", day(4)))
	})

	// A handler that fails at what has come true, and one that fails before.
	failing := evento.NewSubscription("failing").Handler(evento.Handle(func(context.Context, evento.Event[Overdue]) error { return errPoor }))
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, failing).Given(placed, payment("o1", due)).At(due).At(due.Add(time.Hour)).ThenError(errPoor, overdue)
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, shaky(9, "")).Given(placed, payment("o1", due)).At(due).ThenError(errPoor)
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, failing).Given(placed, payment("o1", due)).At(due).Then(overdue)
	}, "the subscription failed", "not enough money")
}
