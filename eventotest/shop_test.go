package eventotest_test

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/evento-go/evento"
)

// Another application: decisions over several aggregates, tags, and deadlines.

type (
	Announced struct{ Seats int }
	Reserved  struct{ Order string }
	Released  struct{ Order string }
	Placed    struct{ Concert, Customer string }
	Paid      struct{}
	Overdue   struct{}
	Cancelled struct{}
	Requested struct{}
	Closed    struct{}
)

const (
	concertType evento.AggregateType = "shop/Concert"
	orderType   evento.AggregateType = "shop/Order"
)

func (Announced) AggregateType() evento.AggregateType { return concertType }
func (Reserved) AggregateType() evento.AggregateType  { return concertType }
func (Released) AggregateType() evento.AggregateType  { return concertType }
func (Placed) AggregateType() evento.AggregateType    { return orderType }
func (Paid) AggregateType() evento.AggregateType      { return orderType }
func (Overdue) AggregateType() evento.AggregateType   { return orderType }
func (Cancelled) AggregateType() evento.AggregateType { return orderType }
func (Requested) AggregateType() evento.AggregateType { return orderType }
func (Closed) AggregateType() evento.AggregateType    { return orderType }

func (Announced) EventName() string { return "Announced" }
func (Reserved) EventName() string  { return "Reserved" }
func (Released) EventName() string  { return "Released" }
func (Placed) EventName() string    { return "Placed" }
func (Paid) EventName() string      { return "Paid" }
func (Overdue) EventName() string   { return "Overdue" }
func (Cancelled) EventName() string { return "Cancelled" }
func (Requested) EventName() string { return "Requested" }
func (Closed) EventName() string    { return "Closed" }

// Tags are what the event is about besides its order.
func (e Placed) Tags() []string { return []string{"concert:" + e.Concert, "customer:" + e.Customer} }

type (
	concert struct{ Free int }
	order   struct{ Concert, Customer, Status string }
)

var (
	concerts = evento.NewProjection[concert]("concert", concertType).Handler(
		evento.Apply(func(c *concert, e evento.Event[Announced]) error { c.Free = e.Data.Seats; return nil }),
		evento.Apply(func(c *concert, _ evento.Event[Reserved]) error { c.Free--; return nil }),
		evento.Apply(func(c *concert, _ evento.Event[Released]) error { c.Free++; return nil }))
	orders = evento.NewProjection[order]("order", orderType).Handler(
		evento.Apply(func(o *order, e evento.Event[Placed]) error {
			o.Concert, o.Customer, o.Status = e.Data.Concert, e.Data.Customer, "placed"
			return nil
		}),
		evento.Apply(func(o *order, _ evento.Event[Requested]) error { o.Status = "requested"; return nil }),
		evento.Apply(func(o *order, _ evento.Event[Paid]) error { o.Status = "paid"; return nil }),
		evento.Apply(func(o *order, _ evento.Event[Closed]) error { o.Status = "closed"; return nil }),
		evento.Apply(func(o *order, _ evento.Event[Cancelled]) error { o.Status = "cancelled"; return nil }))

	errSoldOut = errors.New("sold out")
	errTwice   = errors.New("the customer has a seat already")
)

// reserve decides over a concert, an order that is new, and the other orders of a customer.
func reserve(concertID, orderID, customer string, due time.Time) func(context.Context, evento.Executor) error {
	return func(ctx context.Context, d evento.Executor) error {
		c, err := concerts.Load(ctx, d, concertID)
		if err != nil {
			return err
		}
		n, err := evento.Fold(ctx, d, []string{"concert:" + concertID, "customer:" + customer},
			evento.Apply(func(n *int, _ evento.Event[Placed]) error { *n++; return nil }))
		switch {
		case err != nil:
			return err
		case n > 0:
			return errTwice
		case c.State.Free == 0:
			return errSoldOut
		}
		if _, err := c.Aggregate().Event(Reserved{Order: orderID}).Commit(ctx, d); err != nil {
			return err
		}
		_, err = evento.Aggregate(orderID).Event(Placed{Concert: concertID, Customer: customer}).
			Deadline("payment", due, Overdue{}).Commit(ctx, d)
		return err
	}
}

func pay(orderID string) func(context.Context, evento.Executor) error {
	return func(ctx context.Context, d evento.Executor) error {
		o, err := orders.Load(ctx, d, orderID)
		if err != nil {
			return err
		}
		_, err = o.Aggregate().Event(Paid{}).ClearDeadline("payment").Commit(ctx, d)
		return err
	}
}

// cancelOverdue is a subscription that gives back the seats of overdue orders.
func cancelOverdue() *evento.SubscriptionBuilder {
	return evento.NewSubscription("cancel-overdue").Transactional().Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[Overdue]) error {
			ex := evento.ExecutorFrom(ctx)
			o, err := orders.Load(ctx, ex, e.AggregateID)
			if err != nil || o.State.Status != "placed" {
				return err
			}
			if _, err := o.Aggregate().Event(Cancelled{}).Commit(ctx, ex); err != nil {
				return err
			}
			_, err = evento.Aggregate(o.State.Concert).AnyVersion().Event(Released{Order: e.AggregateID}).Commit(ctx, ex)
			return err
		}))
}

// collect is a subscription that collects the payment of an order within a day.
func collect() *evento.SubscriptionBuilder {
	return evento.NewSubscription("collect").Transactional().Handler(evento.HandleAll(orderType, collectPayment))
}

// collectPayment requests the payment of an order, counts requests in a record, and closes or
// cancels the order.
func collectPayment(ctx context.Context, e evento.RawEvent) error {
	ex := evento.ExecutorFrom(ctx)
	o, err := orders.Load(ctx, ex, e.AggregateID)
	if err != nil {
		return err
	}
	switch b := o.Aggregate(); {
	case e.Name == "Placed" && o.Version == e.Version:
		if err = countRequest(ctx, ex, o.State.Customer); err == nil {
			_, err = b.Event(Requested{}).Deadline("payment", e.Timestamp.Add(24*time.Hour), Overdue{}).Commit(ctx, ex)
		}
	case e.Name == "Paid" && o.State.Status == "paid":
		_, err = b.Event(Closed{}).ClearDeadline("payment").Commit(ctx, ex)
	case e.Name == "Overdue" && o.State.Status == "requested":
		_, err = b.Event(Cancelled{}).Commit(ctx, ex)
	}
	return err
}

// countRequest counts in a record how often a customer was asked to pay.
func countRequest(ctx context.Context, ex evento.Executor, customer string) error {
	page, err := ex.Records(ctx, evento.RecordQuery{Kind: "requests", Key: customer})
	if err != nil {
		return err
	}
	n, change := 0, evento.Change{RecordKey: evento.RecordKey{Kind: "requests", Key: customer}}
	if len(page.Records) > 0 {
		change.Revision = page.Records[0].Revision
		if n, err = strconv.Atoi(string(page.Records[0].Value)); err != nil {
			return err
		}
	}
	change.Value = strconv.AppendInt(nil, int64(n+1), 10)
	return ex.Swap(ctx, evento.Swap{Changes: []evento.Change{change}})
}
