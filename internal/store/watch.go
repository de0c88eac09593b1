// Looking for commits of other processes.

package store

import (
	"context"
	"time"
)

// quietAfter is how long nothing has to come for a watch to look less often.
const quietAfter = time.Second

// Watch wakes those who wait for changes when other processes have committed. It
// asks the store only while somebody waits.
type Watch struct {
	Changed *Signal
	// Ask returns a number that differs after every commit of another process.
	Ask func(context.Context) (int64, error)
	// Interval is how often it asks. Quiet is how often while nothing has come for a
	// second, asking fails, or Notified reports that the store tells of commits.
	Interval, Quiet time.Duration
	Notified        func() bool // nil: never
	// Failed gets the first error of asking, and the first after asking has worked
	// again.
	Failed func(error)
}

// Run watches until ctx ends.
func (w Watch) Run(ctx context.Context) {
	seen, moved, failing := int64(-1), time.Now(), false
	timer := time.NewTimer(w.Interval)
	defer timer.Stop()
	for {
		wait := w.Interval
		if failing || time.Since(moved) > quietAfter || w.Notified != nil && w.Notified() {
			wait = max(wait, w.Quiet)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !w.Changed.Awaited() {
			continue
		}
		at, err := w.Ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				w.Failed(err)
			}
			failing = true
			continue
		case at != seen:
			seen, moved = at, time.Now()
			w.Changed.Notify()
		}
		failing = false
	}
}
