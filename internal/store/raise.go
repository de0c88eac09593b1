// A mark that only rises.

package store

// Raise makes a mark at least what it is given. The mark is an atomic.Int64 or
// atomic.Uint64.
func Raise[T int64 | uint64](mark interface {
	Load() T
	CompareAndSwap(old, to T) bool
}, to T,
) {
	for {
		old := mark.Load()
		if to <= old || mark.CompareAndSwap(old, to) {
			return
		}
	}
}
