// Going through an index in the order of positions.

package sqlite

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
)

// index is a way through the events. Each of them gives ascending positions.
type index int

const (
	byPosition index = iota
	byKind
	byRouting
	byAggregate // by version, which rises with the position
)

const eventColumns = "SELECT position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, data, metadata FROM evento_event "

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
	if l.stmt, err = r.conn.stmt(l.index.rows(r.backward)); err != nil {
		return err
	}
	if err := errors.Join(l.stmt.BindInt64(1, l.key), l.stmt.BindInt64(2, from)); err != nil {
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
// or, backward, the first at or above it, so that a leg begins beyond it. The
// index has no positions to search in, but they rise with the versions.
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
	low, high := int64(0), v[0]+1 // position(low) < position < position(high)
	for high-low > 1 {
		middle := low + (high-low)/2
		v, _, err := c.query("SELECT position FROM evento_event WHERE agg_key = ? AND version = ?", 1, aggKey, middle)
		if err != nil {
			return 0, err
		}
		if v[0] < position {
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

// legHeap keeps the leg with the next position first.
type legHeap struct {
	legs     []leg
	backward bool
}

// less puts legs that have ended last.
func (h *legHeap) less(i, j int) bool {
	a, b := &h.legs[i], &h.legs[j]
	switch {
	case a.ended || b.ended:
		return !a.ended
	case h.backward:
		return a.position > b.position
	}
	return a.position < b.position
}

func (h *legHeap) init() {
	for i := len(h.legs)/2 - 1; i >= 0; i-- {
		h.sift(i)
	}
}

// sift moves a leg down to where it belongs.
func (h *legHeap) sift(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.legs); child++ {
			if h.less(child, first) {
				first = child
			}
		}
		if first == i {
			return
		}
		h.legs[i], h.legs[first] = h.legs[first], h.legs[i]
		i = first
	}
}
