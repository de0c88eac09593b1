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
	var page *cursor.Page[evento.RawEvent]
	err = ex.read(ctx, func(c *conn) (err error) {
		page, err = ex.readPage(c, q, args, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		t.Overlay(page, q, args)
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
// moment; in a caller's transaction it is.
func (c *conn) snapshot(fn func() error) error {
	if !c.GetAutocommit() {
		return fn()
	}
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
	if s := ex.cachedSearch(c, q); s != nil {
		return ex.search(s, args, int64(at))
	}
	err = c.snapshot(func() error {
		s, err := ex.newSearch(c, q)
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
	// The head is read before the events: up to it they have all been seen
	// then, also where the reads do not share a snapshot. To load an
	// aggregate from its beginning it is not needed.
	load := at == 0 && !args.IsBackward() && s.aggregatesOnly()
	if !load {
		if err := s.readHead(); err != nil {
			return nil, err
		}
		if at > s.head {
			return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, s.head)
		}
	}
	from, backward := at, args.IsBackward()
	if backward && args.At() == "" {
		from = s.head + 1
	}
	rows, more, err := s.rows(from, backward, args.Limit())
	if err == nil && load && len(rows) == 0 {
		if err = s.readHead(); err == nil {
			rows, more, err = s.rows(from, backward, args.Limit())
		}
	}
	if err != nil {
		return nil, err
	}
	page, err := ex.page(s.conn, rows, args)
	if err != nil {
		return nil, err
	}
	info := &page.PageInfo
	if len(rows) == 0 && !backward && s.head > at {
		info.EndCursor = ex.positions.Value(uint64(s.head))
	}
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
	return page, err
}

// page makes events of rows, in ascending order.
func (ex *Executor) page(c *conn, rows []row, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	defer c.keep(rows)
	page := &cursor.Page[evento.RawEvent]{}
	if len(rows) == 0 {
		page.PageInfo.StartCursor, page.PageInfo.EndCursor = args.At(), args.At()
		return page, nil
	}
	if args.IsBackward() {
		slices.Reverse(rows)
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
	if err := ex.names.resolve(c, rows, page.Edges); err != nil {
		return nil, err
	}
	page.PageInfo.StartCursor = cursors[0]
	page.PageInfo.EndCursor = cursors[len(rows)-1]
	return page, nil
}

// row is an event as the table has it, but for its names.
type row struct {
	position, aggKey, version, kindID, routingID, recordedAt int64

	id       evento.ID
	codec    string
	data     []byte
	metadata []byte
}

// event fills in what the row has.
func (r *row) event(e *evento.RawEvent) error {
	e.ID = r.id
	e.Position = uint64(r.position)
	e.Version = uint64(r.version)
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
