// Finding the events of a query, in order.
//
// There are two ways. A scan goes through the table by position and drops what
// does not match; it is the best where much matches. Legs go through the
// indexes, one leg for each kind of event, aggregate or routing key that is
// asked for, and are merged by position; they are the best where little does.
// How dense the matches are decides; SQLite's planner is not asked, as it
// sorts where it could merge.

package sqlite

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// search is a query in terms of the tables, in one snapshot of them. Aggregates
// have their keys.
//
// Why: docs/decisions.md, "Reads choose their own plan".
type search struct {
	sqlstore.Plan[int64]
	conn *conn
	head int64 // the last position; 0 until readHead

	// What the plan asks for, to look events up in.
	kinds      map[int64]bool
	aggregates map[int64]map[int64]bool // kinds by aggregate; nil: every kind
}

func newSearch(c *conn, p sqlstore.Plan[int64]) *search {
	s := &search{Plan: p, conn: c, kinds: setOf(p.Kinds)}
	if len(p.Aggregates) > 0 {
		s.aggregates = make(map[int64]map[int64]bool, len(p.Aggregates))
	}
	for _, a := range p.Aggregates {
		s.aggregates[a.Key] = setOf(a.Kinds)
	}
	return s
}

// setOf returns nil for nil.
func setOf(ids []int64) map[int64]bool {
	if ids == nil {
		return nil
	}
	set := make(map[int64]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// cachedSearch is for the queries that loading and catching up are made of: they take
// one statement, and no name has to be looked up. A statement sees one moment, so they
// need no transaction. It returns nil for other queries. Why: docs/decisions.md, "A read
// without a transaction where it is safe".
func (ex *Executor) cachedSearch(c *conn, q evento.Query) *search {
	if q.RoutingKey != "" || len(q.Filters) > 1 || len(q.Filters) == 1 && q.Filters[0].AggregateID == "" {
		return nil
	}
	if p, known := sqlstore.KnownPlan(ex.names.Dictionary, q, ex.names.key); known {
		return newSearch(c, p)
	}
	return nil
}

// readHead finds the last position.
func (s *search) readHead() error {
	v, _, err := s.conn.query("SELECT max(position) FROM evento_event", 1)
	s.head = v[0]
	return err
}

// aggregatesOnly reports whether the events are those of named aggregates.
func (s *search) aggregatesOnly() bool {
	return len(s.Aggregates) > 0 && len(s.Kinds)+len(s.Tagged) == 0 && s.Routing == 0 && !s.Unrouted
}

// matches looks at the columns that come before the large ones.
func (s *search) matches(aggKey, kindID, routingID int64) bool {
	if s.Unrouted && routingID != 0 || s.Routing != 0 && s.Routing != routingID {
		return false
	}
	if s.Everything || s.kinds[kindID] {
		return true
	}
	if s.aggregates == nil {
		return false
	}
	kinds, ok := s.aggregates[aggKey]
	return ok && (kinds == nil || kinds[kindID])
}

// matchesTags looks at the tags too.
func (s *search) matchesTags(aggKey, kindID, routingID int64, metadata []byte) bool {
	if s.Unrouted && routingID != 0 || s.Routing != 0 && s.Routing != routingID {
		return false
	}
	tags := sqlstore.TagsIn(metadata)
	return slices.ContainsFunc(s.Tagged, func(f sqlstore.TaggedFilter[int64]) bool { return f.Matches(aggKey, kindID, tags) })
}

// Selectivity is guessed from the next few matches of each leg.
const (
	probeMatches = 32
	// scanDensity is the share of matching events from which on a scan is
	// faster than legs: an event found through an index costs some ten times
	// one that a scan passes.
	scanDensity = 0.1
	// scanFree is how many events a scan may pass for each that was asked
	// for, before it is worth to guess at all.
	scanFree = 4
	// scanMost is how many it passes before it gives up on a guess that
	// turned out wrong.
	scanMost = 64
)

// rows returns up to n matches beyond from, in the order in which they were
// met, and whether there are more.
func (s *search) rows(from int64, backward bool, n int) (rows []sqlstore.Row, more bool, err error) {
	if s.None {
		return nil, false, nil
	}
	r := &reading{search: s, backward: backward, last: from, want: n, found: s.conn.scratch()}
	defer func() {
		if err != nil {
			s.conn.keep(r.found)
		}
	}()
	scan := s.Everything && s.Routing == 0
	budget := int64(-1) // no end
	if !scan {
		scan, err = s.scans(from, backward, n)
		budget = int64(n)*scanMost + 4096
	}
	if err != nil {
		return nil, false, err
	}
	if scan {
		ended, err := r.scan(budget)
		if err != nil || ended {
			return r.found, r.more, err
		}
	}
	err = r.merge()
	return r.found, r.more, err
}

// any reports whether there is a match beyond from.
func (s *search) any(from int64, backward bool) (bool, error) {
	rows, _, err := s.rows(from, backward, 1)
	if err != nil {
		return false, err
	}
	defer s.conn.keep(rows)
	return len(rows) > 0, nil
}

// left is how many positions there are beyond from.
func (s *search) left(from int64, backward bool) int64 {
	if backward {
		return min(from, s.head+1) - 1
	}
	return s.head - max(from, 0)
}

// scans decides between a scan and legs.
func (s *search) scans(from int64, backward bool, n int) (bool, error) {
	if s.Everything && s.Unrouted {
		return true, nil // there is no index of what has no key
	}
	if len(s.Aggregates)+len(s.Tagged) > 0 && len(s.Kinds) == 0 {
		return false, nil
	}
	if s.left(from, backward) <= int64(n)*scanFree {
		return true, nil
	}
	density := 0.0
	for _, l := range s.legs() {
		if l.index == byAggregate || l.index == byPosition || l.index == byTags {
			continue // an aggregate, or what has a tag, is a small part of a large store
		}
		v, found, err := s.conn.query(l.index.probe(backward), 1, l.key, from, int64(probeMatches-1))
		if err != nil {
			return false, err
		}
		if found {
			density += probeMatches / float64(max(1, abs(v[0]-from)))
		}
	}
	return density >= scanDensity, nil
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// legs lists what to merge. Of a routing key and kinds, the kinds are asked
// for unless there is none: applications have few routing keys.
func (s *search) legs() []leg {
	if s.Everything {
		return []leg{{index: byRouting, key: s.Routing}}
	}
	legs := make([]leg, 0, min(len(s.Kinds), store.MostLegs)+len(s.Aggregates)+len(s.Tagged))
	if len(s.Kinds) > store.MostLegs {
		return append(legs, leg{index: byPosition}) // it meets the others' events too
	}
	for _, id := range s.Kinds {
		legs = append(legs, leg{index: byKind, key: id})
	}
	for _, a := range s.Aggregates {
		legs = append(legs, leg{index: byAggregate, key: a.Key})
	}
	for i := range s.Tagged {
		legs = append(legs, leg{index: byTags, tags: s.Tagged[i].Numbers})
	}
	return legs
}

// reading is a search for one page.
type reading struct {
	*search
	backward bool
	want     int
	last     int64 // the position examined last
	found    []sqlstore.Row
	bytes    int
	more     bool
	damaged  error // why the page ends before its end
	slab     store.Slab
}

// scan goes through the table, until the page is complete, the table ends
// (ended), or the budget of positions is used up (not ended).
func (r *reading) scan(budget int64) (ended bool, err error) {
	stmt, err := r.conn.stmt(byPosition.rows(r.backward))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, r.conn.done(stmt)) }()
	if err := stmt.BindInt64(1, r.last); err != nil {
		return false, err
	}
	for n := int64(0); n != budget; n++ {
		if !stmt.Step() {
			return true, stmt.Err()
		}
		if !r.take(stmt) {
			return true, r.damaged
		}
	}
	return false, nil
}

// merge goes on through the indexes.
func (r *reading) merge() (err error) {
	h := store.Merge[leg, *leg]{Legs: r.legs(), Backward: r.backward}
	defer func() {
		for i := range h.Legs {
			err = errors.Join(err, h.Legs[i].close(r.conn))
		}
	}()
	for i := range h.Legs {
		if err := h.Legs[i].open(r); err != nil {
			return err
		}
	}
	for h.Init(); ; h.Moved() {
		l := &h.Legs[0] // an ended leg is first only when all have ended
		// Legs may overlap: an event of several is met several times in a row.
		if l.ended || l.position != r.last && !r.take(l.stmt) {
			return r.damaged
		}
		if err := l.next(); err != nil {
			return err
		}
	}
}

// take looks at the event that a statement is on and keeps it if it matches.
// It reports whether the page has room for another.
func (r *reading) take(s *sqlite3.Stmt) bool {
	position, aggKey, kindID, routingID := s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(3), s.ColumnInt64(4)
	r.last = position
	if !r.matches(aggKey, kindID, routingID) && (r.Tagged == nil || !r.matchesTags(aggKey, kindID, routingID, s.ColumnRawText(9))) {
		return true
	}
	if len(r.found) == r.want {
		r.more = true
		return false
	}
	raw := s.ColumnRawBlob(5)
	if len(raw) != len(evento.ID{}) {
		r.damaged = sqlstore.ErrID(position, len(raw))
		return false
	}
	id := evento.ID(raw)
	data := s.ColumnRawBlob(8)
	if r.bytes += len(data); r.bytes > evento.PageBytes && len(r.found) > 0 {
		r.more = true
		return false
	}
	r.found = append(r.found, sqlstore.Row{
		Position: position, AggregateKey: aggKey, Version: s.ColumnInt64(2), KindID: kindID, RoutingID: routingID,
		RecordedAt: s.ColumnInt64(6),
		Codec:      sqlstore.CodecName(s.ColumnRawText(7)),
		Data:       r.slab.Copy(data),
		ID:         id,
		Metadata:   r.slab.Copy(s.ColumnRawText(9)),
	})
	return true
}

// index is a way through the events. Each of them gives ascending positions.
type index int

const (
	byPosition index = iota
	byKind
	byRouting
	byAggregate // by version, which rises with the position
	byTags
)

const eventColumns = "SELECT position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, data, metadata FROM evento_event "

// taggedRows goes through the events that have n tags. The first is to be the rarest: the
// others are looked up for each of its events.
func taggedRows(n int, backward bool) string {
	var b strings.Builder
	b.WriteString("SELECT e.position, e.agg_key, e.version, e.kind_id, e.routing_id, e.event_id, e.recorded_at, e.codec, e.data, e.metadata FROM evento_tag t CROSS JOIN evento_event e ON e.position = t.position WHERE t.tag = ?1")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, " AND EXISTS (SELECT 1 FROM evento_tag o WHERE o.tag = ?%d AND o.position = t.position)", 2+i)
	}
	if backward {
		b.WriteString(" AND t.position < ?2 ORDER BY t.position DESC")
	} else {
		b.WriteString(" AND t.position > ?2 ORDER BY t.position")
	}
	return b.String()
}

