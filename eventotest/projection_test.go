package eventotest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

func TestProjectionState(t *testing.T) {
	t.Parallel()
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(AccountOpened{"Ann"}).Given(MoneyDeposited{5}, MoneyWithdrawn{2}).Then(Account{"Ann", 3})
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).ID("ann").Given(AccountOpened{"Ann"}, MoneyDeposited{5}).Then(Account{"Ann", 7})
	}, "the state is not the one wanted (-want +got)", "- Balance: 7", "+ Balance: 5", `2. bank/Account MoneyDeposited of "ann": MoneyDeposited{Amount: 5}`)
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Then(Account{})
	}, "the load failed: evento: not found", "given no events")
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).LoadOptions(evento.OrNew()).Then(Account{})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}, eventotest.Of("other", MoneyDeposited{2})).Then(Account{Balance: 1})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}, eventotest.Of("other", MoneyDeposited{2})).
			LoadOptions(evento.Related(accountType, "other")).Then(Account{Balance: 3})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}, MoneyDeposited{2}, MoneyDeposited{3}).
			LoadOptions(evento.AtVersion(2)).Then(Account{Balance: 3})
	})
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(&MoneyDeposited{1}, &eventotest.Event{Payload: MoneyDeposited{2}}).Then(Account{Balance: 3})
	})
}

func TestProjectionFunc(t *testing.T) {
	t.Parallel()
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}, MoneyDeposited{2}).ThenFunc(func(l *evento.Loaded[Account]) {
			if l.State.Balance != 3 || l.Version != 2 {
				t.Errorf("%+v", l)
			}
		})
	})
	r := record(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}).ThenFunc(func(*evento.Loaded[Account]) { t.Errorf("mine") })
	})
	if len(r.reports) != 2 || r.reports[0] != "mine" || r.reports[1] != `given 1. bank/Account MoneyDeposited of "1": MoneyDeposited{Amount: 1}` {
		t.Errorf("reports %q, want the function's own and the given events", r.reports)
	}
}

type AccountClosed struct{}

func (AccountClosed) AggregateType() evento.AggregateType { return accountType }
func (AccountClosed) EventName() string                   { return "AccountClosed" }

func TestProjectionErrors(t *testing.T) {
	t.Parallel()
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(AccountClosed{}).ThenError(evento.ErrUnhandledEvent)
	})
	wantPass(t, func(t testing.TB) { eventotest.Project(t, accounts).ThenError(evento.ErrNotFound) })
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(AccountClosed{}).Then(Account{})
	}, "the load failed: evento: unhandled event")
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(AccountClosed{}).ThenError(evento.ErrNotFound)
	}, "the load failed with another error got: evento: unhandled event", "want: evento: not found")
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{}).ThenError(evento.ErrNotFound)
	}, "the load did not fail, want the error: evento: not found")
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{}).ThenError(nil)
	}, "ThenError: the wanted error is nil; use Then")
}

// kept loses a field in a snapshot, because of its tag.
type kept struct {
	Sum  int
	Last int `cbor:"-"`
}

func forgetful(every uint64) *evento.Projection[kept] {
	return evento.NewProjection[kept]("kept", accountType).SnapshotEvery(every).Handler(
		evento.Apply(func(k *kept, e evento.Event[MoneyDeposited]) error {
			k.Sum += e.Data.Amount - k.Last
			k.Last = e.Data.Amount
			return nil
		}))
}

