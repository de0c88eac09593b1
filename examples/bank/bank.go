// The commands: each loads an account, asks its rules, and commits the event
// that follows, again if another writer was faster.

package main

import (
	"context"
	"errors"
	"time"

	"github.com/evento-go/evento"
)

// Bank is the accounts of a store. It is safe for concurrent use.
type Bank struct {
	ex       evento.Executor
	accounts *evento.Projection[Account]
}

// NewBank returns the bank whose events are in ex.
func NewBank(ex evento.Executor) *Bank {
	return &Bank{ex: ex, accounts: newAccounts()}
}

// Load returns an account's state; of an account that was never opened the
// zero one, at version 0.
func (b *Bank) Load(ctx context.Context, number string) (*evento.Loaded[Account], error) {
	id := accountID(number)
	acc, err := b.accounts.Load(ctx, b.ex, id)
	if errors.Is(err, evento.ErrNotFound) {
		return &evento.Loaded[Account]{ID: id}, nil
	}
	return acc, err
}

// update commits what decide says follows from an account's state.
func (b *Bank) update(ctx context.Context, number string, decide func(*Account) (evento.Payload, error)) error {
	_, err := b.accounts.Update(ctx, b.ex, accountID(number), func(acc *evento.Loaded[Account]) ([]evento.Payload, error) {
		e, err := decide(&acc.State)
		return []evento.Payload{e}, err
	})
	if errors.Is(err, evento.ErrNotFound) {
		err = (&Account{}).inUse()
	}
	return about(number, err)
}

// Open opens an account.
func (b *Bank) Open(ctx context.Context, number, owner string, at time.Time) error {
	acc, err := b.Load(ctx, number)
	if err != nil {
		return err
	}
	opened, err := acc.State.Open(number, owner, at)
	if err != nil {
		return about(number, err)
	}
	_, err = acc.Aggregate().Event(opened).Commit(ctx, b.ex)
	if errors.Is(err, evento.ErrConflict) {
		return b.Open(ctx, number, owner, at) // somebody opened it meanwhile; the rules say the rest
	}
	return err
}

// SetLimits sets an account's overdraft and daily limit.
func (b *Bank) SetLimits(ctx context.Context, number string, overdraft, daily Money, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.SetLimits(overdraft, daily, at) })
}

// Deposit pays money into an account.
func (b *Bank) Deposit(ctx context.Context, number string, amount Money, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Deposit(amount, at) })
}

// Withdraw pays money out of an account.
func (b *Bank) Withdraw(ctx context.Context, number string, amount Money, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Withdraw(amount, at) })
}

// Transfer sends money from one account to another. It arrives, or comes
// back, when the transfer process has seen it.
func (b *Bank) Transfer(ctx context.Context, from, to string, amount Money, at time.Time) error {
	id := evento.NewID().String()
	return b.update(ctx, from, func(a *Account) (evento.Payload, error) { return a.Send(id, to, amount, at) })
}

// Freeze stops all that takes money off an account.
func (b *Bank) Freeze(ctx context.Context, number string, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Freeze(at) })
}

// Unfreeze ends Freeze.
func (b *Bank) Unfreeze(ctx context.Context, number string, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Unfreeze(at) })
}

// Close closes an account for good.
func (b *Bank) Close(ctx context.Context, number string, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Close(at) })
}
