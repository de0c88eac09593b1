// Reading pages of events.

package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Read implements [evento.Executor].
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (page *cursor.Page[evento.RawEvent], err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := args.Check(); err != nil {
		return nil, err
	}
	at, err := ex.positions.Position(args.At())
	if err != nil {
		return nil, err
	}
	err = ex.call(ctx, func() error {
		page, err = ex.readPage(ctx, q, args, int64(at))
		if t := ex.transactionOf(ctx); t != nil && err == nil && !t.Ended() {
			t.Overlay(page, q, args)
		}
		return err
	})
	return page, err
}

// reading is a page on its way.
type reading struct {
	filter
	args     cursor.Args
	at       int64 // the place to read from; of a page before the end, after it
	head     int64
	headless bool // do not ask for the head
	more     bool // there are events beyond the page
	next     bool // there are events on the other side of the place
	page     *cursor.Page[evento.RawEvent]
	// names that are filled in when the rows are read
	kinds, routings []int32
}

// readPage reads the head before the events. Up to it they have all been seen
// then: what is committed later has a higher position, and a name that is not
// found afterwards is the name of no event up to it.
func (ex *Executor) readPage(ctx context.Context, q evento.Query, args cursor.Args, at int64) (*cursor.Page[evento.RawEvent], error) {
	r := &reading{args: args, at: at, page: &cursor.Page[evento.RawEvent]{}}
	bound := unbounded
	if !ex.cachedFilter(q, &r.filter) {
		head, err := ex.readHead(ctx)
		if err != nil {
			return nil, err
		}
		if r.filter, err = ex.lookUpFilter(ctx, q); err != nil {
			return nil, err
		}
		bound = head
	}
	// To load an aggregate from its beginning the head is not needed, unless
	// there is nothing.
	r.headless = bound == unbounded && at == 0 && args.IsOnward() && !r.everything && len(r.filter.kinds) == 0 && !r.unrouted && r.routing == 0
	if err := ex.ask(ctx, r, bound); err != nil {
		return nil, err
	}
	if r.headless && len(r.page.Edges) == 0 {
		r.headless = false
		if err := ex.ask(ctx, r, bound); err != nil {
			return nil, err
		}
	}
	if bound != unbounded {
		r.head = bound
	}
	if at > r.head {
		return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, r.head)
	}
	return ex.finish(ctx, r)
}

// ask asks for the head, the events, and what lies on the other side, in one
// round trip.
func (ex *Executor) ask(ctx context.Context, r *reading, bound int64) error {
	batch := &pgx.Batch{}
	if !r.headless {
		batch.Queue(ex.sql.head).QueryRow(func(row pgx.Row) error { return row.Scan(&r.head) })
	}
	backward := r.args.IsBackward()
	from := r.at
	if backward && r.args.At() == "" {
		from = maxPosition
	}
	if !r.none {
		text, params := ex.sql.selectEvents(&r.filter, backward, from, bound, r.args.Limit()+1)
		batch.Queue(text, params...).Query(r.scan)
		if !r.args.IsOnward() && from != maxPosition {
			other := from + 1 // forward: anything up to the place
			if backward {
				other = from - 1
			}
			text, params := ex.sql.anyEvent(&r.filter, !backward, other)
			batch.Queue(text, params...).QueryRow(func(row pgx.Row) error { return row.Scan(&r.next) })
		}
	}
	return ex.db(ctx).SendBatch(ctx, batch).Close()
}

const (
	// maxPosition is beyond every event.
	maxPosition = int64(1<<63 - 1)
	// unbounded reads what the statement sees, and not only up to a head.
	unbounded = int64(-1)
)

// scan takes the rows of a page, and one more if there is one.
func (r *reading) scan(rows pgx.Rows) error {
	defer rows.Close()
	size := 0
	var w row
	for rows.Next() {
		if err := w.read(rows); err != nil {
			return err
		}
		n := len(r.page.Edges)
		if n > 0 && r.page.Edges[n-1].Node.Position == uint64(w.position) {
			continue // legs may overlap
		}
		size += len(w.data)
		if n == r.args.Limit() || n > 0 && size > evento.PageBytes {
			r.more = true
			return nil
		}
		if n == cap(r.page.Edges) {
			// In few steps: a page is small or full.
			r.page.Edges = slices.Grow(r.page.Edges, min(max(8, 7*n), r.args.Limit()-n))
		}
		r.page.Edges = r.page.Edges[:n+1]
		if err := w.event(&r.page.Edges[n].Node); err != nil {
			return err
		}
		r.kinds, r.routings = append(r.kinds, w.kindID), append(r.routings, w.routingID)
	}
	return rows.Err()
}

// finish fills in names, cursors and what lies around the page.
func (ex *Executor) finish(ctx context.Context, r *reading) (*cursor.Page[evento.RawEvent], error) {
	page, backward := r.page, r.args.IsBackward()
	for i := range page.Edges {
		e := &page.Edges[i].Node
		if err := ex.resolve(ctx, e, r.kinds[i], r.routings[i]); err != nil {
			return nil, err
		}
		ex.saw(int64(e.Position))
	}
	if backward {
		slices.Reverse(page.Edges)
	}
	info := &page.PageInfo
	info.HasNextPage, info.HasPreviousPage = r.more, r.next
	if backward {
		info.HasNextPage, info.HasPreviousPage = r.next, r.more
	}
	if len(page.Edges) == 0 {
		info.StartCursor, info.EndCursor = r.args.At(), r.args.At()
		if !backward && r.head > r.at {
			info.EndCursor = ex.positions.Value(uint64(r.head))
		}
		return page, nil
	}
	positions := make([]uint64, len(page.Edges))
	for i := range page.Edges {
		positions[i] = page.Edges[i].Node.Position
	}
	for i, v := range ex.positions.Values(positions) {
		page.Edges[i].Cursor = v
	}
	info.StartCursor, info.EndCursor = page.Edges[0].Cursor, page.Edges[len(page.Edges)-1].Cursor
	return page, nil
}
