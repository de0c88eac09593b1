// What can happen to orders, articles, invoices and parcels, and what they are then. An
// order, its invoice and its parcel have the same id: each is found from any other. The code
// around these structs is in main_evento.go, which is generated.

package main

import (
	"time"

	"github.com/evento-go/evento"
)

//go:generate go run github.com/evento-go/evento/cmd/evento-gen

// An order is what a customer wants, and how it ends.
//
//evento:aggregate orders/Order
type (
	Placed struct {
		Article, Customer string
		PayBy             time.Time
	}
	Completed struct{}
	Cancelled struct{ Reason string }
)

// An article has pieces, which orders reserve and give back.
//
//evento:aggregate orders/Article
type (
	Stocked  struct{ Pieces int }
	Reserved struct {
		Order string //evento:tag order
	}
	Released struct {
		Order string //evento:tag order
	}
)

// An invoice is paid, or overdue; never both.
//
//evento:aggregate orders/Invoice
type (
	Sent     struct{ Customer string }
	Paid     struct{}
	Overdue  struct{} // a deadline that has come true
	Refunded struct{}
)

// A parcel arrives, or comes back.
//
//evento:aggregate orders/Parcel
type (
	Packed    struct{ Customer string }
	Delivered struct{}
	Returned  struct{}
)

// Order is what was placed, and how it has ended; "": it has not.
type Order struct {
	Placed
	End string
}

var _ OrderView = (*Order)(nil) // it handles each event of an order

func (o *Order) OnPlaced(e evento.Event[Placed]) error     { o.Placed = e.Data; return nil }
func (o *Order) OnCompleted(evento.Event[Completed]) error { o.End = "completed"; return nil }
func (o *Order) OnCancelled(e evento.Event[Cancelled]) error {
	o.End = "cancelled, " + e.Data.Reason
	return nil
}

// Article is how many pieces are free.
type Article struct{ Free int }

var _ ArticleView = (*Article)(nil)

func (a *Article) OnStocked(e evento.Event[Stocked]) error { a.Free += e.Data.Pieces; return nil }
func (a *Article) OnReserved(evento.Event[Reserved]) error { a.Free--; return nil }
func (a *Article) OnReleased(evento.Event[Released]) error { a.Free++; return nil }

// Invoice and Parcel are what happened to them last.
type (
	Invoice struct{ Last string }
	Parcel  struct{ Last string }
)

var (
	_ InvoiceView = (*Invoice)(nil)
	_ ParcelView  = (*Parcel)(nil)
)

func (i *Invoice) OnSent(evento.Event[Sent]) error         { i.Last = "sent"; return nil }
func (i *Invoice) OnPaid(evento.Event[Paid]) error         { i.Last = "paid"; return nil }
func (i *Invoice) OnOverdue(evento.Event[Overdue]) error   { i.Last = "overdue"; return nil }
func (i *Invoice) OnRefunded(evento.Event[Refunded]) error { i.Last = "refunded"; return nil }

func (p *Parcel) OnPacked(evento.Event[Packed]) error       { p.Last = "packed"; return nil }
func (p *Parcel) OnDelivered(evento.Event[Delivered]) error { p.Last = "delivered"; return nil }
func (p *Parcel) OnReturned(evento.Event[Returned]) error   { p.Last = "returned"; return nil }

var (
	orders   = evento.NewProjection[Order]("order", OrderType).Handler(OrderHandlers[Order]()...)
	articles = evento.NewProjection[Article]("article", ArticleType).Handler(ArticleHandlers[Article]()...)
	invoices = evento.NewProjection[Invoice]("invoice", InvoiceType).Handler(InvoiceHandlers[Invoice]()...)
	parcels  = evento.NewProjection[Parcel]("parcel", ParcelType).Handler(ParcelHandlers[Parcel]()...)
)
