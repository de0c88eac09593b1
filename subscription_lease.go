// Who owns a partition: taking it, keeping it, asking and waiting for it, handing it
// over, and telling whether its owner is alive.

package evento

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lease is a worker's hold on a partition. It is used by the worker and by the
// goroutine that renews it; neither waits for a call of the other. The mutex
// guards what is known of the record, the rest is the worker's alone.
//
//	            take                    another asks (Next)
//	nobody ───────────────▶ owner ─────────────────────────▶ asked
//	  ▲                       │ ▲ renew                        │ event in hand done
//	  └───────────────────────┴─┴──────────────────────────────┘
//	         finish, or nothing heard for the whole lease
//
// Nobody's clock decides. Who waits sees the record's revision unchanged for the
// whole lease, by its own monotonic clock; see [sightings].
type lease struct {
	ex        Executor
	name      subscriptionName
	partition int
	worker    ID
	kept      keptState
	length    time.Duration
	began     time.Time // times below are since then, by the monotonic clock
	sightings sightings
	asked     bool          // for a hand-over
	until     time.Duration // when the owner that was asked has had its lease
	looks     int           // how often it has waited for the key
	changed   <-chan struct{}

	lost      func()       // is called when somebody else is found to own it
	renewed   atomic.Int64 // when the store was asked that last began the lease
	confirmed atomic.Int64 // when the store was asked that last knew this owner

	mu    sync.Mutex
	at    partitionRecord // the latest that is known
	epoch uint64          // the one that the worker acts in
	moved atomic.Bool     // at has another epoch, or another worker asks for it
}

// errMoved: the record was changed by somebody else, such as by a reset, and the
// worker still owns it. It is returned until the worker enters the new epoch.
var errMoved = errors.New("evento: subscription was changed")

// clock is the time since the lease was made.
func (l *lease) clock() time.Duration { return time.Since(l.began) }

// leased is how long ago, at a time of the clock, the lease may have begun.
func (l *lease) leased(now time.Duration) time.Duration {
	return now - time.Duration(l.renewed.Load())
}

// unconfirmed is how long ago, at a time of the clock, the store knew this owner.
func (l *lease) unconfirmed(now time.Duration) time.Duration {
	return now - time.Duration(l.confirmed.Load())
}

// hostName is where this process runs, and its number.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d", name, os.Getpid())
}

// take makes the worker the owner of the partition, if it may be taken now, and
// else reports after what time it may. The owner that was asked and did not
// answer within its lease is fenced off.
func (l *lease) take(ctx context.Context, state *subscriptionState, how manner, more ...Change) (taken bool, left time.Duration, err error) {
	asked := l.clock()
	r := state.partitions[l.partition]
	me := l.worker.String()
	switch {
	case l.asked && r.Next != "" && r.Next != me:
		return false, 0, fmt.Errorf("%w: key %s, before it owned it", ErrTakenOver, l.name)
	case r.Owner == me, r.Owner == "" && (r.Next == "" || how != byStandby):
	default:
		left := l.left(&r, state.now)
		switch {
		case how == byStandby && left > 0:
			return false, left, nil
		case how == byHandOver:
			if left, err := l.ask(ctx, &r, left); err != nil || left > 0 {
				return false, left, err
			}
		}
	}
	r.Epoch++
	r.Owner, r.Host, r.LeaseMillis, r.Next = me, hostName(), l.length.Milliseconds(), ""
	r.Error, r.ErrorEvent = "", ""
	if err := l.kept.begin(ctx, l.ex, &r.partitionState); err != nil {
		return false, 0, err
	}
	changes := append([]Change{r.change(l.name, l.partition)}, more...)
	if err := l.ex.Swap(ctx, Swap{Changes: changes, Wake: true}); err != nil {
		return false, 0, err
	}
	r.revision++
	r.asked = asked
	l.adopt(&r)
	return true, 0, nil
}

// left is how long the owner of the partition may yet be alive.
func (l *lease) left(r *partitionRecord, now time.Time) time.Duration {
	return l.sightings.left(l.part(), r.revision, r.changedAt, now, r.lease())
}

func (l *lease) part() string { return l.name.partition(l.partition).Part }

// enter makes the worker act in the epoch that is known, and returns the state.
func (l *lease) enter() partitionState {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = l.at.Epoch
	l.look()
	return l.at.partitionState
}

// look notes whether the worker has a reason to stop. The mutex is held.
func (l *lease) look() {
	l.moved.Store(l.at.Epoch != l.epoch || l.at.Next != "" && l.at.Next != l.worker.String())
}

// state is what is known of the partition.
func (l *lease) state() partitionState {
	at, _ := l.known()
	return at.partitionState
}

func (l *lease) known() (at partitionRecord, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at, l.epoch
}

