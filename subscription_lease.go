// The ownership of a partition: taking, renewing, asking for, waiting for and
// handing over the lease; and whether an owner is alive.

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

// lease is a worker's lease of a partition. Two goroutines use it: the worker's,
// and the one that renews it. Neither waits for a call of the other. mu guards the
// known record; the atomic fields are shared, and all others belong to the worker.
//
//	            take                    another asks (Next)
//	nobody ───────────────▶ owner ─────────────────────────▶ asked
//	  ▲                       │ ▲ renew                        │ current event done
//	  └───────────────────────┴─┴──────────────────────────────┘
//	         finish, or no sign of life for the whole lease
//
// Clocks are not compared. A waiting worker measures with its own monotonic clock
// that the record's revision does not change for the whole lease; see [sightings].
//
// Why: docs/decisions.md, "Leases without wall clocks".
type lease struct {
	ex        Executor
	name      subscriptionName
	partition int
	worker    ID
	kept      keptState
	length    time.Duration
	began     time.Time // the zero of the lease's clock; the times below are durations since then
	sightings sightings
	asked     string        // the owner that it has asked for a hand-over; "": none
	until     time.Duration // when the lease of that owner has expired
	looks     int           // how often it has waited for the key
	changed   <-chan struct{}

	lost      func()        // called when another worker is found to own the partition
	renewed   atomic.Int64  // when the request was sent that last renewed the lease
	confirmed atomic.Int64  // when the request was sent that last confirmed this owner
	resets    atomic.Uint64 // how often the worker's handlers have reset the partition in the present transaction

	mu    sync.Mutex
	at    partitionRecord // the latest known record
	epoch uint64          // the epoch in which the worker acts
	moved atomic.Bool     // at has another epoch, or another worker asks for the partition
}

// errMoved: somebody else has changed the record, such as by a reset, and the
// worker still owns it. It is returned until the worker enters the new epoch.
var errMoved = errors.New("evento: subscription was changed")

// clock is the time since the lease was made.
func (l *lease) clock() time.Duration { return time.Since(l.began) }

// leased returns for how long the lease may have run at the given time.
func (l *lease) leased(now time.Duration) time.Duration {
	return now - time.Duration(l.renewed.Load())
}

// unconfirmed returns how long before the given time the store last confirmed this
// owner.
func (l *lease) unconfirmed(now time.Duration) time.Duration {
	return now - time.Duration(l.confirmed.Load())
}

// hostName returns the host's name and the process id.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d", name, os.Getpid())
}

// take makes the worker the owner of the partition if it can be taken now; else it
// reports after what time it can. An owner that was asked and did not answer within
// its lease is fenced off. Who has got the partition meanwhile from that owner has asked
// for it later, and stays its owner.
func (l *lease) take(ctx context.Context, state *subscriptionState, how manner, more ...Change) (taken bool, left time.Duration, err error) {
	asked := l.clock()
	r := state.partitions[l.partition]
	me := l.worker.String()
	switch {
	case l.asked != "" && r.Owner != me && (r.Next != "" && r.Next != me || r.Owner != "" && r.Owner != l.asked):
		return false, 0, fmt.Errorf("%w: key %s, before it owned it", ErrTakenOver, l.name)
	case r.Owner == me, r.Owner == "" && (r.Next == "" || how != byStandby):
	default:
		left := l.left(&r, state.now)
		if how == byStandby && r.Owner != "" && r.Next != "" {
			left += r.lease() // who has asked is going to take it
		}
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

// left returns for how much longer the owner of the partition may be alive.
func (l *lease) left(r *partitionRecord, now time.Time) time.Duration {
	return l.sightings.left(l.part(), r.revision, r.changedAt, now, r.lease())
}

func (l *lease) part() string { return l.name.partition(l.partition).Part }

// enter makes the worker act in the latest known epoch, and returns the state.
func (l *lease) enter() partitionState {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = l.at.Epoch
	l.look()
	return l.at.partitionState
}

// look updates moved, which says whether the worker has a reason to stop. mu is
// held.
func (l *lease) look() {
	l.moved.Store(l.at.Epoch != l.epoch || l.at.Next != "" && l.at.Next != l.worker.String())
}

// state returns the latest known state of the partition.
func (l *lease) state() partitionState {
	at, _ := l.known()
	return at.partitionState
}

func (l *lease) known() (at partitionRecord, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at, l.epoch
}

// confirm asks the store whether the worker still owns the partition. It returns
// [ErrTakenOver] or errMoved if not, or if the epoch has changed.
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
		// The record has changed since, and waiting workers count from that change:
		// it began the lease again.
		l.at = r
		l.look()
		later(&l.renewed, time.Duration(l.confirmed.Load()))
	}
	later(&l.confirmed, asked)
	return nil
}

