// Queries in terms of the tables.

package postgres

import (
	"strconv"

	"github.com/evento-go/evento/internal/sqlstore"
)

// plan is a query with its names looked up.
type plan = sqlstore.Plan[sqlstore.Aggregate]

// mostLegs is how many kinds are merged from the index; of more, which are
// then likely to be most of the events, the table is scanned.
const mostLegs = 64

// way is how a leg finds its events.
type way int

const (
	byPosition way = iota
	byKind
	byVersion
	byTag
)

// builder writes a statement. It is called for every read, hence bytes.
type builder struct {
	schema   string
	columns  string
	plan     *plan
	backward bool
	near     bool  // few events are beyond the place
	from     int64 // the place; 0, or maxPosition when reading backward: none
	bound    int64 // or unbounded
	limit    int

	text   []byte
	params []any
	legs   int // written so far
	// numbers of parameters that all legs share; 0: not one yet
	placeNo, boundNo, routingNo, limitNo int
}

func (b *builder) write(parts ...string) {
	for _, s := range parts {
		b.text = append(b.text, s...)
	}
}

// param writes a parameter of its own and returns its number.
func (b *builder) param(v any) int {
	b.params = append(b.params, v)
	b.number(len(b.params))
	return len(b.params)
}

// shared writes a parameter that is the same wherever it is.
func (b *builder) shared(no *int, v any) {
	if *no != 0 {
		b.number(*no)
		return
	}
	*no = b.param(v)
}

func (b *builder) number(n int) { b.text = strconv.AppendInt(append(b.text, '$'), int64(n), 10) }

func (b *builder) writePlace() { b.shared(&b.placeNo, b.from) }

// writeLegs writes a select for each way through the events; each has its own
// order and limit, which is what makes the server stream their merge. Several
// are to be in parentheses.
func (b *builder) writeLegs() {
	f := b.plan
	if f.Everything {
		b.begin("true")
		b.end(byPosition)
	}
	switch {
	case b.near && len(f.Kinds) > 0:
		// Whatever they are: one plan for all, where the merge of kinds is
		// planned anew each time.
		b.writeKinds()
		b.end(byPosition)
	case len(f.Kinds) > mostLegs:
		b.writeKinds()
		b.end(byKind)
	default:
		for _, id := range f.Kinds {
			b.begin("kind_id = ")
			b.param(id)
			b.end(byKind)
		}
	}
	for i := range f.Aggregates {
		b.writeAggregate(&f.Aggregates[i])
	}
	for i := range f.Tagged {
		b.writeTagged(&f.Tagged[i])
	}
}

// writeKinds begins a leg for all kinds.
func (b *builder) writeKinds() {
	b.begin("kind_id + 0 = ANY(")
	b.param(b.plan.Kinds)
	b.write(")")
}

// countLegs is how many writeLegs writes for what has no tags.
func (b *builder) countLegs() int {
	n := len(b.plan.Aggregates)
	if b.plan.Everything || len(b.plan.Kinds) > mostLegs || b.near && len(b.plan.Kinds) > 0 {
		return n + 1
	}
	return n + len(b.plan.Kinds)
}

func (b *builder) writeAggregate(a *sqlstore.PlannedAggregate[sqlstore.Aggregate]) {
	b.begin("type_id = ")
	typeNo := b.param(a.Key.TypeID)
	b.write(" AND aggregate_id = ")
	idNo := b.param(a.Key.ID)
	if b.placed() {
		// The usual place is one of its own events, whose version is known to
		// the index. (What is calculated with leads the planner to no other.)
		compare, otherwise := " AND version > coalesce((SELECT o.version FROM ", "), 0)"
		if b.backward {
			compare, otherwise = " AND version < coalesce((SELECT o.version FROM ", "), 9223372036854775807)"
		}
		b.write(compare, b.schema, "event o WHERE o.position = ")
		b.writePlace()
		b.write(" AND o.type_id + 0 = ")
		b.number(typeNo)
		b.write(" AND o.aggregate_id || '' = ")
		b.number(idNo)
		b.write(otherwise)
	}
	if a.Kinds != nil {
		b.write(" AND kind_id = ANY(")
		b.param(a.Kinds)
		b.write(")")
	}
	b.end(byVersion)
}

// placed reports whether the place leaves out any event.
func (b *builder) placed() bool {
	if b.backward {
		return b.from != maxPosition
	}
	return b.from != 0
}

