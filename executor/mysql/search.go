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
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/evento-go/evento"
)

type aggregateKey struct {
	typeID int64
	id     string
}

// search is a query in terms of the tables.
type search struct {
	ctx  context.Context //nolint:containedctx // lives as long as one call
	s    *session
	head int64 // the last position that is looked at

	none       bool // nothing can match
	everything bool // no filter
	kinds      []int64
	aggregates []leg
	routing    int64 // 0: any
	unrouted   bool
}

// newSearch looks the query's names up after the head was read: those that are
// not there yet belong to events above the head.
func (ex *Executor) newSearch(ctx context.Context, s *session, q evento.Query, head int64) (*search, error) {
	names := ex.dictionary(s)
	r := &search{ctx: ctx, s: s, head: head, everything: len(q.Filters) == 0, unrouted: q.Unrouted}
	if q.RoutingKey != "" {
		id, err := names.routingID(ctx, s, q.RoutingKey)
		if err != nil {
			return nil, err
		}
		r.routing, r.none = id, id == 0
	}
	for _, f := range q.Filters {
		if err := r.add(names, f); err != nil {
			return nil, err
		}
	}
	if !r.everything && len(r.kinds)+len(r.aggregates) == 0 {
		r.none = true
	}
	return r, nil
}

func (r *search) add(d *dictionary, f evento.Filter) error {
	kinds, err := d.kindsFor(r.ctx, r.s, f, r.head)
	if err != nil {
		return err
	}
	if f.AggregateID == "" {
		for _, id := range kinds {
			if !slices.Contains(r.kinds, id) {
				r.kinds = append(r.kinds, id)
			}
		}
		return nil
	}
	if f.Name != "" && len(kinds) == 0 {
		return nil
	}
	typeID, err := d.typeID(r.ctx, r.s, f.AggregateType)
	if err != nil || typeID == 0 {
		return err
	}
	key := aggregateKey{typeID, f.AggregateID}
	for i := range r.aggregates {
		if l := &r.aggregates[i]; l.aggregate == key {
			if f.Name == "" {
				l.kinds = nil
			} else if l.kinds != nil && !slices.Contains(l.kinds, kinds[0]) {
				l.kinds = append(l.kinds, kinds[0])
			}
			return nil
		}
	}
	r.aggregates = append(r.aggregates, leg{aggregate: key, kinds: kinds})
	return nil
}

// routed is the condition on routing keys.
func (r *search) routed() string {
	switch {
	case r.unrouted:
		return " AND routing_id = 0"
	case r.routing != 0:
		return fmt.Sprint(" AND routing_id = ", r.routing)
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
func (r *search) rows(from int64, backward bool, n int) ([]row, bool, error) {
	p := &page{search: r, backward: backward, want: n, last: from}
	if r.none {
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
	if r.none {
		return false, nil
	}
	p := &page{search: r, backward: backward, want: 1, last: from}
	if r.everything && r.routing == 0 && !r.unrouted {
		// Positions have no gaps.
		return backward && min(from, r.head+1) > 1 || !backward && max(from, 0) < r.head, nil
	}
	found, err := p.positions(1)
	return len(found) > 0, err
}
