// Merging ranges of keys by position.

package pebble

import (
	"errors"
	"fmt"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
)

// leg is a range of keys that end with positions.
type leg struct {
	beginning []byte
	whole     bool // its values are events; else they are looked up
	exact     bool // all that it has matches
	it        *lsm.Iterator
	position  uint64
	ended     bool
}

// open puts the leg on its first position beyond the last examined.
func (l *leg) open(r *reading) (err error) {
	from, to := r.bounds()
	if l.it, err = r.search.ex.iterate(l.beginning, from, to); err != nil {
		return err
	}
	if r.backward {
		l.on(l.it.Last())
	} else {
		l.on(l.it.First())
	}
	return nil
}

func (l *leg) step(backward bool) {
	if backward {
		l.on(l.it.Prev())
	} else {
		l.on(l.it.Next())
	}
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
	if l.it == nil {
		return err
	}
	return closeAfter(l.it, err)
}

// legHeap has the leg first whose position is next.
type legHeap struct {
	legs     []leg
	backward bool
}

func (h *legHeap) before(a, b *leg) bool {
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

func (h *legHeap) sift(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.legs); child++ {
			if h.before(&h.legs[child], &h.legs[first]) {
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
