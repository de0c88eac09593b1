package sqlite

import "time"

// SetHint sets how long a write waits for a transaction before that is said, before
// anybody waits.
func SetHint(ex *Executor, d time.Duration) { ex.callers.hint = d }
