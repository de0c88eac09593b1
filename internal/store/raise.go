// A mark that only rises.

package store

import "sync/atomic"

// Raise makes a mark at least what it is given.
func Raise(mark *atomic.Int64, to int64) {
	for {
		old := mark.Load()
		if to <= old || mark.CompareAndSwap(old, to) {
			return
		}
	}
}
