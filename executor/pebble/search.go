// Finding the events of a query, in order.
//
// There are two ways. A scan goes through all events by position and drops
// those that do not match; it is best where many match. Legs go through the
// indexes, one leg for each kind, aggregate or routing key that is asked for, and
// are merged by position; they are best where few match. A read begins
// with a scan of a few events, unless it is for aggregates alone, and goes on
// with legs when few of them matched. Nothing is collected to be sorted.

package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// search is a query up to a head.
//
// Why: docs/decisions.md, "A scan decides by what it meets".
type search struct {
	ex   *Executor
	head uint64

	one        *evento.Filter // the only filter, when it names an aggregate
	everything bool           // no filter
	routing    string
	unrouted   bool
	types      map[evento.AggregateType]bool
	kinds      map[kind]bool
	aggregates map[evento.AggregateKey]map[string]bool // names by aggregate; nil: every name
	tagged     []evento.Filter
}

type kind struct {
	t    evento.AggregateType
	name string
}

func newSearch(ex *Executor, q evento.Query, head uint64) *search {
	s := &search{ex: ex, head: head, everything: len(q.Filters) == 0, routing: q.RoutingKey, unrouted: q.Unrouted}
	if len(q.Filters) == 1 && q.Filters[0].AggregateID != "" && len(q.Filters[0].Tags) == 0 {
		s.one = &q.Filters[0]
		return s
	}
	for _, f := range q.Filters {
		switch {
		case len(f.Tags) > 0:
			s.tagged = append(s.tagged, f)
		case f.AggregateID != "":
			s.addAggregate(f)
		case f.Name != "":
			put(&s.kinds, kind{f.AggregateType, f.Name}, true)
		default:
			put(&s.types, f.AggregateType, true)
		}
	}
	return s
}

func (s *search) addAggregate(f evento.Filter) {
	a := evento.AggregateKey{Type: f.AggregateType, ID: f.AggregateID}
	names, known := s.aggregates[a]
	if f.Name == "" {
		names = nil
	} else if !known || names != nil {
		put(&names, f.Name, true)
	}
	put(&s.aggregates, a, names)
}

// put makes the map when it has its first entry.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// matches looks at an event in Pebble's memory.
func (s *search) matches(p *parts) bool {
	if s.unrouted && len(p.routing) > 0 || s.routing != "" && s.routing != string(p.routing) {
		return false
	}
	if s.one != nil {
		return s.one.Name == "" || s.one.Name == string(p.name) // its leg has no other aggregate
	}
	if s.everything || s.types[evento.AggregateType(p.aggregateType)] {
		return true
	}
	if s.kinds != nil && s.kinds[kind{evento.AggregateType(p.aggregateType), string(p.name)}] {
		return true
	}
	if s.aggregates != nil {
		names, ok := s.aggregates[evento.AggregateKey{Type: evento.AggregateType(p.aggregateType), ID: string(p.aggregateID)}]
		if ok && (names == nil || names[string(p.name)]) {
			return true
		}
	}
	return s.tagged != nil && len(p.metadata) > 0 && s.matchesTags(p)
}

// matchesTags decodes an event's tags; those that cannot be read match nothing.
func (s *search) matchesTags(p *parts) bool {
	d, err := decodeMetadata(p.metadata, 0)
	if err != nil || len(d.Tags) == 0 {
		return false
	}
	e := evento.RawEvent{AggregateType: evento.AggregateType(p.aggregateType), AggregateID: string(p.aggregateID), Name: string(p.name), Tags: d.Tags}
	return slices.ContainsFunc(s.tagged, func(f evento.Filter) bool { return f.Matches(e) })
}

const (
	// scanStretch is the fewest events that are scanned before the share of
	// matches is judged.
	scanStretch = 64
	// scanDensity: a scan is faster than legs when at least one of so many
	// events matches. Finding an event through an index costs about ten times
	// as much as scanning one.
	scanDensity = 10
	// contextEvery is how many events are examined before the context is looked
	// at again.
	contextEvery = 512
)

// read finds up to n matches beyond from.
func (s *search) read(ctx context.Context, from uint64, backward bool, n int, keep bool) (r *reading, err error) {
	r = &reading{search: s, backward: backward, last: from, want: n, keep: keep}
	if r.left() == 0 {
		return r, nil
	}
	if s.everything && s.routing == "" && keep && !s.unrouted {
		most := int(min(uint64(n), r.left()))
		r.edges, r.idLens = make([]cursor.Edge[evento.RawEvent], 0, most), make([]uint8, 0, most)
	}
	if s.one != nil && keep {
		// If the aggregate is in the cache, the page can be made large enough.
		h, _, _ := s.ex.heads.get(evento.AggregateKey{Type: s.one.AggregateType, ID: s.one.AggregateID})
		r.edges = make([]cursor.Edge[evento.RawEvent], 0, min(uint64(n), h.version, r.left()))
	}
	if s.one == nil && (len(s.aggregates)+len(s.tagged) == 0 || len(s.kinds)+len(s.types) > 0) {
		if ended, err := r.scan(ctx); err != nil || ended {
			return r, err
		}
	}
	return r, r.merge(ctx)
}