// rarestFirst has the tag first whose events are the furthest apart beyond a place.
func (r *reading) rarestFirst(tags []int64) ([]int64, error) {
	if len(tags) < 2 {
		return tags, nil
	}
	text := "SELECT position FROM evento_tag WHERE tag = ? AND position > ? ORDER BY position LIMIT 1 OFFSET ?"
	if r.backward {
		text = "SELECT position FROM evento_tag WHERE tag = ? AND position < ? ORDER BY position DESC LIMIT 1 OFFSET ?"
	}
	rarest, widest := 0, int64(-1)
	for i, tag := range tags {
		v, found, err := r.conn.query(text, 1, tag, r.last, int64(probeMatches-1))
		if err != nil {
			return nil, err
		}
		width := int64(math.MaxInt64) // there are fewer
		if found {
			width = abs(v[0] - r.last)
		}
		if width > widest {
			rarest, widest = i, width
		}
	}
	return append([]int64{tags[rarest]}, slices.Delete(slices.Clone(tags), rarest, rarest+1)...), nil
}

// rows is the statement that goes through the index beyond a place.
func (x index) rows(backward bool) string {
	if backward {
		switch x {
		case byKind:
			return eventColumns + "INDEXED BY evento_event_kind WHERE kind_id = ?1 AND position < ?2 ORDER BY position DESC"
		case byRouting:
			return eventColumns + "INDEXED BY evento_event_routing WHERE routing_id = ?1 AND position < ?2 ORDER BY position DESC"
		case byAggregate:
			return eventColumns + "INDEXED BY evento_event_aggregate WHERE agg_key = ?1 AND version < ?2 ORDER BY version DESC"
		}
		return eventColumns + "WHERE position < ?1 ORDER BY position DESC"
	}
	switch x {
	case byKind:
		return eventColumns + "INDEXED BY evento_event_kind WHERE kind_id = ?1 AND position > ?2 ORDER BY position"
	case byRouting:
		return eventColumns + "INDEXED BY evento_event_routing WHERE routing_id = ?1 AND position > ?2 ORDER BY position"
	case byAggregate:
		return eventColumns + "INDEXED BY evento_event_aggregate WHERE agg_key = ?1 AND version > ?2 ORDER BY version"
	}
	return eventColumns + "WHERE position > ?1 ORDER BY position"
}

