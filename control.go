// Looking at subscriptions, and changing them from outside.

package evento

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Control looks at the subscription of a key and changes it, whoever runs it
// and whether it runs. Its methods are safe for concurrent use; those that
// change something are seen by the workers within a second, and fence off what
// they were about to store.
type Control struct {
	ex  Executor
	key string
}

// ControlOf returns the control of the subscription with a key. Its methods
// return [ErrNotFound] when it was never started.
func ControlOf(ex Executor, key string) *Control { return &Control{ex: ex, key: key} }

// Status is where a subscription is.
type Status struct {
	Key        string
	Partitions []PartitionStatus
	// Parked is how many events are parked.
	Parked int
	// Position is that of the last event that every partition has handled or
	// passed over.
	Position uint64
	// Head is the position of the store's last event. What is between is not
	// yet looked at, and may have nothing for the subscription.
	Head uint64
	// Lag is how long the first event behind Position has been waiting; 0 when
	// there is none.
	Lag time.Duration
}

// PartitionStatus is where a partition is. A subscription without Partitions
// has one.
type PartitionStatus struct {
	// Owner is the worker that runs it, and Host where; "" when none does.
	Owner, Host string
	// Live reports whether the owner's lease runs.
	Live bool
	// Epoch rises with each owner.
	Epoch uint64
	// Cursor is the place up to which everything is handled.
	Cursor cursor.Value
	// Position is that of the last event that was handled or parked.
	Position uint64
	// ChangedAt is when the store last heard of it.
	ChangedAt time.Time
	Paused    bool
	// Error is why the last owner stopped; "" when it did not fail.
	Error string
}

// Status returns where the subscription is.
func (c *Control) Status(ctx context.Context) (*Status, error) {
	state, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	return c.status(ctx, state)
}

// Subscriptions ranges over the keys that were ever started, in their order.
func Subscriptions(ctx context.Context, ex Executor) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for q := (RecordQuery{Kind: subscriptionKind}); ; {
			page, err := ex.Records(ctx, q)
			if err != nil {
				yield("", err)
				return
			}
			for _, r := range page.Records {
				q.After = r.RecordKey
				if r.Part == "" && !yield(r.Key, nil) {
					return
				}
			}
			if !page.More {
				return
			}
		}
	}
}

func (c *Control) state(ctx context.Context) (*subscriptionState, error) {
	state, err := readSubscription(ctx, c.ex, c.key)
	if err != nil {
		return nil, err
	}
	if state.revision == 0 {
		return nil, fmt.Errorf("%w: subscription %q", ErrNotFound, c.key)
	}
	return state, nil
}

func (c *Control) status(ctx context.Context, state *subscriptionState) (*Status, error) {
	s := &Status{Key: c.key}
	if err := listParked(ctx, c.ex, c.key, func(Parked) error { s.Parked++; return nil }); err != nil {
		return nil, err
	}
	head, err := c.ex.Read(ctx, Query{}, cursor.Backward(1, ""))
	if err != nil {
		return nil, err
	}
	if len(head.Edges) > 0 {
		s.Head = head.Edges[0].Node.Position
	}
	s.Position = s.Head
	for i := range state.partitions {
		p := &state.partitions[i]
		s.Partitions = append(s.Partitions, PartitionStatus{
			Owner: p.Owner, Host: p.Host, Live: !p.lapsed(state.now), Epoch: p.Epoch, Cursor: p.Cursor, Position: p.Position,
			ChangedAt: p.changedAt, Paused: p.Paused, Error: p.Error,
		})
		next, err := c.ex.Read(ctx, Query{}, cursor.Onward(1, p.Cursor))
		if err != nil {
			return nil, err
		}
		if len(next.Edges) > 0 {
			e := next.Edges[0].Node
			s.Position = min(s.Position, e.Position-1)
			s.Lag = max(s.Lag, state.now.Sub(e.Timestamp))
		}
	}
	return s, nil
}

