// Going through an index in the order of positions.

package mysql

import (
	"context"
	"database/sql"
	"slices"

	"github.com/evento-go/evento/internal/sqlstore"
)

// leg goes through the events of one kind, routing key or aggregate.
type leg struct {
	kind      int64              // if not 0
	aggregate sqlstore.Aggregate // if it has an id
	kinds     []int64            // of the aggregate's events; nil: all
	// Neither: the events with the routing key of the search.
}

// sameAs reports whether both can be parts of one prepared statement.
func (l *leg) sameAs(m *leg) bool {
	return (l.kind != 0) == (m.kind != 0) && (l.aggregate.ID != "") == (m.aggregate.ID != "") && slices.Equal(l.kinds, m.kinds)
}

// legsAtOnce is the most legs of a statement, a power of two.
const legsAtOnce = 16

// legs lists what to merge. Of a routing key and kinds, the kinds are asked
// for unless there is none.
func (r *search) legs() []leg {
	if r.Everything {
		return []leg{{}}
	}
	legs := make([]leg, 0, len(r.Kinds)+len(r.Aggregates))
	for _, id := range r.Kinds {
		legs = append(legs, leg{kind: id})
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
	return legs
}

// text is the statement of a leg; its parameters are those of args.
func (l *leg) text(r *search, backward bool) string {
	text := "(SELECT position FROM evento_event FORCE INDEX "
	order := " ORDER BY position"
	switch {
	case l.kind != 0:
		text += "(evento_event_kind) WHERE kind_id = ?"
	case l.aggregate.ID != "":
		text += "(evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? AND version > ? AND version < ?" + among(l.kinds)
		order = " ORDER BY version"
	case r.Unrouted || r.Routing != 0:
		text += "(evento_event_routing) WHERE routing_id = ?"
	}
	if l.kind != 0 || l.aggregate.ID != "" {
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
	default:
		args = append(args, p.Routing)
	}
	return append(args, low, high, int64(n)), nil
}

// follows returns the first n positions of each of some legs, beyond the last
// and up to a limit.
func (p *page) follows(legs []leg, limit int64, n int) (found []int64, err error) {
	low, high := max(p.last, 0)+1, limit
	if p.backward {
		low, high = limit, min(p.last, p.head+1)-1
	}
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
// or, backward, the first at or above it, so that a leg begins beyond it. The
// index has no positions to search in, but they rise with the versions.
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
	low, high := int64(0), last+1 // position(low) < position < position(high)
	for high-low > 1 {
		middle := low + (high-low)/2
		var at int64
		if _, err := s.row(ctx, "SELECT position FROM evento_event WHERE aggregate_id = ? AND type_id = ? AND version = ?",
			[]any{a.ID, a.TypeID, middle}, &at); err != nil {
			return 0, err
		}
		if at < position {
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
