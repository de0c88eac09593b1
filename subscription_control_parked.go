// The parked events of a subscription, from outside.

package evento

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// ParkedFilter chooses parked events: [AllParked], [ParkedOf] or [ParkedEvent].
type ParkedFilter struct {
	aggregate AggregateKey
	id        ID
	one       bool
}

// AllParked chooses all.
func AllParked() ParkedFilter { return ParkedFilter{} }

// ParkedOf chooses those of an aggregate.
func ParkedOf(t AggregateType, id string) ParkedFilter {
	return ParkedFilter{aggregate: AggregateKey{t, id}}
}

// ParkedEvent chooses one event.
func ParkedEvent(id ID) ParkedFilter { return ParkedFilter{id: id, one: true} }

func (f ParkedFilter) matches(p *Parked) bool {
	switch {
	case f.one:
		return p.ID == f.id
	case f.aggregate != AggregateKey{}:
		return p.aggregate() == f.aggregate
	}
	return true
}

// Parked ranges over the parked events in order.
func (c *Control) Parked(ctx context.Context, f ParkedFilter) iter.Seq2[Parked, error] {
	return func(yield func(Parked, error) bool) {
		if _, err := c.state(ctx); err != nil {
			yield(Parked{}, err)
			return
		}
		stopped := false
		err := c.name.eachParked(ctx, c.ex, func(p Parked) error {
			if stopped = f.matches(&p) && !yield(p, nil); stopped {
				return errStopping
			}
			return nil
		})
		if err != nil && !stopped {
			yield(Parked{}, err)
		}
	}
}

// RetryParked asks the workers to handle parked events again, in order: of an
// aggregate until one fails, or of one event, which has to be the first of its
// aggregate. It returns when that was asked for, not when it was done.
//
// Errors: [ErrNotFound] when none is parked of the aggregate or event that is
// chosen; [ErrInvalid] for one event behind another.
func (c *Control) RetryParked(ctx context.Context, f ParkedFilter) error {
	seen := map[AggregateKey]*Parked{}
	return c.changeParked(ctx, "RetryParked", f, func(p *Parked) (Change, error) {
		first := seen[p.aggregate()]
		if first == nil {
			seen[p.aggregate()] = p
		}
		switch {
		case !f.matches(p):
			return Change{}, nil
		case !f.one && first != nil:
			return Change{}, nil // the first takes it along
		case first != nil:
			return Change{}, fmt.Errorf("%w event: %s waits behind %s of the same aggregate", ErrInvalid, p.ID, first.ID)
		}
		p.Retry = retryAll
		if f.one {
			p.Retry = retryOne
		}
		return p.change(c.name), nil
	})
}

// DropParked forgets parked events without handling them. [ErrNotFound] when none
// is parked of the aggregate or event that is chosen.
func (c *Control) DropParked(ctx context.Context, f ParkedFilter) error {
	return c.changeParked(ctx, "DropParked", f, func(p *Parked) (Change, error) {
		if !f.matches(p) {
			return Change{}, nil
		}
		ch := p.change(c.name)
		ch.Value, ch.Remove = nil, true
		return ch, nil
	})
}

// changeParked changes parked events, and then tells the workers.
func (c *Control) changeParked(ctx context.Context, what string, f ParkedFilter, change func(*Parked) (Change, error)) error {
	if _, err := c.state(ctx); err != nil {
		return err
	}
	var changes []Change
	err := c.name.eachParked(ctx, c.ex, func(p Parked) error {
		ch, err := change(&p)
		if err == nil && ch.Kind != "" {
			changes = append(changes, ch)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		if f == AllParked() {
			return nil
		}
		return fmt.Errorf("%w: parked event of subscription %s", ErrNotFound, c.name)
	}
	for len(changes) > 0 {
		n := min(len(changes), MaxSwap)
		// One that a worker has changed meanwhile is as it wants it.
		if err := c.ex.Swap(ctx, Swap{Changes: changes[:n]}); errors.Is(err, ErrSwapped) {
			for i := range changes[:n] {
				if err := c.ex.Swap(ctx, Swap{Changes: changes[i : i+1]}); err != nil && !errors.Is(err, ErrSwapped) {
					return err
				}
			}
		} else if err != nil {
			return err
		}
		changes = changes[n:]
	}
	return c.request(ctx, what)
}

// request tells the workers that parked events were changed.
func (c *Control) request(ctx context.Context, what string) error {
	return c.change(ctx, what, func(s *partitionState) error { s.Retry++; return nil })
}
