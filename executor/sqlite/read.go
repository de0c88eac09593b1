// Reading pages of events.

package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// Read implements [evento.Executor].
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := ex.check(ctx); err != nil {
		return nil, err
	}
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
	c, err := ex.readers.get(ctx, ex.closing)
	if err != nil {
		return nil, ex.readError(ctx, err)
	}
	defer ex.readers.put(c)
	page, err := ex.readPage(c, q, args, at)
	if err != nil {
		return nil, ex.readError(ctx, err)
	}
	return page, nil
}

// readError says why a read failed, in the caller's terms.
func (ex *Executor) readError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

// snapshot runs fn in one read transaction, so that all it reads is of one
// moment.
func (c *conn) snapshot(fn func() error) error {
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	err := fn()
	// Ends also when the context has.
	old := c.SetInterrupt(context.Background())
	defer c.SetInterrupt(old)
	return errors.Join(err, c.exec("COMMIT"))
}

func (ex *Executor) readPage(c *conn, q evento.Query, args cursor.Args, at uint64) (page *cursor.Page[evento.RawEvent], err error) {
	err = c.snapshot(func() error {
		head, _, err := c.query("SELECT max(position) FROM evento_event", 1)
		if err != nil {
			return err
		}
		if at > uint64(head[0]) {
			return fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, head[0])
		}
		s, err := ex.newSearch(c, q, head[0])
		if err != nil {
			return err
		}
		page, err = ex.search(s, args, int64(at))
		return err
	})
	return page, err
}

// search reads the page and looks at what lies around it.
func (ex *Executor) search(s *search, args cursor.Args, at int64) (*cursor.Page[evento.RawEvent], error) {
	backward := args.IsBackward()
	from := at
	if backward && args.At() == "" {
		from = s.head + 1
	}
	rows, more, err := s.rows(from, backward, args.Limit())
	if err != nil {
		return nil, err
	}
	page, err := ex.page(s.conn, rows, args)
	if err != nil {
		return nil, err
	}
	info := &page.PageInfo
	switch {
	case backward:
		info.HasPreviousPage = more
		info.HasNextPage, err = s.any(from-1, false)
	case args.IsOnward():
		info.HasNextPage = more
	default:
		info.HasNextPage = more
		info.HasPreviousPage, err = s.any(from+1, true)
	}
	if len(rows) == 0 && !backward && s.head > at {
		info.EndCursor = ex.positions.Value(uint64(s.head))
	}
	return page, err
}

// page makes events of rows, in ascending order.
func (ex *Executor) page(c *conn, rows []row, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	page := &cursor.Page[evento.RawEvent]{}
	if len(rows) == 0 {
		page.PageInfo.StartCursor, page.PageInfo.EndCursor = args.At(), args.At()
		return page, nil
	}
	if args.IsBackward() {
		slices.Reverse(rows)
	}
	if err := ex.names.resolve(c, rows); err != nil {
		return nil, err
	}
	positions := make([]uint64, len(rows))
	for i := range rows {
		positions[i] = uint64(rows[i].position)
	}
	cursors := ex.positions.Values(positions)
	page.Edges = make([]cursor.Edge[evento.RawEvent], len(rows))
	for i := range rows {
		edge := &page.Edges[i]
		edge.Cursor = cursors[i]
		if err := rows[i].event(&edge.Node); err != nil {
			return nil, err
		}
	}
	page.PageInfo.StartCursor = cursors[0]
	page.PageInfo.EndCursor = cursors[len(rows)-1]
	return page, nil
}

// row is an event as the table has it, and its names.
type row struct {
	position, aggKey, version, kindID, routingID, recordedAt int64

	id       evento.ID
	codec    string
	data     []byte
	metadata []byte

	aggregateType     evento.AggregateType
	aggregateID, name string
	routingKey        string
}

func (r *row) event(e *evento.RawEvent) error {
	e.ID = r.id
	e.Position = uint64(r.position)
	e.AggregateType = r.aggregateType
	e.AggregateID = r.aggregateID
	e.Version = uint64(r.version)
	e.Name = r.name
	e.RoutingKey = r.routingKey
	e.Codec = r.codec
	e.Data = r.data
	e.Timestamp = time.UnixMicro(r.recordedAt).UTC()
	if len(r.metadata) > 0 {
		if err := json.Unmarshal(r.metadata, &e.Metadata); err != nil {
			return fmt.Errorf("%w: metadata of the event at position %d: %w", evento.ErrDecode, r.position, err)
		}
	}
	return nil
}
