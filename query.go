package evento

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/evento-go/evento/cursor"
)

// Query says which events to read. The zero Query selects all of them.
type Query struct {
	// Filters select by aggregate and name: an event is read, once, when any of
	// them matches. None: every event.
	Filters []Filter
	// RoutingKey selects the events with this routing key. "": any or none.
	RoutingKey string
	// Unrouted selects the events without a routing key. It excludes RoutingKey.
	Unrouted bool
}

// Filter matches the events that agree with each field that is set. AggregateType must be
// set, unless Tags alone are.
type Filter struct {
	AggregateType AggregateType
	AggregateID   string
	Name          string
	// Tags are tags that the event has, all of them. At most [MaxTags].
	Tags []string

	mistake string // of one of the functions below; Check returns it
}

// ByType matches every event of a type of aggregate.
func ByType(t AggregateType) Filter { return Filter{AggregateType: t} }

// ByID matches every event of one aggregate.
func ByID(t AggregateType, id string) Filter {
	f := Filter{AggregateType: t, AggregateID: id}
	if id == "" {
		f.mistake = "aggregate id: empty"
	}
	return f
}

// ByEvent matches the events of the payload's kind; the payload's fields do not
// matter: ByEvent(AccountOpened{}). It matches the present name only; [EventsOf]
// also matches the former ones.
func ByEvent(p Payload) Filter {
	k, err := kindOf(p)
	if err != nil {
		return Filter{mistake: bare(err)}
	}
	return Filter{AggregateType: k.aggregateType, Name: k.name}
}

// ByIDAndEvent matches the events of the payload's kind of one aggregate.
func ByIDAndEvent(id string, p Payload) Filter {
	f := ByEvent(p)
	f.AggregateID = id
	if id == "" {
		f.mistake = "aggregate id: empty"
	}
	return f
}

// EventsOf returns filters for the events of the payload's kind under all its
// names, see [Renamed]: one filter for each name, the present one first. The
// payload's fields do not matter. For the events of one aggregate, set AggregateID
// in each filter.
//
// Why: docs/decisions.md, "Former names belong to the payload".
func EventsOf(p Payload) []Filter {
	kinds, err := kindsOf(p)
	if err != nil {
		return []Filter{{mistake: bare(err)}}
	}
	filters := make([]Filter, len(kinds))
	for i, k := range kinds {
		filters[i] = Filter{AggregateType: k.aggregateType, Name: k.name}
	}
	return filters
}

// MaxFilters is the most filters that a query may have.
const MaxFilters = 1000

// Check returns an error for a query with names that no store can hold, so that a
// mistake does not look like an empty store. Executors call it first.
func (q Query) Check() error {
	if len(q.Filters) > MaxFilters {
		return fmt.Errorf("%w query: %d filters, at most %d are allowed", ErrInvalid, len(q.Filters), MaxFilters)
	}
	for _, f := range q.Filters {
		if f.mistake != "" {
			return fmt.Errorf("%w filter: %s", ErrInvalid, f.mistake)
		}
		if err := checkTags(f.Tags); err != nil {
			return err
		}
		if f.AggregateType == "" && f.AggregateID == "" && f.Name == "" && len(f.Tags) > 0 {
			continue
		}
		if err := checkName("aggregate type", string(f.AggregateType)); err != nil {
			return err
		}
		if f.AggregateID != "" {
			if err := checkName("aggregate id", f.AggregateID); err != nil {
				return err
			}
		}
		if f.Name != "" {
			if err := checkName("event name", f.Name); err != nil {
				return err
			}
		}
	}
	if q.RoutingKey != "" {
		if q.Unrouted {
			return fmt.Errorf("%w query: both Unrouted and RoutingKey %s", ErrInvalid, shorten(q.RoutingKey))
		}
		return checkName("routing key", q.RoutingKey)
	}
	return nil
}

// clone returns a copy that shares no memory with what the caller may change.
func (q Query) clone() Query {
	q.Filters = slices.Clone(q.Filters)
	for i := range q.Filters {
		q.Filters[i].Tags = slices.Clone(q.Filters[i].Tags)
	}
	return q
}

// Matches reports whether the query reads e.
func (q Query) Matches(e RawEvent) bool {
	switch {
	case q.Unrouted && e.RoutingKey != "",
		q.RoutingKey != "" && e.RoutingKey != q.RoutingKey:
		return false
	}
	for _, f := range q.Filters {
		if f.Matches(e) {
			return true
		}
	}
	return len(q.Filters) == 0
}

// Matches reports whether e agrees with each field of f that is set.
func (f Filter) Matches(e RawEvent) bool {
	return (f.AggregateType == "" || f.AggregateType == e.AggregateType) &&
		(f.AggregateID == "" || f.AggregateID == e.AggregateID) &&
		(f.Name == "" || f.Name == e.Name) &&
		hasTags(e.Tags, f.Tags)
}

// streamPage is how many events the package's own loops read at a time: enough to
// make the cost of a read small, and little memory.
const streamPage = 1000

// Events ranges over every event of a query in order, page after page, in flat
// memory. It also yields events that are committed meanwhile, and ends when there
// are no more. At most one error is yielded, and it is last. Breaking off leaves
// nothing open; ranging again reads again.
func Events(ctx context.Context, ex Executor, q Query) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		at := cursor.Value("")
		pages := newReadAhead(ex, q)
		defer pages.stop()
		for {
			page, err := pages.get(ctx, at)
			if err != nil {
				yield(RawEvent{}, err)
				return
			}
			for i := range page.Edges {
				if !yield(page.Edges[i].Node, nil) {
					return
				}
			}
			if !page.PageInfo.HasNextPage {
				return
			}
			at = page.PageInfo.EndCursor
		}
	}
}

// HasEvent reports whether the aggregate with this id has an event of kind D,
// under its present name or a former one.
func HasEvent[D Payload](ctx context.Context, ex Executor, id string) (bool, error) {
	kinds, err := kindsFor[D]()
	if err != nil {
		return false, err
	}
	if err := checkName("aggregate id", id); err != nil {
		return false, err
	}
	var q Query
	for _, k := range kinds {
		q.Filters = append(q.Filters, Filter{AggregateType: k.aggregateType, AggregateID: id, Name: k.name})
	}
	page, err := ex.Read(ctx, q, cursor.Onward(1, ""))
	if err != nil {
		return false, err
	}
	return len(page.Edges) > 0, nil
}