func TestSnapshotInTheMiddle(t *testing.T) {
	t.Parallel()
	given := []evento.Payload{MoneyDeposited{1}, MoneyDeposited{2}, MoneyDeposited{4}}
	fails := "the state behind event 2, loaded from a snapshot before it, is not that of all events (-replayed +from snapshot)"
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, forgetful(100)).Given(given...).Then(kept{4, 4})
	}, fails, "- Sum: 2", "+ Sum: 3")
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, forgetful(100)).Given(given...).When(func(*evento.Loaded[kept]) ([]evento.Payload, error) { return nil, nil }).Then()
	}, fails)
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, forgetful(0)).Snapshots(true).Given(given...).Then(kept{4, 4})
	}, fails)
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, forgetful(100)).Snapshots(false).Given(given...).Then(kept{4, 4})
	})
	wantPass(t, func(t testing.TB) { eventotest.Project(t, forgetful(0)).Given(given...).Then(kept{4, 4}) })

	many := make([]evento.Payload, 2000)
	for i := range many {
		many[i] = MoneyDeposited{1}
	}
	wantPass(t, func(t testing.TB) { eventotest.Project(t, accounts).Given(many...).Then(Account{Balance: len(many)}) })
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, forgetful(100)).Given(many...).Then(kept{1, 1})
	}, "the state behind event 42, loaded from a snapshot before it", "MoneyDeposited{Amount: 1} … 1900 more 1951. bank/Account")

	type hidden struct{ sum int }
	p := evento.NewProjection[hidden]("hidden", accountType).Handler(
		evento.Apply(func(h *hidden, e evento.Event[MoneyDeposited]) error { h.sum += e.Data.Amount; return nil }))
	wantPass(t, func(t testing.TB) { eventotest.Project(t, p).Given(given...).Then(hidden{7}) })
	wantFail(t, func(t testing.TB) { eventotest.Project(t, p).Given(given...).Then(hidden{8}) }, "- sum: 8", "+ sum: 7")
	wantFail(t, func(t testing.TB) { eventotest.Project(t, p).Snapshots(true).Given(given...).Then(hidden{7}) }, "would lose the unexported field sum")
}

// seen records the fields of an event besides its payload.
type seen struct {
	ID, Key, Codec, By string
	At                 time.Time
	Tags               map[string]int
}

func TestGivenBesideThePayload(t *testing.T) {
	t.Parallel()
	p := evento.NewProjection[[]seen]("seen", accountType).Handler(
		evento.Apply(func(s *[]seen, e evento.Event[MoneyDeposited]) error {
			*s = append(*s, seen{e.ID.String(), e.RoutingKey, e.Codec, e.Metadata.RequestedBy, e.Timestamp, map[string]int{}})
			return nil
		}))
	first := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	later := time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)
	fixed := evento.ID{15: 9}
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, p).Compare(cmpopts.IgnoreFields(seen{}, "Tags")).Given(
			eventotest.Event{Payload: MoneyDeposited{1}, RoutingKey: "eu"},
			eventotest.Event{Payload: MoneyDeposited{2}, ID: fixed, Metadata: evento.Metadata{RequestedBy: "ann"}},
			eventotest.Event{Payload: MoneyDeposited{3}, Timestamp: later, Codec: evento.JSON()},
			MoneyDeposited{4},
		).Then([]seen{
			{"00VHNCZB000000000000000001", "eu", "cbor", "", first, nil},
			{fixed.String(), "eu", "cbor", "ann", first.Add(time.Second), nil},
			{"01KJPWD6M00000000000000003", "eu", "json", "", later, nil},
			{"01KJPWD7K80000000000000004", "eu", "cbor", "", later.Add(time.Second), nil},
		})
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, p).Given(MoneyDeposited{1}, eventotest.Event{Payload: MoneyDeposited{2}, Timestamp: first.Add(-1)}).Then(nil)
	}, "given event 2 cannot be stored: its time 1999-12-31T23:59:59.999999999Z is before that of the event ahead of it, 2000-01-01T00:00:00Z")
}

// leaky has fields that no codec stores.
type leaky struct {
	Amount int
	note   string
	Skip   []string `json:"-"`
}

func (leaky) AggregateType() evento.AggregateType { return accountType }
func (leaky) EventName() string                   { return "MoneyDeposited" }

