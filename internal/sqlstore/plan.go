// Queries in terms of the tables.

package sqlstore

import (
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// Plan is a query with its names looked up. K is what the tables know an
// aggregate by; its zero value is none.
type Plan[K comparable] struct {
	None       bool // nothing can match
	Everything bool // no filter
	Unrouted   bool
	Routing    int64 // 0: any
	// Kinds and Aggregates are what is asked for, each once, in the order of the
	// query.
	Kinds      []int64
	Aggregates []PlannedAggregate[K]
	Tagged     []TaggedFilter[K] // the filters with tags
	// WholeTypes are the types of which KnownPlan has all kinds that are known, and
	// WholeKinds is how many these are: there may be more in the store.
	WholeTypes []int64
	WholeKinds int
}

// PlannedAggregate is an aggregate whose events are asked for.
type PlannedAggregate[K comparable] struct {
	Key   K
	Kinds []int64 // nil: every kind
}

// TaggedFilter is a filter with tags.
type TaggedFilter[K comparable] struct {
	Tags    []string
	Numbers []int64 // theirs in the index, see [store.TagNumber]
	Key     K       // the zero key: of any aggregate
	Kinds   []int64 // nil: every kind
}

// Matches reports whether the filter matches an event.
func (f *TaggedFilter[K]) Matches(key K, kind int64, tags []string) bool {
	none := *new(K)
	return (f.Key == none || f.Key == key) && (f.Kinds == nil || slices.Contains(f.Kinds, kind)) &&
		evento.ByTags(f.Tags...).Matches(evento.RawEvent{Tags: tags})
}

// PlanNames look names up. Those that no event has are 0, none and the zero key.
type PlanNames[K comparable] struct {
	Routing   func(key string) (int64, error)
	Kinds     func(evento.Filter) ([]int64, error) // see [Dictionary.KindsFor]
	Aggregate func(evento.AggregateKey) (K, error)
}

// NewPlan looks up the names of a query; those that no event has match nothing.
func NewPlan[K comparable](q evento.Query, names PlanNames[K]) (Plan[K], error) {
	p := Plan[K]{Everything: len(q.Filters) == 0, Unrouted: q.Unrouted}
	if q.RoutingKey != "" {
		id, err := names.Routing(q.RoutingKey)
		if err != nil {
			return p, err
		}
		p.Routing, p.None = id, id == 0
	}
	for _, f := range q.Filters {
		if f.AggregateType == "" {
			p.addTagged(f.Tags, *new(K), nil)
			continue
		}
		kinds, err := names.Kinds(f)
		if err != nil {
			return p, err
		}
		if (f.Name != "" || f.AggregateID == "") && len(kinds) == 0 {
			continue
		}
		if f.AggregateID == "" {
			p.addKinds(f.Tags, kinds)
			continue
		}
		key, err := names.Aggregate(evento.AggregateKey{Type: f.AggregateType, ID: f.AggregateID})
		if err != nil {
			return p, err
		}
		if none := *new(K); key != none {
			p.addAggregate(f.Tags, key, kinds)
		}
	}
	p.None = p.None || !p.Everything && len(p.Kinds)+len(p.Aggregates)+len(p.Tagged) == 0
	return p, nil
}

// KnownPlan is NewPlan without asking the store, when all names are known; key is
// the zero key of an aggregate that is not. Kinds are never taken away, and made
// before their first event: the plan is right if the store has WholeKinds of
// WholeTypes after the events were read.
func KnownPlan[K comparable](d *Dictionary, q evento.Query, key func(Aggregate) K) (p Plan[K], known bool) {
	p = Plan[K]{Everything: len(q.Filters) == 0, Unrouted: q.Unrouted}
	if q.RoutingKey != "" {
		if p.Routing = d.Routings.ID(q.RoutingKey); p.Routing == 0 {
			return p, false
		}
	}
	for _, f := range q.Filters {
		if f.AggregateType == "" {
			p.addTagged(f.Tags, *new(K), nil)
			continue
		}
		typeID := d.Types.ID(f.AggregateType)
		var kinds []int64
		switch {
		case f.Name != "":
			id := d.Kinds.ID(Kind{typeID, f.Name})
			if id == 0 {
				return p, false
			}
			kinds = []int64{id}
		case f.AggregateID == "":
			if kinds = d.KindsOf(typeID); len(kinds) == 0 {
				return p, false
			}
			if !slices.Contains(p.WholeTypes, typeID) {
				p.WholeTypes = append(p.WholeTypes, typeID)
				p.WholeKinds += len(kinds)
			}
		}
		if f.AggregateID == "" {
			p.addKinds(f.Tags, kinds)
			continue
		}
		k := key(Aggregate{typeID, f.AggregateID})
		if none := *new(K); typeID == 0 || k == none {
			return p, false
		}
		p.addAggregate(f.Tags, k, kinds)
	}
	return p, true
}

func (p *Plan[K]) addTagged(tags []string, key K, kinds []int64) {
	p.Tagged = append(p.Tagged, TaggedFilter[K]{tags, store.TagNumbers(tags), key, kinds})
}

func (p *Plan[K]) addKinds(tags []string, kinds []int64) {
	if len(tags) > 0 {
		p.addTagged(tags, *new(K), kinds)
	} else {
		p.AddKinds(kinds)
	}
}

// AddKinds asks for kinds, of whatever aggregate.
func (p *Plan[K]) AddKinds(kinds []int64) {
	if p.Kinds == nil {
		p.Kinds = slices.Clone(kinds) // of one filter, each is in it once
		return
	}
	for _, id := range kinds {
		p.Kinds = appendNew(p.Kinds, id)
	}
}

func (p *Plan[K]) addAggregate(tags []string, key K, kinds []int64) {
	if len(tags) > 0 {
		p.addTagged(tags, key, kinds)
	} else {
		p.AddAggregate(key, kinds)
	}
}

// AddAggregate asks for an aggregate, with the one kind of a filter, or nil.
func (p *Plan[K]) AddAggregate(key K, kinds []int64) {
	i := slices.IndexFunc(p.Aggregates, func(a PlannedAggregate[K]) bool { return a.Key == key })
	if i < 0 {
		p.Aggregates = append(p.Aggregates, PlannedAggregate[K]{key, kinds})
		return
	}
	switch a := &p.Aggregates[i]; {
	case kinds == nil:
		a.Kinds = nil
	case a.Kinds != nil:
		a.Kinds = appendNew(a.Kinds, kinds[0])
	}
}

func appendNew(ids []int64, id int64) []int64 {
	if slices.Contains(ids, id) {
		return ids
	}
	return append(ids, id)
}

// VersionAt finds the last version of an aggregate at or below a position or,
// backward, the first at or above it, when no event of it is at the position itself.
// Last is its last version, and at returns the position of one. An index by aggregate
// has no positions to search in, but they rise with the versions.
func VersionAt(last, position int64, backward bool, at func(version int64) (int64, error)) (int64, error) {
	low, high := int64(0), last+1 // at(low) < position < at(high)
	for high-low > 1 {
		middle := low + (high-low)/2
		p, err := at(middle)
		if err != nil {
			return 0, err
		}
		if p < position {
			low = middle
		} else {
			high = middle
		}
	}
	if backward {
		return high, nil
	}
	return low, nil
}
