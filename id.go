package evento

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// NewID returns a new ULID, greater than every earlier one of this process, even
// when the clock is set back. Safe for concurrent use.
//
// Why: docs/decisions.md, "One place of state in the process".
func NewID() ID { return ids.next() }

// HashIDs makes one aggregate id from several ids, for an entity that has a
// composite key. The same list always gives the same id; different lists give
// different ids, also ("ab", "c") and ("a", "bc"). The result is the SHA-256 of the
// ids with their lengths, as 64 hexadecimal digits.
func HashIDs(ids ...string) string {
	h := sha256.New()
	var size [8]byte
	for _, id := range ids {
		binary.BigEndian.PutUint64(size[:], uint64(len(id)))
		h.Write(size[:])
		h.Write([]byte(id))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ids is the package's only global state besides caches: ids that rise within the
// process need a source that the whole process shares.
var ids = newIDSource(time.Now)

type idSource struct {
	mu      sync.Mutex
	now     func() time.Time
	entropy *ulid.MonotonicEntropy
	last    uint64
}

func newIDSource(now func() time.Time) *idSource {
	// Buffered: one system call for each id would be most of its cost.
	return &idSource{now: now, entropy: ulid.Monotonic(bufio.NewReaderSize(rand.Reader, 1024), 0)}
}

func (s *idSource) next() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A time outside the range of a ULID (1970 to 10889) is set to the nearer end.
	now := uint64(max(0, s.now().UnixMilli()))
	s.last = max(s.last, min(now, ulid.MaxTime()))
	for {
		id, err := ulid.New(s.last, s.entropy)
		if err == nil {
			return id
		}
		// The random part overflowed within one millisecond: use the next
		// millisecond.
		s.last = (s.last + 1) % ulid.MaxTime()
	}
}
