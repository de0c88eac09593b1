// What the shop does. What a decision has read still holds when its events are stored; if
// something has come between, it decides again.

package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/evento-go/evento"
)

// refusalError is a decision against what was asked for.
type refusalError string

func (r refusalError) Error() string { return string(r) }

const (
	errTaken   refusalError = "the email is registered already"
	errSoldOut refusalError = "it is sold out"
	errEnough  refusalError = "two seats are enough"
)

// register makes a customer, if no other has the email. It depends on what is not there: on
// nobody having registered with it.
func register(ctx context.Context, ex evento.Executor, name, email string) (customerID string, err error) {
	email = strings.ToLower(email)
	receipts, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		taken, err := evento.Fold(ctx, d, []string{"email:" + email},
			evento.Apply(func(taken *bool, _ evento.Event[Registered]) error { *taken = true; return nil }))
		switch {
		case err != nil:
			return err
		case taken:
			return errTaken
		}
		_, err = evento.Create().Event(Registered{Name: name, Email: email}).Commit(ctx, d)
		return err
	})
	if err != nil {
		return "", err
	}
	return receipts[0].AggregateID, nil
}

// reserve takes the first free seat of a concert and places the order, both or neither. The
// order is to be paid until due. A customer may have two seats.
func reserve(ctx context.Context, ex evento.Executor, concertID, customerID, orderID string, due time.Time) error {
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		concert, err := concerts.Load(ctx, d, concertID)
		if err != nil {
			return err
		}
		has, err := evento.Fold(ctx, d, []string{"concert:" + concertID, "customer:" + customerID},
			evento.Apply(func(n *int, _ evento.Event[Placed]) error { *n++; return nil }),
			evento.Apply(func(n *int, _ evento.Event[Cancelled]) error { *n--; return nil }))
		seat := 1 + slices.Index(concert.State.Seats, "")
		switch {
		case err != nil:
			return err
		case has >= 2:
			return errEnough
		case seat == 0:
			return errSoldOut
		}
		_, err = evento.CommitAll(ctx, d,
			concert.Aggregate().Event(Reserved{Seat: seat, Order: orderID}),
			evento.Aggregate(orderID).Event(Placed{Concert: concertID, Customer: customerID, Seat: seat}).
				Deadline("payment", due, Overdue{}))
		return err
	})
	return err
}

// pay pays an order. Either that clears the deadline, or the deadline was faster: an order is
// never both paid and overdue.
func pay(ctx context.Context, ex evento.Executor, orderID string) error {
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		order, err := orders.Load(ctx, d, orderID)
		switch {
		case err != nil:
			return err
		case order.State.Status != "placed":
			return refusalError("the order is " + order.State.Status)
		}
		_, err = order.Aggregate().Event(Paid{}).ClearDeadline("payment").Commit(ctx, d)
		return err
	})
	return err
}

// cancelOverdue is the subscription that cancels overdue orders and gives back their seats.
// What it commits is stored with its place among the events: exactly once.
func cancelOverdue() *evento.SubscriptionBuilder {
	return evento.NewSubscription("cancel-overdue").Transactional().Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[Overdue]) error {
			ex := evento.ExecutorFrom(ctx)
			order, err := orders.Load(ctx, ex, e.AggregateID)
			if err != nil || order.State.Status != "overdue" {
				return err
			}
			o := order.State
			_, err = evento.CommitAll(ctx, ex,
				order.Aggregate().Event(Cancelled{Concert: o.Concert, Customer: o.Customer}),
				evento.Aggregate(o.Concert).AnyVersion().Event(Released{Seat: o.Seat, Order: order.ID}))
			return err
		}))
}

// work is what runs in the background, in any number of processes, until ctx ends.
func work(ctx context.Context, ex evento.Executor) error {
	ctx, stop := context.WithCancel(ctx)
	deadlines := make(chan error, 1)
	go func() {
		deadlines <- evento.RunDeadlines(ctx, ex)
		stop()
	}()
	err := evento.Run(ctx, ex, cancelOverdue())
	stop()
	if e := <-deadlines; !errors.Is(e, context.Canceled) {
		err = errors.Join(err, e)
	}
	return err
}