// confirm asks the store whether the worker still owns the partition. It
// returns [ErrTakenOver], or errMoved.
func (l *lease) confirm(ctx context.Context) error {
	if err := l.reload(ctx); err != nil {
		return err
	}
	if at, epoch := l.known(); at.Epoch != epoch {
		return errMoved
	}
	return nil
}

func (l *lease) reload(ctx context.Context) error {
	asked := l.clock()
	r, err := l.name.readPartition(ctx, l.ex, l.partition)
	if err != nil {
		return err
	}
	if r.Owner != l.worker.String() {
		return l.takenOver()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.revision > l.at.revision {
		// It was changed after it was last known otherwise; those who wait
		// count from the change.
		l.at = r
		l.look()
		later(&l.renewed, time.Duration(l.confirmed.Load()))
	}
	later(&l.confirmed, asked)
	return nil
}

// takenOver is what a worker ends with that has lost its partition. Whatever its
// handler is about to do is cut short.
func (l *lease) takenOver() error {
	l.lost()
	return fmt.Errorf("%w: key %s", ErrTakenOver, l.name)
}

// later moves a time forward. The mutex is held.
func later(t *atomic.Int64, to time.Duration) { t.Store(max(t.Load(), int64(to))) }

// suspect makes the worker ask whether it still owns the partition before its next
// event.
func (l *lease) suspect() { l.confirmed.Store(int64(-confirmInterval)) }

// keepRenewing renews the lease while a handler takes its time.
func (l *lease) keepRenewing(ctx context.Context, failed func(error)) {
	t := time.NewTicker(l.length / 6)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if l.leased(l.clock()) < l.length/4 {
			continue
		}
		call, cancel := context.WithTimeout(ctx, l.length/3)
		if err := l.renew(call); err != nil && ctx.Err() == nil {
			failed(err)
		}
		cancel()
	}
}

// renew extends the lease, in whatever epoch.
func (l *lease) renew(ctx context.Context) error {
	next, _ := l.known()
	err := l.put(ctx, Swap{}, &next)
	switch {
	case err == nil:
		l.adopt(&next)
	case errors.Is(err, ErrSwapped): // by the worker itself, or by somebody else
		return l.reload(ctx)
	}
	return err
}

// swap changes the state, with other records, if the worker still owns the
// partition in the epoch that it acts in.
func (l *lease) swap(ctx context.Context, more Swap, change func(*partitionState) error) error {
	for {
		next, epoch := l.known()
		if next.Epoch != epoch {
			return errMoved
		}
		if err := change(&next.partitionState); err != nil {
			return err
		}
		err := l.put(ctx, more, &next)
		if err == nil {
			l.adopt(&next)
			return nil
		}
		if !errors.Is(err, ErrSwapped) {
			return err
		}
		if err := l.confirm(ctx); err != nil {
			return err
		}
		if at, _ := l.known(); at.revision == next.revision {
			return err // for another of the records
		}
	}
}

// swapInTx is swap in a transaction. What changed the record meanwhile may have
// been a handler in it, which pauses or resets its own subscription, so the
// worker goes by what the transaction sees. The state is stored when the
// transaction is committed; then adopt takes it.
func (l *lease) swapInTx(tx context.Context, more Swap, change func(*partitionState) error) (*partitionRecord, error) {
	next, _ := l.known()
	for try := 1; ; try++ {
		if err := change(&next.partitionState); err != nil {
			return nil, err
		}
		err := l.put(tx, more, &next)
		if !errors.Is(err, ErrSwapped) || try == 2 {
			return &next, err
		}
		r, readErr := l.name.readPartition(tx, l.ex, l.partition)
		switch {
		case readErr != nil:
			return nil, readErr
		case r.Owner != l.worker.String():
			return nil, fmt.Errorf("%w: key %s", ErrTakenOver, l.name)
		case r.revision == next.revision:
			return nil, err // for another of the records
		}
		next = r
	}
}

// put stores the next state.
func (l *lease) put(ctx context.Context, more Swap, next *partitionRecord) error {
	next.asked = l.clock()
	swap := Swap{Wake: more.Wake, Changes: append([]Change{next.change(l.name, l.partition)}, more.Changes...)}
	if err := l.ex.Swap(ctx, swap); err != nil {
		return err
	}
	next.revision++
	return nil
}

// adopt takes a state that is stored now, unless a later one is known.
func (l *lease) adopt(next *partitionRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next.revision > l.at.revision {
		l.at = *next
		l.look()
	}
	later(&l.confirmed, next.asked)
	later(&l.renewed, next.asked)
}

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
	if w.lease.asked { // the first looks are woken by what others do at once
		short = min(short, firstBackoff*time.Duration(max(0, w.lease.looks-3)))
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
