// Copies of many small byte slices with few allocations.

package store

const (
	smallest = 1 << 10
	largest  = 32 << 10
	// largestExpected is the largest one when it is known that it will be filled.
	largestExpected = 64 << 10
)

// Slab lets the copies of a page of events share allocations. These begin small and
// grow, so that there are few, a page of a few events needs little, and an event that
// outlives its page keeps little alive. The zero Slab is ready; it is not safe for
// concurrent use.
type Slab struct {
	free     []byte
	size     int
	expected int
}

// Expect says how many bytes are going to be copied, so that no more are allocated.
func (s *Slab) Expect(n int) { s.expected = n }

// Copy returns a copy of b, whose capacity is its length; nil when b is empty.
func (s *Slab) Copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if len(b) > cap(s.free)-len(s.free) {
		if len(b) > largest/4 {
			s.expected -= len(b)
			return append([]byte(nil), b...)
		}
		s.size = min(max(smallest, 4*s.size, 8*len(b)), largest)
		if s.expected >= len(b) {
			s.size = min(s.expected, largestExpected)
		}
		s.free = make([]byte, 0, s.size)
	}
	s.expected -= len(b)
	n := len(s.free)
	s.free = append(s.free, b...)
	return s.free[n:len(s.free):len(s.free)]
}
