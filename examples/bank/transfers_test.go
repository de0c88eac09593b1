package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
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
	b := NewBank(memory.New(nil))
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
	return fmt.Sprintf("%s + %s", acc.State.Balance, acc.State.inFlight())
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	of := func(number string, e evento.Payload) evento.Payload { return eventotest.Of(accountID(number), e) }
	sent, lost := TransferSent{"t", "2", 40_00, at()}, TransferSent{"t", "nobody", 40_00, at()}
	arrives := []evento.Payload{of("2", TransferReceived{"t", "1", 40_00, at()}), of("1", completed(sent))}
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
			eventotest.SubscribeFunc(t, func(ex evento.Executor) *evento.SubscriptionBuilder { return NewBank(ex).Transfers() }).
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
		return eventotest.Project(t, newAccounts()).Given(AccountOpened{Number: "1"}, MoneyDeposited{100_00, at()}, sent)
	}
	spent := map[Day]Money{dayOf(at()): 40_00}
	sending(t).Then(Account{Number: "1", Opened: true, Balance: 60_00, Spent: spent, InFlight: map[string]TransferSent{"t": sent}})
	sending(t).Given(completed(sent)).Then(Account{Number: "1", Opened: true, Balance: 60_00, Spent: spent})
	sending(t).Given(TransferReturned{"t", 40_00, "", at()}).Then(Account{Number: "1", Opened: true, Balance: 100_00})
}

// What is sent is in flight until the process has handled it.
func TestSend(t *testing.T) {
	t.Parallel()
	eventotest.Command(t).ID(accountID("1")).
		Given(AccountOpened{Number: "1", DailyLimit: 50_00}, MoneyDeposited{100_00, at()}).
		Compare(cmpopts.IgnoreFields(TransferSent{}, "TransferID")).
		When(func(ctx context.Context, ex evento.Executor) error {
			return NewBank(ex).Transfer(ctx, "1", "2", 40_00, at())
		}).
		Then(eventotest.Of(accountID("1"), TransferSent{To: "2", Amount: 40_00, At: at()}))
}

// A process gets an event at least once; a transfer happens once.
func TestTransferSeenTwice(t *testing.T) {
	t.Parallel()
	ctx, b := t.Context(), open3(t)
	must(t, b.Transfer(ctx, "1", "2", 40_00, at()))
	must(t, b.Transfer(ctx, "1", "nobody", 10_00, at()))
	for range 3 {
		again := evento.NewSubscription(evento.NewID().String()).Handler(evento.Handle(b.settle))
		must(t, again.Execute(ctx, b.ex))
	}
	var wg sync.WaitGroup
	must(t, b.Transfer(ctx, "1", "3", 5_00, at()))
	for range 8 {
		wg.Go(func() {
			again := evento.NewSubscription(evento.NewID().String()).Handler(evento.Handle(b.settle))
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

// A program was killed between sending and receiving: the next one settles
// the transfer before it applies a line.
func TestTransferAfterCrash(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := filepath.Join(t.TempDir(), "bank.db")
	s, err := openStore(ctx, db)
	must(t, err)
	must(t, s.bank.Open(ctx, "1", "Ann", at()))
	must(t, s.bank.Open(ctx, "2", "Ben", at()))
	must(t, s.bank.Deposit(ctx, "1", 50_00, at()))
	must(t, s.bank.Transfer(ctx, "1", "2", 50_00, at()))
	must(t, s.close())

	file := writeFile(t, "s.csv", statementHeader+"\n2026-03-02T09:00:00Z,2,Ben,withdraw,50,\n2026-03-02T09:00:00Z,1,Ann,close,,\n")
	out, errs := bank(t, exitOK, "-db", db, "apply", file)
	if out != "applied 2, refused 0, already applied 0\n" {
		t.Errorf("%s%s", out, errs)
	}
}

// No money appears or disappears, whatever is done at the same time.
func TestConservation(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := openStore(ctx, filepath.Join(t.TempDir(), "bank.db"))
	must(t, err)
	t.Cleanup(func() { must(t, s.close()) })
	numbers := []string{"1", "2", "3", "4"}
	for _, number := range numbers {
		must(t, s.bank.Open(ctx, number, "Ann", at()))
		must(t, s.bank.Deposit(ctx, number, 100_00, at()))
	}
	transfers, err := s.bank.Transfers().Start(ctx, s.ex)
	must(t, err)

	var wg sync.WaitGroup
	for worker := range 4 {
		r := rand.New(rand.NewPCG(1, uint64(worker)))
		wg.Go(func() {
			for range 40 {
				from, to := numbers[r.IntN(4)], append(numbers, "nobody")[r.IntN(5)]
				err := s.bank.Transfer(ctx, from, to, Money(1+r.IntN(60_00)), at())
				if r.IntN(10) == 0 {
					err = s.bank.Freeze(ctx, from, at())
				} else if r.IntN(5) == 0 {
					err = s.bank.Unfreeze(ctx, from, at())
				}
				var refusal RefusalError
				if err != nil && !errors.As(err, &refusal) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, transfers.Shutdown(ctx))
	must(t, s.bank.Transfers().Execute(ctx, s.ex))
	must(t, s.balances.Subscription().Execute(ctx, s.ex))

	var sum Money
	for _, row := range rows(t, s) {
		acc, err := s.bank.Load(ctx, row.Number)
		must(t, err)
		if a := acc.State; a.Balance < 0 || a.inFlight() != 0 || row.Balance != a.Balance || row.InFlight != 0 || row.Status != a.status() {
			t.Errorf("account %s has %s, in flight %s; the read model has %+v", row.Number, a.Balance, a.inFlight(), row)
		}
		sum += acc.State.Balance
	}
	if sum != 400_00 {
		t.Errorf("there are %s in all, want 400.00", sum)
	}
}
