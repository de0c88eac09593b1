// How subscriptions are.

package console

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/partition"
)

// States of a subscription whose status cannot be read, beside those of the library.
const (
	stateDamaged    evento.SubscriptionState = "damaged"    // a record is not what the library has written
	stateUnreadable evento.SubscriptionState = "unreadable" // a cursor is of another store, or beyond its end
)

// status is a subscription as pages show it.
type status struct {
	evento.Status
	State evento.SubscriptionState
	Error string // of the partition that stopped, or of reading the status
	Event string // at which it stopped
}

func (s *status) name() evento.SubscriptionName {
	return evento.SubscriptionName{Key: s.Key, RoutingKey: s.RoutingKey}
}

// known reports whether the status could be read.
func (s *status) known() bool { return s.State != stateDamaged && s.State != stateUnreadable }

// urgency orders subscriptions: those that need attention come first.
func (s *status) urgency() int {
	switch {
	case s.State == evento.SubscriptionFailed, !s.known():
		return 0
	case s.Parked > 0:
		return 1
	case s.State == evento.SubscriptionDead:
		return 2
	case s.State == evento.SubscriptionRetrying:
		return 3
	case s.lags():
		return 4
	case s.State == evento.SubscriptionPaused:
		return 5
	}
	return 6
}

// lagging is the lag of which the overview tells.
const lagging = time.Minute

func (s *status) lags() bool { return s.Lag >= lagging && s.State != evento.SubscriptionPaused }

func (s *status) needsAttention() bool { return s.urgency() < 5 }

// ParkedEvents is how many events are parked.
func (s *status) ParkedEvents() amount { return amount{s.Parked, s.ParkedMore} }

// mostCounted is how many pending and how many parked events are counted.
const mostCounted = 100

// mostStatuses is how many subscriptions a page looks at, of which each takes several reads.
const mostStatuses = 500

// statusesOf returns the subscriptions of a key, or all of them for "", the most urgent first, and
// whether there are more than are looked at. One that is damaged hides no other: its status says
// so. Records of which nobody can tell the subscription are together in a status without a key.
func statusesOf(ctx context.Context, ex evento.Executor, key string) (all []status, more bool, err error) {
	for name, err := range evento.Subscriptions(ctx, ex) {
		if err == nil && key != "" && name.Key != key {
			continue
		}
		if more = len(all) == mostStatuses; more {
			break
		}
		if errors.Is(err, evento.ErrDamaged) {
			if key == "" {
				all = append(all, status{State: stateDamaged, Error: err.Error()})
			}
			break // it comes last
		}
		if err != nil {
			return nil, false, err
		}
		s, err := statusOf(ctx, ex, name)
		switch {
		case errors.Is(err, evento.ErrNotFound):
			continue // it was removed meanwhile
		case err != nil:
			return nil, false, err
		}
		all = append(all, *s)
	}
	slices.SortStableFunc(all, func(a, b status) int { return a.urgency() - b.urgency() })
	return all, more, nil
}

// statusOf returns one subscription.
func statusOf(ctx context.Context, ex evento.Executor, name evento.SubscriptionName) (*status, error) {
	st, err := evento.ControlOf(ex, name.Key).RoutingKey(name.RoutingKey).StatusWithin(ctx, mostCounted)
	broken := status{Status: evento.Status{Key: name.Key, RoutingKey: name.RoutingKey}}
	switch {
	case errors.Is(err, evento.ErrDamaged):
		broken.State, broken.Error = stateDamaged, err.Error()
		return &broken, nil
	case errors.Is(err, cursor.ErrInvalid):
		broken.State, broken.Error = stateUnreadable, err.Error()
		return &broken, nil
	case err != nil:
		return nil, err
	}
	s := &status{Status: *st, State: st.State()}
	for i := range st.Partitions {
		if p := &st.Partitions[i]; p.Error != "" {
			s.Error, s.Event = p.Error, p.ErrorEvent
		}
	}
	return s, nil
}

// hasSubscription reports whether there is a subscription of this key.
func (c *console) hasSubscription(ctx context.Context, key string) (bool, error) {
	for name, err := range evento.Subscriptions(ctx, c.ex) {
		if err != nil || name.Key == key {
			return err == nil, err
		}
	}
	return false, nil
}