func (b *builder) begin(where string) { b.beginFrom("event WHERE ", where) }

func (b *builder) beginFrom(table ...string) {
	if b.legs > 0 {
		b.write(") UNION ALL (")
	}
	b.legs++
	b.write("SELECT ", b.columns, " FROM ", b.schema)
	b.write(table...)
}

// end writes what all legs have in common. An aggregate's events are read in
// the order of their versions, which is the same, by the index that has them.
func (b *builder) end(by way) {
	column, order := "position", " ORDER BY position"
	if by == byVersion {
		column, order = "position + 0", " ORDER BY version"
	}
	// What reads by position always names the place: one text for all pages.
	if by != byVersion || b.placed() {
		compare := " > "
		if b.backward {
			compare = " < "
		}
		b.write(" AND ", column, compare)
		b.writePlace()
	}
	if b.bound != unbounded {
		b.write(" AND ", column, " <= ")
		b.shared(&b.boundNo, b.bound)
	}
	switch {
	case b.plan.Routing != 0:
		b.write(" AND routing_id = ")
		b.shared(&b.routingNo, b.plan.Routing)
	case b.plan.Unrouted:
		b.write(" AND routing_id IS NULL")
	}
	b.write(order)
	if b.backward {
		b.write(" DESC")
	}
	switch {
	case by == byTag:
		b.writeTagLimit()
		return
	case by == byKind || b.plan.Routing != 0:
		b.write(" LIMIT ")
		b.writeLimit()
		return
	}
	// Where one index is right whatever the parameters are, the number is
	// hidden from the planner: told it, it plans each page anew. Where kinds
	// differ in how rare they are, it has to see them.
	b.write(" LIMIT (SELECT ")
	b.writeLimit()
	b.write("::bigint)")
}

func (b *builder) writeLimit() { b.shared(&b.limitNo, int64(b.limit)) }

// The columns of an event. Where all events are of one aggregate, its id is not sent
// with each.
const (
	eventColumns       = "position, " + behindPosition
	behindPosition     = "recorded_at, version, kind_id, routing_id, event_id, codec, aggregate_id, data, metadata"
	columnsOfAggregate = "position, recorded_at, version, kind_id, routing_id, event_id, codec, NULL::text, data, metadata"
)

// selectEvents is the statement for up to limit events beyond a place.
func (s *statements) selectEvents(f *plan, backward, near bool, from, bound int64, limit int) (string, []any) {
	b := builder{schema: s.schema, columns: eventColumns, plan: f, backward: backward, near: near, from: from, bound: bound, limit: limit}
	if onlyAggregate(f) != "" {
		b.columns = columnsOfAggregate
	}
	b.text = make([]byte, 0, 512)
	if len(f.Tagged) > 0 { // an event may be in several legs
		b.write("SELECT DISTINCT ON (position) * FROM ((")
		b.writeLegs()
		b.write(")) AS e")
		b.writeOrder()
		b.write(" LIMIT ")
		b.writeLimit()
		return string(b.text), b.params
	}
	if b.countLegs() == 1 {
		b.writeLegs()
		return string(b.text), b.params
	}
	b.write("(")
	b.writeLegs()
	b.write(")")
	b.writeOrder()
	if len(f.Kinds) == 0 || len(f.Aggregates) == 0 {
		b.write(" LIMIT ") // no event is in two legs
		b.writeLimit()
	}
	return string(b.text), b.params
}

func (b *builder) writeOrder() {
	b.write(" ORDER BY position")
	if b.backward {
		b.write(" DESC")
	}
}

// onlyAggregate is the id of the aggregate whose events alone are asked for; "": there
// are others.
func onlyAggregate(f *plan) string {
	if f.Everything || len(f.Kinds)+len(f.Tagged) > 0 || len(f.Aggregates) != 1 {
		return ""
	}
	return f.Aggregates[0].Key.ID
}

// anyEvent is the statement that tells whether there is an event beyond a
// place.
func (s *statements) anyEvent(f *plan, backward bool, from int64) (string, []any) {
	b := builder{schema: s.schema, columns: "position", plan: f, backward: backward, from: from, bound: unbounded, limit: 1}
	b.write("SELECT EXISTS ((")
	b.writeLegs()
	b.write("))")
	return string(b.text), b.params
}
