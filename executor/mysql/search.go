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
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
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
func (r *search) rows(from int64, backward bool, n int) ([]row, bool, error) {
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
	p := &page{search: r, backward: backward, want: 1, last: from}
	if r.Everything && r.Routing == 0 && !r.Unrouted {
		// Positions have no gaps.
		return backward && min(from, r.head+1) > 1 || !backward && max(from, 0) < r.head, nil
	}
	found, err := p.positions(1)
	return len(found) > 0, err
}
