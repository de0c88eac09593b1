// A program's subscriptions, run as one.

package evento

import (
	"context"
	"fmt"
	"time"
)

// shutdownGrace is how long Run lets handlers finish when its context has ended.
const shutdownGrace = 10 * time.Second

// Run starts subscriptions and runs them until the context ends or one of them
// ends. Then it shuts all of them down: each finishes the event in hand and
// stores its place; the contexts of handlers that take longer than 10 seconds are
// cancelled. It returns why the first one ended, and nil when the context has
// ended and all have stored their places.
//
// Errors: those of Start and of [Subscription.Err]; [ErrInvalid] for no builders,
// and for two of one key and routing key.
func Run(ctx context.Context, ex Executor, builders ...*SubscriptionBuilder) error {
	if err := checkTogether(builders); err != nil {
		return err
	}
	var subs []*Subscription
	ended := make(chan error, len(builders))
	var err error
	for _, b := range builders {
		var sub *Subscription
		// What is in hand when ctx ends is finished.
		if sub, err = b.Start(context.WithoutCancel(ctx), ex); err != nil {
			break
		}
		subs = append(subs, sub)
		go func() {
			<-sub.Done()
			ended <- sub.Err()
		}()
	}
	if err == nil {
		select {
		case err = <-ended:
		case <-ctx.Done():
		}
	}
	for _, sub := range subs {
		sub.stop()
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	for _, sub := range subs {
		if sub.Shutdown(grace) != nil {
			<-sub.Done()
		}
		if err == nil {
			err = sub.Err()
		}
	}
	return err
}

// checkTogether refuses builders that cannot run together.
func checkTogether(builders []*SubscriptionBuilder) error {
	if len(builders) == 0 {
		return fmt.Errorf("%w run: there is no subscription", ErrInvalid)
	}
	seen := map[subscriptionName]bool{}
	for i, b := range builders {
		switch {
		case b == nil:
			return fmt.Errorf("%w run: subscription %d is nil", ErrInvalid, i+1)
		case seen[b.name()]:
			return fmt.Errorf("%w run: subscription %s is in it twice", ErrInvalid, b.name())
		}
		seen[b.name()] = true
	}
	return nil
}
