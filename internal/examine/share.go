package examine

// Share is for what does not fit in memory at once. Each pass over a store takes the hashes
// whose lowest bits are its own; when these are too many, half of them are left to a later
// pass. The zero value takes all hashes.
type Share struct {
	bits, part uint64
	todo       []Share
}

// Has reports whether this pass takes a hash.
func (s *Share) Has(hash uint64) bool { return hash&(1<<s.bits-1) == s.part }

// Halve leaves half of the hashes to a later pass. It returns false when there is nothing to
// halve.
func (s *Share) Halve() bool {
	if s.bits >= 62 {
		return false
	}
	s.todo = append(s.todo, Share{bits: s.bits + 1, part: s.part | 1<<s.bits})
	s.bits++
	return true
}

// Next begins the next pass, and reports whether there is one.
func (s *Share) Next() bool {
	n := len(s.todo)
	if n == 0 {
		return false
	}
	s.bits, s.part = s.todo[n-1].bits, s.todo[n-1].part
	s.todo = s.todo[:n-1]
	return true
}
