package postgres

import "time"

// SetAlive sets how often a silent listener is tried, before anybody waits for
// changes.
func SetAlive(ex *Executor, d time.Duration) { ex.aliveEvery = d }