// handledBy returns what each subscription has made of an event that it selects.
func (c *console) handledBy(ctx context.Context, e *evento.RawEvent) (all []handled, more bool, err error) {
	statuses, more, err := statusesOf(ctx, c.ex, "")
	if err != nil {
		return nil, false, err
	}
	looked := 0
	for i := range statuses {
		s := &statuses[i]
		if !s.known() || !selects(&s.Selection, e) {
			continue
		}
		at := s.placeFor(e)
		h := handled{Status: *s, Done: e.Position <= at, Behind: e.Position - min(e.Position, at)}
		if !hasPositions(c.ex) {
			h.Unknown = "its place is one in several stores: how many events it has not reached yet is on its own page"
		}
		if s.Parked > 0 {
			parked, unknown, err := c.parkedIn(ctx, s, e, &looked)
			if err != nil {
				return nil, false, err
			}
			h.Parked, h.Unknown = parked, cmp.Or(unknown, h.Unknown)
		}
		all = append(all, h)
	}
	return all, more, nil
}

// placeFor is the position up to which events like one are handled or passed over: that of the
// partition in which its aggregate is, which may be ahead of the others.
func (s *status) placeFor(e *evento.RawEvent) uint64 {
	if len(s.Partitions) < 2 {
		return s.Position
	}
	own := partition.Of(string(e.AggregateType), e.AggregateID, len(s.Partitions))
	return max(s.Position, s.Partitions[own].Position)
}

// parkedIn finds an event among those that a subscription has parked; nil: it is not there, or, for
// the reason in unknown, it cannot be said. looked is how many were looked at for the page.
func (c *console) parkedIn(ctx context.Context, s *status, e *evento.RawEvent, looked *int) (found *evento.Parked, unknown string, err error) {
	// One that is chosen by its id would be looked for among all of them.
	for p, err := range c.control(s.name()).Parked(ctx, evento.AllParked()) {
		if errors.Is(err, evento.ErrDamaged) {
			return nil, "it is not known whether it is parked: a record cannot be read", nil
		}
		if err != nil {
			return nil, "", err
		}
		*looked++
		switch {
		case p.ID == e.ID:
			return &p, "", nil
		case hasPositions(c.ex) && p.Position > e.Position: // they are in order
			return nil, "", nil
		case *looked > mostParked:
			return nil, "it is not known whether it is parked: there are too many", nil
		}
	}
	return nil, "", nil
}

// selects reports whether a subscription handles an event.
func selects(s *evento.Selection, e *evento.RawEvent) bool {
	if !s.All && s.RoutingKey != e.RoutingKey {
		return false
	}
	if ids := s.Aggregates[e.AggregateType]; len(ids) > 0 && !slices.Contains(ids, e.AggregateID) {
		return false
	}
	if s.Events == nil {
		return true
	}
	names, ok := s.Events[e.AggregateType]
	return ok && (len(names) == 0 || slices.Contains(names, e.Name))
}

// ErrorAt is the error of the partition that stands at an event; "": none does.
func (s status) ErrorAt(event string) string {
	for i := range s.Partitions {
		if p := &s.Partitions[i]; p.ErrorEvent == event {
			return p.Error
		}
	}
	return ""
}

// Urgency is for templates.
func (s status) Urgency() int { return s.urgency() }

// Sentence says of a subscription what needs attention, after its name.
func (s status) Sentence() string {
	switch {
	case s.Key == "":
		return "may hide a subscription"
	case s.State == stateDamaged:
		return "has damaged records"
	case s.State == stateUnreadable:
		return "has a place that is not one of this store"
	case s.State == evento.SubscriptionFailed:
		return "has stopped behind position " + number(s.Position)
	case s.Parked > 0:
		return "has parked " + s.ParkedEvents().Of("event")
	case s.State == evento.SubscriptionDead:
		return "has a worker that gives no sign of life"
	case s.State == evento.SubscriptionRetrying:
		return "tries an event again"
	case s.lags():
		return "is " + ago(s.Lag) + " behind"
	case s.State == evento.SubscriptionPaused:
		return "is paused"
	}
	return "is " + string(s.State)
}
