// Making deadlines come true.

package evento

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"
)

const (
	// dueAtOnce is how many deadlines come true in one write, if there are as many.
	dueAtOnce = MaxSwap / 2
	// standBy is how long one who has met another one at work leaves deadlines to that.
	standBy = 200 * time.Millisecond
	// leastPause is between two looks at the deadlines: commits wake those who wait, and
	// there may be thousands in a second.
	leastPause = 10 * time.Millisecond
	// mostTries is how often a deadline is tried before its error is logged.
	mostTries = 3
	// mostMissed is after how many that others have made true the rest is left to them, and
	// after how many errors the store counts as failing.
	mostMissed = 3
)

// RunDeadlines makes deadlines come true until ctx ends: when one is due, it commits its
// event and removes the deadline, in one write, so each comes true once. Any number of
// processes may run it: one works, and the others stand by, a fifth of a second behind, in
// case it ends. It goes on while the store fails, and logs that to [slog.Default]. A
// deadline that cannot come true is logged too, and tried again later; others do not wait
// for it.
//
// A deadline is never early by the store's clock, and a few milliseconds late; one that
// another process sets at short notice, up to a second. RunDeadlines sees the deadlines of
// its executor alone: for tenants of executor/routed, run it on the executor of each.
//
// Errors: that of ctx, when it ends; [ErrClosed], when the executor closes.
func RunDeadlines(ctx context.Context, ex Executor) error {
	r := deadlineRunner{ex: ex, aside: map[RecordKey]aside{}}
	for failures := 0; ; {
		changed := ex.Changed()
		next, err := r.look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrClosed):
			return err
		case err != nil:
			next, changed = nextLook(ctx, &failures, err), nil
		case r.lost:
			next, changed, failures = standBy, nil, 0
		default:
			failures = 0
		}
		if err := pause(ctx, min(next, leastPause), nil, nil); err != nil {
			return err
		}
		if next > leastPause {
			if err := pause(ctx, next-leastPause, nil, changed); err != nil {
				return err
			}
		}
	}
}

// nextLook counts and logs a failure of the store, and returns how long to wait.
func nextLook(ctx context.Context, failures *int, err error) time.Duration {
	wait := min(backoff(*failures), pollInterval)
	*failures++
	slog.Default().WarnContext(ctx, "evento: the store failed the deadlines; trying again", "error", err, "wait", wait)
	return wait
}

// deadlineRunner is one RunDeadlines. Of several, each looks at the earliest deadlines, so
// when they are due all try the same, and one succeeds. Whoever makes none of its batch true
// has lost: it waits, and from then on takes only deadlines that are late, until it takes
// one before others do.
type deadlineRunner struct {
	ex     Executor
	behind time.Duration // how late a deadline has to be
	lost   bool
	aside  map[RecordKey]aside // those that did not come true, while they are there
}

// aside is a due record that is not tried before a time.
type aside struct {
	failures int
	until    time.Time // of this process
}

// look makes those come true that are due, and returns how long it is until the next.
func (r *deadlineRunner) look(ctx context.Context) (next time.Duration, err error) {
	r.lost = false
	batch, next, err := r.due(ctx, 1)
	if err == nil && len(batch) > 0 {
		batch, next, err = r.due(ctx, dueAtOnce)
	}
	if err != nil || len(batch) == 0 {
		return next, err
	}
	return min(next, leastPause), r.fire(ctx, batch) // some may have failed
}

// dueRecord is a deadline that is due.
type dueRecord struct {
	record Record
	dueDeadline
}

// due reads up to so many that are due, without those that are put aside, and how long it is
// until the next, or until it is time to look in any case.
func (r *deadlineRunner) due(ctx context.Context, most int) (batch []*dueRecord, next time.Duration, err error) {
	now, there, last := time.Now(), map[RecordKey]bool{}, RecordKey{}
	defer func() {
		maps.DeleteFunc(r.aside, func(k RecordKey, _ aside) bool { return k.Compare(last) <= 0 && !there[k] })
	}()
	next = pollInterval
	for rec, err := range records(ctx, r.ex, RecordQuery{Kind: dueKind, Limit: min(most+len(r.aside), MaxRecords)}) {
		if err != nil {
			return nil, 0, err
		}
		last, there[rec.RecordKey] = rec.RecordKey, true
		d, at, err := readDue(&rec.Record)
		if err != nil {
			r.unreadable(ctx, rec.RecordKey, err)
			continue
		}
		if left := at.Add(r.behind).Sub(rec.now); left > 0 {
			return batch, min(next, left), nil
		}
		if left := r.aside[rec.RecordKey].until.Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		if batch = append(batch, &dueRecord{rec.Record, d}); len(batch) == most {
			return batch, 0, nil
		}
	}
	last = RecordKey{Kind: dueKind + "~"} // after all of them
	return batch, next, nil
}

