// Events in words.

package bank

import (
	"fmt"
	"time"

	"github.com/evento-go/evento"
)

// Describe says what kind of event it is, and when it happened.
func Describe(e evento.Payload) (string, time.Time) {
	switch e := e.(type) {
	case AccountOpened:
		return fmt.Sprintf("opened for %s, overdraft %s, daily limit %s", Show(e.Owner), e.Overdraft, e.DailyLimit), e.At
	case LimitsSet:
		return fmt.Sprintf("limits set, overdraft %s, daily limit %s", e.Overdraft, e.DailyLimit), e.At
	case MoneyDeposited:
		return "deposited", e.At
	case MoneyWithdrawn:
		return "withdrawn", e.At
	case AccountFrozen:
		return "frozen", e.At
	case AccountUnfrozen:
		return "unfrozen", e.At
	case AccountClosed:
		return "closed", e.At
	case TransferSent:
		return "transfer sent to " + Show(e.To), e.At
	case TransferReceived:
		return "transfer received from " + Show(e.From), e.At
	case TransferCompleted:
		return fmt.Sprintf("transfer of %s arrived", e.Amount), e.At
	case TransferReturned:
		return "transfer returned: " + e.Reason, e.At
	}
	return e.EventName(), time.Time{}
}
