package examine

// Share is for what does not fit in memory at once. Each pass over a store takes the hashes
// whose lowest bits are its own; when these are too many, half of them are left to a later
// pass. The zero value takes all hashes.
type Share struct {
	bits, part uint64
	since      uint64 // until when passes before have taken it
	todo       []Share
}

// Has reports whether this pass takes a hash.
func (s *Share) Has(hash uint64) bool { return hash&(1<<s.bits-1) == s.part }

// Since is the number up to which passes before have taken these hashes, too.
func (s *Share) Since() uint64 { return s.since }

// Halve leaves half of the hashes to a later pass, from a number on, which counts the things of
// the pass. It returns false when there is nothing to halve.
func (s *Share) Halve(from uint64) bool {
	if s.bits >= 62 {
		return false
	}
	s.todo = append(s.todo, Share{bits: s.bits + 1, part: s.part | 1<<s.bits, since: max(s.since, from)})
	s.bits++
	return true
}

// Next begins the next pass, and reports whether there is one.
func (s *Share) Next() bool {
	n := len(s.todo)
	if n == 0 {
		return false
	}
	s.bits, s.part, s.since = s.todo[n-1].bits, s.todo[n-1].part, s.todo[n-1].since
	s.todo = s.todo[:n-1]
	return true
}
