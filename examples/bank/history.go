// An account's history, read from its events.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/evento-go/evento"
)

// printHistory prints every event of an account with the balance after it.
func printHistory(ctx context.Context, ex evento.Executor, number string, out io.Writer) error {
	// The events are read one by one, so that a history of any length needs little
	// memory.
	var a Account
	for raw, err := range evento.Events(ctx, ex, evento.Query{Filters: []evento.Filter{AccountFilter(accountID(number))}}) {
		if err != nil {
			return err
		}
		e, err := DecodeAccount(raw)
		if err != nil {
			return err
		}
		if raw.Version == 1 {
			fmt.Fprintf(out, "%7s  %-20s  %12s  %12s  %s\n", "VERSION", "TIME", "AMOUNT", "BALANCE", "WHAT HAPPENED")
		}
		before := a.Balance
		if err := ApplyAccount(&a, e); err != nil {
			return err
		}
		amount := ""
		switch change := a.Balance - before; {
		case change > 0:
			amount = "+" + change.String()
		case change < 0:
			amount = change.String()
		}
		text, at := describe(e)
		fmt.Fprintf(out, "%7d  %-20s  %12s  %12s  %s\n", raw.Version, at.Format(time.RFC3339), amount, a.Balance, text)
	}
	if !a.Opened {
		return missing(number, evento.ErrNotFound)
	}
	return nil
}

// printVersion prints an account as it was at a version.
func printVersion(ctx context.Context, b *Bank, number string, version uint64, out io.Writer) error {
	acc, err := b.accounts.Load(ctx, b.ex, accountID(number), evento.AtVersion(version))
	if errors.Is(err, evento.ErrNotFound) {
		now, lerr := b.Load(ctx, number)
		if lerr == nil && now.Version > 0 {
			return fmt.Errorf("account %s has no version %d: it is at version %d", show(number), version, now.Version)
		}
	}
	if err != nil {
		return missing(number, err)
	}
	a := acc.State
	fmt.Fprintf(out, "account      %s, at version %d\n", show(number), acc.Version)
	fmt.Fprintf(out, "owner        %s\n", show(a.Owner))
	fmt.Fprintf(out, "status       %s\n", a.status())
	fmt.Fprintf(out, "balance      %s\n", a.Balance)
	fmt.Fprintf(out, "in flight    %s\n", a.inFlight())
	fmt.Fprintf(out, "overdraft    %s\n", a.Overdraft)
	fmt.Fprintf(out, "daily limit  %s\n", a.DailyLimit)
	return nil
}

func missing(number string, err error) error {
	if errors.Is(err, evento.ErrNotFound) {
		return about(number, (&Account{}).inUse())
	}
	return err
}

func (a *Account) status() string {
	switch {
	case a.Closed:
		return "closed"
	case a.Frozen:
		return "frozen"
	}
	return "open"
}

// describe says what kind of event it is, and when it happened.
func describe(e evento.Payload) (string, time.Time) {
	switch e := e.(type) {
	case AccountOpened:
		return fmt.Sprintf("opened for %s, overdraft %s, daily limit %s", show(e.Owner), e.Overdraft, e.DailyLimit), e.At
	case LimitsSet:
		return fmt.Sprintf("limits set, overdraft %s, daily limit %s", e.Overdraft, e.DailyLimit), e.At
	case MoneyDeposited:
		return "deposited", e.At
	case MoneyWithdrawn:
		return "withdrawn", e.At
	case AccountFrozen:
		return "frozen", e.At
	case AccountUnfrozen:
		return "unfrozen", e.At
	case AccountClosed:
		return "closed", e.At
	case TransferSent:
		return "transfer sent to " + show(e.To), e.At
	case TransferReceived:
		return "transfer received from " + show(e.From), e.At
	case TransferCompleted:
		return fmt.Sprintf("transfer of %s arrived", e.Amount), e.At
	case TransferReturned:
		return "transfer returned: " + e.Reason, e.At
	}
	return e.EventName(), time.Time{}
}