// takenOver returns the error of a worker whose partition was taken over, and
// cancels its handler.
func (l *lease) takenOver() error {
	l.lost()
	return fmt.Errorf("%w: key %s", ErrTakenOver, l.name)
}

// later raises a time. It never lowers it.
func later(t *atomic.Int64, to time.Duration) { t.Store(max(t.Load(), int64(to))) }

// suspect makes the worker confirm its lease before its next event.
func (l *lease) suspect() { l.confirmed.Store(int64(-confirmInterval)) }

// keepRenewing renews the lease until ctx ends, also while a handler runs.
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

// renew extends the lease, in any epoch.
func (l *lease) renew(ctx context.Context) error {
	next, _ := l.known()
	err := l.put(ctx, l.ex, Swap{}, &next)
	switch {
	case err == nil:
		l.adopt(&next)
	case errors.Is(err, ErrSwapped): // the worker itself or another has changed the record
		return l.reload(ctx)
	}
	return err
}

// swap changes the state, together with other records, if the worker still owns the
// partition in its epoch.
func (l *lease) swap(ctx context.Context, more Swap, change func(*partitionState) error) error {
	for {
		next, epoch := l.known()
		if next.Epoch != epoch {
			return errMoved
		}
		if err := change(&next.partitionState); err != nil {
			return err
		}
		err := l.put(ctx, l.ex, more, &next)
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
			return err // because of one of the other records
		}
	}
}

// swapInTx is swap in a transaction. A handler in this transaction may have changed
// the record, as when it pauses or resets its own subscription, so swapInTx uses
// the record that the transaction reads. The new state is stored when the
// transaction commits; then the caller passes it to adopt.
func (l *lease) swapInTx(tx context.Context, ex Executor, more Swap, change func(*partitionState) error) (*partitionRecord, error) {
	next, _ := l.known()
	for try := 1; ; try++ {
		if err := change(&next.partitionState); err != nil {
			return nil, err
		}
		err := l.put(tx, ex, more, &next)
		if !errors.Is(err, ErrSwapped) || try == 2 {
			next.again = try == 2
			return &next, err
		}
		r, readErr := l.name.readPartition(tx, ex, l.partition)
		switch {
		case readErr != nil:
			return nil, readErr
		case r.Owner != l.worker.String():
			return nil, fmt.Errorf("%w: key %s", ErrTakenOver, l.name)
		case r.revision == next.revision:
			return nil, err // because of one of the other records
		}
		next = r
	}
}

// put stores the next state.
func (l *lease) put(ctx context.Context, ex Executor, more Swap, next *partitionRecord) error {
	next.asked = l.clock()
	swap := Swap{Wake: more.Wake, Changes: append([]Change{next.change(l.name, l.partition)}, more.Changes...)}
	if err := ex.Swap(ctx, swap); err != nil {
		return err
	}
	next.revision++
	return nil
}

// adopt takes over a stored state, unless a later one is known.
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

// manner is how a worker takes a partition that has an owner.
type manner int

const (
	byHandOver manner = iota // asks the owner for it
	byStandby                // waits until the owner is gone
	byForce                  // takes it at once
)

// manner returns how a worker takes its partition. A worker that is started within
// a handler of the same subscription takes it at once, as it would wait for that
// handler for ever.
func (w *worker) manner(ctx context.Context, how manner) manner {
	if h := handling(ctx); h != nil && how == byHandOver && h.worker.name == w.name && h.worker.lease.partition == w.lease.partition {
		return byForce
	}
	return how
}

