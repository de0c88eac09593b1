// Headers: what conditions look at of events.

package store

import (
	"slices"

	"github.com/evento-go/evento"
)

// Header is an event without its payload.
type Header struct {
	evento.RawEvent
	sketch sketch
}

// UnknownRouting stands for the routing key of an event whose committer does not know it.
const UnknownRouting = "\x00"

// Headers are those of an append, whose last event is at a position.
func Headers(a *evento.Append, last uint64, routingKey string) []Header {
	headers := make([]Header, len(a.Events))
	for j := range headers {
		e := &a.Events[j]
		headers[j] = headerOf(&evento.RawEvent{
			ID: e.ID, Position: last - uint64(len(headers)-1-j),
			AggregateType: a.AggregateType, AggregateID: a.AggregateID, Name: e.Name, RoutingKey: routingKey,
			Tags: slices.Clone(e.Tags), // they are the caller's
		})
	}
	return headers
}

func headerOf(e *evento.RawEvent) Header {
	return Header{
		RawEvent: evento.RawEvent{
			ID: e.ID, Position: e.Position,
			AggregateType: e.AggregateType, AggregateID: e.AggregateID, Name: e.Name, RoutingKey: e.RoutingKey, Tags: e.Tags,
		},
		sketch: sketchOf(string(e.AggregateType), e.AggregateID, e.Name, e.Tags),
	}
}

// A sketch has a bit for each text that filters look at. An event whose sketch lacks a bit
// of a filter's does not match it: nearly all are told apart so, without a look at texts.
type sketch uint64

func sketchOf(aggregateType, aggregateID, name string, tags []string) sketch {
	s := bitOf(aggregateType) | bitOf(aggregateID) | bitOf(name)
	for _, tag := range tags {
		s |= bitOf(tag)
	}
	return s
}

// bitOf is the bit of a text; none for "".
func bitOf(text string) sketch {
	if text == "" {
		return 0
	}
	return 1 << (uint64(TagNumber(text)) >> 58)
}

// condition is one of [evento.Write.Unless], ready to be judged.
type condition struct {
	routing  evento.Query // the query without its filters
	filters  []evento.Filter
	sketches []sketch // by filter
	after    uint64   // its place, or one behind it up to which it excludes nothing
}

func conditionOf(q evento.Query, after uint64) condition {
	c := condition{filters: q.Filters, sketches: make([]sketch, len(q.Filters)), after: after}
	q.Filters = nil
	c.routing = q
	for i, f := range c.filters {
		c.sketches[i] = sketchOf(string(f.AggregateType), f.AggregateID, f.Name, f.Tags)
	}
	return c
}

// matches reports whether the query reads an event. ErrBehind: that depends on a routing
// key that is not known.
func (c *condition) matches(h *Header) (bool, error) {
	if !c.concerns(h) {
		return false, nil
	}
	if h.RoutingKey == UnknownRouting && (c.routing.RoutingKey != "" || c.routing.Unrouted) {
		return false, ErrBehind
	}
	return c.routing.Matches(h.RawEvent), nil
}

// concerns is matches whatever the event's routing key is.
func (c *condition) concerns(h *Header) bool {
	for i, s := range c.sketches {
		if h.sketch&s == s && c.filters[i].Matches(h.RawEvent) {
			return true
		}
	}
	return len(c.sketches) == 0
}
