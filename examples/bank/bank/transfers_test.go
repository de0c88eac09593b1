package bank

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/eventotest"
	"github.com/evento-go/evento/executor/memory"
)

// open3 returns a bank in memory with accounts 1, 2 and 3, each with 100.00.
func open3(t *testing.T) *Bank {
	t.Helper()
	b := New(memory.New(nil))
	for i := range 3 {
		number := fmt.Sprint(i + 1)
		must(t, b.Open(t.Context(), number, "Ann", at()))
		must(t, b.Deposit(t.Context(), number, 100_00, at()))
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func balance(t *testing.T, b *Bank, number string) string {
	t.Helper()
	acc, err := b.Load(t.Context(), number)
	must(t, err)
	return fmt.Sprintf("%s + %s", acc.State.Balance, acc.State.MoneyInFlight())
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	of := func(number string, e evento.Payload) evento.Payload { return eventotest.Of(AccountID(number), e) }
	sent, lost := TransferSent{"t", "2", 40_00, at()}, TransferSent{"t", "nobody", 40_00, at()}
	arrives := []evento.Payload{of("2", TransferReceived{"t", "1", 40_00, at()}), of("1", Completed(sent))}
	returns := func(reason string) []evento.Payload {
		return []evento.Payload{of("1", TransferReturned{"t", 40_00, reason, at()})}
	}
	tests := []struct {
		name  string
		sent  TransferSent
		after []evento.Payload // after sending
		want  []evento.Payload
	}{
		{"arrives", sent, nil, arrives},
		{"arrives at a frozen account", sent, []evento.Payload{of("2", AccountFrozen{at()})}, arrives},
		{"comes back from a closed account", sent, []evento.Payload{of("2", MoneyWithdrawn{100_00, at()}), of("2", AccountClosed{at()})}, returns("account 2 is closed")},
		{"comes back from nowhere", lost, nil, returns("account nobody does not exist")},
		{"comes back to a frozen account", lost, []evento.Payload{of("1", AccountFrozen{at()})}, returns("account nobody does not exist")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			eventotest.SubscribeFunc(t, func(ex evento.Executor) *evento.SubscriptionBuilder { return New(ex).Transfers() }).
				Given(of("1", AccountOpened{Number: "1"}), of("1", MoneyDeposited{100_00, at()})).
				Given(of("2", AccountOpened{Number: "2"}), of("2", MoneyDeposited{100_00, at()})).
				Given(of("1", test.sent)).Given(test.after...).
				Redelivered(nil). // a process gets an event at least once
				Then(test.want...)
		})
	}
}

func TestMoneyInFlight(t *testing.T) {
	t.Parallel()
	sent := TransferSent{"t", "2", 40_00, at()}
	sending := func(t *testing.T) *eventotest.ProjectionTest[Account] {
		return eventotest.Project(t, NewAccounts()).Given(AccountOpened{Number: "1"}, MoneyDeposited{100_00, at()}, sent)
	}
	spent := map[Day]Money{DayOf(at()): 40_00}
	sending(t).Then(Account{Number: "1", Opened: true, Balance: 60_00, Spent: spent, InFlight: map[string]TransferSent{"t": sent}})
	sending(t).Given(Completed(sent)).Then(Account{Number: "1", Opened: true, Balance: 60_00, Spent: spent})
	sending(t).Given(TransferReturned{"t", 40_00, "", at()}).Then(Account{Number: "1", Opened: true, Balance: 100_00})
}

// What is sent is in flight until the process has handled it.
func TestSend(t *testing.T) {
	t.Parallel()
	eventotest.Command(t).ID(AccountID("1")).
		Given(AccountOpened{Number: "1", DailyLimit: 50_00}, MoneyDeposited{100_00, at()}).
		Compare(cmpopts.IgnoreFields(TransferSent{}, "TransferID")).
		When(func(ctx context.Context, ex evento.Executor) error {
			return New(ex).Transfer(ctx, "1", "2", 40_00, at())
		}).
		Then(eventotest.Of(AccountID("1"), TransferSent{To: "2", Amount: 40_00, At: at()}))
}

// A process gets an event at least once; a transfer happens once.
func TestTransferSeenTwice(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), open3(t)
	must(t, b.Transfer(ctx, "1", "2", 40_00, at()))
	must(t, b.Transfer(ctx, "1", "nobody", 10_00, at()))
	for range 3 {
		again := evento.NewSubscription(evento.NewID().String()).Handler(evento.Handle(b.Settle))
		must(t, again.Execute(ctx, b.ex))
	}
	var wg sync.WaitGroup
	must(t, b.Transfer(ctx, "1", "3", 5_00, at()))
	for range 8 {
		wg.Go(func() {
			again := evento.NewSubscription(evento.NewID().String()).Handler(evento.Handle(b.Settle))
			if err := again.Execute(ctx, b.ex); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if one, two, three := balance(t, b, "1"), balance(t, b, "2"), balance(t, b, "3"); one != "55.00 + 0.00" || two != "140.00 + 0.00" || three != "105.00 + 0.00" {
		t.Errorf("balances %s, %s, %s", one, two, three)
	}
}
