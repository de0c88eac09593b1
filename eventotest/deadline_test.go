package eventotest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

var noon = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

// payment is the deadline of an order.
func payment(order string, at time.Time) eventotest.Deadline {
	return eventotest.Deadline{Payload: Overdue{}, AggregateID: order, Name: "payment", At: at}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	given := func(t testing.TB, seats int) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).
			Given(eventotest.Of("rock", Announced{seats}), eventotest.Of("o0", Placed{"rock", "zoe"})).
			Decide(reserve("rock", "o1", "ann", noon))
	}
	events := []evento.Payload{eventotest.Of("rock", Reserved{"o1"}), eventotest.Of("o1", Placed{"rock", "ann"})}
	with := func(more ...evento.Payload) []evento.Payload { return append(events[:2:2], more...) }
	wantPass(t, func(t testing.TB) { given(t, 1).Then(with(payment("o1", noon))...) })
	wantPass(t, func(t testing.TB) { given(t, 1).Then(with(payment("", time.Time{}))...) })
	wantPass(t, func(t testing.TB) { given(t, 1).Then(payment("o1", noon.Add(999)), events[0], events[1]) })
	wantPass(t, func(t testing.TB) { given(t, 0).ThenError(errSoldOut) })
	wantFail(t, func(t testing.TB) { given(t, 0).Then(with(payment("o1", noon))...) }, "the decision failed: sold out")
	wantFail(t, func(t testing.TB) { given(t, 1).Then() }, "the new events are not those wanted")
	wantFail(t, func(t testing.TB) { given(t, 1).Then(events...) },
		"the deadlines are not those wanted (-want +got)", `+ Name: "payment"`, `+ AggregateID: "o1"`, `+ At: s"2026-03-02 12:00:00 +0000 UTC"`, "shop/Order Overdue")
	wantFail(t, func(t testing.TB) { given(t, 1).Then(with(payment("o1", noon.Add(time.Hour)))...) },
		`- At: s"2026-03-02 13:00:00 +0000 UTC"`, `+ At: s"2026-03-02 12:00:00 +0000 UTC"`)
	wantFail(t, func(t testing.TB) { given(t, 1).Then(with(payment("o2", noon))...) }, `- AggregateID: "o2"`, `+ AggregateID: "o1"`)
	wantFail(t, func(t testing.TB) {
		given(t, 1).Then(with(eventotest.Deadline{Payload: Cancelled{}, AggregateID: "o1", Name: "payment", At: noon})...)
	}, "- Payload: eventotest_test.Cancelled{}", `+ Payload: eventotest.unknown{Kind: "shop/Order Overdue"`)
	wantFail(t, func(t testing.TB) {
		given(t, 1).Then(with(eventotest.Of("o1", eventotest.Deadline{Payload: Overdue{}, Name: "pay", At: noon}))...)
	}, `- Name: "pay"`, `+ Name: "payment"`)
	wantFail(t, func(t testing.TB) {
		given(t, 1).Then(with(payment("o1", noon), eventotest.Cleared("o0", "payment"))...)
	},
		`- eventotest.cleared{Name: "payment", AggregateID: "o0"}`)
	wantFail(t, func(t testing.TB) { given(t, 1).Then(with(eventotest.Deadline{Name: "payment"})...) },
		`eventotest: the wanted deadline "payment" has no payload`)
	wantFail(t, func(t testing.TB) { given(t, 1).Then(with((*eventotest.Deadline)(nil))...) }, "has no payload")

	// A decision that fails has committed nothing; a command may have.
	half := func(ctx context.Context, ex evento.Executor) error {
		_, err := evento.Aggregate("o1").Event(Placed{"rock", "ann"}).Deadline("payment", noon, Overdue{}).Commit(ctx, ex)
		return errors.Join(err, errSoldOut)
	}
	wantPass(t, func(t testing.TB) { eventotest.Command(t).Decide(half).ThenError(errSoldOut) })
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).When(half).ThenError(errSoldOut, Placed{"rock", "ann"}, payment("o1", noon))
	})
	wantFail(t, func(t testing.TB) { eventotest.Command(t).When(half).ThenError(errSoldOut, Placed{"rock", "ann"}) }, "the deadlines are not those wanted")
	wantFail(t, func(t testing.TB) { eventotest.Command(t).Decide(nil).Then() }, "Decide: the function is nil")
}

