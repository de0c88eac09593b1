package evento

import (
	"fmt"
	"testing"
)

// The partition of an aggregate may never change: the stored cursors are those
// of partitions.
func TestPartitionOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		t         AggregateType
		id        string
		of8, of64 int
	}{
		{"bank/Account", "a", 3, 24},
		{"bank/Account", "b", 3, 31},
		{"bank/Accoun", "ta", 3, 30},
		{"", "", 3, 31},
		{"shop/Order", "01M82SWGT21H87AR2HK74WGZMP", 0, 6},
	} {
		if of8, of64 := partitionOf(test.t, test.id, 8), partitionOf(test.t, test.id, 64); of8 != test.of8 || of64 != test.of64 {
			t.Errorf("%q %q is in %d of 8 and %d of 64, want %d and %d", test.t, test.id, of8, of64, test.of8, test.of64)
		}
	}
	for _, n := range []int{1, 2, 3, 8, 64} {
		counts := make([]int, n)
		const all = 64_000
		for i := range all {
			counts[partitionOf("bank/Account", fmt.Sprint(i), n)]++
		}
		for p, count := range counts {
			if mean := all / n; count < mean*8/10 || count > mean*12/10 {
				t.Errorf("partition %d of %d has %d aggregates, want about %d", p, n, count, mean)
			}
		}
	}
}
