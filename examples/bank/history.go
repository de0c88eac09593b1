// An account's history, read from its events.

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

// printHistory prints every event of an account with the balance after it.
func printHistory(ctx context.Context, ex evento.Executor, number string, out io.Writer) error {
	// The events are read one by one, so that a history of any length needs little
	// memory.
	var a bank.Account
	for raw, err := range evento.Events(ctx, ex, evento.Query{Filters: []evento.Filter{bank.AccountFilter(bank.AccountID(number))}}) {
		if err != nil {
			return err
		}
		e, err := bank.DecodeAccount(raw)
		if err != nil {
			return err
		}
		if raw.Version == 1 {
			fmt.Fprintf(out, "%7s  %-20s  %12s  %12s  %s\n", "VERSION", "TIME", "AMOUNT", "BALANCE", "WHAT HAPPENED")
		}
		before := a.Balance
		if err := bank.ApplyAccount(&a, e); err != nil {
			return err
		}
		amount := ""
		switch change := a.Balance - before; {
		case change > 0:
			amount = "+" + change.String()
		case change < 0:
			amount = change.String()
		}
		text, at := bank.Describe(e)
		fmt.Fprintf(out, "%7d  %-20s  %12s  %12s  %s\n", raw.Version, at.Format(time.RFC3339), amount, a.Balance, text)
	}
	if !a.Opened {
		return bank.About(number, bank.ErrNoAccount)
	}
	return nil
}

// printVersion prints an account as it was at a version.
func printVersion(ctx context.Context, b *bank.Bank, number string, version uint64, out io.Writer) error {
	acc, err := b.AtVersion(ctx, number, version)
	if err != nil {
		return err
	}
	a := acc.State
	fmt.Fprintf(out, "account      %s, at version %d\n", bank.Show(number), acc.Version)
	fmt.Fprintf(out, "owner        %s\n", bank.Show(a.Owner))
	fmt.Fprintf(out, "status       %s\n", a.Status())
	fmt.Fprintf(out, "balance      %s\n", a.Balance)
	fmt.Fprintf(out, "in flight    %s\n", a.MoneyInFlight())
	fmt.Fprintf(out, "overdraft    %s\n", a.Overdraft)
	fmt.Fprintf(out, "daily limit  %s\n", a.DailyLimit)
	return nil
}