// change changes every partition. Each by itself: all together may never be as
// they were read, while their workers store cursors.
func (c *Control) change(ctx context.Context, change func(*claimState)) error {
	state, err := c.state(ctx)
	if err != nil {
		return err
	}
	for i := 0; i < len(state.partitions); {
		p := &state.partitions[i]
		before := p.claimState
		if change(&p.claimState); p.claimState == before {
			i++
			continue
		}
		switch err := c.ex.Swap(ctx, Swap{Wake: true, Changes: []Change{p.change(c.key, i)}}); {
		case err == nil:
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

// Pause makes the workers finish the event in hand and handle no more, until
// Resume. They keep the key.
func (c *Control) Pause(ctx context.Context) error {
	return c.change(ctx, func(s *claimState) { s.pause(true) })
}

// Resume ends a Pause.
func (c *Control) Resume(ctx context.Context) error {
	return c.change(ctx, func(s *claimState) { s.pause(false) })
}

func (s *claimState) pause(paused bool) {
	if s.Paused != paused {
		s.Paused = paused
		s.Epoch++
	}
}

// ResetToStart makes the subscription handle everything again. Parked events
// stay parked.
func (c *Control) ResetToStart(ctx context.Context) error { return c.resetTo(ctx, "", 0) }

// ResetToPosition makes the subscription go on behind a position: with the
// first event that has a higher one.
func (c *Control) ResetToPosition(ctx context.Context, position uint64) error {
	if position == 0 {
		return c.ResetToStart(ctx)
	}
	return c.resetBefore(ctx, func(e *RawEvent) bool { return e.Position > position })
}

// ResetToTime makes the subscription go on with the first event of that time or
// later.
func (c *Control) ResetToTime(ctx context.Context, t time.Time) error {
	return c.resetBefore(ctx, func(e *RawEvent) bool { return !e.Timestamp.Before(t) })
}

// resetBefore resets to the place before the first event for which behind holds.
// Positions and timestamps rise along the order, but of a cursor only the store
// knows the place; so it reads along.
func (c *Control) resetBefore(ctx context.Context, behind func(*RawEvent) bool) error {
	var at cursor.Value
	var position uint64
	for {
		page, err := c.ex.Read(ctx, Query{}, cursor.Onward(cursor.MaxPage, at))
		if err != nil {
			return err
		}
		for i := range page.Edges {
			if behind(&page.Edges[i].Node) {
				return c.resetTo(ctx, at, position)
			}
			at, position = page.Edges[i].Cursor, page.Edges[i].Node.Position
		}
		if !page.PageInfo.HasNextPage {
			return c.resetTo(ctx, at, position)
		}
	}
}

func (c *Control) resetTo(ctx context.Context, at cursor.Value, position uint64) error {
	return c.change(ctx, func(s *claimState) {
		s.Cursor, s.Position = at, position
		s.Epoch++
		s.Resets++
	})
}

// Repartition splits the subscription into n partitions. None of its workers may
// run. They all go on from the place that every old partition has reached: some
// events are handled again.
func (c *Control) Repartition(ctx context.Context, n int) error {
	if n < 1 || n > maxPartitions {
		return fmt.Errorf("%w partitions: %d is not 1 to %d", ErrInvalid, n, maxPartitions)
	}
	return c.rebuild(ctx, func(state *subscriptionState) (Swap, error) {
		low, err := c.lowest(ctx, state)
		if err != nil {
			return Swap{}, err
		}
		swap := Swap{Wake: true, Changes: []Change{{RecordKey: RecordKey{Kind: subscriptionKind, Key: c.key}, Revision: state.revision, Value: encodeState(sharedState{Partitions: n})}}}
		for i := range max(n, len(state.partitions)) {
			p := claimed{}
			if i < len(state.partitions) {
				p = state.partitions[i]
			}
			if i >= n {
				if p.revision > 0 {
					swap.Changes = append(swap.Changes, Change{RecordKey: p.change(c.key, i).RecordKey, Revision: p.revision, Remove: true})
				}
				continue
			}
			p.claimState = claimState{Epoch: p.Epoch + 1, Cursor: low.Cursor, Position: low.Position, Paused: low.Paused, Resets: p.Resets + 1, Retry: p.Retry}
			swap.Changes = append(swap.Changes, p.change(c.key, i))
		}
		return swap, nil
	})
}

// lowest is the state of the partition that is least far.
func (c *Control) lowest(ctx context.Context, state *subscriptionState) (low claimState, err error) {
	first := uint64(0)
	for i := range state.partitions {
		p := &state.partitions[i]
		if p.Cursor == "" {
			return p.claimState, nil
		}
		page, err := c.ex.Read(ctx, Query{}, cursor.Onward(1, p.Cursor))
		if err != nil {
			return low, err
		}
		next := ^uint64(0) // at the head
		if len(page.Edges) > 0 {
			next = page.Edges[0].Node.Position
		}
		if i == 0 || next < first {
			first, low = next, p.claimState
		}
	}
	return low, nil
}

// Remove forgets the subscription, with its parked events. None of its workers
// may run. One that is started later begins at the first event.
func (c *Control) Remove(ctx context.Context) error {
	remove := func(state *subscriptionState) (Swap, error) {
		swap := Swap{Wake: true}
		add := func(part string, revision uint64) {
			if revision > 0 && len(swap.Changes) < MaxSwap {
				swap.Changes = append(swap.Changes, Change{RecordKey: RecordKey{subscriptionKind, c.key, part}, Revision: revision, Remove: true})
			}
		}
		add("", state.revision)
		for i := range state.partitions {
			add(partName(i), state.partitions[i].revision)
		}
		for i := range state.instances {
			add(state.instances[i].part, state.instances[i].revision)
		}
		return swap, nil
	}
	if state, err := c.state(ctx); err != nil {
		return err
	} else if err := c.idle(state); err != nil {
		return err
	}
	if err := c.DropParked(ctx, AllParked()); err != nil {
		return err
	}
	return c.rebuild(ctx, remove)
}

// idle returns [ErrRunning] for a subscription that has workers.
func (c *Control) idle(state *subscriptionState) error {
	for i := range state.partitions {
		if p := &state.partitions[i]; !p.lapsed(state.now) {
			return fmt.Errorf("%w: %q, partition %d by %s on %s", ErrRunning, c.key, i, p.Owner, p.Host)
		}
	}
	for i := range state.instances {
		if r := &state.instances[i]; !r.lapsed(state.now) {
			return fmt.Errorf("%w: %q on %s", ErrRunning, c.key, r.Host)
		}
	}
	return nil
}

// rebuild changes a subscription that does not run.
func (c *Control) rebuild(ctx context.Context, change func(*subscriptionState) (Swap, error)) error {
	for {
		state, err := c.state(ctx)
		if err != nil {
			return err
		}
		if err := c.idle(state); err != nil {
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
