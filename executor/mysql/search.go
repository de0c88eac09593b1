// Finding the events of a query, in order.
//
// There are two ways. A scan goes through a window of positions and drops what
// does not match; it is the best where much matches. Legs go through the
// indexes, one leg for each kind of event, aggregate or routing key that is
// asked for, and give positions, which are merged; they are the best where
// little does. A search begins with a window, and goes on with legs when that
// did not fill the page.
//
// No transaction is needed: the head is read first, everything up to it is
// there then and never changes, and nothing above it is looked at.

package mysql

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// search is a query in terms of the tables.
type search struct {
	sqlstore.Plan[sqlstore.Aggregate]
	ctx  context.Context //nolint:containedctx // lives as long as one call
	s    *session
	head int64 // the last position that is looked at
}

func (ex *Executor) newSearch(ctx context.Context, s *session, q evento.Query, head int64) (*search, error) {
	p, err := ex.dictionary(s).plan(ctx, s, q, head)
	return &search{Plan: p, ctx: ctx, s: s, head: head}, err
}

// routed is the condition on routing keys.
func (r *search) routed() string {
	switch {
	case r.Unrouted:
		return " AND routing_id = 0"
	case r.Routing != 0:
		return fmt.Sprint(" AND routing_id = ", r.Routing)
	}
	return ""
}

// among is a condition on kinds, with the numbers in its text.
func among(kinds []int64) string {
	if len(kinds) == 0 {
		return ""
	}
	return " AND kind_id IN (" + list(kinds) + ")"
}

func list(numbers []int64) string {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}

// scanPerEvent is how many positions a scan passes for each event that is
// asked for, before legs take over.
const scanPerEvent = 8

// rows returns up to n matches beyond from, in the order in which they were
// met, and whether there are more.
func (r *search) rows(from int64, backward bool, n int) ([]sqlstore.Row, bool, error) {
	p := &page{search: r, backward: backward, want: n, last: from}
	if r.None {
		return nil, false, nil
	}
	ended, err := p.scan()
	if err == nil && !ended {
		err = p.merge()
	}
	return p.found, p.more, err
}

// any reports whether there is a match beyond from.
func (r *search) any(from int64, backward bool) (bool, error) {
	if r.None {
		return false, nil
	}
	if len(r.Tagged) > 0 {
		rows, _, err := r.rows(from, backward, 1)
		defer giveRows(rows)
		return len(rows) > 0, err
	}
	p := &page{search: r, backward: backward, want: 1, last: from}
	if r.Everything && r.Routing == 0 && !r.Unrouted {
		// Positions have no gaps.
		return backward && min(from, r.head+1) > 1 || !backward && max(from, 0) < r.head, nil
	}
	found, err := p.positions(1)
	return len(found) > 0, err
}

// leg goes through the events of one kind, routing key or aggregate, or of some tags.
type leg struct {
	kind      int64              // if not 0
	aggregate sqlstore.Aggregate // if it has an id
	kinds     []int64            // of the aggregate's or the tags' events, or, without either, of all that is passed; nil: all
	tags      []int64            // their numbers; with an aggregate, events of both
	// None: the events with the routing key of the search.
}

// sameAs reports whether both can be parts of one prepared statement.
func (l *leg) sameAs(m *leg) bool {
	return (l.kind != 0) == (m.kind != 0) && (l.aggregate.ID != "") == (m.aggregate.ID != "") && slices.Equal(l.kinds, m.kinds) &&
		len(l.tags) == len(m.tags)
}

// legsAtOnce is the most legs of a statement, a power of two.
const legsAtOnce = 16

