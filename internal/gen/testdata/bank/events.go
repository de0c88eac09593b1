// Package bank has the usual: one aggregate, and a view of it.
package bank

import (
	"time"

	"github.com/evento-go/evento"
)

// What can happen to an account.
//
//evento:aggregate bank/Account
type (
	AccountOpened struct {
		Number, Owner string
		Overdraft     Cents
		At            time.Time
	}
	// MoneyDeposited is also for interest.
	MoneyDeposited struct {
		Amount Cents `json:"amount"`
		At     time.Time
	}
	AccountClosed struct{}
)

// Cents is an amount of money.
type Cents int64

// Account is what the events make of an account.
type Account struct {
	Owner   string
	Balance Cents
	Closed  bool
}

func (a *Account) OnAccountOpened(e evento.Event[AccountOpened]) error {
	a.Owner = e.Data.Owner
	return nil
}

func (a *Account) OnMoneyDeposited(e evento.Event[MoneyDeposited]) error {
	a.Balance += e.Data.Amount
	return nil
}

func (a *Account) OnAccountClosed(evento.Event[AccountClosed]) error {
	a.Closed = true
	return nil
}

var accounts = evento.NewProjection[Account]("account", AccountType).Handler(AccountHandlers[Account]()...)
