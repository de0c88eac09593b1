// Looking at subscriptions: which there are, where they are, what is pending.

package evento

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Status is where a subscription is.
type Status struct {
	Key string
	// RoutingKey is "" for one without, or with All.
	RoutingKey string
	// Selection is which events it handles; its handlers are those of the worker
	// that last took a partition.
	Selection  Selection
	Partitions []PartitionStatus
	// Keeps are the names of the projections whose states it keeps, sorted; nil:
	// none. See [Projection.Keep].
	Keeps []string
	// Parked is how many events are parked.
	Parked int
	// Position is that of the last event before the first that is pending: up
	// to there everything is handled, parked, or not for the subscription. 0
	// where positions say nothing, as in executor/group.
	Position uint64
	// Head is the position of the store's last event.
	Head uint64
	// Behind is how many events are pending: those behind the place of the
	// partition whose they are that the subscription handles. They are counted
	// by reading them.
	Behind uint64
	// Lag is how long the first pending event has been waiting; 0 when there
	// is none.
	Lag time.Duration
	// Changed is what was last done with [Control]; the zero value: nothing.
	Changed ControlChange
	// Now is the time of the store's clock when the partitions were read, to
	// compare their ChangedAt with.
	Now time.Time
}

// PartitionStatus is where a partition is. A subscription without Partitions
// has one.
type PartitionStatus struct {
	// Owner is the worker that runs it, and Host where; "" when none does.
	Owner, Host string
	// Live reports whether the owner was heard of within its lease, by the
	// store's clock.
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
	// Error is why the last owner stopped, or why the present one tries again;
	// "" when nothing has failed. ErrorEvent is the event that it is about.
	Error      string
	ErrorEvent string
}

// Status returns where the subscription is. Its pending events are read, so it
// takes as long as there are many.
func (c *Control) Status(ctx context.Context) (*Status, error) {
	state, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	s := &Status{Key: c.name.key, RoutingKey: c.name.routingKey, Selection: state.shared.Selection, Keeps: state.keeps(), Now: state.now}
	for _, err := range c.name.parked(ctx, c.ex) {
		if err != nil {
			return nil, err
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
	return s, c.addPending(ctx, state, s)
}

// keeps are the projections whose states the partitions keep.
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
func (c *Control) addPending(ctx context.Context, state *subscriptionState, s *Status) error {
	s.Position = s.Head
	err := c.pending(ctx, state, func(e *RawEvent) bool {
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

// SubscriptionName tells a subscription from others.
type SubscriptionName struct {
	Key string
	// RoutingKey is "" for one without, or with All.
	RoutingKey string
}

// Subscriptions ranges over those that were ever started, in the order of their
// keys. Records that do not say whose they are do not end it: when all others were
// reached, one error is yielded that joins an [ErrDamaged] for each of them.
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

// nameIn is the name of the subscription of which a record is the shared one, and
// whether it is.
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
