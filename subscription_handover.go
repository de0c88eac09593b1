// A key that changes hands: asking for it, waiting for it, and telling whether its
// owner is alive.

package evento

import (
	"context"
	"time"
)

// manner is how a worker comes to own a partition that has an owner.
type manner int

const (
	byHandOver manner = iota // asks the owner for it
	byStandby                // waits until the owner is gone
	byForce                  // takes it
)

// manner is how a worker comes to own its partition: one that is started within
// a handler of the same subscription would wait for that for ever.
func (w *worker) manner(ctx context.Context, how manner) manner {
	if h := handling(ctx); h != nil && how == byHandOver && h.worker.name == w.name && h.worker.lease.partition == w.lease.partition {
		return byForce
	}
	return how
}

// tellWaiting logs for whom the worker waits, once.
func (w *worker) tellWaiting(ctx context.Context, r *partitionRecord, left time.Duration) {
	if w.lease.sightings.told(w.lease.part(), r.Owner) {
		return
	}
	w.logger.InfoContext(ctx, "evento: a subscription waits for its key", "owner", r.Owner, "host", r.Host, "heard_of", r.changedAt, "until_unless_heard", left.Round(time.Millisecond))
}

// tellTaken logs that the worker has fenced off another.
func (w *worker) tellTaken(ctx context.Context, r *partitionRecord) {
	w.lease.asked = false
	w.lease.sightings.told(w.lease.part(), "")
	if r.Owner != "" && r.Owner != w.lease.worker.String() {
		w.logger.WarnContext(ctx, "evento: a subscription takes the key of a worker that did not answer", "owner", r.Owner, "host", r.Host, "heard_of", r.changedAt)
	}
}

// await waits until the worker owns its partition, and first for what is left of
// somebody's lease.
func (w *worker) await(ctx context.Context, how manner, left time.Duration) error {
	for failures := 0; ; {
		if left > 0 {
			if err := w.waitForKey(ctx, left); err != nil {
				w.lease.withdraw(ctx)
				return err
			}
		}
		var taken bool
		var err error
		taken, left, err = w.take(ctx, how)
		switch {
		case taken:
			return nil
		case err == nil:
			failures = 0
		case w.once || final(err) || ctx.Err() != nil:
			w.lease.withdraw(ctx)
			return err
		default:
			left = nextTry(ctx, w.logger, &failures, err)
		}
	}
}

// standbyInterval is the shortest time between two looks of a worker that waits
// for its key.
const standbyInterval = 200 * time.Millisecond

// waitForKey waits until the key may be free. A store that changes all the time
// is not looked at each time; the answer to what was asked may be here at once.
func (w *worker) waitForKey(ctx context.Context, left time.Duration) error {
	short := standbyInterval
	if w.lease.asked {
		short = min(standbyInterval, firstBackoff*time.Duration(max(0, w.lease.looks-3))) // the first are woken by what others do at once
	}
	w.lease.looks++
	short = min(left, short)
	if err := pause(ctx, short, w.stopping, nil); err != nil || left <= short {
		return err
	}
	return pause(ctx, min(left, pollInterval)-short, w.stopping, w.lease.changed)
}

// ask asks the owner for a hand-over, once, and reports how long it has to
// answer. The newest that asks gets it.
func (l *lease) ask(ctx context.Context, r *partitionRecord, left time.Duration) (time.Duration, error) {
	me := l.worker.String()
	if r.Next != me {
		r.Next = me
		if err := l.ex.Swap(ctx, Swap{Changes: []Change{r.change(l.name, l.partition)}, Wake: true}); err != nil {
			return 0, err
		}
		r.revision++
	}
	if !l.asked {
		l.asked, l.until = true, l.clock()+left
	}
	return l.until - l.clock(), nil
}

// withdraw takes back what was asked.
func (l *lease) withdraw(ctx context.Context) {
	if !l.asked {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
	defer cancel()
	r, err := l.name.readPartition(ctx, l.ex, l.partition)
	if err == nil && r.revision > 0 && r.Next == l.worker.String() {
		r.Next = ""
		// Whoever changed it meanwhile goes on without being asked.
		_ = l.ex.Swap(ctx, Swap{Changes: []Change{r.change(l.name, l.partition)}})
	}
}

// sightings tell when a lease is over without trusting any clock but that of this
// process: a record that has kept its revision for the whole lease has no live
// owner. Where the store's clock says that the record was old when it was first
// seen, that counts too, but for a third of the lease at most: clocks are set,
// and an owner renews more often than in the rest. By part of the record's key.
type sightings map[string]sighting

type sighting struct {
	revision uint64
	since    time.Time // with the monotonic clock; zero: it was not seen yet
	before   time.Duration
	owner    string // the one that the log has named
}

// left is how long a record has yet to keep its revision.
func (s sightings) left(part string, revision uint64, changedAt, now time.Time, lease time.Duration) time.Duration {
	at := s[part]
	if at.since.IsZero() || at.revision != revision {
		at = sighting{revision, time.Now(), min(max(0, now.Sub(changedAt)), lease/3), at.owner}
		s[part] = at
	}
	// Times of the store may be rounded down to the millisecond.
	return lease + 2*time.Millisecond - at.before - time.Since(at.since)
}

// told reports whether the log has named an owner, and notes that it does now.
func (s sightings) told(part, owner string) bool {
	at := s[part]
	told := at.owner == owner
	at.owner = owner
	s[part] = at
	return told
}
