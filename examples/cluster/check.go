// What is looked at in the end.

package main

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"sync"
	"time"

	"github.com/evento-go/evento"
)

// received is what the subscription has handled.
type received struct {
	mu        sync.Mutex
	positions map[uint64]bool
}

// subscription handles each transfer that is received, at least once.
func (h *received) subscription() *evento.SubscriptionBuilder {
	return evento.NewSubscription("received").Standby().Handler(
		evento.Handle(func(_ context.Context, e evento.Event[Received]) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.positions == nil {
				h.positions = map[uint64]bool{}
			}
			h.positions[e.Position] = true
			return nil
		}))
}

// check holds what the clients read against what the tellers were told.
func check(ctx context.Context, t *tellers, handled *received, clients []evento.Executor, fresh evento.Executor, out io.Writer) error {
	events, err := eventsOf(ctx, clients[0])
	if err != nil {
		return err
	}
	if err := checkTold(events, t.told); err != nil {
		return err
	}
	fmt.Fprintf(out, "  ~%d transfers were acknowledged. Each is there once, at the positions that its teller was told.\n", t.transfers)

	for _, other := range []evento.Executor{clients[1], fresh} {
		others, err := eventsOf(ctx, other)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(events, others) {
			return fmt.Errorf("two clients have %d and %d events, or they differ", len(events), len(others))
		}
	}
	fmt.Fprintf(out, "  Both clients have the same ~%d events, and a third that begins anew has them too.\n", len(events))

	if err := evento.WaitFor(ctx, clients[1], "received", events[len(events)-1].Position); err != nil {
		return err
	}
	handled.mu.Lock()
	defer handled.mu.Unlock()
	if len(handled.positions) != t.transfers {
		return fmt.Errorf("the subscription has handled %d of %d transfers", len(handled.positions), t.transfers)
	}
	fmt.Fprintln(out, "  The subscription has handled every transfer.")
	fmt.Fprintf(out, "  The slowest transfer took ~%s.\n", t.slowest.Round(time.Millisecond))

	cents, err := total(ctx, fresh)
	if err != nil {
		return err
	}
	if cents != accounts*opening {
		return fmt.Errorf("the accounts have %d cents, and began with %d", cents, accounts*opening)
	}
	fmt.Fprintf(out, "  The accounts have %d.%02d together, as at the beginning.\n", cents/100, cents%100)
	return nil
}

func eventsOf(ctx context.Context, ex evento.Executor) (events []evento.RawEvent, err error) {
	for e, err := range evento.Events(ctx, ex, evento.Query{}) {
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// checkTold returns an error unless the events are at positions 1, 2, 3, …, each once, and, but
// for those that opened the accounts, are those that were acknowledged.
func checkTold(events []evento.RawEvent, told map[uint64]evento.Receipt) error {
	ids := map[evento.ID]bool{}
	for i, e := range events {
		if e.Position != uint64(i+1) {
			return fmt.Errorf("event %d is at position %d", i+1, e.Position)
		}
		if ids[e.ID] {
			return fmt.Errorf("the event at position %d is there twice", e.Position)
		}
		ids[e.ID] = true
		r, ok := told[e.Position]
		if ok != (e.Position > accounts) || ok && (r.AggregateID != e.AggregateID || r.Version != e.Version) {
			return fmt.Errorf("at position %d is version %d of %s; a teller was told %+v", e.Position, e.Version, e.AggregateID, r)
		}
	}
	if len(events) != accounts+len(told) {
		return fmt.Errorf("there are %d events, and %d were acknowledged", len(events), accounts+len(told))
	}
	return nil
}