func TestGivenDeadlines(t *testing.T) {
	t.Parallel()
	placed := eventotest.Of("o1", Placed{"rock", "ann"})
	paid := func(t testing.TB, given ...evento.Payload) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).ID("o1").Given(placed).Given(given...).Decide(pay("o1"))
	}
	wantPass(t, func(t testing.TB) {
		paid(t, payment("o1", noon)).Then(eventotest.Of("o1", Paid{}), eventotest.Cleared("o1", "payment"))
	})
	wantPass(t, func(t testing.TB) {
		paid(t, payment("", time.Time{}), eventotest.Of("o2", payment("", noon)), &eventotest.Event{Payload: payment("", noon), AggregateID: "o3"}).Then(Paid{}, eventotest.Cleared("", "payment"))
	})
	wantPass(t, func(t testing.TB) { paid(t).Then(Paid{}) })
	wantFail(t, func(t testing.TB) { paid(t, payment("o1", noon)).Then(Paid{}) }, "the deadlines are not those wanted",
		`+ eventotest.cleared{Name: "payment", AggregateID: "o1"}`, `deadline "payment" at 2026-03-02T12:00:00Z: shop/Order Overdue of "o1": Overdue{}`)
	wantFail(t, func(t testing.TB) { paid(t).Then(Paid{}, eventotest.Cleared("o1", "payment")) }, `- eventotest.cleared{Name: "payment", AggregateID: "o1"}`)
	wantFail(t, func(t testing.TB) {
		paid(t, payment("", time.Time{})).Then(Paid{}, payment("o1", time.Time{}))
	}, "- eventotest.deadline{", "+ eventotest.cleared{", `deadline "payment": shop/Order Overdue of "o1": Overdue{}`)

	// One that is moved is wanted; one that is set again as it was may be.
	move := func(to time.Time, p evento.Payload) func(context.Context, evento.Executor) error {
		return func(ctx context.Context, d evento.Executor) error {
			_, err := evento.Aggregate("o1").AnyVersion().Event(Paid{}).Deadline("payment", to, p).Commit(ctx, d)
			return err
		}
	}
	moved := func(t testing.TB, to time.Time, p evento.Payload) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).Given(placed, payment("o1", noon), payment("o3", noon)).Decide(move(to, p))
	}
	later := noon.Add(time.Hour)
	wantPass(t, func(t testing.TB) { moved(t, later, Overdue{}).Then(Paid{}, payment("o1", later)) })
	wantPass(t, func(t testing.TB) {
		moved(t, noon, Cancelled{}).Then(Paid{}, eventotest.Deadline{Payload: Cancelled{}, Name: "payment"})
	})
	wantPass(t, func(t testing.TB) { moved(t, noon, Overdue{}).Then(Paid{}) })
	wantPass(t, func(t testing.TB) { moved(t, noon, Overdue{}).Then(Paid{}, payment("o1", noon)) })
	wantFail(t, func(t testing.TB) { moved(t, later, Overdue{}).Then(Paid{}) }, `+ At: s"2026-03-02 13:00:00 +0000 UTC"`)
	wantFail(t, func(t testing.TB) { moved(t, later, Overdue{}).Then(Paid{}, payment("o1", noon)) }, `- At: s"2026-03-02 12:`, `+ At: s"2026-03-02 13:`)

	for want, d := range map[string]evento.Payload{
		`the given deadline "payment" is cleared; leave it out`:                  eventotest.Cleared("o1", "payment"),
		`the given deadline "payment" has no payload`:                            eventotest.Deadline{Name: "payment"},
		`the given deadline "" has no payload`:                                   (*eventotest.Deadline)(nil),
		`the given deadline "" cannot be set: evento: deadline "" of shop/Order`: &eventotest.Deadline{Payload: Overdue{}},
		`the given deadline "x" cannot be set: evento: invalid time of deadline`: eventotest.Deadline{Payload: Overdue{}, Name: "x", At: noon.AddDate(-200, 0, 0)},
		`the given deadline "x" does not come back from its codec as it was`:     eventotest.Deadline{Payload: leaky{note: "gift"}, Name: "x"},
	} {
		wantFail(t, func(t testing.TB) { paid(t, d).Then(Paid{}) }, want)
	}
	wantFail(t, func(t testing.TB) {
		eventotest.Command(t).Given(placed).Decide(move(noon, leaky{})).Then(Paid{})
	}, "the decision failed: evento: invalid payload of deadline")
	wantFail(t, func(t testing.TB) {
		paid(t).Then(Paid{}, eventotest.Deadline{Payload: leaky{note: "gift"}, Name: "x"})
	}, `the wanted deadline "x" does not come back from its codec as it was`)
	wantFail(t, func(t testing.TB) { eventotest.Command(t).Given(payment("o1", noon)).Decide(pay("o1")).Then() }, "the decision failed", "given deadline")
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, orders).ID("o1").Given(placed, payment("", noon)).Then(order{"rock", "ann", "placed"})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, orders).ID("o1").Given(placed, payment("", noon)).
			When(func(*evento.Loaded[order]) ([]evento.Payload, error) { return []evento.Payload{Paid{}}, nil }).Then(Paid{})
	})
}

