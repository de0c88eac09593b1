// Merging several ways through the events into one.

package store

// Leg goes through some of the events in the order of their positions. It is on one of
// them, or has ended.
type Leg interface {
	At() (position uint64, ended bool)
}

// MostLegs is how many kinds of events are merged from an index. More than that are
// likely to be most of the events, and each costs a seek for every page: the events are
// gone through one by one then.
const MostLegs = 256

// Merge is a heap of legs; the one on the first event, or backward on the last, is
// Legs[0]. Legs that have ended come last.
type Merge[L any, P interface {
	*L
	Leg
}] struct {
	Legs     []L
	Backward bool
}

// Init orders the legs.
func (m *Merge[L, P]) Init() {
	for i := len(m.Legs)/2 - 1; i >= 0; i-- {
		m.sift(i)
	}
}

// Moved orders the legs again when Legs[0] has moved on.
func (m *Merge[L, P]) Moved() { m.sift(0) }

func (m *Merge[L, P]) sift(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.Legs); child++ {
			if m.before(child, first) {
				first = child
			}
		}
		if first == i {
			return
		}
		m.Legs[i], m.Legs[first] = m.Legs[first], m.Legs[i]
		i = first
	}
}

func (m *Merge[L, P]) before(i, j int) bool {
	a, aEnded := P(&m.Legs[i]).At()
	b, bEnded := P(&m.Legs[j]).At()
	switch {
	case aEnded || bEnded:
		return !aEnded
	case m.Backward:
		return a > b
	}
	return a < b
}
