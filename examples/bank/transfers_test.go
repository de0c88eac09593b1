package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/evento-go/evento/examples/bank/bank"
)

// at is a time on a Monday.
func at() time.Time { return time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func balance(t *testing.T, b *bank.Bank, number string) string {
	t.Helper()
	acc, err := b.Load(t.Context(), number)
	must(t, err)
	return fmt.Sprintf("%s + %s", acc.State.Balance, acc.State.MoneyInFlight())
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
	out, errs := program(t, exitOK, "-db", db, "apply", file)
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
				err := s.bank.Transfer(ctx, from, to, bank.Money(1+r.IntN(60_00)), at())
				if r.IntN(10) == 0 {
					err = s.bank.Freeze(ctx, from, at())
				} else if r.IntN(5) == 0 {
					err = s.bank.Unfreeze(ctx, from, at())
				}
				var refusal bank.RefusalError
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

	var sum bank.Money
	for _, row := range rows(t, s) {
		acc, err := s.bank.Load(ctx, row.Number)
		must(t, err)
		if a := acc.State; a.Balance < 0 || a.MoneyInFlight() != 0 || row.Balance != a.Balance || row.InFlight != 0 || row.Status != a.Status() {
			t.Errorf("account %s has %s, in flight %s; the read model has %+v", row.Number, a.Balance, a.MoneyInFlight(), row)
		}
		sum += acc.State.Balance
	}
	if sum != 400_00 {
		t.Errorf("there are %s in all, want 400.00", sum)
	}
}
