// What there is to see in a store that was empty.

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/examples/bank/bank"
)

// The accounts of the demonstration.
const alice, bob, carol, dan, erin = "1001", "1002", "1003", "1004", "1005"

// openDemo opens a few accounts in an empty store. Two of their transfers come back: one
// account was never opened, and Erin's is closed.
func openDemo(ctx context.Context, s *store) error {
	b := s.bank
	for _, err := range evento.Events(ctx, b.Executor(), evento.Query{}) {
		return err // it is not empty, or cannot be read
	}
	now := time.Now().UTC()
	for number, owner := range map[string]string{alice: "Alice Adler", bob: "Bob Baker", carol: "Carol Clark", dan: "Dan Diallo", erin: "Erin Eriksen"} {
		if err := unlessRefused(b.Open(ctx, number, owner, now)); err != nil {
			return err
		}
	}
	err := unlessRefused(
		b.Deposit(ctx, alice, 1_500_00, now),
		b.Deposit(ctx, bob, 320_50, now),
		b.Deposit(ctx, carol, 875_00, now),
		b.Deposit(ctx, dan, 60_00, now),
		b.Close(ctx, erin, now),
		b.Freeze(ctx, dan, now),
		b.Withdraw(ctx, alice, 80_00, now),
		b.Transfer(ctx, alice, bob, 120_00, now),
		b.Transfer(ctx, bob, "4711", 45_00, now),
		b.Transfer(ctx, carol, erin, 25_00, now),
		b.Transfer(ctx, carol, dan, 15_00, now),
	)
	// The first page shows all of it.
	for _, sub := range []*evento.SubscriptionBuilder{b.Transfers(), s.balances.Subscription()} {
		if err == nil {
			err = sub.Hooks(s.tel.hooks()).Logger(s.logger).Execute(ctx, s.events)
		}
	}
	return err
}

// unlessRefused returns the first error that is no refusal.
func unlessRefused(errs ...error) error {
	var refusal bank.RefusalError
	for _, err := range errs {
		if err != nil && !errors.As(err, &refusal) {
			return err
		}
	}
	return nil
}

// mostTraffic is how many payments are made by themselves.
const mostTraffic = 2000

// makeTraffic makes a small payment every so often, so that pages have something to show.
// Every fifth transfer or so comes back.
func makeTraffic(ctx context.Context, b *bank.Bank, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	numbers := []string{alice, bob, carol}
	for range mostTraffic {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		from, amount, now := rand.IntN(3), bank.Money(100+rand.IntN(2000)), time.Now().UTC()
		to := numbers[(from+1+rand.IntN(2))%3]
		if rand.IntN(5) == 0 {
			to = erin
		}
		err := b.Transfer(ctx, numbers[from], to, amount, now)
		if err != nil && unlessRefused(err) == nil {
			err = b.Deposit(ctx, numbers[from], 200_00, now)
		}
		if err := unlessRefused(err); err != nil {
			return err
		}
	}
	return nil
}
