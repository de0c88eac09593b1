// Reading pages of events.

package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Read implements [evento.Executor]. It looks at the visible mark once and reads
// nothing above it. Events never change and positions only grow, so everything it
// reads is of that moment.
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	from, err := store.Begin(q, args, ex.positions)
	if err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	return ex.readPage(ctx, q, args, from, ex.visible.Load())
}

// readPage reads a page of the events up to a head.
func (ex *Executor) readPage(ctx context.Context, q evento.Query, args cursor.Args, from, head uint64) (*cursor.Page[evento.RawEvent], error) {
	if from > head {
		return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, from, head)
	}
	page, err := newSearch(ex, q, head).page(ctx, args, from)
	if err == nil {
		return page, nil
	}
	// A corruption, for one, closes the executor while it is read.
	return nil, cmp.Or(ctx.Err(), ex.gate.Failed(), failure(err))
}

// page reads the page and whether there are events before and after it.
func (s *search) page(ctx context.Context, args cursor.Args, from uint64) (*cursor.Page[evento.RawEvent], error) {
	backward := args.IsBackward()
	if backward && args.At() == "" {
		from = s.head + 1
	}
	r, err := s.read(ctx, from, backward, args.Limit(), true)
	if err != nil {
		return nil, err
	}
	r.shareIDs()
	found := store.Found{Edges: r.edges, More: r.more, At: from, Head: s.head}
	switch {
	case backward && from <= s.head: // from before the place on, which is itself before nothing
		found.Behind, err = s.any(ctx, max(from, 1)-1, false)
	case !backward && !args.IsOnward() && from > 0:
		found.Behind, err = s.any(ctx, from+1, true)
	}
	if err != nil {
		return nil, err
	}
	return found.Page(args, s.ex.positions), nil
}

// any reports whether there is a match beyond from.
func (s *search) any(ctx context.Context, from uint64, backward bool) (bool, error) {
	r, err := s.read(ctx, from, backward, 1, false)
	return err == nil && r.matched > 0, err
}

// reading is a search for one page. Pebble's memory is valid only until the next step,
// so it copies each event, into few pieces of memory that the events of the page share.
type reading struct {
	search   *search
	backward bool
	want     int
	keep     bool // false: only whether there is one

	last    uint64 // the position examined last
	matched int
	edges   []cursor.Edge[evento.RawEvent]
	bytes   int
	more    bool

	key    []byte // of an event that is looked up
	data   store.Slab
	ids    []byte // the aggregate ids of edges, one after the other
	idLens []uint8
	names  map[string]string
	recent [4]string // the type, name, routing key and codec before
}

// take adds a match; false: the page is complete.
func (r *reading) take(v stored, p *parts) (bool, error) {
	if r.matched == r.want {
		r.more = true
		return false, nil
	}
	if r.bytes += len(p.data); r.bytes > evento.PageBytes && r.matched > 0 {
		r.more = true
		return false, nil
	}
	r.matched++
	if !r.keep {
		return true, nil
	}
	if len(r.edges) == cap(r.edges) {
		r.edges = slices.Grow(r.edges, min(r.want-len(r.edges), max(8, 3*len(r.edges))))
	}
	r.edges = r.edges[:len(r.edges)+1]
	e := &r.edges[len(r.edges)-1].Node
	e.ID = v.id()
	e.Position = v.position()
	e.AggregateType = evento.AggregateType(r.name(0, p.aggregateType))
	e.Version = v.version()
	e.Name = r.name(1, p.name)
	e.RoutingKey = r.name(2, p.routing)
	e.Codec = r.name(3, p.codec)
	r.data.Expect((cap(r.edges) - len(r.edges) + 1) * len(p.data)) // the others are mostly like it
	e.Data = r.data.Copy(p.data)
	e.Timestamp = time.UnixMicro(v.recordedAt()).UTC()
	if one := r.search.one; one != nil {
		e.AggregateID = one.AggregateID
	} else {
		r.ids = append(r.ids, p.aggregateID...)
		r.idLens = append(r.idLens, uint8(len(p.aggregateID)))
	}
	if len(p.metadata) > 0 {
		d, err := decodeMetadata(p.metadata, e.Position)
		if err != nil {
			return false, err
		}
		e.Metadata, e.Tags = d.Metadata, d.Tags
	}
	return true, nil
}

// name makes a string of b without allocating when it is that of the event before, or
// one of the page's.
func (r *reading) name(which int, b []byte) string {
	if string(b) == r.recent[which] {
		return r.recent[which]
	}
	s, ok := r.names[string(b)]
	if !ok {
		s = string(b)
		if r.names == nil {
			r.names = map[string]string{}
		}
		r.names[s] = s
	}
	r.recent[which] = s
	return s
}

// eventAt returns the key of an event, which the next call overwrites.
func (r *reading) eventAt(position uint64) []byte {
	if r.key == nil {
		r.key = at(r.search.ex.keys.events(), position)
	}
	binary.BigEndian.PutUint64(r.key[len(r.key)-positionLen:], position)
	return r.key
}

// shareIDs gives the events their aggregate ids, which share one text.
func (r *reading) shareIDs() {
	ids := string(r.ids)
	for i, n := range r.idLens {
		r.edges[i].Node.AggregateID, ids = ids[:n], ids[n:]
	}
}

// iterate opens an iterator on the keys that begin so, and end with a position
// from one to another, both included.
func (ex *Executor) iterate(beginning []byte, from, to uint64) (*lsm.Iterator, error) {
	o := &lsm.IterOptions{LowerBound: at(beginning, from)}
	if to == lastPosition {
		o.UpperBound = append(at(beginning, to), 0)
	} else {
		o.UpperBound = at(beginning, to+1)
	}
	return ex.db.NewIter(o)
}

// last calls use with the last event of those whose keys begin so, and its key, in
// Pebble's memory; with none it does nothing.
func (ex *Executor) last(beginning []byte, use func(key []byte, v stored) error) error {
	it, err := ex.iterate(beginning, 1, lastPosition)
	if err != nil {
		return err
	}
	if it.Last() {
		var v stored
		if v, err = valueOf(it); err == nil {
			err = use(it.Key(), v)
		}
	}
	return closeAfter(it, err)
}

// valueOf returns the event that an iterator is on, in Pebble's memory.
func valueOf(it *lsm.Iterator) (stored, error) {
	b, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	return b, stored(b).check()
}

// closeAfter closes an iterator and adds what it met to an error.
func closeAfter(it *lsm.Iterator, err error) error { return errors.Join(err, it.Close()) }
