// The events of an account. Every event says when it happened in the bank's time;
// the event's own Timestamp says when it was stored.

package main

import (
	"time"

	"github.com/evento-go/evento"
)

//go:generate go run github.com/evento-go/evento/cmd/evento-gen

// accountID returns the aggregate id of the account with a number. Customers choose
// the number, any text of any length; its hash is an id that every store accepts.
func accountID(number string) string { return evento.HashIDs("account", number) }

// The code around these structs is in main_evento.go, which is generated.
//
//evento:aggregate bank/Account
type (
	AccountOpened struct {
		Number, Owner         string
		Overdraft, DailyLimit Money
		At                    time.Time
	}
	LimitsSet struct {
		Overdraft, DailyLimit Money
		At                    time.Time
	}
	MoneyDeposited struct {
		Amount Money
		At     time.Time
	}
	MoneyWithdrawn struct {
		Amount Money
		At     time.Time
	}
	AccountFrozen   struct{ At time.Time }
	AccountUnfrozen struct{ At time.Time }
	AccountClosed   struct{ At time.Time }
)

// A transfer is sent by one account, and then either received by the other
// and completed, or returned. Between the two the money is in flight.
//
//evento:aggregate bank/Account
type (
	TransferSent struct {
		TransferID string
		To         string
		Amount     Money
		At         time.Time
	}
	TransferReceived struct {
		TransferID string
		From       string
		Amount     Money
		At         time.Time
	}
	// TransferCompleted is the sender's event. It is in the same commit as the
	// other account's TransferReceived.
	TransferCompleted struct {
		TransferID string
		Amount     Money
		At         time.Time
	}
	TransferReturned struct {
		TransferID string
		Amount     Money
		Reason     string
		At         time.Time
	}
)
