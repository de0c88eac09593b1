// Money, and the days on which it is spent.

package bank

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Money is an amount in cents; being an integer, it is exact.
type Money int64

// MaxMoney is the most that an account can hold.
const MaxMoney Money = math.MaxInt64

// String returns the amount with two decimal places: "-1234.05".
func (m Money) String() string {
	sign, cents := "", uint64(m)
	if m < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%d.%02d", sign, cents/100, cents%100)
}

// plus adds, and reports whether the sum fits in Money.
func (m Money) plus(n Money) (Money, bool) {
	sum := m + n
	return sum, (n >= 0) == (sum >= m)
}

// ParseMoney reads digits with at most two decimal places, such as "7", "7.5"
// and "7.50", without a sign.
func ParseMoney(s string) (Money, error) {
	whole, fraction, point := strings.Cut(s, ".")
	if !isDigits(whole) || point && (!isDigits(fraction) || len(fraction) > 2) {
		return 0, RefusalError(fmt.Sprintf("amount %s is not a decimal with at most two places", Show(s)))
	}
	cents, err := strconv.ParseInt(whole+(fraction + "00")[:2], 10, 64)
	if err != nil {
		return 0, RefusalError(fmt.Sprintf("amount %s is more than %s", Show(s), MaxMoney))
	}
	return Money(cents), nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Day is a day in UTC, such as "2026-03-02".
type Day string

// DayOf returns the day of a time.
func DayOf(t time.Time) Day { return Day(t.UTC().Format(time.DateOnly)) }