func TestPayloadsSurviveTheirCodec(t *testing.T) {
	t.Parallel()
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}, leaky{Amount: 2, note: "gift"}).Then(Account{Balance: 3})
	}, "given event 2 does not come back from its codec as it was (-before +after, codec cbor)", `- note: "gift"`, "Unexported fields", "2. bank/Account MoneyDeposited")
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(eventotest.Event{Payload: leaky{Skip: []string{"a"}}, Codec: evento.JSON()}).Then(Account{})
	}, "codec json", `- Skip: []string{"a"}`)
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(eventotest.Event{Payload: leaky{Amount: 2, note: "gift"}, Lossy: true}).Then(Account{Balance: 2})
	})
	decide := func(*evento.Loaded[Account]) ([]evento.Payload, error) {
		return []evento.Payload{leaky{Amount: 2, note: "gift"}}, nil
	}
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}).When(decide).Then(leaky{Amount: 2})
	}, "new event 1 does not come back from its codec as it was", `- note: "gift"`)
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}).When(decide).Then(MoneyDeposited{1}, leaky{note: "gift"})
	}, "new event 1 does not come back")
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}).When(withdraw(1)).Then(leaky{note: "gift"})
	}, "wanted event 1 does not come back")
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(MoneyDeposited{1}).When(decide).Then(eventotest.Event{Payload: leaky{Amount: 2}, Lossy: true})
	})
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(broken{}).Then(Account{})
	}, "given event 1 does not come back from its codec as it was: codec cbor cannot encode it")
}

type broken struct{ F func() }

func (broken) AggregateType() evento.AggregateType { return accountType }
func (broken) EventName() string                   { return "Broken" }

