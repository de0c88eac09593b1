// What happens to an account. Every event says when it happened in the bank's
// time; when it was stored is the event's own Timestamp.

package main

import (
	"time"

	"github.com/evento-go/evento"
)

// AccountType is the type of the aggregates; accountID makes their ids.
const AccountType evento.AggregateType = "bank/Account"

// accountID is the aggregate id of the account with a number. A number is the
// customer's, any text of any length; a hash of it is an id that every store
// takes.
func accountID(number string) string { return evento.HashIDs("account", number) }

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
	// TransferCompleted is on the sender's side, with TransferReceived on the
	// other, in one commit.
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

func (AccountOpened) AggregateType() evento.AggregateType     { return AccountType }
func (LimitsSet) AggregateType() evento.AggregateType         { return AccountType }
func (MoneyDeposited) AggregateType() evento.AggregateType    { return AccountType }
func (MoneyWithdrawn) AggregateType() evento.AggregateType    { return AccountType }
func (AccountFrozen) AggregateType() evento.AggregateType     { return AccountType }
func (AccountUnfrozen) AggregateType() evento.AggregateType   { return AccountType }
func (AccountClosed) AggregateType() evento.AggregateType     { return AccountType }
func (TransferSent) AggregateType() evento.AggregateType      { return AccountType }
func (TransferReceived) AggregateType() evento.AggregateType  { return AccountType }
func (TransferCompleted) AggregateType() evento.AggregateType { return AccountType }
func (TransferReturned) AggregateType() evento.AggregateType  { return AccountType }

func (AccountOpened) EventName() string     { return "AccountOpened" }
func (LimitsSet) EventName() string         { return "LimitsSet" }
func (MoneyDeposited) EventName() string    { return "MoneyDeposited" }
func (MoneyWithdrawn) EventName() string    { return "MoneyWithdrawn" }
func (AccountFrozen) EventName() string     { return "AccountFrozen" }
func (AccountUnfrozen) EventName() string   { return "AccountUnfrozen" }
func (AccountClosed) EventName() string     { return "AccountClosed" }
func (TransferSent) EventName() string      { return "TransferSent" }
func (TransferReceived) EventName() string  { return "TransferReceived" }
func (TransferCompleted) EventName() string { return "TransferCompleted" }
func (TransferReturned) EventName() string  { return "TransferReturned" }
