// The selection of a subscription, stored with its cursor.

package evento

import (
	"fmt"
	"maps"
	"slices"
)

// Selection is which events a subscription handles. The routing key and the
// aggregates are its scope, which is fixed; its handlers may change.
type Selection struct {
	// RoutingKey selects the events with this key; "" selects those without one.
	RoutingKey string `json:"routingKey"`
	// All selects the events with any routing key or none.
	All bool `json:"all"`
	// Aggregates are the ids that it is restricted to, by type; nil: no
	// restriction.
	Aggregates map[AggregateType][]string `json:"aggregates"`
	// Events are the names that it has handlers for, by type; a type without names:
	// all of its events. nil: every event.
	Events map[AggregateType][]string `json:"events"`
}

// selection returns the builder's selection.
func (b *SubscriptionBuilder) selection() (Selection, error) {
	s := Selection{RoutingKey: b.routingKey, All: b.all, Aggregates: map[AggregateType][]string{}}
	for _, f := range b.aggregates {
		s.Aggregates[f.AggregateType] = append(s.Aggregates[f.AggregateType], f.AggregateID)
	}
	if b.handlers[eventKind{}] == nil {
		s.Events = map[AggregateType][]string{}
		for k := range b.handlers {
			if len(b.aggregates) > 0 && s.Aggregates[k.aggregateType] == nil {
				return s, fmt.Errorf("%w handler: %s is of none of its aggregates", ErrInvalid, k)
			}
			if _, ok := s.Events[k.aggregateType]; !ok {
				s.Events[k.aggregateType] = nil
			}
			s.Events[k.aggregateType] = append(s.Events[k.aggregateType], k.name)
		}
	}
	for t, names := range s.Events {
		if slices.Sort(names); b.safetyCheck || names[0] == "" {
			s.Events[t] = nil
		}
	}
	for t, ids := range s.Aggregates {
		slices.Sort(ids)
		s.Aggregates[t] = slices.Compact(ids)
	}
	return s, s.query().Check()
}

// query returns the query for the selected events.
func (s *Selection) query() Query {
	q := Query{RoutingKey: s.RoutingKey, Unrouted: s.RoutingKey == "" && !s.All}
	add := func(t AggregateType, ids, names []string) {
		for _, id := range ids {
			for _, name := range names {
				q.Filters = append(q.Filters, Filter{AggregateType: t, AggregateID: id, Name: name})
			}
		}
	}
	whatever := []string{""}
	if s.Events == nil {
		for _, t := range slices.Sorted(maps.Keys(s.Aggregates)) {
			add(t, s.Aggregates[t], whatever)
		}
		return q
	}
	for _, t := range slices.Sorted(maps.Keys(s.Events)) {
		ids, names := s.Aggregates[t], s.Events[t]
		if len(s.Aggregates) == 0 {
			ids = whatever
		}
		if len(names) == 0 {
			names = whatever
		}
		add(t, ids, names)
	}
	return q
}

// sameScope reports whether another selection has the same routing key and
// aggregates.
func (s *Selection) sameScope(other *Selection) bool {
	return s.RoutingKey == other.RoutingKey && s.All == other.All && maps.EqualFunc(s.Aggregates, other.Aggregates, slices.Equal)
}

// sameEvents reports whether another selection has handlers for the same events.
func (s *Selection) sameEvents(other *Selection) bool {
	return (s.Events == nil) == (other.Events == nil) && maps.EqualFunc(s.Events, other.Events, slices.Equal)
}

// scope returns a description for errors.
func (s *Selection) scope() string {
	text := "events without a routing key"
	switch {
	case s.All:
		text = "events of all routing keys"
	case s.RoutingKey != "":
		text = "events of routing key " + shorten(s.RoutingKey)
	}
	if n := len(s.Aggregates); n > 0 {
		count := 0
		for _, ids := range s.Aggregates {
			count += len(ids)
		}
		text += fmt.Sprintf(" of %d aggregates", count)
	}
	return text
}

// check refuses a subscription that differs from the one stored under the key.
func (s *subscriptionState) check(want *sharedState) error {
	if n := s.shared.Partitions; n != want.Partitions {
		return wrap(fmt.Errorf("%w partitions: it has %d, not %d; see Control.Repartition", ErrInvalid, n, want.Partitions), "subscription %s", s.name)
	}
	if !s.shared.sameScope(&want.Selection) {
		return wrap(fmt.Errorf("%w selection: it has handled %s, and now is to handle %s: events would be passed over; take a new key, or see Control.Reselect",
			ErrInvalid, s.shared.scope(), want.scope()), "subscription %s", s.name)
	}
	return nil
}
