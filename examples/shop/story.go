// A story of the shop.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento"
)

// narrator prints what happens. Refusals are part of it; the first other error ends it.
type narrator struct {
	out io.Writer
	err error
}

func (n *narrator) say(format string, args ...any) {
	if n.err == nil {
		fmt.Fprintf(n.out, format+"\n", args...)
	}
}

// tell prints what was asked for and the result.
func (n *narrator) tell(what string, err error) {
	var refusal refusalError
	switch {
	case n.err != nil:
	case err == nil:
		n.say("  %s.", what)
	case errors.As(err, &refusal):
		n.say("  %s? No: %s.", what, refusal)
	default:
		n.err = err
	}
}

// tellStory prints what happens in a shop. A server works in the background all the time;
// here the work begins where its effect is told.
func tellStory(ctx context.Context, ex evento.Executor, out io.Writer) error {
	n := &narrator{out: out}
	story := evento.NewID().String() // there may be others in the store
	now := time.Now()
	inTime := now.Add(15 * time.Minute)

	n.say("Customers register, each email once.")
	ada, err := register(ctx, ex, "Ada", "ada@"+story)
	n.tell("Ada registers", err)
	ben, err := register(ctx, ex, "Ben", "ben@"+story)
	n.tell("Ben registers", err)
	_, err = register(ctx, ex, "Eve", "ADA@"+story)
	n.tell("Eve registers with Ada's email", err)

	n.say("\nA concert has 3 seats. Who reserves one has a quarter of an hour to pay.")
	concert := n.announce(ctx, ex, 3)
	adas, bens := "1-"+story, "2-"+story
	n.tell("Ada reserves a seat", reserve(ctx, ex, concert, ada, adas, inTime))
	n.tell("Ada reserves another", reserve(ctx, ex, concert, ada, "3-"+story, inTime))
	n.tell("Ada reserves one more", reserve(ctx, ex, concert, ada, "4-"+story, inTime))
	n.tell("Ben reserves a seat", reserve(ctx, ex, concert, ben, bens, now)) // his time is over at once
	n.tell("Ben reserves another", reserve(ctx, ex, concert, ben, "5-"+story, inTime))
	n.tell("Ada pays for her first", pay(ctx, ex, adas))
	n.tell("Ada pays for it again", pay(ctx, ex, adas))
	n.seats(ctx, ex, concert)

	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- work(working, ex)
		stop()
	}()
	n.say("\nBen does not pay in time: his order is cancelled, and the seat given back.")
	n.wait(working, ex, concert)
	n.seats(ctx, ex, concert)
	n.tell("Ben pays", pay(ctx, ex, bens))
	n.tell("Ben reserves a seat", reserve(ctx, ex, concert, ben, "6-"+story, inTime))

	n.say("\nThe next concert has 10 seats, and 40 people want one, all at once.")
	n.crowd(ctx, ex, inTime)
	stop()
	return errors.Join(n.err, <-ended)
}

// check ends the story with an error.
func (n *narrator) check(err error) {
	if n.err == nil {
		n.err = err
	}
}

func (n *narrator) announce(ctx context.Context, ex evento.Executor, seats int) (concertID string) {
	receipt, err := evento.Create().Event(Announced{Seats: seats}).Commit(ctx, ex)
	n.check(err)
	return receipt.AggregateID
}

// seats prints what has become of each seat.
func (n *narrator) seats(ctx context.Context, ex evento.Executor, concertID string) {
	concert, err := concerts.Load(ctx, ex, concertID)
	if err != nil {
		n.check(err)
		return
	}
	for i, id := range concert.State.Seats {
		status := "free"
		if id != "" {
			order, err := orders.Load(ctx, ex, id)
			if err != nil {
				n.check(err)
				return
			}
			status = order.State.Status
		}
		n.say("    seat %d: %s", i+1, status)
	}
}

// wait waits until a seat of a concert is given back.
func (n *narrator) wait(ctx context.Context, ex evento.Executor, concertID string) {
	if n.err != nil {
		return
	}
	for _, err := range evento.Follow(ctx, ex, evento.Query{Filters: ReleasedFilters(concertID)}, "") {
		n.check(err)
		return
	}
}

// crowd lets 40 customers reserve at once, and counts the orders by their tag.
func (n *narrator) crowd(ctx context.Context, ex evento.Executor, due time.Time) {
	concert := n.announce(ctx, ex, 10)
	var all sync.WaitGroup
	var refused atomic.Int64
	for range 40 {
		all.Go(func() {
			err := reserve(ctx, ex, concert, evento.NewID().String(), evento.NewID().String(), due)
			if errors.Is(err, errSoldOut) {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	seats := map[int]bool{}
	ordered := 0
	for e, err := range evento.Events(ctx, ex, evento.Query{Filters: []evento.Filter{evento.ByTags("concert:" + concert)}}) {
		n.check(err)
		placed, err := evento.Decode[Placed](e)
		n.check(err)
		seats[placed.Data.Seat] = true
		ordered++
	}
	n.say("  %d orders have %d seats, and %d customers are told that it is sold out.", ordered, len(seats), refused.Load())
}