// legs lists what to merge. Of a routing key and kinds, the kinds are asked
// for unless there is none.
func (r *search) legs() []leg {
	if r.Everything {
		return []leg{{}}
	}
	legs := make([]leg, 0, min(len(r.Kinds), store.MostLegs)+len(r.Aggregates)+len(r.Tagged))
	if len(r.Kinds) > store.MostLegs {
		legs = append(legs, leg{kinds: r.Kinds})
	} else {
		for _, id := range r.Kinds {
			legs = append(legs, leg{kind: id})
		}
	}
	// Those of all kinds first, so that they share statements.
	for _, a := range r.Aggregates {
		if a.Kinds == nil {
			legs = append(legs, leg{aggregate: a.Key})
		}
	}
	for _, a := range r.Aggregates {
		if a.Kinds != nil {
			legs = append(legs, leg{aggregate: a.Key, kinds: a.Kinds})
		}
	}
	tagged := len(legs)
	for _, f := range r.Tagged {
		l := leg{tags: f.Numbers, aggregate: f.Key, kinds: f.Kinds}
		if len(l.kinds) == 1 {
			l.kind, l.kinds = l.kinds[0], nil // a parameter, so that others share the statement
		}
		legs = append(legs, l)
	}
	// Those of as many tags next to one another.
	slices.SortStableFunc(legs[tagged:], func(a, b leg) int { return cmp.Compare(len(a.tags), len(b.tags)) })
	return legs
}

// text is the statement of a leg; its parameters are those of args.
func (l *leg) text(r *search, backward bool) string {
	if len(l.tags) > 0 {
		return l.taggedText(r, backward)
	}
	text := "(SELECT position FROM evento_event FORCE INDEX "
	order := " ORDER BY position"
	switch {
	case l.kind != 0:
		text += "(evento_event_kind) WHERE kind_id = ?"
	case l.aggregate.ID != "":
		text += "(evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? AND version > ? AND version < ?" + among(l.kinds)
		order = " ORDER BY version"
	case l.kinds != nil:
		text += "(PRIMARY) WHERE TRUE" + among(l.kinds)
	case r.Unrouted || r.Routing != 0:
		text += "(evento_event_routing) WHERE routing_id = ?"
	}
	if l.kind != 0 || l.aggregate.ID != "" || l.kinds != nil {
		text += r.routed()
	}
	if backward {
		order += " DESC"
	}
	return text + " AND position BETWEEN ? AND ?" + order + " LIMIT ?)"
}

// args are the parameters for positions from low to high, both within.
func (p *page) args(l *leg, low, high int64, n int) ([]any, error) {
	var args []any
	switch {
	case len(l.tags) > 0:
		args = l.taggedArgs()
	case l.kind != 0:
		args = append(args, l.kind)
	case l.aggregate.ID != "":
		above, below := int64(0), int64(maxPosition)
		if p.last > 0 && p.last <= p.head {
			v, err := p.s.versionAt(p.ctx, l.aggregate, p.last, p.backward)
			if err != nil {
				return nil, err
			}
			if p.backward {
				below = v
			} else {
				above = v
			}
		}
		args = append(args, l.aggregate.ID, l.aggregate.TypeID, above, below)
	case l.kinds != nil:
	default:
		args = append(args, p.Routing)
	}
	return append(args, low, high, int64(n)), nil
}

// beyond are the positions from the last to a limit, that within.
func (p *page) beyond(limit int64) (low, high int64) {
	if p.backward {
		return limit, min(p.last, p.head+1) - 1
	}
	return max(p.last, 0) + 1, limit
}

// limit is the end of the store.
func (p *page) limit() int64 {
	if p.backward {
		return 1
	}
	return p.head
}

// follows returns the first n positions of each of some legs, beyond the last
// and up to a limit.
func (p *page) follows(legs []leg, limit int64, n int) (found []int64, err error) {
	low, high := p.beyond(limit)
	if low > high {
		return nil, nil
	}
	var args []any
	for i := range powerOfTwo(len(legs)) {
		if i >= len(legs) {
			args = append(args, args[:len(args)/i]...) // again the first
			continue
		}
		more, err := p.args(&legs[i], low, high, n)
		if err != nil {
			return nil, err
		}
		args = append(args, more...)
	}
	text := repeat(legs[0].text(p.search, p.backward), " UNION ALL ", powerOfTwo(len(legs)))
	err = p.s.query(p.ctx, text, args, func(rows *sql.Rows) error {
		var position int64
		if err := rows.Scan(&position); err != nil {
			return err
		}
		found = append(found, position)
		return nil
	})
	return found, err
}

// versionOf returns the version of the event at a position, if it is one of
// the aggregate's.
func (s *session) versionOf(ctx context.Context, a sqlstore.Aggregate, position int64) (version int64, own bool, err error) {
	own, err = s.row(ctx, "SELECT version FROM evento_event WHERE position = ? AND aggregate_id = ? AND type_id = ?",
		[]any{position, a.ID, a.TypeID}, &version)
	return version, own, err
}

