// What is pending, and waiting until nothing is.

package evento

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evento-go/evento/cursor"
)

const (
	firstWait = time.Millisecond
	mostWait  = 50 * time.Millisecond
)

// WaitFor returns as soon as nothing is pending up to a position, such as that of
// a [Receipt]: every event up to there that the subscription selects was handled
// or parked. So one reads what one has written from what the subscription makes
// of it. It waits for a subscription that was not started yet, and for an
// executor that does not show the position yet. The subscription is the one that
// has no routing key; see [Control.WaitFor] for others.
//
// Errors: the context's; [errors.ErrUnsupported] where positions say nothing, as in
// executor/group, see [Control.WaitForCursor]; [ErrDamaged]; those of [Executor].
func WaitFor(ctx context.Context, ex Executor, key string, position uint64) error {
	return ControlOf(ex, key).WaitFor(ctx, position)
}

// WaitFor is the function [WaitFor] for this subscription.
func (c *Control) WaitFor(ctx context.Context, position uint64) error {
	at, err := c.ex.CursorAt(position)
	if err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			err = fmt.Errorf("evento: waiting for a position of subscription %s, see Control.WaitForCursor: %w", c.name, err)
		}
		return err
	}
	return c.WaitForCursor(ctx, at)
}

// WaitForCursor is WaitFor for a place, such as the EndCursor of a page.
func (c *Control) WaitForCursor(ctx context.Context, at cursor.Value) error {
	if err := c.name.check(); err != nil {
		return err
	}
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		done, err := c.reached(ctx, at)
		if err != nil || done {
			return err
		}
		if err := pause(ctx, wait, nil, nil); err != nil {
			return fmt.Errorf("evento: subscription %s has not reached %q: %w", c.name, at, err)
		}
	}
}

// reached reports whether nothing is pending up to a place.
func (c *Control) reached(ctx context.Context, at cursor.Value) (bool, error) {
	state, err := c.name.read(ctx, c.ex)
	if err != nil || state.revision == 0 {
		return false, err
	}
	for i := range state.partitions {
		if done, err := c.reachedIn(ctx, state, i, at); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// reachedIn is reached for a partition. An executor may show less than there is,
// so it has to show an event behind the place, or an end that is.
func (c *Control) reachedIn(ctx context.Context, state *subscriptionState, partition int, at cursor.Value) (bool, error) {
	from := state.partitions[partition].Cursor
	if done, err := notAfter(c.ex, at, from); err != nil || done {
		return done, err
	}
	for n := len(state.partitions); ; n = 4 * len(state.partitions) {
		page, err := c.ex.Read(ctx, state.shared.query(), cursor.Onward(n, from))
		if err != nil {
			return false, err
		}
		from = page.PageInfo.EndCursor
		if len(page.Edges) == 0 {
			return notAfter(c.ex, at, from)
		}
		for i := range page.Edges {
			e := &page.Edges[i]
			if partitionOf(e.Node.AggregateType, e.Node.AggregateID, len(state.partitions)) != partition {
				continue
			}
			pending, err := notAfter(c.ex, e.Cursor, at)
			if err != nil || pending {
				return false, err
			}
			return notAfter(c.ex, at, e.Cursor)
		}
	}
}

// notAfter reports whether a place is at or before another.
func notAfter(ex Executor, a, b cursor.Value) (bool, error) {
	first, err := ex.Earlier(a, b)
	return err == nil && first == a, err
}

// pending calls fn with the events that the subscription selects and that are
// behind the place of the partition whose they are, until it returns false.
func (c *Control) pending(ctx context.Context, state *subscriptionState, fn func(*RawEvent) bool) error {
	if _, err := c.ex.CursorAt(1); err == nil {
		return c.pendingTogether(ctx, state, fn)
	}
	for i := range state.partitions {
		err := c.from(ctx, state, state.partitions[i].Cursor, func(e *cursor.Edge[RawEvent], partition int) (bool, error) {
			return partition != i || fn(&e.Node), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pendingTogether is pending for all partitions in one go, where any two places
// can be compared.
func (c *Control) pendingTogether(ctx context.Context, state *subscriptionState, fn func(*RawEvent) bool) error {
	low, err := c.lowest(state)
	if err != nil {
		return err
	}
	behind := make([]bool, len(state.partitions)) // an event behind its place was met
	return c.from(ctx, state, low.Cursor, func(e *cursor.Edge[RawEvent], partition int) (bool, error) {
		if !behind[partition] {
			done, err := notAfter(c.ex, e.Cursor, state.partitions[partition].Cursor)
			if err != nil || done {
				return true, err
			}
			behind[partition] = true
		}
		return fn(&e.Node), nil
	})
}

// from calls fn with the events that the subscription selects behind a place, and
// their partition, until it returns false.
func (c *Control) from(ctx context.Context, state *subscriptionState, at cursor.Value, fn func(*cursor.Edge[RawEvent], int) (bool, error)) error {
	for q, n := state.shared.query(), 2; ; n = streamPage {
		page, err := c.ex.Read(ctx, q, cursor.Onward(n, at))
		if err != nil {
			return err
		}
		for i := range page.Edges {
			e := &page.Edges[i]
			on, err := fn(e, partitionOf(e.Node.AggregateType, e.Node.AggregateID, len(state.partitions)))
			if err != nil || !on {
				return err
			}
		}
		if !page.PageInfo.HasNextPage {
			return nil
		}
		at = page.PageInfo.EndCursor
	}
}