// tellWaiting logs, once, which owner the worker waits for.
func (w *worker) tellWaiting(ctx context.Context, r *partitionRecord, left time.Duration) {
	if w.lease.sightings.told(w.lease.part(), r.Owner) {
		return
	}
	w.logger.InfoContext(ctx, "evento: a subscription waits for its key", "owner", r.Owner, "host", r.Host, "heard_of", r.changedAt, "until_unless_heard", left.Round(time.Millisecond))
}

// tellTaken logs that the worker has fenced off another.
func (w *worker) tellTaken(ctx context.Context, r *partitionRecord) {
	w.lease.asked = ""
	w.lease.sightings.told(w.lease.part(), "")
	if r.Owner != "" && r.Owner != w.lease.worker.String() {
		w.logger.WarnContext(ctx, "evento: a subscription takes the key of a worker that did not answer", "owner", r.Owner, "host", r.Host, "heard_of", r.changedAt)
	}
}

// await waits until the worker owns its partition; left is for how much longer its
// owner may be alive.
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
			return cutShort(ctx, err)
		default:
			left = nextTry(ctx, w.logger, &failures, err)
		}
	}
}

// standbyInterval is the shortest time between two checks by a worker that waits
// for its key.
const standbyInterval = 200 * time.Millisecond

// waitForKey waits until the key may be free. If the store changes all the time, it
// does not check after each change; but after asking for the key the first checks
// are quick, as the answer may come at once.
func (w *worker) waitForKey(ctx context.Context, left time.Duration) error {
	short := standbyInterval
	if w.lease.asked != "" { // wake soon for the first checks
		short = min(short, firstBackoff*time.Duration(max(0, w.lease.looks-3)))
	}
	w.lease.looks++
	short = min(left, short)
	if err := pause(ctx, short, w.stopping, nil); err != nil || left <= short {
		return err
	}
	return pause(ctx, min(left, pollInterval)-short, w.stopping, w.lease.changed)
}

// ask asks the owner for a hand-over, once, and returns how long the owner has to
// answer. If several workers ask, the last one gets the partition.
func (l *lease) ask(ctx context.Context, r *partitionRecord, left time.Duration) (time.Duration, error) {
	me := l.worker.String()
	if r.Next != me {
		r.Next = me
		if err := l.ex.Swap(ctx, Swap{Changes: []Change{r.change(l.name, l.partition)}, Wake: true}); err != nil {
			return 0, err
		}
		r.revision++
	}
	if l.asked == "" {
		l.asked, l.until = r.Owner, l.clock()+left
	}
	return l.until - l.clock(), nil
}

// withdraw cancels a request for a hand-over.
func (l *lease) withdraw(ctx context.Context) {
	if l.asked == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
	defer cancel()
	for {
		r, err := l.name.readPartition(ctx, l.ex, l.partition)
		if err != nil || r.revision == 0 || r.Next != l.worker.String() {
			return
		}
		r.Next = ""
		err = l.ex.Swap(ctx, Swap{Changes: []Change{r.change(l.name, l.partition)}})
		if !errors.Is(err, ErrSwapped) { // else the record was changed meanwhile
			return
		}
	}
}

// sightings decide whether a lease is over, by the monotonic clock of this process:
// the owner of a record that has kept its revision for the whole lease is not
// alive. If the record was already old by the store's clock when it was first read,
// this age counts too, but at most a third of the lease: clocks are set, and an
// owner renews within the other two thirds. The key is the record's part.
type sightings map[string]sighting

type sighting struct {
	revision uint64
	since    time.Time // with the monotonic clock; zero: not read yet
	before   time.Duration
	owner    string // the owner that was logged last
}

// left returns for how much longer a record must keep its revision.
func (s sightings) left(part string, revision uint64, changedAt, now time.Time, lease time.Duration) time.Duration {
	at := s[part]
	if at.since.IsZero() || at.revision != revision {
		at = sighting{revision, time.Now(), min(max(0, now.Sub(changedAt)), lease/3), at.owner}
		s[part] = at
	}
	// Times of the store may be rounded down to milliseconds.
	return lease + 2*time.Millisecond - at.before - time.Since(at.since)
}

// told reports whether an owner was logged already, and notes that it now is.
func (s sightings) told(part, owner string) bool {
	at := s[part]
	told := at.owner == owner
	at.owner = owner
	s[part] = at
	return told
}
