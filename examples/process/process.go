// The process of an order: which step follows on which event.

package main

import (
	"context"
	"sync"
	"time"

	"github.com/evento-go/evento"
)

// process is the process manager. It answers each event with the next step:
//
//	Placed     Reserved and Sent, with a deadline for the payment; or Cancelled, as it is sold out
//	Paid       Packed
//	Delivered  Completed
//	Overdue    Released and Cancelled
//	Returned   Refunded, Released and Cancelled
//
// It has no state of its own: how far an order is, is in the events. As it is transactional, a
// step and the place behind its event are stored together, or neither is: so each step is made
// once, whenever the process is killed.
func process() *evento.SubscriptionBuilder {
	return evento.NewSubscription("process").Transactional().Standby().Lease(lease).Handler(
		evento.Handle(onPlaced),
		evento.Handle(onPaid),
		evento.Handle(onDelivered),
		evento.Handle(onOverdue),
		evento.Handle(onReturned),
	)
}

// lease is for how long the next program waits after one was killed. Here it is short; the
// default is 15 seconds.
const lease = 200 * time.Millisecond

// onPlaced reserves a piece and sends an invoice, which is to be paid in time; or it cancels
// the order. It depends on the article in both cases.
func onPlaced(ctx context.Context, e evento.Event[Placed]) error {
	_, err := evento.Decide(ctx, evento.ExecutorFrom(ctx), func(ctx context.Context, d evento.Executor) error {
		article, err := articles.Load(ctx, d, e.Data.Article, evento.OrNew())
		if err != nil {
			return err
		}
		if article.State.Free == 0 {
			_, err = evento.Aggregate(e.AggregateID).AnyVersion().Event(Cancelled{Reason: "sold out"}).Commit(ctx, d)
			return err
		}
		_, err = evento.CommitAll(ctx, d,
			article.Aggregate().Event(Reserved{Order: e.AggregateID}),
			evento.Aggregate(e.AggregateID).Event(Sent{Customer: e.Data.Customer}).
				Deadline("payment", e.Data.PayBy, Overdue{}))
		return err
	})
	return err
}

func onPaid(ctx context.Context, e evento.Event[Paid]) error {
	ex := evento.ExecutorFrom(ctx)
	order, err := orders.Load(ctx, ex, e.AggregateID)
	if err != nil {
		return err
	}
	_, err = evento.Aggregate(order.ID).Event(Packed{Customer: order.State.Customer}).Commit(ctx, ex)
	return err
}

func onDelivered(ctx context.Context, e evento.Event[Delivered]) error {
	_, err := evento.Aggregate(e.AggregateID).AnyVersion().Event(Completed{}).Commit(ctx, evento.ExecutorFrom(ctx))
	return err
}

func onOverdue(ctx context.Context, e evento.Event[Overdue]) error {
	return undo(ctx, e.AggregateID, "not paid in time")
}

func onReturned(ctx context.Context, e evento.Event[Returned]) error {
	return undo(ctx, e.AggregateID, "the parcel came back",
		evento.Aggregate(e.AggregateID).AnyVersion().Event(Refunded{}))
}

// undo compensates: it gives the piece back and cancels the order, and does more if more was
// done. It is one commit: all of it, or nothing.
func undo(ctx context.Context, orderID, reason string, more ...*evento.CommitBuilder) error {
	ex := evento.ExecutorFrom(ctx)
	order, err := orders.Load(ctx, ex, orderID)
	if err != nil {
		return err
	}
	_, err = evento.CommitAll(ctx, ex, append(more,
		evento.Aggregate(order.State.Article).AnyVersion().Event(Released{Order: orderID}),
		order.Aggregate().Event(Cancelled{Reason: reason}))...)
	return err
}

// work runs the process, the deadlines and the world outside until ctx ends. Any number of
// programs may: one of them works, and the others stand by.
func work(ctx context.Context, ex evento.Executor) error {
	ctx, stop := context.WithCancel(ctx)
	var deadlines sync.WaitGroup
	deadlines.Go(func() { _ = evento.RunDeadlines(ctx, ex) }) // until ctx ends, or the store is closed
	err := evento.Run(ctx, ex, process(), outside())
	stop()
	deadlines.Wait()
	return err
}
