package bank

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
)

// at is a time on a Monday.
func at() time.Time { return time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC) }

func TestRules(t *testing.T) {
	t.Parallel()
	opened := AccountOpened{Number: "1", Owner: "Ann", Overdraft: 20_00, DailyLimit: 100_00, At: at()}
	sent := TransferSent{TransferID: "t", To: "2", Amount: 30_00, At: at()}
	const has = Money(500_00)
	given := func(events ...evento.Payload) []evento.Payload {
		return append([]evento.Payload{opened, MoneyDeposited{Amount: has, At: at()}}, events...)
	}
	withdraw := func(amount Money, when time.Time) func(*Account) error {
		return func(a *Account) error { _, err := a.Withdraw(amount, when); return err }
	}
	deposit := func(amount Money) func(*Account) error {
		return func(a *Account) error { _, err := a.Deposit(amount, at()); return err }
	}
	send := func(id, to string, amount Money) func(*Account) error {
		return func(a *Account) error { _, err := a.Send(id, to, amount, at()); return err }
	}
	receive := func(a *Account) error { _, err := a.Receive("2", sent); return err }
	open := func(a *Account) error { _, err := a.Open("1", "Ann", at()); return err }
	limits := func(overdraft, daily Money) func(*Account) error {
		return func(a *Account) error { _, err := a.SetLimits(overdraft, daily, at()); return err }
	}
	freeze := func(a *Account) error { _, err := a.Freeze(at()); return err }
	unfreeze := func(a *Account) error { _, err := a.Unfreeze(at()); return err }
	closing := func(a *Account) error { _, err := a.Close(at()); return err }
	tomorrow := at().AddDate(0, 0, 1)
	lateMonday := time.Date(2026, time.March, 3, 1, 0, 0, 0, time.FixedZone("", 2*3600))

	tests := []struct {
		name  string
		given []evento.Payload
		when  func(*Account) error
		want  string // "": allowed
	}{
		{"open", nil, open, ""},
		{"open without a number", nil, func(a *Account) error { _, err := a.Open("", "Ann", at()); return err }, "needs a number"},
		{"open without an owner", nil, func(a *Account) error { _, err := a.Open("1", "\t", at()); return err }, "needs an owner"},
		{"open twice", given(), open, "exists already"},
		{"open after closing", given(AccountClosed{}), open, "was closed, and stays closed"},
		{"deposit", given(), deposit(1), ""},
		{"deposit nothing", given(), deposit(0), "takes only amounts above zero"},
		{"deposit less than nothing", given(), deposit(-1), "takes only amounts above zero"},
		{"deposit to nobody", nil, deposit(1), "does not exist"},
		{"deposit to a closed account", given(AccountClosed{}), deposit(1), "is closed"},
		{"deposit to a frozen account", given(AccountFrozen{}), deposit(1), ""},
		{"deposit as much as fits", given(), deposit(math.MaxInt64 - has), ""},
		{"deposit more than fits", given(), deposit(math.MaxInt64 - has + 1), "cannot hold more than 92233720368547758.07"},
		{"deposit what leaves no room for a return", given(sent), deposit(math.MaxInt64 - has + 1), "cannot hold more than 92233720368547758.07"},
		{"withdraw the day's limit", given(), withdraw(100_00, at()), ""},
		{"withdraw more", given(), withdraw(100_01, at()), "may spend 100.00 more on 2026-03-02, not 100.01"},
		{"withdraw the rest", given(MoneyWithdrawn{60_00, at()}), withdraw(40_00, at()), ""},
		{"withdraw more than the rest", given(MoneyWithdrawn{60_00, at()}), withdraw(40_01, at()), "may spend 40.00 more on 2026-03-02, not 40.01"},
		{"withdraw on the next day", given(MoneyWithdrawn{60_00, at()}), withdraw(100_00, tomorrow), ""},
		{"withdraw on the same day of UTC", given(MoneyWithdrawn{60_00, at()}), withdraw(100_00, lateMonday), "may spend 40.00 more on 2026-03-02, not 100.00"},
		{"withdraw for an earlier day", given(MoneyWithdrawn{60_00, at()}, MoneyWithdrawn{60_00, tomorrow}), withdraw(50_00, at()), "may spend 40.00 more on 2026-03-02, not 50.00"},
		{"withdraw over a limit that was lowered", given(MoneyWithdrawn{60_00, at()}, LimitsSet{0, 50_00, at()}), withdraw(1, at()), "may spend 0.00 more on 2026-03-02, not 0.01"},
		{"withdraw the overdraft", given(LimitsSet{20_00, MaxMoney, at()}), withdraw(520_00, at()), ""},
		{"withdraw more than the overdraft", given(LimitsSet{20_00, MaxMoney, at()}), withdraw(520_01, at()), "has 520.00 to spend, not 520.01"},
		{"withdraw with a boundless overdraft", given(LimitsSet{MaxMoney, MaxMoney, at()}), withdraw(MaxMoney, at()), ""},
		{"withdraw what is in flight", given(LimitsSet{0, MaxMoney, at()}, sent), withdraw(470_01, at()), "has 470.00 to spend, not 470.01"},
		{"withdraw nothing", given(), withdraw(0, at()), "pays only amounts above zero"},
		{"withdraw from a frozen account", given(AccountFrozen{}), withdraw(1, at()), "is frozen"},
		{"withdraw after unfreezing", given(AccountFrozen{}, AccountUnfrozen{}), withdraw(1, at()), ""},
		{"send", given(), send("t", "2", 1), ""},
		{"send to itself", given(), send("t", "1", 1), "cannot transfer to itself"},
		{"send twice", given(sent), send("t", "2", 30_00), "has sent this transfer already"},
		{"send over the limit", given(sent), send("u", "2", 70_01), "may spend 70.00 more on 2026-03-02, not 70.01"},
		{"send after a return", given(sent, TransferReturned{"t", 30_00, "", at()}), send("u", "2", 100_00), ""},
		{"send from a frozen account", given(AccountFrozen{}), send("t", "2", 1), "is frozen"},
		{"receive", given(), receive, ""},
		{"receive on a frozen account", given(AccountFrozen{}), receive, ""},
		{"receive on a closed account", given(AccountClosed{}), receive, "is closed"},
		{"set limits", given(), limits(0, 0), ""},
		{"set a limit below zero", given(), limits(0, -1), "cannot have a limit below zero"},
		{"take back an overdraft in use", given(LimitsSet{20_00, MaxMoney, at()}, MoneyWithdrawn{510_00, at()}), limits(9_99, 0), "owes 10.00, more than an overdraft of 9.99"},
		{"freeze", given(), freeze, ""},
		{"freeze twice", given(AccountFrozen{}), freeze, "is frozen already"},
		{"unfreeze what is not frozen", given(), unfreeze, "is not frozen"},
		{"close", []evento.Payload{opened}, closing, ""},
		{"close with money", given(), closing, "has a balance of 500.00, and closes only at 0.00"},
		{"close with money in flight", []evento.Payload{opened, MoneyDeposited{30_00, at()}, sent}, closing, "has 30.00 in flight"},
		{"close after it arrived", []evento.Payload{opened, MoneyDeposited{30_00, at()}, sent, Completed(sent)}, closing, ""},
		{"close when frozen", []evento.Payload{opened, AccountFrozen{}}, closing, "is frozen"},
		{"close twice", given(AccountClosed{}), closing, "is closed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			answer := eventotest.Project(t, NewAccounts()).LoadOptions(evento.OrNew()).
				Given(test.given...).
				When(func(a *evento.Loaded[Account]) ([]evento.Payload, error) { return nil, test.when(&a.State) })
			if test.want == "" {
				answer.Then()
			} else {
				answer.ThenError(RefusalError(test.want))
			}
		})
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1001": "1001", "Ann O’Neil": "Ann O’Neil", "ø 1": "ø 1", "日本": "日本",
		"": `""`, " a": `" a"`, "a\t": `"a\t"`, "\x1b[2J": `"\x1b[2J"`, `"a"`: `"\"a\""`, "\u202ea": `"\u202ea"`, "\xff": `"\xff"`, "a\u00a0b": `"a\u00a0b"`,
	} {
		if got := Show(text); got != want {
			t.Errorf("Show(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestEveryEventIsDescribed(t *testing.T) {
	t.Parallel()
	events := []evento.Payload{
		AccountOpened{At: at()}, LimitsSet{At: at()}, AccountClosed{At: at()}, AccountFrozen{At: at()}, AccountUnfrozen{At: at()},
		MoneyDeposited{At: at()}, MoneyWithdrawn{At: at()},
		TransferSent{At: at()}, TransferReceived{At: at()}, TransferCompleted{At: at()}, TransferReturned{At: at()},
	}
	if n := reflect.TypeFor[AccountView]().NumMethod(); n != len(events) {
		t.Errorf("%d kinds of events, %d are described", n, len(events))
	}
	for _, e := range events {
		if text, when := Describe(e); text == e.EventName() || when != at() {
			t.Errorf("%s is %q at %s", e.EventName(), text, when)
		}
	}
}
