// Which writes were stored lately.

package jetstream

import "github.com/evento-go/evento"

// recentMost is how many appends a half of recent has.
const recentMost = 1 << 14

// recent has the ids of the first events of the last appends, so that the index is seldom
// asked whether a write is there already. It begins where the index was when the client
// began, and what it does not know, the index does: it decides nothing. The zero value
// knows all of an empty log.
type recent struct {
	from, middle uint64 // the halves have what is behind these positions
	old, young   map[evento.ID]struct{}
}

// add adds an append behind a position.
func (r *recent) add(id evento.ID, position uint64) {
	if r.young == nil || len(r.young) == recentMost {
		r.old, r.young = r.young, make(map[evento.ID]struct{})
		r.from, r.middle = r.middle, position
	}
	r.young[id] = struct{}{}
}

// may reports whether an append may be stored behind a position.
func (r *recent) may(id evento.ID, behind uint64) bool {
	if behind < r.from {
		return true
	}
	_, old := r.old[id]
	_, young := r.young[id]
	return old || young
}
