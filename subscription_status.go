// The status of subscriptions: which exist, how far they are, and what is pending.

package evento

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Status describes how far a subscription is. In JSON, Lag is in nanoseconds, and Keeps,
// More, ParkedMore and Changed are left out when there are none.
type Status struct {
	Key string `json:"key"`
	// RoutingKey is "" if the subscription has none, or has All.
	RoutingKey string `json:"routingKey"`
	// Selection is which events it handles; the handlers are those of the worker
	// that took a partition last.
	Selection  Selection         `json:"selection"`
	Partitions []PartitionStatus `json:"partitions"`
	// Keeps are the names of the projections whose states it keeps, sorted; nil:
	// none. See [Projection.Keep].
	Keeps []string `json:"keeps,omitempty"`
	// Parked is how many events are parked.
	Parked int `json:"parked"`
	// ParkedMore says that more events are parked than Parked, which StatusWithin did not
	// count.
	ParkedMore bool `json:"parkedMore,omitempty"`
	// Position is that of the last event before the first pending one: up to there,
	// every event is handled, parked, or not selected. 0 where one position is not
	// a place, as in executor/group.
	Position uint64 `json:"position"`
	// Head is the position of the store's last event.
	Head uint64 `json:"head"`
	// Behind is how many selected events are pending, that is, after the cursor of
	// their partition. Status reads them to count them.
	Behind uint64 `json:"behind"`
	// More says that there are more pending events than Behind, which StatusWithin did
	// not count.
	More bool `json:"more,omitempty"`
	// Lag is how long the first pending event has been waiting; 0 if none is
	// pending.
	Lag time.Duration `json:"lagNanoseconds"`
	// Changed is the last change with [Control]; the zero value: none.
	Changed ControlChange `json:"changed,omitzero"`
	// Now is the time of the store's clock when the partitions were read, for
	// comparison with their ChangedAt.
	Now time.Time `json:"now"`
}

// PartitionStatus describes how far a partition is. A subscription without
// Partitions has one.
type PartitionStatus struct {
	// Owner is the worker that runs it, and Host where; "" if it has no owner.
	Owner string `json:"owner"`
	Host  string `json:"host"`
	// Live reports whether the owner has given a sign of life within its lease, by
	// the store's clock.
	Live bool `json:"live"`
	// Epoch rises with each owner.
	Epoch uint64 `json:"epoch"`
	// Cursor is the place up to which every event is handled.
	Cursor cursor.Value `json:"cursor"`
	// Position is that of the last event that was handled or parked.
	Position uint64 `json:"position"`
	// ChangedAt is when the partition's record was last changed.
	ChangedAt time.Time `json:"changedAt"`
	Paused    bool      `json:"paused"`
	// Error is why the last owner stopped, or why the present one tries again; ""
	// if nothing has failed. ErrorEvent is the event concerned.
	Error      string `json:"error"`
	ErrorEvent string `json:"errorEvent"`
}

// Status returns how far the subscription is. It reads all pending and all parked
// events, so many of them take long: see [Control.StatusWithin].
func (c *Control) Status(ctx context.Context) (*Status, error) {
	return c.StatusWithin(ctx, math.MaxInt)
}

// StatusWithin is Status, but counts this many pending events at most, and this many parked
// ones. With 1 it finds the first pending one, and so Position and Lag, at the price of one
// event.
func (c *Control) StatusWithin(ctx context.Context, most int) (*Status, error) {
	if most < 1 {
		return nil, fmt.Errorf("%w number of events to count: %d", ErrInvalid, most)
	}
	state, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	s := &Status{Key: c.name.key, RoutingKey: c.name.routingKey, Selection: state.shared.Selection, Keeps: state.keeps(), Now: state.now}
	for _, err := range c.name.parked(ctx, c.ex) {
		if err != nil {
			return nil, err
		}
		if s.ParkedMore = s.Parked == most; s.ParkedMore {
			break
		}
		s.Parked++
	}
	if _, s.Head, err = headOf(ctx, c.ex); err != nil {
		return nil, err
	}
	for i := range state.partitions {
		p := &state.partitions[i]
		s.Partitions = append(s.Partitions, PartitionStatus{
			Owner: p.Owner, Host: p.Host, Live: p.live(state.now), Epoch: p.Epoch, Cursor: p.Cursor, Position: p.Position,
			ChangedAt: p.changedAt, Paused: p.Paused, Error: p.Error, ErrorEvent: p.ErrorEvent,
		})
		if p.Changed.At.After(s.Changed.At) {
			s.Changed = p.Changed
		}
	}
	return s, c.addPending(ctx, state, s, uint64(most))
}

