// The commands: each loads an account, applies its rules, and commits the resulting
// event; if another writer was faster, it tries again.

package bank

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evento-go/evento"
)

// Bank is a store's accounts. It is safe for concurrent use.
type Bank struct {
	ex       evento.Executor
	accounts *evento.Projection[Account]
}

// New returns the bank whose events are in ex.
func New(ex evento.Executor) *Bank {
	return &Bank{ex: ex, accounts: NewAccounts()}
}

// Executor returns the store.
func (b *Bank) Executor() evento.Executor { return b.ex }

// Load returns an account's state; for an account that was never opened, the zero
// state at version 0.
func (b *Bank) Load(ctx context.Context, number string) (*evento.Loaded[Account], error) {
	return b.accounts.Load(ctx, b.ex, AccountID(number), evento.OrNew())
}

// ByID returns the state of the account with an aggregate id, which must have been opened.
func (b *Bank) ByID(ctx context.Context, id string) (*evento.Loaded[Account], error) {
	acc, err := b.accounts.Load(ctx, b.ex, id)
	if errors.Is(err, evento.ErrNotFound) {
		return nil, ErrNoAccount
	}
	return acc, err
}

// AtVersion returns an account's state as it was at a version.
func (b *Bank) AtVersion(ctx context.Context, number string, version uint64) (*evento.Loaded[Account], error) {
	acc, err := b.accounts.Load(ctx, b.ex, AccountID(number), evento.AtVersion(version))
	if !errors.Is(err, evento.ErrNotFound) {
		return acc, err
	}
	now, err := b.Load(ctx, number)
	if err == nil && now.Version > 0 {
		err = RefusalError(fmt.Sprintf("account %s has no version %d: it is at version %d", Show(number), version, now.Version))
	} else if err == nil {
		err = About(number, ErrNoAccount)
	}
	return nil, err
}

// AsOf returns an account's state as it was stored at a time.
func (b *Bank) AsOf(ctx context.Context, number string, at time.Time) (*evento.Loaded[Account], error) {
	acc, err := b.accounts.Load(ctx, b.ex, AccountID(number), evento.AsOf(at))
	if errors.Is(err, evento.ErrNotFound) {
		return nil, RefusalError(fmt.Sprintf("account %s was not there yet at %s", Show(number), at.UTC().Format(time.RFC3339)))
	}
	return acc, err
}

// update commits the event that decide returns for an account's state.
func (b *Bank) update(ctx context.Context, number string, decide func(*Account) (evento.Payload, error)) error {
	_, err := b.accounts.Update(ctx, b.ex, AccountID(number), func(acc *evento.Loaded[Account]) ([]evento.Payload, error) {
		e, err := decide(&acc.State)
		return []evento.Payload{e}, err
	})
	if errors.Is(err, evento.ErrNotFound) {
		err = ErrNoAccount
	}
	return About(number, err)
}

// Open opens an account.
func (b *Bank) Open(ctx context.Context, number, owner string, at time.Time) error {
	acc, err := b.Load(ctx, number)
	if err != nil {
		return err
	}
	opened, err := acc.State.Open(number, owner, at)
	if err != nil {
		return About(number, err)
	}
	_, err = acc.Aggregate().Event(opened).Commit(ctx, b.ex)
	if errors.Is(err, evento.ErrConflict) {
		return b.Open(ctx, number, owner, at) // somebody has opened it meanwhile: the rules decide again
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

// Transfer sends money from one account to another. The transfer process then lets
// it arrive, or returns it.
func (b *Bank) Transfer(ctx context.Context, from, to string, amount Money, at time.Time) error {
	return b.Send(ctx, evento.NewID().String(), from, to, amount, at)
}

// Send is Transfer with an id of the caller's choice, which no other transfer has.
func (b *Bank) Send(ctx context.Context, id, from, to string, amount Money, at time.Time) error {
	return b.update(ctx, from, func(a *Account) (evento.Payload, error) { return a.Send(id, to, amount, at) })
}

// Freeze blocks everything that takes money from an account.
func (b *Bank) Freeze(ctx context.Context, number string, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Freeze(at) })
}

// Unfreeze ends Freeze.
func (b *Bank) Unfreeze(ctx context.Context, number string, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Unfreeze(at) })
}

// Close closes an account permanently.
func (b *Bank) Close(ctx context.Context, number string, at time.Time) error {
	return b.update(ctx, number, func(a *Account) (evento.Payload, error) { return a.Close(at) })
}