// left is how many positions there are beyond the last examined.
func (r *reading) left() uint64 {
	if r.backward {
		return max(min(r.last, r.search.head+1), 1) - 1
	}
	return r.search.head - r.last
}

// bounds are the first and last position of those.
func (r *reading) bounds() (from, to uint64) {
	if r.backward {
		return 1, r.left()
	}
	return r.last + 1, r.search.head
}

// scan goes through the events, until the page is complete or no event is left
// (ended), or until legs promise to be faster.
func (r *reading) scan(ctx context.Context) (ended bool, err error) {
	s := r.search
	l := leg{beginning: s.ex.keys.events(), whole: true}
	if err := l.open(ctx, r); err != nil {
		return false, err
	}
	defer func() { err = l.close(err) }()
	stretch := max(scanStretch, r.want)
	examined, before := 0, 0
	for ; !l.ended; l.step(ctx, r.backward) {
		if more, err := r.examine(&l, nil); err != nil || !more {
			return true, err
		}
		if examined++; examined == scanStretch && r.keep && r.matched > scanStretch/2 {
			// With so many matches, the page will be full.
			r.edges = slices.Grow(r.edges, int(min(uint64(r.want), r.left()+scanStretch))-len(r.edges))
		}
		if examined%contextEvery == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		if examined%stretch == 0 && (!s.everything || s.routing != "") {
			if (r.matched-before)*scanDensity < stretch {
				return false, nil
			}
			before = r.matched
		}
	}
	return true, nil
}

// merge goes through the indexes.
func (r *reading) merge(ctx context.Context) (err error) {
	if r.left() == 0 {
		return nil
	}
	h := store.Merge[leg, *leg]{Backward: r.backward}
	defer func() {
		for i := range h.Legs {
			err = h.Legs[i].close(err)
		}
	}()
	if h.Legs, err = r.search.legs(); err != nil {
		return err
	}
	indirect := false
	for i := range h.Legs {
		if err := h.Legs[i].open(ctx, r); err != nil {
			return err
		}
		indirect = indirect || !h.Legs[i].whole
	}
	var events *lsm.Iterator
	if indirect {
		if events, err = r.search.ex.iterate(r.search.ex.keys.events(), 1, r.search.head); err != nil {
			return err
		}
		defer func() { err = closeAfter(events, err) }()
	}
	examined := 0
	for h.Init(); len(h.Legs) > 0; h.Moved() {
		l := &h.Legs[0] // an ended leg is first only when all have ended
		if l.ended {
			return nil
		}
		// Legs may overlap: an event of several is met several times in a row.
		if l.position != r.last {
			if more, err := r.examine(l, events); err != nil || !more {
				return err
			}
		}
		if examined++; examined%contextEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		l.step(ctx, r.backward)
	}
	return nil
}

// examine looks at the event that a leg is on, and takes it if it matches. It
// reports whether the page has room for another.
func (r *reading) examine(l *leg, events *lsm.Iterator) (bool, error) {
	r.last = l.position
	if l.exact && r.matched == r.want {
		r.more = true
		return false, nil
	}
	v, err := l.value(r, events)
	if err != nil {
		return false, fmt.Errorf("event at position %d: %w", l.position, err)
	}
	p := v.parts()
	if !l.exact && !r.search.matches(&p) {
		return true, nil
	}
	return r.take(v, &p)
}

// legs lists the indexes to merge. When there are filters, those of the filters are
// used and not that of the routing key: applications have few routing keys.
func (s *search) legs() ([]leg, error) {
	k := s.ex.keys
	if s.everything {
		return []leg{{beginning: k.routing(s.routing), exact: true}}, nil
	}
	exact := s.routing == "" && !s.unrouted
	if s.one != nil {
		return []leg{{beginning: k.aggregate(s.one.AggregateType, s.one.AggregateID), whole: true, exact: exact && s.one.Name == ""}}, nil
	}
	legs := make([]leg, 0, len(s.kinds)+len(s.aggregates)+len(s.tagged))
	for a, names := range s.aggregates {
		if !s.types[a.Type] {
			legs = append(legs, leg{beginning: k.aggregate(a.Type, a.ID), whole: true, exact: exact && names == nil})
		}
	}
	for i := range s.tagged {
		f := &s.tagged[i]
		l := leg{beginning: k.tag(f.Tags[0]), exact: exact && f.AggregateType == ""}
		for _, tag := range f.Tags[1:] {
			l.others = append(l.others, also{beginning: k.tag(tag)})
		}
		legs = append(legs, l)
	}
	for f := range s.kinds {
		if !s.types[f.t] {
			legs = append(legs, leg{beginning: k.kind(f.t, f.name), exact: exact})
		}
	}
	for t := range s.types {
		kinds, err := s.kindsOf(t)
		if err != nil {
			return nil, err
		}
		for _, beginning := range kinds {
			legs = append(legs, leg{beginning: beginning, exact: exact})
		}
		if len(kinds) > store.MostLegs {
			break
		}
	}
	if len(legs)-len(s.aggregates)-len(s.tagged) > store.MostLegs {
		return []leg{{beginning: k.events(), whole: true}}, nil // all events, also the others'
	}
	return legs, nil
}

