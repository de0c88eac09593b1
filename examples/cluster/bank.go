// The bank: accounts, and transfers between two of them.

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
)

const Account evento.AggregateType = "bank/Account"

// What can happen to an account.
type (
	Opened   struct{ Cents int64 }
	Sent     struct{ Cents int64 }
	Received struct{ Cents int64 }
)

func (Opened) AggregateType() evento.AggregateType   { return Account }
func (Opened) EventName() string                     { return "Opened" }
func (Sent) AggregateType() evento.AggregateType     { return Account }
func (Sent) EventName() string                       { return "Sent" }
func (Received) AggregateType() evento.AggregateType { return Account }
func (Received) EventName() string                   { return "Received" }

type balance struct{ Cents int64 }

var balances = evento.NewProjection[balance]("balance", Account).Handler(
	evento.Apply(func(b *balance, e evento.Event[Opened]) error { b.Cents += e.Data.Cents; return nil }),
	evento.Apply(func(b *balance, e evento.Event[Sent]) error { b.Cents -= e.Data.Cents; return nil }),
	evento.Apply(func(b *balance, e evento.Event[Received]) error { b.Cents += e.Data.Cents; return nil }),
)

const (
	accounts = 20
	opening  = 1_000_00
)

func number(account int) string { return fmt.Sprintf("account-%02d", account) }

func openAccounts(ctx context.Context, ex evento.Executor) error {
	var all []*evento.CommitBuilder
	for i := range accounts {
		all = append(all, evento.Aggregate(number(i)).Event(Opened{Cents: opening}))
	}
	_, err := evento.CommitAll(ctx, ex, all...)
	return err
}

var errPoor = errors.New("the balance is too small")

// transfer moves money: both accounts change in one commit, or none does. If another client
// was faster with one of them, it is decided again.
func transfer(ctx context.Context, ex evento.Executor, from, to string, cents int64) ([]evento.Receipt, error) {
	return evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		sender, err := balances.Load(ctx, d, from)
		if err != nil {
			return err
		}
		if sender.State.Cents < cents {
			return errPoor
		}
		if _, err := sender.Aggregate().Event(Sent{Cents: cents}).Commit(ctx, d); err != nil {
			return err
		}
		_, err = evento.Aggregate(to).AnyVersion().Event(Received{Cents: cents}).Commit(ctx, d)
		return err
	})
}

// total is what all accounts have.
func total(ctx context.Context, ex evento.Executor) (cents int64, err error) {
	for i := range accounts {
		a, err := balances.Load(ctx, ex, number(i))
		if err != nil {
			return 0, err
		}
		cents += a.State.Cents
	}
	return cents, nil
}
