// Controlling subscriptions from outside: pausing, resetting, repartitioning,
// removing.

package evento

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Control shows and changes a subscription, whether it runs or not and in whichever
// process. Its methods are safe for concurrent use. Workers notice a change within
// a second, and cannot store anything that is based on the state before it. A
// handler may use Control on its own subscription, with its own context.
type Control struct {
	ex   Executor
	name subscriptionName
}

// ControlOf returns the control of the subscription with this key that has no
// routing key, or has All. Its methods return [ErrNotFound] if it was never
// started, and [ErrDamaged] if its records cannot be read.
func ControlOf(ex Executor, key string) *Control { return &Control{ex: ex, name: nameOf(key, "")} }

// RoutingKey returns the control of the subscription with the same key and this
// routing key.
func (c *Control) RoutingKey(key string) *Control {
	return &Control{ex: c.ex, name: nameOf(c.name.key, key)}
}

func (c *Control) state(ctx context.Context) (*subscriptionState, error) {
	if err := c.name.check(); err != nil {
		return nil, err
	}
	state, err := c.name.read(ctx, c.ex)
	if err != nil {
		return nil, err
	}
	if state.revision == 0 {
		return nil, fmt.Errorf("%w: subscription %s", ErrNotFound, c.name)
	}
	return state, nil
}

