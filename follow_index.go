// Which followers an event concerns, and what has to be read for all of them.

package evento

import (
	"cmp"
	"maps"
	"slices"
)

// routing is what a query says of routing keys: nothing, or exactly this key,
// where "" is none.
type routing struct {
	exact bool
	key   string
}

// kindFilter is a filter without its tags. Fields that are not set match anything.
type kindFilter struct {
	aggregateType     AggregateType
	aggregateID, name string
}

// interestKey is a filter with the routing of its query. A query without filters has the
// key with none set.
type interestKey struct {
	filter  kindFilter
	routing routing
}

// interestKeys returns those of a query, each once.
func interestKeys(q Query) []interestKey {
	r := routing{exact: q.Unrouted || q.RoutingKey != "", key: q.RoutingKey}
	if len(q.Filters) == 0 {
		return []interestKey{{routing: r}}
	}
	filters := make([]kindFilter, len(q.Filters))
	for i, f := range q.Filters {
		filters[i] = kindFilter{f.AggregateType, f.AggregateID, f.Name}
	}
	slices.SortFunc(filters, compareFilters)
	var keys []interestKey
	for _, f := range slices.Compact(filters) {
		keys = append(keys, interestKey{f, r})
	}
	return keys
}

func compareFilters(a, b kindFilter) int {
	return cmp.Or(cmp.Compare(a.aggregateType, b.aggregateType), cmp.Compare(a.aggregateID, b.aggregateID), cmp.Compare(a.name, b.name))
}

// asksForTags reports whether the keys of a query do not say everything.
func asksForTags(q Query) bool {
	return slices.ContainsFunc(q.Filters, func(f Filter) bool { return len(f.Tags) > 0 })
}

// index finds the followers of an event: by one look-up for each form of key that
// there is, however many followers there are.
type index struct {
	byKey map[interestKey][]*follower
	forms map[keyForm]int // how many keys have each
	calls uint64          // of find
	found []*follower     // by the last of them
}

// keyForm says which fields of a key are set.
type keyForm struct{ ofType, ofID, ofName, routed bool }

func formOf(k interestKey) keyForm {
	return keyForm{k.filter.aggregateType != "", k.filter.aggregateID != "", k.filter.name != "", k.routing.exact}
}

func (x *index) add(w *follower) {
	if x.byKey == nil {
		x.byKey, x.forms = map[interestKey][]*follower{}, map[keyForm]int{}
	}
	for _, k := range w.keys {
		x.byKey[k] = append(x.byKey[k], w)
		count(x.forms, formOf(k), 1)
	}
}

func (x *index) remove(w *follower) {
	for _, k := range w.keys {
		if rest := without(x.byKey[k], w); len(rest) > 0 {
			x.byKey[k] = rest
		} else {
			delete(x.byKey, k)
		}
		count(x.forms, formOf(k), -1)
	}
}

// find returns the followers of an event, each once. The slice is good until the
// next call.
func (x *index) find(e *RawEvent) []*follower {
	clear(x.found)
	x.found = x.found[:0]
	x.calls++
	for form := range x.forms {
		var k interestKey
		if form.ofType {
			k.filter.aggregateType = e.AggregateType
		}
		if form.ofID {
			k.filter.aggregateID = e.AggregateID
		}
		if form.ofName {
			k.filter.name = e.Name
		}
		if form.routed {
			k.routing = routing{exact: true, key: e.RoutingKey}
		}
		for _, w := range x.byKey[k] {
			if w.stamp != x.calls {
				w.stamp = x.calls
				if w.tagged != nil && !w.tagged.Matches(*e) {
					continue
				}
				x.found = append(x.found, w)
			}
		}
	}
	return x.found
}

// without removes w from ws, whose order may change.
func without(ws []*follower, w *follower) []*follower {
	i := slices.Index(ws, w)
	if i < 0 {
		return ws
	}
	last := len(ws) - 1
	ws[i], ws[last] = ws[last], nil
	return ws[:last]
}

// count adds n to the count of k, and removes a count of 0.
func count[K comparable](counts map[K]int, k K, n int) {
	if counts[k] += n; counts[k] == 0 {
		delete(counts, k)
	}
}

// interests are what all followers together want to be read.
type interests struct {
	followers map[*follower]struct{}
	kinds     map[kindFilter]int // how many keys ask for each kind: a filter without an id
	routings  map[routing]int    // how many followers have each
	query     *Query             // what narrow returned; nil: there were changes since
}

func (s *interests) add(w *follower) {
	if s.followers == nil {
		s.followers, s.kinds, s.routings = map[*follower]struct{}{}, map[kindFilter]int{}, map[routing]int{}
	}
	s.followers[w] = struct{}{}
	s.count(w, 1)
}

func (s *interests) remove(w *follower) {
	delete(s.followers, w)
	s.count(w, -1)
}

func (s *interests) count(w *follower, n int) {
	s.query = nil
	for _, k := range w.keys {
		k.filter.aggregateID = ""
		count(s.kinds, k.filter, n)
	}
	count(s.routings, w.keys[0].routing, n)
}

// mostKinds is how many kinds of events are asked of the store at a time. If there
// are more, all events of their types are read, and if there are more types than
// that, all events.
const mostKinds = 16

// narrow returns a query for all that the followers want. It may read more, but
// mostly not everything. It does not ask for aggregates: finding what is new of one
// takes a store longer than reading what is new of a thousand.
func (s *interests) narrow() Query {
	if s.query != nil {
		return *s.query
	}
	var q Query
	if s.kinds[kindFilter{}] == 0 { // else somebody wants everything
		q.Filters = s.narrowFilters()
	}
	if len(s.routings) == 1 {
		for r := range s.routings {
			q.RoutingKey, q.Unrouted = r.key, r.exact && r.key == ""
		}
	}
	s.query = &q
	return q
}

// narrowFilters returns the kinds, with a type in place of its kinds where all of it
// is wanted, or where there are too many kinds. It returns nil for too many types.
func (s *interests) narrowFilters() []Filter {
	kinds := map[kindFilter]struct{}{}
	for k := range s.kinds {
		if t := (kindFilter{aggregateType: k.aggregateType}); len(s.kinds) > mostKinds || s.kinds[t] > 0 {
			k = t
		}
		kinds[k] = struct{}{}
	}
	if len(kinds) > mostKinds {
		return nil
	}
	filters := make([]Filter, 0, len(kinds))
	for _, k := range slices.SortedFunc(maps.Keys(kinds), compareFilters) {
		filters = append(filters, Filter{AggregateType: k.aggregateType, Name: k.name})
	}
	return filters
}
