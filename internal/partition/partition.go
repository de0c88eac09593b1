// Package partition says in which partition of a subscription an aggregate is. The library and the
// console share it.
package partition

// slices is how many slices the aggregates are split into; a partition is a contiguous range of
// slices.
const slices = 1024

// Of returns the partition of an aggregate, given by its type and id, among so many. It must never
// change: the hash is 64-bit FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) of the type, a zero
// byte and the id, with the finalizer of MurmurHash3, so that the high bits also depend on all
// input.
func Of(aggregateType, id string, partitions int) int {
	h := uint64(14695981039346656037)
	const prime = 1099511628211
	for i := range len(aggregateType) {
		h = (h ^ uint64(aggregateType[i])) * prime
	}
	h *= prime
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return int(h%slices) * partitions / slices
}