// probe is the statement that finds the position of a match some way ahead.
func (x index) probe(backward bool) string {
	switch {
	case x == byKind && backward:
		return "SELECT position FROM evento_event INDEXED BY evento_event_kind WHERE kind_id = ? AND position < ? ORDER BY position DESC LIMIT 1 OFFSET ?"
	case x == byKind:
		return "SELECT position FROM evento_event INDEXED BY evento_event_kind WHERE kind_id = ? AND position > ? ORDER BY position LIMIT 1 OFFSET ?"
	case backward:
		return "SELECT position FROM evento_event INDEXED BY evento_event_routing WHERE routing_id = ? AND position < ? ORDER BY position DESC LIMIT 1 OFFSET ?"
	}
	return "SELECT position FROM evento_event INDEXED BY evento_event_routing WHERE routing_id = ? AND position > ? ORDER BY position LIMIT 1 OFFSET ?"
}

// leg goes through the events of one kind, routing key or aggregate.
type leg struct {
	index    index
	key      int64
	tags     []int64
	stmt     *sqlite3.Stmt
	position int64 // that the statement is on
	ended    bool
}

// open begins beyond the last position that the reading examined.
func (l *leg) open(r *reading) (err error) {
	from := r.last
	if l.index == byAggregate {
		if from, err = r.conn.versionAt(l.key, r.last, r.backward); err != nil {
			return err
		}
	}
	if l.index == byTags {
		return l.openTags(r)
	}
	if l.stmt, err = r.conn.stmt(l.index.rows(r.backward)); err != nil {
		return err
	}
	if l.index == byPosition {
		err = l.stmt.BindInt64(1, from)
	} else {
		err = errors.Join(l.stmt.BindInt64(1, l.key), l.stmt.BindInt64(2, from))
	}
	if err != nil {
		return err
	}
	return l.next()
}

