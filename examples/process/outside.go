// What comes from outside: orders, payments, and what becomes of parcels.

package main

import (
	"context"
	"errors"
	"time"

	"github.com/evento-go/evento"
)

// place places an order. The same id again is the same order.
func place(ctx context.Context, ex evento.Executor, id, article, customer string, payBy time.Time) error {
	_, err := evento.Aggregate(id).Event(Placed{Article: article, Customer: customer, PayBy: payBy}).Commit(ctx, ex)
	if errors.Is(err, evento.ErrConflict) {
		return nil
	}
	return err
}

var errTooLate = errors.New("it is too late to pay")

// pay pays an invoice. Either that clears the deadline, or the deadline was faster. A bank
// may tell of a payment twice.
func pay(ctx context.Context, ex evento.Executor, orderID string) error {
	_, err := evento.Decide(ctx, ex, func(ctx context.Context, d evento.Executor) error {
		invoice, err := invoices.Load(ctx, d, orderID)
		switch {
		case err != nil:
			return err
		case invoice.State.Last == "overdue":
			return errTooLate
		case invoice.State.Last != "sent":
			return nil
		}
		_, err = invoice.Aggregate().Event(Paid{}).ClearDeadline("payment").Commit(ctx, d)
		return err
	})
	return err
}

// arrive tells what has become of a parcel.
func arrive(ctx context.Context, ex evento.Executor, orderID string, end evento.Payload) error {
	_, err := parcels.Update(ctx, ex, orderID, func(p *evento.Loaded[Parcel]) ([]evento.Payload, error) {
		if p.State.Last != "packed" {
			return nil, nil
		}
		return []evento.Payload{end}, nil
	})
	return err
}

// outside plays the customers and the carrier. Ben does not pay, and Cleo is never at home.
// It is not transactional, as the world is not: after a crash it repeats itself.
func outside() *evento.SubscriptionBuilder {
	return evento.NewSubscription("outside").Standby().Lease(lease).Handler(
		evento.Handle(func(ctx context.Context, e evento.Event[Sent]) error {
			if e.Data.Customer == "Ben" {
				return nil
			}
			return pay(ctx, evento.ExecutorFrom(ctx), e.AggregateID)
		}),
		evento.Handle(func(ctx context.Context, e evento.Event[Packed]) error {
			if e.Data.Customer == "Cleo" {
				return arrive(ctx, evento.ExecutorFrom(ctx), e.AggregateID, Returned{})
			}
			return arrive(ctx, evento.ExecutorFrom(ctx), e.AggregateID, Delivered{})
		}),
	)
}