// versionAt returns the last version of an aggregate at or below a position
// or, backward, the first at or above it, so that a leg begins beyond it.
func (s *session) versionAt(ctx context.Context, a sqlstore.Aggregate, position int64, backward bool) (int64, error) {
	version, own, err := s.versionOf(ctx, a, position)
	if err != nil || own {
		return version, err
	}
	var last int64
	if _, err := s.row(ctx, "SELECT COALESCE(MAX(version), 0) FROM evento_event WHERE aggregate_id = ? AND type_id = ?",
		[]any{a.ID, a.TypeID}, &last); err != nil {
		return 0, err
	}
	return sqlstore.VersionAt(last, position, backward, func(version int64) (at int64, err error) {
		_, err = s.row(ctx, "SELECT position FROM evento_event WHERE aggregate_id = ? AND type_id = ? AND version = ?",
			[]any{a.ID, a.TypeID, version}, &at)
		return at, err
	})
}

// page is a search for the rows of one page.
type page struct {
	*search
	backward bool
	want     int
	last     int64 // the position up to which all is found
	found    []sqlstore.Row
	bytes    int
	more     bool
}

const (
	columns      = "SELECT position, recorded_at, version, kind_id, routing_id, codec, event_id, aggregate_id, data, metadata"
	eventColumns = columns + " FROM evento_event "
	// typedColumns are those of a query with tags.
	typedColumns = columns + ", type_id FROM evento_event "
	// eventColumnCount is how many eventColumns has.
	eventColumnCount = 10
)

// left is how many positions there are beyond the last.
func (p *page) left() int64 {
	if p.backward {
		return min(p.last, p.head+1) - 1
	}
	return p.head - max(p.last, 0)
}

// scan goes through a window of positions, or through all when everything is
// asked for. Ended: the page is complete.
func (p *page) scan() (ended bool, err error) {
	left := p.left()
	if left <= 0 {
		return true, nil
	}
	condition, window := p.routed(), left
	if !p.Everything || condition != "" {
		if len(p.Aggregates)+len(p.Tagged) > 0 {
			return false, nil // a small part of a large store
		}
		window = min(left, int64(p.want)*scanPerEvent)
		condition += among(p.Kinds)
	}
	var low, high int64 // both within
	order := ""
	if p.backward {
		high = min(p.last, p.head+1) - 1
		low = high - window + 1
		order = " DESC"
	} else {
		low = max(p.last, 0) + 1
		high = low + window - 1
	}
	full, err := p.fetch(eventColumns+"FORCE INDEX (PRIMARY) WHERE position BETWEEN ? AND ?"+condition+" ORDER BY position"+order+" LIMIT ?",
		low, high, int64(p.want)+1)
	if err != nil || full || window == left {
		return true, err
	}
	if p.backward {
		p.last = low
	} else {
		p.last = high
	}
	return false, nil
}

// follow goes through one aggregate after a version.
func (p *page) follow(l leg, version int64) error {
	_, err := p.fetch(eventColumns+"FORCE INDEX (evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? AND version > ?"+among(l.kinds)+" ORDER BY version LIMIT ?",
		l.aggregate.ID, l.aggregate.TypeID, version, int64(p.want)+1)
	return err
}

// fetch adds rows until the page is full or there are none left.
func (p *page) fetch(text string, args ...any) (full bool, err error) {
	c, n := collector{page: p}, eventColumnCount
	if len(p.Tagged) > 0 {
		n++
	}
	err = p.s.stream(p.ctx, text, args, n, func(values []sqldriver.Value) (more bool, err error) {
		full, err = c.take(values)
		// Cut by size: what is left could be large, and to close the rows is
		// to read them. The connection is dropped instead.
		return !full || len(p.found) == p.want, err
	})
	return full && err == nil, err
}

// collector makes rows of values, whose bytes are the driver's.
type collector struct {
	page *page
	slab store.Slab
	last string // aggregate id: mostly the next row's too
}

