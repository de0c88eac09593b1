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
	id      ID // the last one: made here, an id is no allocation
}

func newIDSource(now func() time.Time) *idSource {
	// Buffered: one system call for each id would be most of its cost.
	return &idSource{now: now, entropy: ulid.Monotonic(bufio.NewReaderSize(rand.Reader, 1024), 0)}
}

func (s *idSource) next() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	return s.draw()
}

// give sets the ids of events, with one look at the clock.
func (s *idSource) give(events []NewEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	for i := range events {
		events[i].ID = s.draw()
	}
}

// look brings the time of the ids up to date. One outside the range of a ULID (1970 to
// 10889) is set to the nearer end. The caller holds the mutex.
func (s *idSource) look() {
	now := uint64(max(0, s.now().UnixMilli()))
	s.last = max(s.last, min(now, ulid.MaxTime()))
}

// draw makes an id of the time. The caller holds the mutex.
func (s *idSource) draw() ID {
	for {
		_ = s.id.SetTime(s.last) // which is in its range
		if err := s.entropy.MonotonicRead(s.last, s.id[timeLen:]); err == nil {
			return s.id
		}
		// The random part overflowed within one millisecond: use the next
		// millisecond.
		s.last = (s.last + 1) % ulid.MaxTime()
	}
}

// timeLen is how many bytes of an id are its time.
const timeLen = 6
