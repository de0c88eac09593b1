// Reading pages of events.

package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// Read implements [evento.Executor].
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (page *cursor.Page[evento.RawEvent], err error) {
	at, err := store.Begin(q, args, ex.positions)
	if err != nil {
		return nil, err
	}
	err = ex.call(ctx, func() error {
		page, err = ex.readPage(ctx, q, args, int64(at))
		if t := ex.openTransactionOf(ctx); t != nil && err == nil {
			t.Overlay(page, q, args)
		}
		return err
	})
	return page, err
}

// reading is a page on its way.
type reading struct {
	plan
	args     cursor.Args
	at       int64 // the place to read from; of a page before the end, after it
	head     int64
	headless bool // the head is not asked for
	near     bool // few events are beyond the place: nobody has seen any
	more     bool // there are events beyond the page
	next     bool // there are events on the other side of the place
	kinds    int  // how many there are of plan.WholeTypes, after the events were read
	names    *sqlstore.Dictionary
	edges    []cursor.Edge[evento.RawEvent] // of the first rows
	*scratch
}

// readPage reads the head before the events. Then it sees all events up to the head:
// what is committed later has a higher position, and a name that is not found
// afterwards is the name of no event up to it. Why: docs/decisions.md, "Reads take the
// head first, and no transaction" and "Whole types are counted, not looked up".
func (ex *Executor) readPage(ctx context.Context, q evento.Query, args cursor.Args, at int64) (*cursor.Page[evento.RawEvent], error) {
	s, _ := ex.scratches.Get().(*scratch)
	if s == nil {
		s = &scratch{}
	}
	defer func() {
		if s.reset() {
			ex.scratches.Put(s)
		}
	}()
	seen := ex.head.Load()
	r := &reading{args: args, at: at, scratch: s, names: ex.namesOf(ctx), near: !args.IsBackward() && seen > 0 && at >= seen}
	var cached bool
	r.plan, cached = sqlstore.KnownPlan(ex.names, q, func(a sqlstore.Aggregate) sqlstore.Aggregate { return a })
	if cached {
		// The head is of use only if there are no events, and not worth its
		// time where there are some: in what was seen beyond the place, and
		// from the beginning of an aggregate that is loaded.
		r.headless = !args.IsBackward() && (at < seen || at == 0 && args.IsOnward() && len(r.Aggregates) > 0)
		var err error
		if cached, err = ex.askKnown(ctx, r); err != nil {
			return nil, err
		}
	}
	if !cached {
		s.reset()
		*r = reading{args: args, at: at, scratch: s, names: r.names}
		head, err := ex.readHead(ctx)
		if err != nil {
			return nil, err
		}
		if r.plan, err = ex.plan(ctx, q); err != nil {
			return nil, err
		}
		r.headless = true
		if err := ex.ask(ctx, r, head); err != nil {
			return nil, err
		}
		r.headless, r.head = false, head
	}
	if !r.headless && at > r.head {
		return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, r.head)
	}
	return ex.finish(ctx, r)
}

