package postgres

import "time"

// SetAlive sets how often a silent listener is tried, before anybody waits for
// changes.
func SetAlive(ex *Executor, d time.Duration) { ex.aliveEvery = d }

// WithPatience sets how long a caller whose context has ended waits for the outcome, so
// that a busy machine does not make it unknown.
func WithPatience(o Options, d time.Duration) *Options {
	o.patience = d
	return &o
}
