// What can happen, and what it makes of concerts and orders. The code around these structs is
// in main_evento.go, which is generated.

package main

import "github.com/evento-go/evento"

//go:generate go run github.com/evento-go/evento/cmd/evento-gen

// Registered is the one event of a customer. By its tag it is found when only the email is
// known.
//
//evento:aggregate tickets/Customer
type Registered struct {
	Name  string
	Email string //evento:tag email
}

// What happens to a concert: orders take its seats, and give them back.
//
//evento:aggregate tickets/Concert
type (
	Announced struct{ Seats int }
	Reserved  struct {
		Seat  int // from 1
		Order string
	}
	Released struct {
		Seat  int
		Order string
	}
)

// What happens to an order. By their tags, the orders of a customer for a concert are found.
//
//evento:aggregate tickets/Order
type (
	Placed struct {
		Concert  string //evento:tag concert
		Customer string //evento:tag customer
		Seat     int
	}
	Paid struct{}
	// Overdue comes true by itself when the order is not paid in time.
	Overdue   struct{}
	Cancelled struct {
		Concert  string //evento:tag concert
		Customer string //evento:tag customer
	}
)

// Concert has the order of each seat; "" is a free one.
type Concert struct{ Seats []string }

var _ ConcertView = (*Concert)(nil) // it handles each event of a concert

func (c *Concert) OnAnnounced(e evento.Event[Announced]) error {
	c.Seats = make([]string, e.Data.Seats)
	return nil
}

func (c *Concert) OnReserved(e evento.Event[Reserved]) error {
	c.Seats[e.Data.Seat-1] = e.Data.Order
	return nil
}

func (c *Concert) OnReleased(e evento.Event[Released]) error {
	c.Seats[e.Data.Seat-1] = ""
	return nil
}

// Order is what a customer has ordered, and whether it is placed, paid, overdue or cancelled.
type Order struct {
	Placed
	Status string
}

var _ OrderView = (*Order)(nil)

func (o *Order) OnPlaced(e evento.Event[Placed]) error     { *o = Order{e.Data, "placed"}; return nil }
func (o *Order) OnPaid(evento.Event[Paid]) error           { o.Status = "paid"; return nil }
func (o *Order) OnOverdue(evento.Event[Overdue]) error     { o.Status = "overdue"; return nil }
func (o *Order) OnCancelled(evento.Event[Cancelled]) error { o.Status = "cancelled"; return nil }

var (
	concerts = evento.NewProjection[Concert]("concert", ConcertType).Handler(ConcertHandlers[Concert]()...)
	orders   = evento.NewProjection[Order]("order", OrderType).Handler(OrderHandlers[Order]()...)
)
