// The events of an account. Every event says when it happened in the bank's time;
// the event's own Timestamp says when it was stored.

package bank

import (
	"time"

	"github.com/evento-go/evento"
)

//go:generate go run github.com/evento-go/evento/cmd/evento-gen

// AccountID returns the aggregate id of the account with a number. Customers choose
// the number, any text of any length; its hash is an id that every store accepts.
func AccountID(number string) string { return evento.HashIDs("account", number) }

// The events of an account. The code around them is in bank_evento.go, which is
// generated.
//
//evento:aggregate bank/Account
type (
	// AccountOpened is the first event of an account.
	AccountOpened struct {
		Number, Owner         string
		Overdraft, DailyLimit Money
		At                    time.Time
	}
	// LimitsSet has both limits.
	LimitsSet struct {
		Overdraft, DailyLimit Money
		At                    time.Time
	}
	// MoneyDeposited was paid in.
	MoneyDeposited struct {
		Amount Money
		At     time.Time
	}
	// MoneyWithdrawn was paid out.
	MoneyWithdrawn struct {
		Amount Money
		At     time.Time
	}
	// AccountFrozen stops what leaves the account.
	AccountFrozen struct{ At time.Time }
	// AccountUnfrozen ends that.
	AccountUnfrozen struct{ At time.Time }
	// AccountClosed is the last event.
	AccountClosed struct{ At time.Time }
)

// A transfer is sent by one account, and then either received by the other
// and completed, or returned. Between the two the money is in flight. All of its events
// have a tag, by which they are found on both accounts.
//
//evento:aggregate bank/Account
type (
	// TransferSent is the sender's event. The money has left its account.
	TransferSent struct {
		TransferID string //evento:tag transfer
		To         string
		Amount     Money
		At         time.Time
	}
	// TransferReceived is the other account's.
	TransferReceived struct {
		TransferID string //evento:tag transfer
		From       string
		Amount     Money
		At         time.Time
	}
	// TransferCompleted is the sender's event. It is in the same commit as the
	// other account's TransferReceived.
	TransferCompleted struct {
		TransferID string //evento:tag transfer
		Amount     Money
		At         time.Time
	}
	// TransferReturned is the sender's event. The money is back.
	TransferReturned struct {
		TransferID string //evento:tag transfer
		Amount     Money
		Reason     string
		At         time.Time
	}
)
