// Package v2 has the events of orders as they are now. It reads all that version 1 has stored.
package v2

import (
	"fmt"
	"strings"

	"github.com/evento-go/evento"
)

//go:generate go run github.com/evento-go/evento/cmd/evento-gen

//evento:aggregate evolution/Order
type (
	// Placed was called Created, and its Customer was the Client. All prices were in euros.
	//
	//evento:was Created
	Placed struct {
		Customer string //evento:was Client
		Item     string
		Currency string //evento:default "EUR"
	}

	// Addressed has the parts of what was one text. Its name is a new one, as events with
	// the old name have the old shape.
	//
	//evento:event AddressedV2
	//evento:upcast splitAddress
	Addressed struct{ Street, Town string }

	// Delivered and Paid were one event, Completed, as if both always happened at once.
	Delivered struct{}
	Paid      struct{ Cents int64 }

	// Completed happens no more, but has happened: whoever handles Delivered or Paid handles
	// it too.
	//
	//evento:retired
	Completed struct{ Cents int64 }
)

// addressedText is what Addressed was.
//
//evento:event Addressed
type addressedText struct{ Address string }

func splitAddress(old addressedText) (Addressed, error) {
	street, town, ok := strings.Cut(old.Address, ", ")
	if !ok {
		return Addressed{}, fmt.Errorf("the address %q has no town", old.Address)
	}
	return Addressed{Street: street, Town: town}, nil
}

// Order is what has become of one.
type Order struct {
	Placed
	Addressed
	Delivered bool
	Paid      int64
}

var _ OrderView = (*Order)(nil)

func (o *Order) OnPlaced(e evento.Event[Placed]) error       { o.Placed = e.Data; return nil }
func (o *Order) OnAddressed(e evento.Event[Addressed]) error { o.Addressed = e.Data; return nil }
func (o *Order) OnDelivered(evento.Event[Delivered]) error   { o.Delivered = true; return nil }
func (o *Order) OnPaid(e evento.Event[Paid]) error           { o.Paid += e.Data.Cents; return nil }
func (o *Order) OnCompleted(e evento.Event[Completed]) error {
	o.Delivered = true
	o.Paid += e.Data.Cents
	return nil
}

// Orders is the projection.
var Orders = evento.NewProjection[Order]("order", OrderType).Handler(OrderHandlers[Order]()...)
