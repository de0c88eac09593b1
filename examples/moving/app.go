// The application: a club, whose members have a trial that ends, and get a mail.

package main

import (
	"context"
	"time"

	"github.com/evento-go/evento"
)

const Member evento.AggregateType = "club/Member"

type (
	Joined     struct{ Name string }
	TrialEnded struct{} // a deadline that has come true
)

func (Joined) AggregateType() evento.AggregateType     { return Member }
func (Joined) EventName() string                       { return "Joined" }
func (TrialEnded) AggregateType() evento.AggregateType { return Member }
func (TrialEnded) EventName() string                   { return "TrialEnded" }

func join(ctx context.Context, ex evento.Executor, name string, trialEnds time.Time) (evento.Receipt, error) {
	return evento.Aggregate(name).Event(Joined{Name: name}).Deadline("trial", trialEnds, TrialEnded{}).Commit(ctx, ex)
}

// welcome is a subscription that writes a mail to each new member. A mail cannot be taken
// back: in another store it has to go on where it was.
func welcome(mail func(name string)) *evento.SubscriptionBuilder {
	return evento.NewSubscription("welcome").Handler(
		evento.Handle(func(_ context.Context, e evento.Event[Joined]) error {
			mail(e.Data.Name)
			return nil
		}))
}
