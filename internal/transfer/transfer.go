// Package transfer writes the events of a store as lines of text, and gives such
// lines to another store.
package transfer

import "time"

// Progress is how far a transfer is.
type Progress struct {
	// Events were written, or taken over.
	Events uint64
	// Skipped of the events were in the store before an import.
	Skipped uint64
	// Bytes of lines.
	Bytes   int64
	Elapsed time.Duration
}

// Rate is in events a second.
func (p Progress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Events) / p.Elapsed.Seconds()
}

// meter tells of progress.
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