// keeps returns the projections whose states the partitions keep.
func (s *subscriptionState) keeps() (names []string) {
	for i := range s.partitions {
		if name := s.partitions[i].Kept.Projection; name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// addPending counts what is pending.
func (c *Control) addPending(ctx context.Context, state *subscriptionState, s *Status, most uint64) error {
	s.Position = s.Head
	err := c.pending(ctx, state, func(e *RawEvent) bool {
		if s.Behind == most {
			s.More = true
			return false
		}
		if s.Behind == 0 || e.Position <= s.Position {
			s.Position = min(s.Position, e.Position-1)
			s.Lag = max(s.Lag, state.now.Sub(e.Timestamp))
		}
		s.Behind++
		return true
	})
	if _, unsupported := c.ex.CursorAt(1); unsupported != nil {
		s.Position = 0
	}
	return err
}

// SubscriptionName identifies a subscription.
type SubscriptionName struct {
	Key string `json:"key"`
	// RoutingKey is "" if the subscription has none, or has All.
	RoutingKey string `json:"routingKey"`
}

// Subscriptions ranges over all subscriptions that were ever started, in the order
// of their keys. Records that cannot be read do not end the range: after all others
// it yields one error, which joins an [ErrDamaged] for each such record.
func Subscriptions(ctx context.Context, ex Executor) iter.Seq2[SubscriptionName, error] {
	return func(yield func(SubscriptionName, error) bool) {
		var failed []error
		for r, err := range records(ctx, ex, RecordQuery{Kind: subscriptionKind}) {
			if err != nil {
				failed = append(failed, err)
				break
			}
			name, ok, err := nameIn(r.Record)
			if err != nil {
				failed = append(failed, err)
			}
			if ok && !yield(name, nil) {
				return
			}
		}
		if len(failed) > 0 {
			yield(SubscriptionName{}, join(failed...))
		}
	}
}

// nameIn returns the name of the subscription whose shared record this is; ok is
// false for any other record.
func nameIn(r Record) (name SubscriptionName, ok bool, err error) {
	if r.Part == "" {
		if err := nameOf(r.Key, "").check(); err != nil {
			return name, false, damaged(r.RecordKey, bare(err))
		}
		return SubscriptionName{Key: r.Key}, true, nil
	}
	if !strings.HasPrefix(r.Part, routePrefix) || !strings.HasSuffix(r.Part, "-shared") {
		return name, false, nil
	}
	var shared sharedState
	if err := decodeState(r, &shared); err != nil {
		return name, false, err
	}
	n := nameOf(r.Key, shared.RoutingKey)
	if n.shared() != r.RecordKey {
		return name, false, damaged(r.RecordKey, "routing key "+shorten(shared.RoutingKey))
	}
	if err := n.check(); err != nil {
		return name, false, damaged(r.RecordKey, bare(err))
	}
	return SubscriptionName{Key: r.Key, RoutingKey: shared.RoutingKey}, true, nil
}

// Pending ranges over the pending events: those that the subscription selects, after the
// cursor of their partition. They are in order, but where one position is not a place, as
// in executor/group: then they are partition by partition. At most one error is yielded,
// and it is last.
func (c *Control) Pending(ctx context.Context) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		state, err := c.state(ctx)
		on := true
		if err == nil {
			err = c.pending(ctx, state, func(e *RawEvent) bool {
				on = on && yield(*e, nil)
				return on
			})
		}
		if err != nil && on {
			yield(RawEvent{}, err)
		}
	}
}

// pending calls fn, until it returns false, with the selected events after the
// cursor of their partition.
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

// pendingTogether is pending with one read for all partitions. Any two places must
// be comparable.
func (c *Control) pendingTogether(ctx context.Context, state *subscriptionState, fn func(*RawEvent) bool) error {
	low, err := c.lowest(state)
	if err != nil {
		return err
	}
	behind := make([]bool, len(state.partitions)) // an event after the partition's cursor was found
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

// from calls fn, until it returns false, with the selected events after a place and
// their partition.
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