// change changes every partition, and notes who did it. It changes them one by one:
// while their workers store cursors, all records together might never be at the
// revisions that were read.
func (c *Control) change(ctx context.Context, what string, change func(*partitionState) error) error {
	state, err := c.state(ctx)
	if err != nil {
		return err
	}
	var own *lease // of the worker whose handler calls it
	if h := handling(ctx); h != nil && h.worker.name == c.name {
		own = &h.worker.lease
		defer own.suspect()
	}
	note := ControlChange{What: what, By: hostName(), At: time.Now().UTC().Truncate(time.Millisecond)}
	for i := 0; i < len(state.partitions); {
		p := &state.partitions[i]
		before := p.partitionState
		if err := change(&p.partitionState); err != nil {
			return err
		}
		if p.partitionState == before {
			i++
			continue
		}
		p.Changed = note
		switch err := c.ex.Swap(ctx, Swap{Wake: true, Changes: []Change{p.change(c.name, i)}}); {
		case err == nil:
			if own != nil && own.partition == i && p.Resets != before.Resets {
				own.resets.Add(1)
			}
			i++
		case !errors.Is(err, ErrSwapped):
			return err
		default:
			if state, err = c.state(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Pause makes the workers finish their current event and handle no more until
// Resume. They keep the key.
func (c *Control) Pause(ctx context.Context) error {
	return c.change(ctx, "Pause", func(s *partitionState) error { return s.pause(true) })
}

// Resume ends a Pause.
func (c *Control) Resume(ctx context.Context) error {
	return c.change(ctx, "Resume", func(s *partitionState) error { return s.pause(false) })
}

func (s *partitionState) pause(paused bool) error {
	if s.Paused != paused {
		s.Paused = paused
		s.Epoch++
	}
	return nil
}

// ResetToStart makes the subscription handle all events again. Parked events stay
// parked.
func (c *Control) ResetToStart(ctx context.Context) error {
	return c.resetTo(ctx, "ResetToStart", "", 0)
}

// ResetToPosition makes the subscription continue after a position; beyond the last
// event, at the end. Where one position is not a place, as in executor/group, the error
// matches [errors.ErrUnsupported]; see ResetToCursor.
func (c *Control) ResetToPosition(ctx context.Context, position uint64) error {
	at, position, err := placeAfter(ctx, c.ex, position)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return wrap(err, "resetting subscription %s to a position, see ResetToCursor", c.name)
	case err != nil:
		return err
	}
	return c.resetTo(ctx, "ResetToPosition", at, position)
}

// ResetToCursor makes the subscription continue after a cursor, such as that of an
// edge of a page.
func (c *Control) ResetToCursor(ctx context.Context, at cursor.Value) error {
	var position uint64
	if at != "" {
		// This also checks that the cursor is one of this store.
		page, err := c.ex.Read(ctx, Query{}, cursor.Onward(1, at))
		switch {
		case errors.Is(err, cursor.ErrInvalid):
			return wrap(err, "resetting subscription %s to %s", c.name, shorten(string(at)))
		case err != nil:
			return err
		case len(page.Edges) > 0:
			position = page.Edges[0].Node.Position - 1
		default:
			if _, position, err = headOf(ctx, c.ex); err != nil {
				return err
			}
		}
	}
	return c.resetTo(ctx, "ResetToCursor", at, position)
}

// ResetToTime makes the subscription continue with the first event with this
// timestamp or a later one.
func (c *Control) ResetToTime(ctx context.Context, t time.Time) error {
	at, position, err := placeBefore(ctx, c.ex, t)
	if err != nil {
		return err
	}
	return c.resetTo(ctx, "ResetToTime", at, position)
}

func (c *Control) resetTo(ctx context.Context, what string, at cursor.Value, position uint64) error {
	return c.change(ctx, what, func(s *partitionState) error {
		if err := c.repair(ctx, s); err != nil {
			return err
		}
		s.Cursor, s.Position = at, position
		s.Epoch++
		s.Resets++
		return nil
	})
}

// Reselect gives the subscription the selection of a builder with the same key:
// other aggregates, or All instead of the events without a routing key, or the
// reverse. None of its workers may run. It continues at its cursor: it does not
// handle earlier events that only the new selection has, unless it is reset. passed
// is the number of such events.
func (c *Control) Reselect(ctx context.Context, b *SubscriptionBuilder) (passed uint64, err error) {
	s, err := b.subscriber(ctx, c.ex)
	if err != nil {
		return 0, err
	}
	if s.name != c.name {
		return 0, fmt.Errorf("%w selection: the builder is of subscription %s, not %s", ErrInvalid, s.name, c.name)
	}
	err = c.rebuild(ctx, func(state *subscriptionState) (Swap, error) {
		if passed, err = c.passedOver(ctx, state, &s.shared.Selection); err != nil {
			return Swap{}, err
		}
		next := sharedState{Partitions: state.shared.Partitions, Selection: s.shared.Selection}
		return Swap{Wake: true, Changes: []Change{{RecordKey: c.name.shared(), Revision: state.revision, Value: encodeState(next)}}}, nil
	})
	return passed, err
}

// passedOver counts the events before the partitions' cursors that only the next
// selection has.
func (c *Control) passedOver(ctx context.Context, state *subscriptionState, next *Selection) (n uint64, err error) {
	before := state.shared.query()
	after, at := next.query(), cursor.Value("")
	for {
		page, err := c.ex.Read(ctx, after, cursor.Onward(streamPage, at))
		if err != nil {
			return 0, err
		}
		reached := false
		for i := range page.Edges {
			e := &page.Edges[i]
			p := &state.partitions[partitionOf(e.Node.AggregateType, e.Node.AggregateID, len(state.partitions))]
			first, err := c.ex.Earlier(e.Cursor, p.Cursor)
			if err != nil {
				return 0, err
			}
			if first == e.Cursor {
				reached = true
				if !before.Matches(e.Node) {
					n++
				}
			}
		}
		if !page.PageInfo.HasNextPage || !reached {
			return n, nil
		}
		at = page.PageInfo.EndCursor
	}
}

// Repartition splits the subscription into n partitions. None of its workers may
// run. All partitions continue at the lowest cursor of the old ones, so some events
// are handled again.
func (c *Control) Repartition(ctx context.Context, n int) error {
	if n < 1 || n > maxPartitions {
		return fmt.Errorf("%w partitions: %d is not 1 to %d", ErrInvalid, n, maxPartitions)
	}
	return c.rebuild(ctx, func(state *subscriptionState) (Swap, error) {
		low, err := c.lowest(state)
		if err != nil {
			return Swap{}, err
		}
		next := sharedState{Partitions: n, Selection: state.shared.Selection}
		swap := Swap{Wake: true, Changes: []Change{{RecordKey: c.name.shared(), Revision: state.revision, Value: encodeState(next)}}}
		for i := range max(n, len(state.partitions)) {
			p := partitionRecord{}
			if i < len(state.partitions) {
				p = state.partitions[i]
			}
			if i >= n {
				swap.Changes = append(swap.Changes, Change{RecordKey: c.name.partition(i), Revision: p.revision, Remove: true})
				continue
			}
			p.partitionState = partitionState{
				Epoch: p.Epoch + 1, Cursor: low.Cursor, Position: low.Position, Furthest: low.Furthest,
				Paused: low.Paused, Resets: p.Resets + 1, Retry: p.Retry, Kept: low.Kept,
			}
			swap.Changes = append(swap.Changes, p.change(c.name, i))
		}
		return swap, nil
	})
}

// lowest returns a state with the lowest cursor, and the lowest furthest place, of
// all partitions.
func (c *Control) lowest(state *subscriptionState) (low partitionState, err error) {
	for i := range state.partitions {
		p := state.partitions[i].partitionState
		if p.Furthest, err = laterOf(c.ex, p.Furthest, p.Cursor); err != nil {
			return low, err
		}
		if i == 0 {
			low = p
			continue
		}
		first, err := c.ex.Earlier(low.Cursor, p.Cursor)
		if err != nil {
			return low, err
		}
		if first != low.Cursor {
			low.Cursor, low.Position = first, min(low.Position, p.Position)
		}
		if low.Furthest, err = c.ex.Earlier(low.Furthest, p.Furthest); err != nil {
			return low, err
		}
		if low.Kept, err = low.Kept.together(c.ex, p.Kept); err != nil {
			return low, err
		}
	}
	if low.Cursor == "" {
		low.Position = 0
	}
	return low, nil
}

// Remove deletes the subscription and its parked events. None of its workers may
// run. If it is started later, it begins at the first event.
func (c *Control) Remove(ctx context.Context) error {
	remove := func(state *subscriptionState) (Swap, error) {
		swap := Swap{Wake: true}
		add := func(key RecordKey, revision uint64) {
			if revision > 0 && len(swap.Changes) < MaxSwap {
				swap.Changes = append(swap.Changes, Change{RecordKey: key, Revision: revision, Remove: true})
			}
		}
		add(c.name.shared(), state.revision)
		for i := range state.partitions {
			add(c.name.partition(i), state.partitions[i].revision)
		}
		for i := range state.instances {
			add(c.name.instance(state.instances[i].part), state.instances[i].revision)
		}
		return swap, nil
	}
	if state, err := c.state(ctx); err != nil {
		return err
	} else if err := c.unused(ctx, state); err != nil {
		return err
	}
	if err := c.DropParked(ctx, AllParked()); err != nil {
		return err
	}
	return c.rebuild(ctx, remove)
}

// clockStep is the time between two checks of a subscription that may run.
const clockStep = 50 * time.Millisecond

// unused returns [ErrRunning] for a subscription that has live workers: by the
// store's clock, they gave a sign of life within their lease. If that clock does
// not run or was set back, unused waits to see whether a worker gives a sign of
// life within its lease.
func (c *Control) unused(ctx context.Context, first *subscriptionState) error {
	began, seen := time.Now(), map[string]uint64{}
	for state := first; ; {
		mayRun := false
		runs := state.now.Sub(first.now) >= time.Since(began)/2
		for _, r := range state.residents() {
			before, known := seen[r.part]
			since := state.now.Sub(r.changedAt)
			switch {
			case since > r.lease:
				continue
			case known && (before != r.revision || runs && since >= 0):
				return fmt.Errorf("%w: %s, %s", ErrRunning, c.name, r.who)
			case known && time.Since(began) > r.lease:
				continue
			}
			seen[r.part], mayRun = r.revision, true
		}
		if !mayRun {
			return nil
		}
		if err := pause(ctx, clockStep, nil, nil); err != nil {
			return err
		}
		var err error
		if state, err = c.state(ctx); err != nil {
			return err
		}
	}
}

// resident is an owner of a partition, or an instance.
type resident struct {
	part, who string
	revision  uint64
	changedAt time.Time
	lease     time.Duration
}

func (s *subscriptionState) residents() (all []resident) {
	for i := range s.partitions {
		if p := &s.partitions[i]; p.Owner != "" {
			all = append(all, resident{s.name.partition(i).Part, fmt.Sprintf("partition %d by %s on %s", i, p.Owner, p.Host), p.revision, p.changedAt, p.lease()})
		}
	}
	for i := range s.instances {
		r := &s.instances[i]
		all = append(all, resident{r.part, "on " + r.Host, r.revision, r.changedAt, r.lease()})
	}
	return all
}

// rebuild changes a subscription that is not running.
func (c *Control) rebuild(ctx context.Context, change func(*subscriptionState) (Swap, error)) error {
	for {
		state, err := c.state(ctx)
		if err != nil {
			return err
		}
		if err := c.unused(ctx, state); err != nil {
			return err
		}
		swap, err := change(state)
		if err != nil {
			return err
		}
		if err := c.ex.Swap(ctx, swap); !errors.Is(err, ErrSwapped) {
			return err
		}
	}
}
