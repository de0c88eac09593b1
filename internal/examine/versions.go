package examine

import (
	"hash/maphash"
)

// versionBytes is about the memory that one aggregate takes in the map of versions.
const versionBytes = 56

// versions are the last versions and the routing keys of aggregates, by a hash of 128 bits:
// no two aggregates have one.
//
// Why: docs/decisions.md, "Doctor counts versions by hash".
type versions struct {
	seeds [2]maphash.Seed
	most  int
	last  map[aggregateHash]lastVersion
	share Share
	count uint64 // of events in this pass
	key   []byte // that is hashed
}

type aggregateHash [2]uint64

// lastVersion is a version, and 24 bits of a hash of the routing key below it; 0: that is not
// known. Versions from mostVersion on, which nobody has counted up to, are one.
type lastVersion uint64

const (
	routingBits = 24
	routingMask = 1<<routingBits - 1
	mostVersion = 1<<(64-routingBits) - 1
)

func newVersions(most int) *versions {
	return &versions{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, most: max(most, 1), last: map[aggregateHash]lastVersion{}}
}

// known is what is known of an aggregate before an event.
type known struct {
	version  uint64 // 0: nothing
	rerouted bool   // its routing key was another
}

// put stores an event's version, and returns what was known of its aggregate. ok is false where
// another pass says so.
func (v *versions) put(e *Event) (before known, ok bool) {
	v.count++
	v.key = append(append(append(v.key[:0], e.AggregateType...), 0), e.AggregateID...)
	hash := aggregateHash{maphash.Bytes(v.seeds[0], v.key), maphash.Bytes(v.seeds[1], v.key)}
	if !v.share.Has(hash[0]) {
		return before, false
	}
	last, there := v.last[hash]
	for !there && len(v.last) >= v.most && v.share.Halve(v.count) {
		v.drop()
		if !v.share.Has(hash[0]) {
			return before, false
		}
	}
	before = known{version: uint64(last >> routingBits)}
	routing := last & routingMask
	if !e.Lacks(RoutingKey) {
		now := max(lastVersion(maphash.String(v.seeds[0], e.RoutingKey))&routingMask, 1)
		before.rerouted = routing != 0 && routing != now
		routing = now
	}
	v.last[hash] = lastVersion(min(e.Version, mostVersion))<<routingBits | routing
	return before, v.count >= v.share.Since()
}

// drop forgets what was left to a later pass.
func (v *versions) drop() {
	for hash := range v.last {
		if !v.share.Has(hash[0]) {
			delete(v.last, hash)
		}
	}
}

// next begins the next pass, and reports whether there is one.
func (v *versions) next() bool {
	clear(v.last)
	v.count = 0
	return v.share.Next()
}
