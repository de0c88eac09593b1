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

func (q *Query) routing() routing {
	return routing{exact: q.Unrouted || q.RoutingKey != "", key: q.RoutingKey}
}

// interestKey is a filter with the routing of its query. Fields that are not set
// match anything; a query without filters has the key with none set.
type interestKey struct {
	filter  Filter
	routing routing
}

// interestKeys are those of a query, each once.
func interestKeys(q Query) []interestKey {
	r := q.routing()
	if len(q.Filters) == 0 {
		return []interestKey{{routing: r}}
	}
	filters := slices.Clone(q.Filters)
	slices.SortFunc(filters, compareFilters)
	filters = slices.Compact(filters)
	keys := make([]interestKey, len(filters))
	for i, f := range filters {
		keys[i] = interestKey{f, r}
	}
	return keys
}

func compareFilters(a, b Filter) int {
	return cmp.Or(cmp.Compare(a.AggregateType, b.AggregateType), cmp.Compare(a.AggregateID, b.AggregateID), cmp.Compare(a.Name, b.Name))
}

// index finds followers by what an event has: a look-up for each form of key,
// however many followers there are.
type index struct {
	byKey map[interestKey][]*follower
	forms [forms][2]int // how many keys of a form there are, without and with a routing
	found []*follower   // by the last find
}

// The forms of filters.
const (
	anyEvent = iota
	typeOnly
	typeAndName
	typeAndID
	typeIDAndName
	forms
)

func formOf(f *Filter) int {
	switch {
	case f.AggregateType == "":
		return anyEvent
	case f.AggregateID == "" && f.Name == "":
		return typeOnly
	case f.AggregateID == "":
		return typeAndName
	case f.Name == "":
		return typeAndID
	default:
		return typeIDAndName
	}
}

// count counts a key.
func (x *index) count(k *interestKey, n int) {
	exact := 0
	if k.routing.exact {
		exact = 1
	}
	x.forms[formOf(&k.filter)][exact] += n
}

func (x *index) add(w *follower) {
	if x.byKey == nil {
		x.byKey = map[interestKey][]*follower{}
	}
	for i, k := range w.keys {
		x.byKey[k] = append(x.byKey[k], w)
		x.count(&w.keys[i], 1)
	}
}

func (x *index) remove(w *follower) {
	for i, k := range w.keys {
		if rest := without(x.byKey[k], w); len(rest) > 0 {
			x.byKey[k] = rest
		} else {
			delete(x.byKey, k)
		}
		x.count(&w.keys[i], -1)
	}
}

// find returns the followers of an event, each once: stamp is another one with
// each call. What it returns is good until the next call.
func (x *index) find(e *RawEvent, stamp uint64) []*follower {
	clear(x.found)
	x.found = x.found[:0]
	for form := range forms {
		if x.forms[form] == [2]int{} {
			continue
		}
		var f Filter
		if form != anyEvent {
			f.AggregateType = e.AggregateType
		}
		if form == typeAndID || form == typeIDAndName {
			f.AggregateID = e.AggregateID
		}
		if form == typeAndName || form == typeIDAndName {
			f.Name = e.Name
		}
		if x.forms[form][0] > 0 {
			x.collect(interestKey{filter: f}, stamp)
		}
		if x.forms[form][1] > 0 {
			x.collect(interestKey{f, routing{exact: true, key: e.RoutingKey}}, stamp)
		}
	}
	return x.found
}

func (x *index) collect(k interestKey, stamp uint64) {
	for _, w := range x.byKey[k] {
		if w.stamp != stamp {
			w.stamp = stamp
			x.found = append(x.found, w)
		}
	}
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

// interests are what all followers together want to be read.
type interests struct {
	followers map[*follower]struct{}
	// How often they name each kind of event, by filters without an id, each type,
	// and each routing.
	kinds    map[Filter]int
	types    map[AggregateType]int
	routings map[routing]int

	query Query
	known bool // query is up to date
}

func (s *interests) add(w *follower) {
	if s.followers == nil {
		*s = interests{
			followers: map[*follower]struct{}{},
			kinds:     map[Filter]int{}, types: map[AggregateType]int{}, routings: map[routing]int{},
		}
	}
	s.followers[w] = struct{}{}
	s.count(w, 1)
}

func (s *interests) remove(w *follower) {
	delete(s.followers, w)
	s.count(w, -1)
}

func (s *interests) count(w *follower, n int) {
	s.known = false
	for _, k := range w.keys {
		k.filter.AggregateID = ""
		add(s.kinds, k.filter, n)
		add(s.types, k.filter.AggregateType, n)
	}
	add(s.routings, w.keys[0].routing, n)
}

// add counts, and forgets what there is none of.
func add[K comparable](counts map[K]int, k K, n int) {
	if counts[k] += n; counts[k] == 0 {
		delete(counts, k)
	}
}

// mostKinds is how many kinds of events are asked of the store together. Of more,
// everything of their types is read, and of more types everything.
const mostKinds = 16

// narrow is a query that reads what the followers want, and more, but not all. It
// does not ask for aggregates: finding what is new of one takes a store longer
// than reading what is new of a thousand.
func (s *interests) narrow() Query {
	if s.known {
		return s.query
	}
	var q Query
	switch _, everything := s.kinds[Filter{}]; {
	case everything:
	case len(s.kinds) <= mostKinds:
		for _, k := range slices.SortedFunc(maps.Keys(s.kinds), compareFilters) {
			if k.Name == "" || s.kinds[ByType(k.AggregateType)] == 0 {
				q.Filters = append(q.Filters, k)
			}
		}
	case len(s.types) <= mostKinds:
		for _, t := range slices.Sorted(maps.Keys(s.types)) {
			q.Filters = append(q.Filters, ByType(t))
		}
	}
	if len(s.routings) == 1 {
		for r := range s.routings {
			q.RoutingKey, q.Unrouted = r.key, r.exact && r.key == ""
		}
	}
	s.query, s.known = q, true
	return q
}
