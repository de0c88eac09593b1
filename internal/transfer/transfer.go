// Package transfer exports the events of a store as lines of text, and imports such
// lines into another store.
package transfer

import "time"

// Progress is how far a transfer is.
type Progress struct {
	// Events is how many events were exported or imported.
	Events uint64
	// Skipped is how many of them the store had before an import.
	Skipped uint64
	// Bytes is the size of the lines.
	Bytes   int64
	Elapsed time.Duration
}

// Rate returns events per second.
func (p Progress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Events) / p.Elapsed.Seconds()
}

// meter reports progress.
type meter struct {
	Progress
	began time.Time
	tell  func(Progress)
}

func newMeter(tell func(Progress)) *meter { return &meter{began: time.Now(), tell: tell} }

func (m *meter) add(events, skipped, bytes int) {
	m.Events += uint64(events)
	m.Skipped += uint64(skipped)
	m.Bytes += int64(bytes)
	m.Elapsed = time.Since(m.began)
	if m.tell != nil {
		m.tell(m.Progress)
	}
}