func (l *leg) openTags(r *reading) error {
	tags, err := r.rarestFirst(l.tags)
	if err != nil {
		return err
	}
	if l.stmt, err = r.conn.stmt(taggedRows(len(tags), r.backward)); err != nil {
		return err
	}
	err = errors.Join(l.stmt.BindInt64(1, tags[0]), l.stmt.BindInt64(2, r.last))
	for i, tag := range tags[1:] {
		err = errors.Join(err, l.stmt.BindInt64(3+i, tag))
	}
	if err != nil {
		return err
	}
	return l.next()
}

func (l *leg) close(c *conn) error {
	if l.stmt == nil {
		return nil
	}
	return c.done(l.stmt)
}

func (l *leg) next() error {
	if !l.stmt.Step() {
		l.ended = true
		return l.stmt.Err()
	}
	l.position = l.stmt.ColumnInt64(0)
	return nil
}

// versionAt returns the last version of an aggregate at or below a position
// or, backward, the first at or above it, so that a leg begins beyond it.
func (c *conn) versionAt(aggKey, position int64, backward bool) (int64, error) {
	if position <= 0 && !backward {
		return 0, nil
	}
	v, found, err := c.query("SELECT agg_key, version FROM evento_event WHERE position = ?", 2, position)
	if err != nil {
		return 0, err
	}
	if found && v[0] == aggKey {
		return v[1], nil // the usual case: going on after an event of its own
	}
	v, _, err = c.query("SELECT max(version) FROM evento_event WHERE agg_key = ?", 1, aggKey)
	if err != nil {
		return 0, err
	}
	return sqlstore.VersionAt(v[0], position, backward, func(version int64) (int64, error) {
		return readID(c, "SELECT position FROM evento_event WHERE agg_key = ? AND version = ?", aggKey, version)
	})
}

// At implements [store.Leg].
func (l *leg) At() (uint64, bool) { return uint64(l.position), l.ended }
