// The rules: what an account allows, and the resulting event. They are functions of
// the state alone, so everybody who has a state can use them: a command, the
// transfer process, a file of statements.

package bank

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Limits of a new account, until SetLimits changes them.
const (
	DefaultOverdraft  Money = 0
	DefaultDailyLimit Money = 10_000_00

	// MaxText is the most bytes of an account's number and of a name.
	MaxText = 1024
)

// RefusalError is why the bank refuses a request. Any other error is a failure.
type RefusalError string

func (r RefusalError) Error() string { return string(r) }

// ErrNoAccount is the refusal for an account that was never opened.
const ErrNoAccount = RefusalError("does not exist")

// About makes a rule's refusal a sentence with the account as its subject.
func About(number string, err error) error {
	var r RefusalError
	if !errors.As(err, &r) {
		return err
	}
	return RefusalError("account " + Show(number) + " " + string(r))
}

// Open opens the account, with the default limits.
func (a *Account) Open(number, owner string, at time.Time) (AccountOpened, error) {
	switch {
	case a.Closed:
		return AccountOpened{}, RefusalError("was closed, and stays closed")
	case a.Opened:
		return AccountOpened{}, RefusalError("exists already")
	case number == "":
		return AccountOpened{}, RefusalError("needs a number")
	case strings.TrimSpace(owner) == "":
		return AccountOpened{}, RefusalError("needs an owner")
	case len(number) > MaxText || len(owner) > MaxText:
		return AccountOpened{}, RefusalError(fmt.Sprintf("has a number or owner of more than %d bytes", MaxText))
	}
	return AccountOpened{
		Number: number, Owner: owner,
		Overdraft: DefaultOverdraft, DailyLimit: DefaultDailyLimit,
		At: at,
	}, nil
}

// SetLimits sets how far below zero the balance may go, and how much may
// leave the account in a day.
func (a *Account) SetLimits(overdraft, daily Money, at time.Time) (LimitsSet, error) {
	if err := a.InUse(); err != nil {
		return LimitsSet{}, err
	}
	switch {
	case overdraft < 0 || daily < 0:
		return LimitsSet{}, RefusalError("cannot have a limit below zero")
	case a.Balance < -overdraft:
		return LimitsSet{}, RefusalError(fmt.Sprintf("owes %s, more than an overdraft of %s", -a.Balance, overdraft))
	}
	return LimitsSet{Overdraft: overdraft, DailyLimit: daily, At: at}, nil
}

// Deposit pays money in. It is allowed on a frozen account.
func (a *Account) Deposit(amount Money, at time.Time) (MoneyDeposited, error) {
	return MoneyDeposited{Amount: amount, At: at}, a.mayTakeIn(amount)
}

// Withdraw pays money out.
func (a *Account) Withdraw(amount Money, at time.Time) (MoneyWithdrawn, error) {
	return MoneyWithdrawn{Amount: amount, At: at}, a.maySpend(amount, at)
}

// Send takes a transfer's money from the account and puts it in flight.
func (a *Account) Send(id, to string, amount Money, at time.Time) (TransferSent, error) {
	sent := TransferSent{TransferID: id, To: to, Amount: amount, At: at}
	if a.Opened && a.Number == to {
		return sent, RefusalError("cannot transfer to itself")
	}
	if _, again := a.InFlight[id]; again {
		return sent, RefusalError("has sent this transfer already")
	}
	return sent, a.maySpend(amount, at)
}

// Receive pays a transfer's money in. It is allowed on a frozen account.
func (a *Account) Receive(from string, sent TransferSent) (TransferReceived, error) {
	return TransferReceived{
		TransferID: sent.TransferID, From: from, Amount: sent.Amount, At: sent.At,
	}, a.mayTakeIn(sent.Amount)
}

// Freeze blocks everything that takes money from the account.
func (a *Account) Freeze(at time.Time) (AccountFrozen, error) {
	err := a.InUse()
	if err == nil && a.Frozen {
		err = RefusalError("is frozen already")
	}
	return AccountFrozen{At: at}, err
}

// Unfreeze ends Freeze.
func (a *Account) Unfreeze(at time.Time) (AccountUnfrozen, error) {
	err := a.InUse()
	if err == nil && !a.Frozen {
		err = RefusalError("is not frozen")
	}
	return AccountUnfrozen{At: at}, err
}

// Close ends the account permanently. It must be empty, and must have no money in
// flight, which might come back.
func (a *Account) Close(at time.Time) (AccountClosed, error) {
	err := a.InUse()
	switch {
	case err != nil:
	case a.Frozen:
		err = RefusalError("is frozen")
	case a.Balance != 0:
		err = RefusalError(fmt.Sprintf("has a balance of %s, and closes only at %s", a.Balance, Money(0)))
	case len(a.InFlight) > 0:
		err = RefusalError(fmt.Sprintf("has %s in flight", a.MoneyInFlight()))
	}
	return AccountClosed{At: at}, err
}

// InUse refuses an account that was never opened, or was closed.
func (a *Account) InUse() error {
	switch {
	case a.Closed:
		return RefusalError("is closed")
	case !a.Opened:
		return ErrNoAccount
	}
	return nil
}

// mayTakeIn also reserves room for money in flight, which may come back.
func (a *Account) mayTakeIn(amount Money) error {
	if err := a.InUse(); err != nil {
		return err
	}
	if amount <= 0 {
		return RefusalError("takes only amounts above zero")
	}
	if _, fits := (a.Balance + a.MoneyInFlight()).plus(amount); !fits {
		return RefusalError(fmt.Sprintf("cannot hold more than %s", MaxMoney))
	}
	return nil
}

func (a *Account) maySpend(amount Money, at time.Time) error {
	if err := a.InUse(); err != nil {
		return err
	}
	available, fits := a.Balance.plus(a.Overdraft)
	if !fits {
		available = math.MaxInt64
	}
	left := a.DailyLimit - a.Spent[DayOf(at)]
	switch {
	case a.Frozen:
		return RefusalError("is frozen")
	case amount <= 0:
		return RefusalError("pays only amounts above zero")
	case amount > available:
		return RefusalError(fmt.Sprintf("has %s to spend, not %s", available, amount))
	case amount > left:
		return RefusalError(fmt.Sprintf("may spend %s more on %s, not %s", max(left, 0), DayOf(at), amount))
	}
	return nil
}