// unreadable passes over a record, and logs that once.
func (r *deadlineRunner) unreadable(ctx context.Context, key RecordKey, err error) {
	if _, known := r.aside[key]; !known {
		slog.Default().ErrorContext(ctx, "evento: a deadline cannot be read, and is passed over", "error", err)
	}
	r.aside[key] = aside{failures: mostTries, until: time.Now()}
}

// fire makes deadlines come true: together, or each by itself when they do not.
func (r *deadlineRunner) fire(ctx context.Context, due []*dueRecord) error {
	for len(due) > 0 && !r.lost {
		n, err := r.together(ctx, due)
		switch {
		case err == nil:
			r.behind = 0
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			return err
		default:
			if err := r.singly(ctx, due[:n], err); err != nil {
				return err
			}
		}
		due = due[n:]
	}
	return nil
}

// together makes the first of them come true in one write, up to one of an aggregate that
// is in it already, and returns how many these are.
func (r *deadlineRunner) together(ctx context.Context, due []*dueRecord) (n int, err error) {
	w := Write{Swap: &Swap{}}
	seen := map[AggregateKey]bool{}
	for _, d := range due {
		a := d.aggregate()
		if seen[a] {
			break
		}
		seen[a] = true
		w.Appends = append(w.Appends, d.append())
		w.Swap.Changes = append(w.Swap.Changes, d.changes(d.Revision)...)
		n++
	}
	_, err = writeResolved(ctx, r.ex, w)
	return n, err
}

// changes remove the records of the deadline, of which the own one is at a revision.
func (d *dueRecord) changes(own uint64) []Change {
	return []Change{
		{RecordKey: d.record.RecordKey, Revision: d.record.Revision, Remove: true},
		{RecordKey: ownDeadlineKey(d.aggregate(), d.Name), Revision: own, Remove: true},
	}
}

// failedDue is a deadline that did not come true.
type failedDue struct {
	*dueRecord
	err error
}

// singly makes each come true that does, after the error of all together. The error is
// that of a store that fails; then it is no deadline's fault, and nothing is put aside.
func (r *deadlineRunner) singly(ctx context.Context, due []*dueRecord, err error) error {
	if !isRefused(err) {
		if len(due) == 1 {
			return err
		}
		// The first are not to keep the others waiting each time.
		rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	}
	var failed []failedDue
	fired, met, failures := 0, 0, 0
	for _, d := range due {
		tryErr := r.one(ctx, d)
		switch {
		case tryErr == nil:
			fired++
			continue
		case ctx.Err() != nil || errors.Is(tryErr, ErrClosed):
			return tryErr
		case errors.Is(tryErr, ErrSwapped) && r.aside[d.record.RecordKey].failures < mostTries:
			met++
		case !isRefused(tryErr):
			failures++
			err = tryErr
		}
		failed = append(failed, failedDue{d, tryErr})
		if met == mostMissed || failures == mostMissed && fired == 0 {
			break
		}
	}
	if failures > 0 && fired == 0 {
		return err
	}
	for _, f := range failed {
		r.putAside(ctx, f)
	}
	switch {
	case fired > 0:
		r.behind = 0
	case met > 0:
		r.behind, r.lost = standBy, true
	}
	return nil
}

// isRefused reports whether an error is one of what is written, and not of the store.
func isRefused(err error) bool {
	return isAny(err, ErrSwapped, ErrInvalid, ErrTooLarge, ErrConflict, ErrDamaged)
}

// one makes one come true. Its own record may be at another revision than it says.
func (r *deadlineRunner) one(ctx context.Context, d *dueRecord) error {
	a := d.aggregate()
	own, err := ownDeadlines(ctx, r.ex, a)
	if err != nil {
		return err
	}
	named := own[d.Name]
	if named.Revision > 0 {
		key, err := readOwn(&named, a)
		if err != nil {
			return err
		}
		if key == d.record.RecordKey {
			_, err := writeResolved(ctx, r.ex, Write{Appends: []Append{d.append()}, Swap: &Swap{Changes: d.changes(named.Revision)}})
			return err
		}
	}
	return fmt.Errorf("%w: deadline %s of %s %s is not set any more", ErrSwapped, shorten(d.Name), a.Type, shorten(a.ID))
}

// putAside keeps a deadline from being tried for a while, which grows with each failure.
func (r *deadlineRunner) putAside(ctx context.Context, f failedDue) {
	failures := r.aside[f.record.RecordKey].failures
	r.aside[f.record.RecordKey] = aside{failures + 1, time.Now().Add(backoff(failures))}
	if failures+1 == mostTries {
		slog.Default().ErrorContext(ctx, "evento: a deadline does not come true; trying again later",
			"aggregate_type", f.Type, "aggregate", f.ID, "deadline", f.Name, "due", f.record.Key, "error", f.err)
	}
}