// askKnown is ask for names that are known, and reports whether they are all that
// there are. Where there are no events it asks for the head too.
func (ex *Executor) askKnown(ctx context.Context, r *reading) (known bool, err error) {
	err = ex.ask(ctx, r, unbounded)
	if err == nil && r.kinds == r.WholeKinds && r.headless && len(r.rows) == 0 {
		r.headless = false
		err = ex.ask(ctx, r, unbounded)
	}
	return r.kinds == r.WholeKinds, err
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
	if !r.None {
		if len(r.Tagged) > mostLegs {
			batch.Queue(ex.sql.interpreted)
		}
		text, params := ex.sql.selectEvents(&r.plan, backward, r.near, from, bound, r.args.Limit()+1)
		batch.Queue(text, params...).Query(r.scan)
		if !r.args.IsOnward() && from != maxPosition {
			other := from + 1 // forward: anything up to the place
			if backward {
				other = from - 1
			}
			text, params := ex.sql.anyEvent(&r.plan, !backward, other)
			batch.Queue(text, params...).QueryRow(func(row pgx.Row) error { return row.Scan(&r.next) })
		}
		if len(r.Tagged) > mostLegs {
			batch.Queue(ex.sql.asBefore)
		}
	}
	if len(r.WholeTypes) > 0 {
		batch.Queue(ex.sql.countKinds, r.WholeTypes).QueryRow(func(row pgx.Row) error { return row.Scan(&r.kinds) })
	}
	if batch.Len() == 0 {
		return nil
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
	w := sqlstore.Row{AggregateID: onlyAggregate(&r.plan)}
	plain, size := false, 0
	for first := true; rows.Next(); first = false {
		if first { // rows that failed describe nothing
			plain = isPlain(rows.FieldDescriptions())
		}
		if !plain || !readRow(&w, rows.RawValues()) {
			if err := scanRow(&w, rows); err != nil {
				return err
			}
		}
		n := len(r.rows)
		if n > 0 && r.rows[n-1].Position == w.Position {
			continue // legs may overlap
		}
		size += len(w.Data)
		if n == r.args.Limit() || n > 0 && size > evento.PageBytes {
			r.more = true
			return nil
		}
		w.Data, w.Metadata = r.keep(w.Data), r.keep(w.Metadata)
		r.rows = append(r.rows, w)
		if len(r.rows)-len(r.edges) != early {
			continue
		}
		if err := r.makeEvents(func(*sqlstore.Row) error { return errUnknownName }); err != nil && !errors.Is(err, errUnknownName) {
			return err
		}
	}
	return rows.Err()
}

// finish makes the page of what was read.
func (ex *Executor) finish(ctx context.Context, r *reading) (*cursor.Page[evento.RawEvent], error) {
	found := store.Found{More: r.more, Behind: r.next, At: uint64(r.at), Head: uint64(r.head)}
	if n := len(r.rows); n > 0 {
		ex.noteHead(max(r.rows[0].Position, r.rows[n-1].Position))
		err := r.makeEvents(func(w *sqlstore.Row) error { return ex.fetch(ctx, w.KindID, w.RoutingID) })
		if err != nil {
			return nil, err
		}
		found.Edges = r.edges
	}
	return found.Page(r.args, ex.positions), nil
}

// early is how many rows are made events at a time, while the server sends more. Names
// that are not known yet can only be asked for when it has sent all: then the page is
// made events at the end.
const early = 128

var errUnknownName = errors.New("a name that is not in the dictionary yet")

// makeEvents makes events of the rows that are none yet, whose bytes are the scratch's,
// in as few allocations as will do.
func (r *reading) makeEvents(fetch func(*sqlstore.Row) error) error {
	rows := r.rows[len(r.edges):]
	edges, err := r.names.Events(rows, fetch)
	if err != nil {
		return err
	}
	size := 0
	for i := range rows {
		size += len(rows[i].Data)
	}
	var data store.Slab
	data.Expect(size)
	for i := range edges {
		edges[i].Node.Data = data.Copy(rows[i].Data)
	}
	switch need := len(r.edges) + len(edges); {
	case r.edges == nil:
		r.edges = edges
		return nil
	case need > cap(r.edges):
		r.edges = slices.Grow(r.edges, max(need, min(4*need, r.args.Limit()))-len(r.edges))
	}
	r.edges = append(r.edges, edges...)
	return nil
}

// isPlain reports whether the columns of eventColumns come in the form that
// readRow knows: binary, which pgx asks for unless its protocol was chosen
// otherwise. Text is the same bytes in both formats, and asked for as text.
func isPlain(fields []pgconn.FieldDescription) bool {
	for _, f := range fields {
		if f.Format != pgx.BinaryFormatCode && f.DataTypeOID != pgtype.TextOID {
			return false
		}
	}
	return len(fields) == 10
}

// readRow takes a row's values, and reports whether they are as they should be.
// Reading everything is made of little else, hence by hand. The bytes stay the
// connection's.
func readRow(w *sqlstore.Row, v [][]byte) bool {
	if len(v[0]) != 8 || len(v[1]) != 8 || len(v[2]) != 8 || len(v[3]) != 4 || v[4] != nil && len(v[4]) != 4 || len(v[5]) != 16 {
		return false
	}
	w.Position = int64(binary.BigEndian.Uint64(v[0]))
	w.RecordedAt = int64(binary.BigEndian.Uint64(v[1]))
	w.Version = int64(binary.BigEndian.Uint64(v[2]))
	w.KindID = int64(binary.BigEndian.Uint32(v[3]))
	w.RoutingID = 0
	if v[4] != nil {
		w.RoutingID = int64(binary.BigEndian.Uint32(v[4]))
	}
	w.ID = evento.ID(v[5])
	// Runs of one codec and one aggregate are usual.
	if string(v[6]) != w.Codec {
		w.Codec = string(v[6])
	}
	if v[7] != nil && string(v[7]) != w.AggregateID {
		w.AggregateID = string(v[7])
	}
	w.Data, w.Metadata = v[8], v[9]
	return true
}

// scanRow is readRow for other formats.
func scanRow(w *sqlstore.Row, rows pgx.Rows) error {
	var routing *int64
	var id *string
	err := rows.Scan(&w.Position, &w.RecordedAt, &w.Version, &w.KindID, &routing, (*[16]byte)(&w.ID), &w.Codec, &id, &w.Data, &w.Metadata)
	w.RoutingID = 0
	if routing != nil {
		w.RoutingID = *routing
	}
	if id != nil {
		w.AggregateID = *id
	}
	return err
}

// scratch is what the rows of a page are read into. Used again for the next
// page, it keeps the garbage of reading to what the page itself is made of.
type scratch struct {
	rows  []sqlstore.Row
	bytes []byte // of the rows
}

// keep copies bytes of a row, to stay until the scratch is used again.
func (s *scratch) keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	n := len(s.bytes)
	s.bytes = append(s.bytes, b...) // when it moves, earlier rows keep the former array
	return s.bytes[n:]
}

// reset makes the scratch ready for another page, and reports whether it is
// small enough to be kept for one.
func (s *scratch) reset() bool {
	const most = 1 << 20
	clear(s.rows)
	s.rows, s.bytes = s.rows[:0], s.bytes[:0]
	return cap(s.bytes) <= most
}
