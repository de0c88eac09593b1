// Queries in terms of the tables.

package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/evento-go/evento"
)

// filter is a query with its names looked up.
type filter struct {
	none       bool // nothing can match
	everything bool // no filter
	kinds      []int32
	aggregates []aggregateFilter
	routing    int32 // 0: any
	unrouted   bool
}

type aggregateFilter struct {
	typeID int32
	id     string
	kinds  []int32 // nil: every kind
}

// cachedFilter serves the queries whose names are all known, and cannot become
// more. It reports whether it could.
func (ex *Executor) cachedFilter(q evento.Query, f *filter) bool {
	*f = filter{everything: len(q.Filters) == 0, unrouted: q.Unrouted}
	d := ex.names
	d.mu.RLock()
	defer d.mu.RUnlock()
	if q.RoutingKey != "" {
		if f.routing = d.routingIDs[q.RoutingKey]; f.routing == 0 {
			return false
		}
	}
	for _, by := range q.Filters {
		typeID := d.typeIDs[by.AggregateType]
		if typeID == 0 || by.AggregateID == "" && by.Name == "" {
			return false
		}
		var kinds []int32
		if by.Name != "" {
			id := d.kindIDs[kind{typeID, by.Name}]
			if id == 0 {
				return false
			}
			kinds = []int32{id}
		}
		f.add(by, typeID, kinds)
	}
	return true
}

// lookUpFilter asks the store for the names.
func (ex *Executor) lookUpFilter(ctx context.Context, q evento.Query) (filter, error) {
	f := filter{everything: len(q.Filters) == 0, unrouted: q.Unrouted}
	var err error
	if q.RoutingKey != "" {
		if f.routing, err = ex.routingID(ctx, q.RoutingKey, false); err != nil {
			return f, err
		}
		f.none = f.routing == 0
	}
	for _, by := range q.Filters {
		typeID, err := ex.typeID(ctx, by.AggregateType, false)
		if err != nil {
			return f, err
		}
		if typeID == 0 {
			continue
		}
		var kinds []int32
		switch {
		case by.Name != "":
			id, err := ex.kindID(ctx, kind{typeID, by.Name}, false)
			if err != nil {
				return f, err
			}
			if id == 0 {
				continue
			}
			kinds = []int32{id}
		case by.AggregateID == "":
			if kinds, err = ex.kindsOf(ctx, by.AggregateType); err != nil {
				return f, err
			}
		}
		f.add(by, typeID, kinds)
	}
	f.none = f.none || !f.everything && len(f.kinds)+len(f.aggregates) == 0
	return f, nil
}

// add joins a filter to those before; the same kind or aggregate is asked for
// once.
func (f *filter) add(by evento.Filter, typeID int32, kinds []int32) {
	if by.AggregateID == "" {
		for _, id := range kinds {
			f.kinds = appendNew(f.kinds, id)
		}
		return
	}
	for i := range f.aggregates {
		a := &f.aggregates[i]
		if a.typeID != typeID || a.id != by.AggregateID {
			continue
		}
		switch {
		case kinds == nil:
			a.kinds = nil
		case a.kinds != nil:
			a.kinds = appendNew(a.kinds, kinds[0])
		}
		return
	}
	f.aggregates = append(f.aggregates, aggregateFilter{typeID, by.AggregateID, kinds})
}

func appendNew(ids []int32, id int32) []int32 {
	for _, known := range ids {
		if known == id {
			return ids
		}
	}
	return append(ids, id)
}

// mostLegs is how many kinds are merged from the index; of more, which are
// then likely to be most of the events, the table is scanned.
const mostLegs = 64

// params collects the parameters of a statement.
type params []any

func (p *params) add(v any) string {
	*p = append(*p, v)
	return fmt.Sprintf("$%d", len(*p))
}

// legs writes a select for each way through the events; each has its own order
// and limit, which is what makes the server stream their merge.
func (s *statements) legs(f *filter, columns string, backward bool, from, bound int64, limit int, p *params) []string {
	place := p.add(from)
	order, compare := " ORDER BY position", " AND position > "+place
	versionOrder, versionCompare, versionDefault := " ORDER BY version", "version > ", "0"
	if backward {
		order, compare = " ORDER BY position DESC", " AND position < "+place
		versionOrder, versionCompare, versionDefault = " ORDER BY version DESC", "version < ", fmt.Sprint(maxPosition)
	}
	if bound != unbounded {
		compare += " AND position <= " + p.add(bound)
	}
	switch {
	case f.routing != 0:
		compare += " AND routing_id = " + p.add(f.routing)
	case f.unrouted:
		compare += " AND routing_id IS NULL"
	}
	most := " LIMIT " + p.add(int64(limit))
	leg := func(where, order string) string {
		return "SELECT " + columns + " FROM " + s.schema + "event WHERE " + where + compare + order + most
	}
	if f.everything {
		return []string{leg("true", order)}
	}
	var legs []string
	if len(f.kinds) > mostLegs {
		legs = append(legs, leg("kind_id + 0 = ANY("+p.add(f.kinds)+")", order))
	} else {
		for _, id := range f.kinds {
			legs = append(legs, leg("kind_id = "+p.add(id), order))
		}
	}
	for _, a := range f.aggregates {
		typeID, id := p.add(a.typeID), p.add(a.id)
		where := "type_id = " + typeID + " AND aggregate_id = " + id
		// The usual place is one of its own events, whose version is known
		// to the index.
		// (What is calculated with leads the planner to no other index.)
		where += " AND " + versionCompare + "coalesce((SELECT o.version FROM " + s.schema + "event o WHERE o.position = " + place +
			" AND o.type_id + 0 = " + typeID + " AND o.aggregate_id || '' = " + id + "), " + versionDefault + ")"
		if a.kinds != nil {
			where += " AND kind_id = ANY(" + p.add(a.kinds) + ")"
		}
		legs = append(legs, strings.Replace(leg(where, versionOrder), " AND position ", " AND position + 0 ", 1))
	}
	return legs
}

const eventColumns = "position, recorded_at, version, kind_id, routing_id, event_id, codec, aggregate_id, data, metadata"

// selectEvents is the statement for up to limit events beyond a place.
func (s *statements) selectEvents(f *filter, backward bool, from, bound int64, limit int) (string, []any) {
	var p params
	legs := s.legs(f, eventColumns, backward, from, bound, limit, &p)
	if len(legs) == 1 {
		return legs[0], p
	}
	text := "(" + strings.Join(legs, ") UNION ALL (") + ") ORDER BY position"
	if backward {
		text += " DESC"
	}
	if len(f.kinds) == 0 || len(f.aggregates) == 0 {
		text += fmt.Sprint(" LIMIT ", limit) // no event is in two legs
	}
	return text, p
}

// anyEvent is the statement that tells whether there is an event beyond a
// place.
func (s *statements) anyEvent(f *filter, backward bool, from int64) (string, []any) {
	var p params
	legs := s.legs(f, "position", backward, from, unbounded, 1, &p)
	return "SELECT EXISTS ((" + strings.Join(legs, ") UNION ALL (") + "))", p
}
