// Subscriptions of a store that was given a new identity, or has lost its last events.

package evento

import (
	"context"
	"errors"

	"github.com/evento-go/evento/cursor"
)

// ResetToStored makes each partition continue at the position that it has stored, in a store
// that refuses its cursors: one that was given a new identity when it was restored, or that
// has lost its last events. A place beyond the end becomes the end. Nothing is handled again
// but what was not stored, and parked events can be retried. Cursors of this store that it
// has reached stay, so calling it again changes nothing.
//
// Errors: [cursor.ErrMalformed] for a cursor that was never one of a store; where one
// position is not a place, as in executor/group, one that matches [errors.ErrUnsupported].
//
// Why: docs/decisions.md, "A restored store has a new identity".
func (c *Control) ResetToStored(ctx context.Context) error {
	if _, err := c.ex.CursorAt(1); err != nil {
		return wrap(err, "resetting subscription %s to its stored positions, see ResetToCursor", c.name)
	}
	err := c.change(ctx, "ResetToStored", func(s *partitionState) (err error) {
		var position uint64
		before := *s
		if s.Cursor, position, err = c.readdress(ctx, s.Cursor); err != nil {
			return err
		}
		if s.Furthest, _, err = c.readdress(ctx, s.Furthest); err != nil {
			return err
		}
		if s.Kept.Complete, _, err = c.readdress(ctx, s.Kept.Complete); err != nil || *s == before {
			return err
		}
		s.Position = min(s.Position, position)
		s.Epoch++
		s.Resets++
		return nil
	})
	if err != nil {
		return err
	}
	return c.changeParked(ctx, "ResetToStored", AllParked(), func(p *Parked) (Change, error) {
		after, _, err := c.readdress(ctx, p.After)
		if err != nil || p.After == after {
			return Change{}, err
		}
		p.After = after
		return p.change(c.name), nil
	})
}

// readdress returns the cursor of the same position in this store, or of the end, and the
// position.
func (c *Control) readdress(ctx context.Context, v cursor.Value) (cursor.Value, uint64, error) {
	if v == "" {
		return "", 0, nil
	}
	of, err := cursor.PositionsOf(v)
	if err != nil {
		return "", 0, wrap(err, "resetting subscription %s to its stored positions", c.name)
	}
	position, err := of.Position(v)
	if err != nil {
		return "", 0, err
	}
	here, err := c.ex.CursorAt(position)
	if err != nil {
		return "", 0, err
	}
	at, err := reached(ctx, c.ex, here)
	if err != nil || at == here {
		return at, position, err
	}
	return headOf(ctx, c.ex)
}

// repair prepares a partition for a reset: the places that stay are in this store. Events up
// to Furthest are replays, so it must not be beyond the end, where other events will be.
func (c *Control) repair(ctx context.Context, s *partitionState) (err error) {
	if s.Furthest, err = laterOf(c.ex, s.Furthest, s.Cursor); err == nil {
		s.Furthest, err = reached(ctx, c.ex, s.Furthest)
	}
	if errors.Is(err, cursor.ErrInvalid) {
		s.Furthest, err = "", nil // of another store; a reset repairs that
	}
	if err != nil {
		return err
	}
	if s.Kept.Complete, err = reached(ctx, c.ex, s.Kept.Complete); errors.Is(err, cursor.ErrInvalid) {
		s.Kept.Complete, _, err = headOf(ctx, c.ex)
	}
	return err
}
