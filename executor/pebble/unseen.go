// Which aggregates an index has never seen, while it is made.

package pebble

import (
	"hash/maphash"

	"github.com/evento-go/evento"
)

// unseen knows of the aggregates of an index that began empty in this process. To look for one
// that is not there is a search in the database, and when a log is read from its beginning most of
// them are not there yet. It is a list of Bloom filters (Bloom, Space/Time Trade-offs in Hash
// Coding with Allowable Errors, 1970), each of twice the size of the one before. One goroutine
// uses it.
type unseen struct {
	seed    maphash.Seed
	filters []filter
}

// filter is a Bloom filter of a bit for each of some hashes of an element.
type filter struct {
	bits []uint64
	room int // for further elements
}

const (
	bitsEach   = 10 // of an element: one in a hundred that is not there seems to be
	hashesEach = 6
	firstRoom  = 1 << 16
)

func newUnseen() *unseen { return &unseen{seed: maphash.MakeSeed()} }

func (u *unseen) hashes(a evento.AggregateKey) (h, step uint64) {
	h = maphash.Comparable(u.seed, a)
	return h, h>>32 | 1
}

// has reports whether an aggregate was added, or seems so.
func (u *unseen) has(a evento.AggregateKey) bool {
	h, step := u.hashes(a)
	for i := range u.filters {
		if u.filters[i].has(h, step) {
			return true
		}
	}
	return false
}

func (u *unseen) add(a evento.AggregateKey) {
	n := len(u.filters)
	if n == 0 || u.filters[n-1].room == 0 {
		room := firstRoom << n
		u.filters = append(u.filters, filter{bits: make([]uint64, room*bitsEach/64), room: room})
		n++
	}
	last := &u.filters[n-1]
	last.room--
	h, step := u.hashes(a)
	for range hashesEach {
		at := h % uint64(len(last.bits)*64)
		last.bits[at/64] |= 1 << (at % 64)
		h += step
	}
}

func (f *filter) has(h, step uint64) bool {
	for range hashesEach {
		at := h % uint64(len(f.bits)*64)
		if f.bits[at/64]&(1<<(at%64)) == 0 {
			return false
		}
		h += step
	}
	return true
}
