// Package evolution has events that were stored differently once: renamed ones,
// with renamed and new fields, made of older shapes, and retired.
package evolution

import (
	"errors"
	"strings"
	"time"
)

//go:generate go run ../../../cmd/evento-gen

// What happens to an order. It is stored under names that begin with Order,
// since there were others.
//
//evento:aggregate shop/Order
type (
	// Placed was called OrderCreated, and before that Created.
	//
	//evento:was OrderCreated
	//evento:was Created
	//evento:event OrderPlaced
	Placed struct {
		//evento:was Client
		//evento:was customer_name
		//evento:was -
		Customer string
		// Currency came later; everything was in euros before.
		Currency string        `json:"currency"` //evento:default "EUR" // as of "//"
		Items    []Item        //evento:was Lines
		Priority *int          //evento:default lowest
		Rate     float64       //evento:default	1.0 / 4
		Gift     bool          //evento:default !false
		Notes    *string       //evento:was Note
		Kind     Kind          //evento:default KindUsual
		Wait     time.Duration //evento:default 5 * time.Minute
	}
	// Paid says how much of what; it was a text once.
	//
	//evento:upcast paidOfText
	//evento:event OrderPaidV3
	Paid struct {
		Cents    int64
		Currency string //evento:default "EUR"
	}
	// PaidText is a number with a currency behind it.
	//
	//evento:retired
	//evento:upcast textOfWhole
	//evento:event OrderPaidV2
	PaidText struct{ Amount string }
	// Faxed happened until there was no fax any more.
	//
	//evento:retired
	Faxed struct{ Number string }
)

// paidWhole is what was stored at first: whole euros.
//
//evento:event OrderPaid
type paidWhole struct{ Euros int }

func textOfWhole(old paidWhole) PaidText {
	return PaidText{Amount: strings.Repeat("I", old.Euros) + " EUR"}
}

func paidOfText(old PaidText) (Paid, error) {
	numeral, currency, ok := strings.Cut(old.Amount, " ")
	if !ok {
		return Paid{}, errors.New("an amount without a currency")
	}
	return Paid{Cents: int64(len(numeral)) * 100, Currency: currency}, nil
}

// Item is a part of an order.
type Item struct {
	Name  string
	Count int
}

// Kind is one of orders.
type Kind string

// KindUsual is what orders were before there were others.
const KindUsual Kind = "usual"

const lowest = 1 << 3
