// The index of tags.

package store

import (
	"hash/fnv"
	"slices"
)

// TagNumber stands for a tag in the indexes of the SQL stores: its FNV-1a hash of 64 bits
// (https://datatracker.ietf.org/doc/html/draft-eastlake-fnv). It is part of their formats.
// Two tags may have one number: whoever finds events by it looks at their tags too.
func TagNumber(tag string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(tag)) // it never fails
	return int64(h.Sum64())
}

// TagNumbers are those of some tags, each once.
func TagNumbers(tags []string) []int64 {
	numbers := make([]int64, 0, len(tags))
	for _, tag := range tags {
		if n := TagNumber(tag); !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