// take reports whether the page has no room for the row.
func (c *collector) take(values []sqldriver.Value) (full bool, err error) {
	p := c.page
	if len(p.Tagged) > 0 {
		if matches, err := p.matches(values); err != nil || !matches {
			return false, err
		}
	}
	if len(p.found) == p.want {
		p.more = true
		return true, nil
	}
	data := octets(values[8])
	if p.bytes += len(data); p.bytes > evento.PageBytes && len(p.found) > 0 {
		p.more = true
		return true, nil
	}
	if p.found == nil {
		p.found = takeRows()
	}
	p.found = append(p.found, sqlstore.Row{})
	r := &p.found[len(p.found)-1]
	for i, into := range [...]*int64{&r.Position, &r.RecordedAt, &r.Version, &r.KindID, &r.RoutingID} {
		if *into, err = integer(values, i); err != nil {
			return false, err
		}
	}
	r.Codec = sqlstore.CodecName(octets(values[5]))
	id := octets(values[6])
	if len(id) != len(r.ID) {
		return false, sqlstore.ErrID(r.Position, len(id))
	}
	r.ID = evento.ID(id)
	if aggregate := octets(values[7]); string(aggregate) != c.last {
		c.last = string(aggregate)
	}
	r.AggregateID = c.last
	r.Data = c.slab.Copy(data)
	r.Metadata = c.slab.Copy(octets(values[9]))
	return false, nil
}

func integer(values []sqldriver.Value, i int) (int64, error) {
	n, ok := values[i].(int64)
	if !ok {
		return 0, fmt.Errorf("evento: mysql: column %d of an event is of type %T", i+1, values[i])
	}
	return n, nil
}

// octets are the bytes of a value; none for NULL.
func octets(v sqldriver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

// usedRows are those of pages that are done, to be used again.
var usedRows sync.Pool

func takeRows() []sqlstore.Row {
	if rows, ok := usedRows.Get().(*[]sqlstore.Row); ok {
		return *rows
	}
	return nil
}

func giveRows(rows []sqlstore.Row) {
	if cap(rows) == 0 {
		return
	}
	clear(rows)
	rows = rows[:0]
	usedRows.Put(&rows)
}

// merge goes on through the indexes: it finds the positions of the rest of the
// page, and then their rows. When some of those have other tags with the same numbers,
// it goes on behind them.
func (p *page) merge() error {
	for {
		n := p.want + 1 - len(p.found)
		found, err := p.positions(n)
		if err != nil {
			return err
		}
		if full, err := p.fetchAll(found); err != nil || full || len(found) < n {
			return err
		}
		p.last = found[n-1]
	}
}

// fetchAll is fetch for some positions, which are in order.
func (p *page) fetchAll(found []int64) (full bool, err error) {
	text, order := eventColumns, ""
	if len(p.Tagged) > 0 {
		text = typedColumns
	}
	if p.backward {
		order = " DESC"
	}
	for chunk := range slices.Chunk(found, maxFetch) {
		n := powerOfTwo(len(chunk))
		args := make([]any, n, n+1)
		for i := range args {
			args[i] = chunk[min(i, len(chunk)-1)]
		}
		full, err := p.fetch(text+"FORCE INDEX (PRIMARY) WHERE position IN ("+repeat("?", ",", n)+") ORDER BY position"+order+" LIMIT ?",
			append(args, int64(p.want)+1)...)
		if err != nil || full {
			return full, err
		}
	}
	return false, nil
}

// maxFetch is the most rows that are asked for by position at once.
const maxFetch = 512

// positions finds the next n positions that match, in order, each once.
func (p *page) positions(n int) ([]int64, error) {
	var found []int64
	legs := p.legs()
	if len(p.Tagged) > 0 {
		if err := p.rarestFirst(legs); err != nil {
			return nil, err
		}
	}
	limit := p.limit() // beyond which nothing can be among the first n
	for start := 0; start < len(legs); {
		end := start + 1
		for end < len(legs) && end-start < legsAtOnce && legs[end].sameAs(&legs[start]) {
			end++
		}
		more, err := p.follows(legs[start:end], limit, n)
		if err != nil {
			return nil, err
		}
		start = end
		found = append(found, more...)
		slices.SortFunc(found, func(a, b int64) int {
			if p.backward {
				a, b = b, a
			}
			return cmp.Compare(a, b)
		})
		found = slices.Compact(found)
		if len(found) >= n {
			found = found[:n]
			limit = found[n-1]
		}
	}
	return found, nil
}
