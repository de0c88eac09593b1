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

// NewID returns a new ULID, greater than every earlier one of this process,
// also when the clock steps back. Safe for concurrent use.
func NewID() ID { return ids.next() }

// HashIDs makes one aggregate id of several, for an entity that is named by
// more than one key: the same ids always give the same text, and different
// lists give different texts, ("ab", "c") and ("a", "bc") too. The result is
// the SHA-256 of the ids with their lengths, in 64 hexadecimal digits.
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

// ids is the one piece of state that the package keeps by itself: ids that
// rise within the process need a place that the whole process shares.
var ids = newIDSource(time.Now)

type idSource struct {
	mu      sync.Mutex
	now     func() time.Time
	entropy *ulid.MonotonicEntropy
	last    uint64
}

func newIDSource(now func() time.Time) *idSource {
	// Buffered, as one system call an id would be most of an id's cost.
	return &idSource{now: now, entropy: ulid.Monotonic(bufio.NewReaderSize(rand.Reader, 1024), 0)}
}

func (s *idSource) next() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A clock outside of what a ULID can say (1970 to 10889) counts as its ends.
	now := uint64(max(0, s.now().UnixMilli()))
	s.last = max(s.last, min(now, ulid.MaxTime()))
	for {
		id, err := ulid.New(s.last, s.entropy)
		if err == nil {
			return id
		}
		// The random part ran over within one millisecond: borrow the next.
		s.last = (s.last + 1) % ulid.MaxTime()
	}
}
