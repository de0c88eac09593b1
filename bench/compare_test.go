// Package bench compares evento with the raw drivers: both sides in one run,
// alternating, with the same schema, payload and durability. Every benchmark
// reports the medians of its rounds and their ratio; run it with a number of
// rounds:
//
//	go test -bench . -benchtime 5x
//
// It has a go.mod of its own, so that users of evento do not depend on what it
// compares with.
package bench

import (
	"slices"
	"testing"
	"time"
)

// rate runs fn, which does n things, and returns things per second.
func rate(b *testing.B, n int, fn func() error) float64 {
	b.Helper()
	began := time.Now()
	if err := fn(); err != nil {
		b.Fatal(err)
	}
	return float64(n) / time.Since(began).Seconds()
}

// compare runs rounds of evento and of the raw driver, and reports both medians and
// their ratio; reach is the ratio to reach, 0 for none.
func compare(b *testing.B, reach float64, evento, raw func() float64) {
	b.Helper()
	var e, r []float64
	for b.Loop() {
		e = append(e, evento())
		r = append(r, raw())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(e), "evento/s")
	b.ReportMetric(median(r), "raw/s")
	b.ReportMetric(median(e)/median(r), "ratio")
	if reach > 0 {
		b.ReportMetric(reach, "reach")
	}
}

// inShort is small with -short, where benchmarks only have to run, and full otherwise.
func inShort(small, full int) int {
	if testing.Short() {
		return small
	}
	return full
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