func TestAt(t *testing.T) {
	t.Parallel()
	placed := func(id string) evento.Payload { return eventotest.Of(id, Placed{"rock", id}) }
	later := noon.Add(time.Hour)
	given := func(t testing.TB, at time.Time) *eventotest.Outcome {
		t.Helper()
		return eventotest.Command(t).Given(placed("o1"), placed("o2"), placed("o3"), payment("o2", later), payment("o3", later.Add(1000)), payment("o1", noon)).At(at)
	}
	overdue := func(id string, at time.Time) evento.Payload {
		return eventotest.Event{Payload: Overdue{}, AggregateID: id, Timestamp: at}
	}
	wantPass(t, func(t testing.TB) { given(t, noon.Add(-time.Microsecond)).Then() })
	wantPass(t, func(t testing.TB) { given(t, noon).Then(overdue("o1", noon)) })
	wantPass(t, func(t testing.TB) { given(t, noon).At(later.Add(-1)).Then(overdue("o1", noon)) })
	wantPass(t, func(t testing.TB) {
		given(t, later.Add(time.Hour)).Then(overdue("o1", noon), overdue("o2", later), overdue("o3", later.Add(1000)))
	})
	wantPass(t, func(t testing.TB) {
		given(t, noon).At(later.Add(1000)).Then(overdue("o1", noon), overdue("o2", later), overdue("o3", later.Add(1000)))
	})
	wantFail(t, func(t testing.TB) { given(t, noon).Then() }, "the new events are not those wanted", `Payload: eventotest_test.Overdue{}, AggregateID: "o1"`)
	wantFail(t, func(t testing.TB) { given(t, noon).Then(Overdue{}, eventotest.Cleared("o1", "payment")) }, `- eventotest.cleared{Name: "payment", AggregateID: "o1"}`)
	wantFail(t, func(t testing.TB) { given(t, noon).ThenError(errPoor) }, "nothing did not fail")
	wantFail(t, func(t testing.TB) { given(t, time.Time{}).Then() }, "At: 0001-01-01T00:00:00Z is before the last event, which is of 2000-01-01T00:00:02Z")

	// One that has passed already comes true at once, and by default it is due in an hour.
	last := time.Date(2000, time.January, 1, 0, 0, 1, 0, time.UTC)
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).Given(placed("o1"), placed("o2"), payment("o1", last.Add(-time.Minute))).At(last).Then(overdue("o1", last))
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).Given(placed("o1"), placed("o2"), payment("o1", time.Time{}), placed("o4")).At(last.Add(time.Hour)).Then(overdue("o1", last.Add(time.Hour)))
	})

	// After a decision: its events, and what comes of them.
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).Given(eventotest.Of("jazz", Announced{1})).
			Decide(reserve("jazz", "j1", "joe", noon)).At(noon).
			Then(Reserved{"j1"}, Placed{"jazz", "joe"}, overdue("j1", noon))
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Command(t).Decide(reserve("rock", "o1", "ann", noon)).At(noon).Then()
	}, "the decision failed: evento: not found")
	wantFail(t, func(t testing.TB) { eventotest.Command(t).Given(nil).At(noon).Then() }, "given event 1 is nil")
}

// Many deadlines are more than one write of those that come true.
func TestManyDeadlines(t *testing.T) {
	t.Parallel()
	var given, want []evento.Payload
	for i := range 120 {
		id := fmt.Sprintf("o%03d", i)
		given = append(given, eventotest.Of(id, Placed{"rock", id}), payment(id, noon.Add(time.Duration(i)*time.Second)))
		want = append(want, eventotest.Of(id, Overdue{}))
	}
	wantPass(t, func(t testing.TB) { eventotest.Command(t).Given(given...).At(noon.Add(time.Hour)).Then(want...) })
	wantPass(t, func(t testing.TB) { eventotest.Command(t).Given(given...).At(noon).Then(want[0]) })
	wantPass(t, func(t testing.TB) {
		eventotest.Command(t).Given(given...).Decide(pay("o007")).Then(Paid{}, eventotest.Cleared("o007", "payment"))
	})
}

