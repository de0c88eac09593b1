package executortest

import "testing"

// Benchmark measures.
func Benchmark(b *testing.B, c Config) { b.Helper(); c.withDefaults(b) }
