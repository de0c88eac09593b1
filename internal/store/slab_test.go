package store_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/evento-go/evento/internal/store"
)

// Copies of all sizes keep their bytes, whatever is done to their sources and
// to each other.
func TestCopy(t *testing.T) {
	t.Parallel()
	var s store.Slab
	random := rand.New(rand.NewPCG(1, 2))
	var copies, want [][]byte
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, random.IntN(200))
		if i%500 == 0 {
			b = bytes.Repeat([]byte{byte(i)}, 50_000)
		}
		want = append(want, bytes.Clone(b))
		copies = append(copies, s.Copy(b))
		clear(b)
		_ = append(copies[i], 0xFF) // must not reach the next copy
	}
	for i := range copies {
		if !bytes.Equal(copies[i], want[i]) {
			t.Fatalf("copy %d of %d bytes changed", i, len(want[i]))
		}
	}
}

// What was expected fits exactly, and what was not is copied all the same.
func TestExpect(t *testing.T) {
	t.Parallel()
	var s store.Slab
	s.Expect(100)
	for i := range 20 {
		b := bytes.Repeat([]byte{byte(i)}, 10)
		if got := s.Copy(b); !bytes.Equal(got, b) || cap(got) != len(b) {
			t.Errorf("copy %d: % x with room for %d, want % x without room", i, got, cap(got), b)
		}
	}
}

func TestFewAllocations(t *testing.T) { // not parallel: it counts the process's allocations
	var s store.Slab
	b := []byte("some hundred bytes are the usual size")
	if allocs := testing.AllocsPerRun(100, func() { s.Copy(b) }); allocs >= 1 {
		t.Errorf("%.1f allocations for a small copy, want less than one", allocs)
	}
}
