package cborwire

import (
	"cmp"
	"slices"
	"strings"
)

// Keys appends the keys of a map to a slice, in the order in which they must be
// written: texts by length and then bytewise; numbers from 0 upward and then from
// -1 downward. If the slice has room for them, it does not allocate.
func Keys[K ~string, V any](keys []K, m map[K]V) []K {
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(string(a), string(b))
	})
	return keys
}

// IntKeys is Keys for maps with integers as keys.
func IntKeys[K ~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr, V any](keys []K, m map[K]V) []K {
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int {
		if a < 0 || b < 0 {
			return cmp.Compare(b, a)
		}
		return cmp.Compare(a, b)
	})
	return keys
}