// kindsOf finds the kinds of a type by going from one to the next in the index. The
// head was read before, so no kind with an event up to it is missed. Of more than
// [store.MostLegs] it finds one more only.
func (s *search) kindsOf(t evento.AggregateType) (kinds [][]byte, err error) {
	beginning := s.ex.keys.kindsOf(t)
	it, err := s.ex.db.NewIter(&lsm.IterOptions{LowerBound: beginning, UpperBound: end(beginning)})
	if err != nil {
		return nil, err
	}
	defer func() { err = closeAfter(it, err) }()
	for ok := it.First(); ok && len(kinds) <= store.MostLegs; {
		key := it.Key()
		key = bytes.Clone(key[:len(key)-positionLen])
		kinds = append(kinds, key)
		ok = it.SeekGE(end(key))
	}
	return kinds, nil
}

// leg is a range of keys that end with positions.
type leg struct {
	beginning []byte
	whole     bool // its values are events; else they are looked up
	exact     bool // all that it has matches
	others    []also
	it        *lsm.Iterator
	position  uint64
	ended     bool
	err       error // why it has ended before its end
}

// also is a range of keys that must have the leg's positions too: those of another tag.
type also struct {
	beginning []byte
	it        *lsm.Iterator
}

// open puts the leg on its first position beyond the last examined.
func (l *leg) open(ctx context.Context, r *reading) (err error) {
	from, to := r.bounds()
	if l.it, err = r.search.ex.iterate(l.beginning, from, to); err != nil {
		return err
	}
	for i := range l.others {
		o := &l.others[i]
		if o.it, err = r.search.ex.iterate(o.beginning, from, to); err != nil {
			return err
		}
	}
	if r.backward {
		l.on(l.it.Last())
	} else {
		l.on(l.it.First())
	}
	l.align(ctx, r.backward)
	return nil
}

// align moves on to the next position that the others have too. Each skips what the others
// lack, so it looks at about as many keys as the rarest has.
func (l *leg) align(ctx context.Context, backward bool) {
	seeks := 0
	for i := 0; i < len(l.others) && !l.ended; i++ {
		if seeks++; seeks%contextEvery == 0 && ctx.Err() != nil {
			l.ended, l.err = true, ctx.Err()
			return
		}
		o := &l.others[i]
		if !seek(o.it, o.beginning, l.position, backward) {
			l.ended = true
			return
		}
		if at := positionOf(o.it.Key()); at != l.position {
			l.on(seek(l.it, l.beginning, at, backward))
			i = -1 // from the first on
		}
	}
}

// seek puts an iterator on the first position from one on, or backward the last up to it.
func seek(it *lsm.Iterator, beginning []byte, position uint64, backward bool) bool {
	if backward {
		return it.SeekLT(append(at(beginning, position), 0))
	}
	return it.SeekGE(at(beginning, position))
}

func (l *leg) step(ctx context.Context, backward bool) {
	if backward {
		l.on(l.it.Prev())
	} else {
		l.on(l.it.Next())
	}
	l.align(ctx, backward)
}

func (l *leg) on(ok bool) {
	if l.ended = !ok; ok {
		l.position = positionOf(l.it.Key())
	}
}

// value is the event that the leg is on.
func (l *leg) value(r *reading, events *lsm.Iterator) (stored, error) {
	it := l.it
	if !l.whole {
		if !events.SeekGE(r.eventAt(l.position)) || positionOf(events.Key()) != l.position {
			return nil, errors.Join(events.Error(), fmt.Errorf("%w: an index has position %d, which is no event's", evento.ErrDecode, l.position))
		}
		it = events
	}
	return valueOf(it)
}

// close adds what the leg met to an error.
func (l *leg) close(err error) error {
	err = errors.Join(err, l.err)
	for i := range l.others {
		if it := l.others[i].it; it != nil {
			err = closeAfter(it, err)
		}
	}
	if l.it == nil {
		return err
	}
	return closeAfter(l.it, err)
}

// At implements [store.Leg].
func (l *leg) At() (uint64, bool) { return l.position, l.ended }
