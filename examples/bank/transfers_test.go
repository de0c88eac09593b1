package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
)

// open3 returns a bank in memory with accounts 1, 2 and 3, of which each has
// 100.00.
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
	tests := []struct {
		name         string
		before       func(context.Context, *Bank) error // after sending
		to           string
		sender, from string
	}{
		{"arrives", nil, "2", "60.00 + 0.00", "140.00 + 0.00"},
		{"arrives at a frozen account", func(ctx context.Context, b *Bank) error { return b.Freeze(ctx, "2", at()) }, "2", "60.00 + 0.00", "140.00 + 0.00"},
		{"comes back from a closed account", func(ctx context.Context, b *Bank) error {
			return errors.Join(b.Withdraw(ctx, "2", 100_00, at()), b.Close(ctx, "2", at()))
		}, "2", "100.00 + 0.00", "0.00 + 0.00"},
		{"comes back from nowhere", nil, "nobody", "100.00 + 0.00", "0.00 + 0.00"},
		{"comes back to a frozen account", func(ctx context.Context, b *Bank) error { return b.Freeze(ctx, "1", at()) }, "nobody", "100.00 + 0.00", "0.00 + 0.00"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, b := t.Context(), open3(t)
			must(t, b.Transfer(ctx, "1", test.to, 40_00, at()))
			if got := balance(t, b, "1"); got != "60.00 + 40.00" {
				t.Errorf("in flight: %s", got)
			}
			if test.before != nil {
				must(t, test.before(ctx, b))
			}
			must(t, b.Transfers().Execute(ctx, b.ex))
			if one, two := balance(t, b, "1"), balance(t, b, test.to); one != test.sender || two != test.from {
				t.Errorf("the sender has %s, want %s; the receiver %s, want %s", one, test.sender, two, test.from)
			}
		})
	}
}

// A process sees an event at least once; a transfer happens once.
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

// Money is neither made nor lost, whoever does what at the same time.
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
