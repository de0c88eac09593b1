package examine

import (
	"bytes"
	"hash/maphash"
	"maps"
	"slices"

	"github.com/evento-go/evento"
)

// ids finds event ids that are there twice, in flat memory. Ids rise, but for those that
// several processes have made at a time: an id that is greater than all that were forgotten is
// new. The last ones are remembered, and the greatest, as those of a clock that was ahead are.
// Only ids that come late, as those of another store that were imported do, are looked for in
// another pass.
type ids struct {
	seed    maphash.Seed
	most    int // of late ones in a pass
	young   map[evento.ID]uint64
	great   map[evento.ID]uint64 // the greatest of those that were in young
	dropped evento.ID            // the greatest that is no longer in young or great
	lost    bool                 // there is such a one
	again   bool                 // it is not the first pass
	ended   bool                 // late ones of all hashes were met

	share   Share
	late    map[evento.ID]uint64 // met in this pass, to look for in the next
	looking map[evento.ID]uint64 // met in the pass before; positions where they were found
}

const (
	// recentIDs is how many are in young, or in great.
	recentIDs = 1 << 16
	lateBytes = 56 // about the memory that one takes
)

func newIDs(most int) *ids {
	return &ids{seed: maphash.MakeSeed(), most: max(most, 1), young: map[evento.ID]uint64{}, great: map[evento.ID]uint64{}, late: map[evento.ID]uint64{}}
}

// put returns the position of an earlier event with this id; 0: there is none, or another
// pass finds it.
func (s *ids) put(id evento.ID, position uint64) (earlier uint64) {
	if at, there := s.looking[id]; there {
		if at != 0 {
			return at
		}
		s.looking[id] = position
	}
	if s.ended {
		return 0
	}
	at, there := s.young[id]
	if !there {
		at, there = s.great[id]
	}
	switch {
	case there && !s.again:
		return at
	case there:
		return 0 // the first pass has said so
	case s.lost && bytes.Compare(id[:], s.dropped[:]) <= 0:
		s.postpone(id)
		return 0
	}
	if len(s.young) >= recentIDs {
		s.age()
	}
	s.young[id] = position
	return 0
}

// age forgets all that are remembered but the greatest.
func (s *ids) age() {
	maps.Copy(s.great, s.young)
	clear(s.young)
	if len(s.great) <= recentIDs {
		return
	}
	all := slices.SortedFunc(maps.Keys(s.great), func(a, b evento.ID) int { return bytes.Compare(b[:], a[:]) })
	for _, id := range all[recentIDs:] {
		delete(s.great, id)
	}
	if greatest := all[recentIDs]; !s.lost || bytes.Compare(greatest[:], s.dropped[:]) > 0 {
		s.dropped, s.lost = greatest, true
	}
}

// postpone leaves a late one to the next pass.
func (s *ids) postpone(id evento.ID) {
	hash := maphash.Bytes(s.seed, id[:])
	for s.share.Has(hash) && len(s.late) >= s.most {
		if _, there := s.late[id]; there || !s.share.Halve(0) {
			break
		}
		for id := range s.late {
			if !s.share.Has(maphash.Bytes(s.seed, id[:])) {
				delete(s.late, id)
			}
		}
	}
	if s.share.Has(hash) {
		s.late[id] = 0
	}
}

// next begins the next pass, and reports whether there is one.
func (s *ids) next() bool {
	s.again = true
	s.looking, s.late = s.late, map[evento.ID]uint64{}
	clear(s.young)
	clear(s.great)
	s.dropped, s.lost = evento.ID{}, false
	s.ended = !s.share.Next()
	return !s.ended || len(s.looking) > 0
}
