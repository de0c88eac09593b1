// The state of an account, computed from its events.

package bank

import "github.com/evento-go/evento"

// Account is the state for the bank's decisions. The zero Account was never opened.
type Account struct {
	Number, Owner          string
	Opened, Frozen, Closed bool

	Balance    Money
	Overdraft  Money // how far below zero the balance may go
	DailyLimit Money // how much may leave the account in a day

	// Spent is what left the account on each day, including long ago: statements
	// may be late.
	Spent map[Day]Money
	// InFlight are the transfers that were sent and not yet received or returned,
	// by id.
	InFlight map[string]TransferSent
}

// MoneyInFlight returns the sum of the money in flight.
func (a *Account) MoneyInFlight() Money {
	var sum Money
	for _, t := range a.InFlight {
		sum += t.Amount
	}
	return sum
}

// Status is "open", "frozen" or "closed".
func (a *Account) Status() string {
	switch {
	case a.Closed:
		return "closed"
	case a.Frozen:
		return "frozen"
	}
	return "open"
}

// The following methods make Account an AccountView. If the method for an event is
// missing, the program does not compile.

// OnAccountOpened is the first event of an account.
func (a *Account) OnAccountOpened(e evento.Event[AccountOpened]) error {
	a.Number, a.Owner = e.Data.Number, e.Data.Owner
	a.Overdraft, a.DailyLimit = e.Data.Overdraft, e.Data.DailyLimit
	a.Opened = true
	return nil
}

// OnLimitsSet replaces both limits.
func (a *Account) OnLimitsSet(e evento.Event[LimitsSet]) error {
	a.Overdraft, a.DailyLimit = e.Data.Overdraft, e.Data.DailyLimit
	return nil
}

// OnMoneyDeposited adds to the balance.
func (a *Account) OnMoneyDeposited(e evento.Event[MoneyDeposited]) error {
	a.Balance += e.Data.Amount
	return nil
}

// OnMoneyWithdrawn takes from the balance and the day's limit.
func (a *Account) OnMoneyWithdrawn(e evento.Event[MoneyWithdrawn]) error {
	a.Balance -= e.Data.Amount
	a.spend(DayOf(e.Data.At), e.Data.Amount)
	return nil
}

// OnAccountFrozen stops what leaves the account.
func (a *Account) OnAccountFrozen(evento.Event[AccountFrozen]) error {
	a.Frozen = true
	return nil
}

// OnAccountUnfrozen ends that.
func (a *Account) OnAccountUnfrozen(evento.Event[AccountUnfrozen]) error {
	a.Frozen = false
	return nil
}

// OnAccountClosed is final.
func (a *Account) OnAccountClosed(evento.Event[AccountClosed]) error {
	a.Closed = true
	return nil
}

// OnTransferSent takes from the balance and the day's limit, and remembers the
// money that is in flight.
func (a *Account) OnTransferSent(e evento.Event[TransferSent]) error {
	a.Balance -= e.Data.Amount
	a.spend(DayOf(e.Data.At), e.Data.Amount)
	if a.InFlight == nil {
		a.InFlight = map[string]TransferSent{}
	}
	a.InFlight[e.Data.TransferID] = e.Data
	return nil
}

// OnTransferReceived adds to the balance of the other account.
func (a *Account) OnTransferReceived(e evento.Event[TransferReceived]) error {
	a.Balance += e.Data.Amount
	return nil
}

// OnTransferCompleted removes the money from those in flight.
func (a *Account) OnTransferCompleted(e evento.Event[TransferCompleted]) error {
	delete(a.InFlight, e.Data.TransferID)
	return nil
}

// OnTransferReturned gives back the money and the day's limit.
func (a *Account) OnTransferReturned(e evento.Event[TransferReturned]) error {
	a.Balance += e.Data.Amount
	a.spend(DayOf(a.InFlight[e.Data.TransferID].At), -e.Data.Amount)
	delete(a.InFlight, e.Data.TransferID)
	return nil
}

func (a *Account) spend(day Day, amount Money) {
	if a.Spent == nil {
		a.Spent = map[Day]Money{}
	}
	if a.Spent[day] += amount; a.Spent[day] == 0 {
		delete(a.Spent, day)
	}
}

// NewAccounts makes the projection that computes an Account. An account with
// many events begins at its snapshot.
func NewAccounts() *evento.Projection[Account] {
	return evento.NewProjection[Account]("account", AccountType).
		Handler(AccountHandlers[Account]()...).
		SafetyCheck().
		SnapshotEvery(100)
}
