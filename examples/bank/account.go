// The state of an account: what the events make of it.

package main

import "github.com/evento-go/evento"

// Account is what the bank decides on. The zero Account was never opened.
type Account struct {
	Number, Owner          string
	Opened, Frozen, Closed bool

	Balance    Money
	Overdraft  Money // how far below zero the balance may go
	DailyLimit Money // how much may leave the account in a day

	// Spent is what left on each day, also long ago: statements may be late.
	Spent map[Day]Money
	// InFlight are the transfers sent and not yet received or returned, by
	// their ids.
	InFlight map[string]TransferSent
}

// inFlight is the money under way.
func (a *Account) inFlight() Money {
	var sum Money
	for _, t := range a.InFlight {
		sum += t.Amount
	}
	return sum
}

// accountEvent is an event that knows what it makes of an account.
type accountEvent interface {
	evento.Payload
	apply(*Account)
}

func (e AccountOpened) apply(a *Account) {
	a.Number, a.Owner = e.Number, e.Owner
	a.Overdraft, a.DailyLimit = e.Overdraft, e.DailyLimit
	a.Opened = true
}

func (e LimitsSet) apply(a *Account) { a.Overdraft, a.DailyLimit = e.Overdraft, e.DailyLimit }

func (e MoneyDeposited) apply(a *Account) { a.Balance += e.Amount }

func (e MoneyWithdrawn) apply(a *Account) {
	a.Balance -= e.Amount
	a.spend(dayOf(e.At), e.Amount)
}

func (AccountFrozen) apply(a *Account)   { a.Frozen = true }
func (AccountUnfrozen) apply(a *Account) { a.Frozen = false }
func (AccountClosed) apply(a *Account)   { a.Closed = true }

func (e TransferSent) apply(a *Account) {
	a.Balance -= e.Amount
	a.spend(dayOf(e.At), e.Amount)
	if a.InFlight == nil {
		a.InFlight = map[string]TransferSent{}
	}
	a.InFlight[e.TransferID] = e
}

func (e TransferReceived) apply(a *Account) { a.Balance += e.Amount }

func (e TransferCompleted) apply(a *Account) { delete(a.InFlight, e.TransferID) }

// apply gives back the money and the day's limit.
func (e TransferReturned) apply(a *Account) {
	a.Balance += e.Amount
	a.spend(dayOf(a.InFlight[e.TransferID].At), -e.Amount)
	delete(a.InFlight, e.TransferID)
}

func (a *Account) spend(day Day, amount Money) {
	if a.Spent == nil {
		a.Spent = map[Day]Money{}
	}
	if a.Spent[day] += amount; a.Spent[day] == 0 {
		delete(a.Spent, day)
	}
}

// newAccounts makes the projection that computes an Account. An account with
// many events begins at its snapshot.
func newAccounts() *evento.Projection[Account] {
	return evento.NewProjection[Account]("account", AccountType).
		Handler(accountHandlers(func(a *Account, e accountEvent, _ evento.RawEvent) { e.apply(a) })...).
		SafetyCheck().
		SnapshotEvery(100)
}

// accountHandlers lets a projection's function see every kind of event of an
// account.
func accountHandlers[V any](fn func(*V, accountEvent, evento.RawEvent)) []evento.Applier[V] {
	return []evento.Applier[V]{
		on[AccountOpened](fn), on[LimitsSet](fn), on[AccountClosed](fn),
		on[AccountFrozen](fn), on[AccountUnfrozen](fn),
		on[MoneyDeposited](fn), on[MoneyWithdrawn](fn),
		on[TransferSent](fn), on[TransferReceived](fn), on[TransferCompleted](fn), on[TransferReturned](fn),
	}
}

func on[D accountEvent, V any](fn func(*V, accountEvent, evento.RawEvent)) evento.Applier[V] {
	return evento.Apply(func(v *V, e evento.Event[D]) error {
		fn(v, e.Data, e.RawEvent)
		return nil
	})
}