func TestSubscriptionAndDeadlines(t *testing.T) {
	t.Parallel()
	overdue := []evento.Payload{eventotest.Of("o1", Placed{"rock", "ann"}), eventotest.Of("o1", Overdue{})}
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, cancelOverdue()).Given(overdue...).Redelivered(nil).
			Then(eventotest.Of("o1", Cancelled{}), eventotest.Of("rock", Released{"o1"}))
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Subscribe(t, cancelOverdue()).Given(overdue[0], eventotest.Of("o1", Paid{}), overdue[1]).Then()
	})
	remind := evento.NewSubscription("remind").Handler(evento.Handle(func(ctx context.Context, e evento.Event[Placed]) error {
		_, err := evento.Aggregate(e.AggregateID).OriginalVersion(1).Event(Cancelled{}).
			Deadline("reminder", noon, Paid{}).ClearDeadline("payment").Commit(ctx, evento.ExecutorFrom(ctx))
		if errors.Is(err, evento.ErrConflict) {
			return nil
		}
		return err
	}))
	run := func(t testing.TB) *eventotest.SubscriptionTest {
		t.Helper()
		return eventotest.Subscribe(t, remind).Given(overdue[0], payment("o1", noon)).Redelivered(nil)
	}
	reminder := eventotest.Deadline{Payload: Paid{}, AggregateID: "o1", Name: "reminder", At: noon}
	wantPass(t, func(t testing.TB) {
		run(t).Then(Cancelled{}, reminder, eventotest.Cleared("o1", "payment")).ThenHandled(overdue[0])
	})
	wantFail(t, func(t testing.TB) { run(t).Then(Cancelled{}, reminder) }, "the deadlines are not those wanted", `+ eventotest.cleared{Name: "payment", AggregateID: "o1"}`)
	wantFail(t, func(t testing.TB) { run(t).ThenHandled(reminder) }, `the deadline "reminder" is no event; Then compares deadlines`)
	wantFail(t, func(t testing.TB) { run(t).ThenParked(reminder) }, `the deadline "reminder" is no event`)
	wantFail(t, func(t testing.TB) { run(t).ThenError(errPoor, reminder) }, "the subscription did not fail")
	wantFail(t, func(t testing.TB) {
		eventotest.Subscribe(t, remind).Given(eventotest.Deadline{Payload: Overdue{}}).Then()
	}, `the given deadline "" cannot be set`)
}

func TestTags(t *testing.T) {
	t.Parallel()
	given := func(t testing.TB, placed eventotest.Event) *eventotest.Outcome {
		t.Helper()
		placed.AggregateID = "o0"
		return eventotest.Command(t).Given(eventotest.Of("rock", Announced{5}), placed).Decide(reserve("rock", "o1", "ann", noon))
	}
	ann := Placed{"rock", "ann"}
	wantPass(t, func(t testing.TB) { given(t, eventotest.Event{Payload: ann}).ThenError(errTwice) })
	wantPass(t, func(t testing.TB) { given(t, eventotest.Event{Payload: &ann}).ThenError(errTwice) })
	wantPass(t, func(t testing.TB) {
		given(t, eventotest.Event{Payload: Placed{"rock", "ben"}, Tags: []string{"concert:rock", "customer:ann", "customer:ann"}}).ThenError(errTwice)
	})
	wanted := func(tags ...string) []evento.Payload {
		return []evento.Payload{Reserved{"o1"}, eventotest.Event{Payload: ann, Tags: tags}, payment("", noon)}
	}
	none := eventotest.Event{Payload: ann, Tags: []string{}}
	wantPass(t, func(t testing.TB) { given(t, none).Then(wanted()...) }) // nil is not compared
	wantPass(t, func(t testing.TB) { given(t, none).Then(wanted("customer:ann", "concert:rock")...) })
	wantFail(t, func(t testing.TB) { given(t, none).Then(wanted("customer:ann")...) }, "the new events are not those wanted", `+ "concert:rock"`)
	wantFail(t, func(t testing.TB) { given(t, none).Then(wanted([]string{}...)...) }, `+ "concert:rock", + "customer:ann"`)
}
