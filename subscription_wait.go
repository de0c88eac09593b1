// Waiting until nothing is pending.

package evento

import (
	"context"
	"errors"
	"time"

	"github.com/evento-go/evento/cursor"
)

const (
	firstWait = time.Millisecond
	mostWait  = 50 * time.Millisecond
)

// WaitFor returns as soon as nothing is pending up to a position, such as that of a
// [Receipt]: every event up to there that the subscription selects was handled or
// parked. Use it to read your own writes from a read model of the subscription. It
// also waits for a subscription that was not started yet, and for an executor that
// does not show the position yet. It waits for the subscription without a routing
// key; see [Control.WaitFor] for others.
//
// Errors: the context's; [errors.ErrUnsupported] where one position is not a place,
// as in executor/group, see [Control.WaitForCursor]; [ErrDamaged]; those of
// [Executor].
func WaitFor(ctx context.Context, ex Executor, key string, position uint64) error {
	return ControlOf(ex, key).WaitFor(ctx, position)
}

// WaitFor is [WaitFor] for this subscription.
func (c *Control) WaitFor(ctx context.Context, position uint64) error {
	at, err := c.ex.CursorAt(position)
	if err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			err = wrap(err, "waiting for a position of subscription %s, see Control.WaitForCursor", c.name)
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
		if err == nil && !done {
			err = pause(ctx, wait, nil, nil)
		}
		switch {
		case err != nil:
			return wrap(err, "subscription %s has not reached %s", c.name, shorten(string(at)))
		case done:
			return nil
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

// reachedIn is reached for one partition. The executor may lag behind the store, so
// it must show a later event, or an end that is not before the place.
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
