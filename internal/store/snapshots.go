// Pages of snapshots.

package store

import (
	"cmp"
	"fmt"
	"math"

	"github.com/evento-go/evento"
)

// Snapshots is a page of snapshots that is being filled, in the order of their
// keys.
type Snapshots struct {
	page       evento.SnapshotPage
	states     bool
	most, size int
}

// SnapshotsOf returns an empty page for what q asks.
func SnapshotsOf(q evento.SnapshotQuery) *Snapshots {
	return &Snapshots{states: q.States, most: cmp.Or(q.Limit, evento.MaxRecords)}
}

// Take adds a snapshot and reports whether there was room for it. Once there was none,
// the page is complete.
func (s *Snapshots) Take(snapshot evento.StoredSnapshot) bool {
	n := len(s.page.Snapshots)
	if s.states {
		s.size += snapshot.Size
	} else {
		snapshot.Cursor, snapshot.Data = "", nil
	}
	if n == s.most || n > 0 && s.size > evento.PageBytes {
		s.page.More = true
		return false
	}
	s.page.Snapshots = append(s.page.Snapshots, snapshot)
	return true
}

// Page returns the page.
func (s *Snapshots) Page() *evento.SnapshotPage { return &s.page }

// CheckSnapshot checks what SaveSnapshot was called with.
func CheckSnapshot(key evento.SnapshotKey, s evento.Snapshot) error {
	if err := key.Check(); err != nil {
		return err
	}
	if s.Version > math.MaxInt64 || s.Position > math.MaxInt64 {
		return fmt.Errorf("%w snapshot: version %d at position %d, which are beyond reason", evento.ErrInvalid, s.Version, s.Position)
	}
	return nil
}

// CheckKeys checks what RemoveSnapshots was called with. A damaged store may have keys
// that are no good names, and they can be removed.
func CheckKeys(keys []evento.SnapshotKey) error {
	if len(keys) > evento.MaxRecords {
		return fmt.Errorf("%w: %d snapshots to remove, at most %d are allowed", evento.ErrInvalid, len(keys), evento.MaxRecords)
	}
	return nil
}