func TestDecision(t *testing.T) {
	t.Parallel()
	given := func(t testing.TB) *eventotest.ProjectionTest[Account] {
		t.Helper()
		return eventotest.Project(t, accounts).Given(AccountOpened{"Ann"}, MoneyDeposited{5})
	}
	nothing := func(*evento.Loaded[Account]) ([]evento.Payload, error) { return nil, nil }
	wantPass(t, func(t testing.TB) { given(t).When(withdraw(2)).Then(MoneyWithdrawn{2}) })
	wantPass(t, func(t testing.TB) { given(t).When(nothing).Then() })
	wantPass(t, func(t testing.TB) { given(t).When(withdraw(6)).ThenError(errPoor) })
	wantPass(t, func(t testing.TB) {
		eventotest.Project(t, accounts).LoadOptions(evento.OrNew()).When(withdraw(0)).Then(MoneyWithdrawn{})
	})
	wantPass(t, func(t testing.TB) { eventotest.Project(t, accounts).When(nothing).ThenError(evento.ErrNotFound) })

	wantFail(t, func(t testing.TB) { given(t).When(withdraw(2)).Then(MoneyWithdrawn{3}) },
		"the new events are not those wanted (-want +got)", "- eventotest_test.MoneyWithdrawn{Amount: 3}", "+ eventotest_test.MoneyWithdrawn{Amount: 2}", "2. bank/Account MoneyDeposited")
	wantFail(t, func(t testing.TB) { given(t).When(withdraw(2)).Then() }, `+ eventotest.event{Payload: eventotest_test.MoneyWithdrawn{Amount: 2}, AggregateID: "1"}`)
	wantFail(t, func(t testing.TB) { given(t).When(withdraw(2)).Then(MoneyDeposited{2}) },
		"- eventotest_test.MoneyDeposited{Amount: 2}", "+ eventotest_test.MoneyWithdrawn{Amount: 2}")
	wantFail(t, func(t testing.TB) { given(t).When(nothing).Then(MoneyWithdrawn{2}) }, "- eventotest_test.MoneyWithdrawn{Amount: 2}")
	wantFail(t, func(t testing.TB) { given(t).When(withdraw(6)).Then(MoneyWithdrawn{6}) }, "the decision failed: not enough money")
	wantFail(t, func(t testing.TB) { given(t).When(withdraw(2)).ThenError(errPoor) }, "the decision did not fail, want the error: not enough money")
	wantFail(t, func(t testing.TB) { given(t).When(withdraw(6)).ThenError(evento.ErrConflict) }, "another error", "not enough money")
	wantFail(t, func(t testing.TB) {
		given(t).When(func(*evento.Loaded[Account]) ([]evento.Payload, error) { return []evento.Payload{nil}, nil }).Then()
	}, "the payload is nil")
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	var none *MoneyDeposited
	wantFail(t, func(t testing.TB) {
		eventotest.Project[Account](t, nil).Given(MoneyDeposited{1}).When(withdraw(1)).Then()
	}, "eventotest: Project: the projection is nil")
	wantFail(t, func(t testing.TB) { eventotest.Project[Account](t, nil).Then(Account{}) }, "the projection is nil")
	wantFail(t, func(t testing.TB) { eventotest.Project(t, accounts).Given(MoneyDeposited{1}).When(nil).Then() }, "When: the function is nil")
	wantFail(t, func(t testing.TB) { eventotest.Project(t, accounts).ThenFunc(nil) }, "ThenFunc: the function is nil")
	wantFail(t, func(t testing.TB) { eventotest.Command(t).When(nil).Then() }, "When: the function is nil")
	wantFail(t, func(t testing.TB) { eventotest.Subscribe(t, nil).Redelivered(nil).Then() }, "Subscribe: the builder is nil")
	wantFail(t, func(t testing.TB) { eventotest.SubscribeFunc(t, nil).Then().ThenHandled() }, "SubscribeFunc: the function is nil")
	for _, p := range []evento.Payload{nil, none, eventotest.Event{}, (*eventotest.Event)(nil), eventotest.Of("a", nil)} {
		name := fmt.Sprintf("%T", p)
		wantFail(t, func(t testing.TB) {
			eventotest.Project(t, accounts).Given(MoneyDeposited{1}, p).Then(Account{Balance: 1})
		}, "given event 2 is nil", "2. nil")
		wantFail(t, func(t testing.TB) {
			eventotest.Project(t, accounts).Given(MoneyDeposited{1}).When(withdraw(1)).Then(p)
		}, "wanted event 1 is nil")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Compare(cmpopts.EquateEmpty()).Given(AccountOpened{}).Then(Account{})
		eventotest.Project(t, lists).Compare(cmpopts.EquateEmpty(), cmpopts.EquateEmpty()).Given(AccountOpened{}).Then([]string{})
	}, "they cannot be compared", "see Compare")
	wantFail(t, func(t testing.TB) {
		eventotest.Project(t, accounts).Given(eventotest.Of("\x00", AccountOpened{})).Then(Account{})
	}, "given event 1 cannot be stored: evento: invalid aggregate id")
}

var lists = evento.NewProjection[[]string]("lists", accountType)

// A test without a check fails when it ends; then no line can be named.
func TestNothingChecked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(testing.TB){
		"projection": func(t testing.TB) { eventotest.Project(t, accounts).Given(MoneyDeposited{1}) },
		"decision":   func(t testing.TB) { eventotest.Project(t, accounts).Given(MoneyDeposited{1}).When(withdraw(1)) },
		"command":    func(t testing.TB) { eventotest.Command(t) },
		"outcome": func(t testing.TB) {
			eventotest.Command(t).When(func(context.Context, evento.Executor) error { return nil })
		},
		"subscription": func(t testing.TB) { eventotest.Subscribe(t, welcome()).Given(MoneyDeposited{1}) },
	} {
		r := record(t, test)
		if len(r.reports) != 1 || r.reports[0][:len("eventotest: nothing was checked")] != "eventotest: nothing was checked" {
			t.Errorf("%s: reports %q, want that nothing was checked", name, r.reports)
		}
	}
	errEarlier := errors.New("earlier")
	r := record(t, func(t testing.TB) {
		eventotest.Project(t, accounts)
		t.Errorf("%v", errEarlier)
	})
	if len(r.reports) != 1 || r.reports[0] != "earlier" {
		t.Errorf("reports %q, want the first failure alone", r.reports)
	}
}
