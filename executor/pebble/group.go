// Writes that reach Pebble's log in one batch.

package pebble

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
)

// queue has the plain writes that wait for a batch. A write is plain if its versions
// alone decide whether it fits.
//
// The writer that has waited longest leads. It waits until there is enough, takes the
// order, applies all that wait as one batch, lets the next one lead, and waits for the
// disk. What is enough depends on which takes longer, the disk or the processors:
//
//   - Processors: half of the writers under way, or whoever waits when the disk is idle.
//     So there are two groups: one is synced while the other gathers.
//   - The disk: as many as there were in the last group, which all are back soon after
//     its sync. For those it waits a part of the time of a sync, and no longer.
//
// A single writer never waits for others.
//
// A writer whose context ends leaves the queue. Once it was taken from there, it waits for
// the outcome.
//
// Why: docs/decisions.md, "Writers share a batch".
type queue struct {
	under atomic.Int64  // plain writes under way
	look  chan struct{} // tells the leader that enough may wait; has room for one

	mu      sync.Mutex
	waiting []*pending // the first of them leads
	led     bool
	syncing int           // groups that were applied and are not synced yet
	fast    int           // how many groups in a row gathered long before the disk was ready
	crowd   int           // writers seen when the last group was taken
	ended   time.Time     // when the last group was synced
	sync    time.Duration // the mean of the last syncs

	pairs [len(sections)][]pair // of merge, under the order
}

// groupBytes bounds the batch of a group.
const groupBytes = 4 << 20

// fastGroups is how many groups in a row have to be fast before groups are of all writers.
const fastGroups = 8

// add puts a write into the queue, and reports whether it leads.
func (q *queue) add(p *pending) (leads bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, p)
	if !q.led {
		q.led = true
		return true
	}
	if ok, _ := q.enough(); ok {
		q.wakeLeader()
	}
	return false
}

// enough reports whether the leader need not wait for more; if not, and more than 0 is
// left, it is enough after that time. The caller holds the mutex.
func (q *queue) enough() (ok bool, left time.Duration) {
	switch {
	case !q.whole():
		return q.syncing == 0 || int64(2*len(q.waiting)) >= q.under.Load(), 0
	case q.syncing > 0:
		return false, 0
	}
	left = time.Until(q.ended.Add(q.patience()))
	return left <= 0 || len(q.waiting) >= q.crowd, left
}

// whole reports whether groups are of all writers, because the disk takes longer.
func (q *queue) whole() bool { return q.fast >= fastGroups }

// patience is how long the disk may be idle for a whole group. In that time another
// group of half the writers would not be synced.
func (q *queue) patience() time.Duration { return q.sync * 3 / 4 }

func (q *queue) wakeLeader() {
	select {
	case q.look <- struct{}{}:
	default:
	}
}

// gather waits until enough wait.
func (q *queue) gather(ctx context.Context) error {
	for {
		q.mu.Lock()
		ok, left := q.enough()
		q.mu.Unlock()
		if ok {
			return nil
		}
		var late <-chan time.Time
		if left > 0 {
			late = time.After(left)
		}
		select {
		case <-q.look:
		case <-late:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take removes a group from the queue.
func (q *queue) take() *group {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.waiting) {
		if size += q.waiting[n].batch.Len(); n > 0 && size > groupBytes {
			break
		}
		n++
	}
	now := time.Now()
	gathered := now.Sub(q.ended)
	switch {
	case q.whole() && gathered < q.patience():
	case !q.whole() && q.syncing > 0 && 2*gathered < q.patience(): // all gather in about twice the time of half
		q.fast++
	default:
		q.fast = 0
	}
	g := &group{writes: slices.Clone(q.waiting[:n]), began: now}
	q.crowd = len(q.waiting)
	q.waiting = slices.Delete(q.waiting, 0, n)
	q.syncing++
	return g
}

// synced counts a group off.
func (q *queue) synced(g *group) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.syncing--
	now, began := time.Now(), g.began
	waited := began.Before(q.ended) // for the group before
	if waited {
		began = q.ended
	}
	switch took := now.Sub(began); {
	case q.sync == 0:
		q.sync = took
	case waited && 4*took < q.sync: // it was synced together with the group before
	default:
		q.sync += (took - q.sync) / 16
	}
	q.ended = now
	q.wakeLeader()
}

// handOver ends a leadership.
func (q *queue) handOver() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next()
}

// next lets the first who waits lead. The caller holds the mutex.
func (q *queue) next() {
	if len(q.waiting) == 0 {
		q.led = false
		return
	}
	q.waiting[0].turn <- true
}

// leave takes a write back whose caller does not lead yet, unless it was taken.
func (q *queue) leave(p *pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, p)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	select {
	case <-p.turn: // it was told to lead meanwhile
		q.next()
	default:
	}
	return true
}

// share is the write's way through the queue. It sets the outcome.
func (p *pending) share(ctx context.Context) {
	q := &p.ex.queue
	p.turn = make(chan bool, 1)
	leads := q.add(p)
	for !leads {
		select {
		case leads = <-p.turn:
			if !leads {
				return
			}
		case <-ctx.Done():
			if q.leave(p) {
				p.err = ctx.Err()
			} else {
				<-p.turn
			}
			return
		}
	}
	p.lead(ctx)
}

// lead commits a group.
func (p *pending) lead(ctx context.Context) {
	ex, q := p.ex, &p.ex.queue
	err := q.gather(ctx)
	if err == nil {
		err = ex.lock(ctx)
	}
	if err != nil {
		q.leave(p)
		q.handOver()
		p.err = err
		return
	}
	g := q.take()
	ex.applyGroup(g)
	ex.unlock()
	q.handOver()
	if g.batch != nil {
		if err := ex.finish(g.batch, g.last); err != nil {
			fail(g.fit, err)
		}
	}
	q.synced(g)
	for _, other := range g.writes {
		if other != p {
			other.turn <- false
		}
	}
}

// group is writes that share a batch.
type group struct {
	began  time.Time
	writes []*pending
	fit    []*pending // those that are stored
	last   uint64     // the position of their last event
	batch  *lsm.Batch // nil: nothing was applied
}

// fail is the outcome of some writes.
func fail(writes []*pending, err error) {
	for _, p := range writes {
		p.err = err
	}
}

// applyGroup judges the writes of a group in turn, and applies those that fit, under the
// order.
func (ex *Executor) applyGroup(g *group) {
	g.last = ex.applied.Load()
	var placed map[evento.AggregateKey]head
	if len(g.writes) > 1 {
		placed = make(map[evento.AggregateKey]head, len(g.writes))
	}
	now := max(ex.latest, ex.opts.Clock().UnixMicro())
	for _, p := range g.writes {
		if p.conflict, p.err = p.fits(placed); p.conflict != nil || p.err != nil {
			continue
		}
		p.receipts = p.place(g.last, now)
		g.last = p.receipts[len(p.receipts)-1].Position
		for i := range p.receipts {
			if placed != nil {
				placed[p.appends[i].Aggregate()] = p.head(i)
			}
		}
		g.fit = append(g.fit, p)
	}
	if len(g.fit) == 0 {
		return
	}
	b, err := ex.merge(g.fit)
	if err == nil {
		err = ex.apply(b)
	}
	if err != nil {
		fail(g.writes, err) // also of who conflicts with another of the group
		return
	}
	g.batch = b
	for _, p := range g.fit {
		p.applied(now)
	}
}

// sections are the kinds of an event's keys in the order in which a batch has them. Pebble
// inserts a key faster that is next to the one before, as keys of positions are.
const sections = string(eventKey) + string(kindKey) + string(routingKey) + string(tagKey) + string(aggregateKey)

// pair is a key with its value, in the memory of a batch.
type pair struct{ key, value []byte }

// merge makes one batch of those of several writes.
func (ex *Executor) merge(writes []*pending) (*lsm.Batch, error) {
	if len(writes) == 1 {
		return writes[0].batch, nil
	}
	pairs, size := &ex.queue.pairs, batchHeader
	for _, p := range writes {
		size += p.batch.Len()
		for r := p.batch.Reader(); ; {
			_, key, value, ok, err := r.Next()
			if err != nil {
				return nil, failure(err)
			}
			if !ok {
				break
			}
			i := strings.IndexByte(sections, key[len(ex.keys.prefix)])
			pairs[i] = append(pairs[i], pair{key, value})
		}
	}
	b := ex.db.NewBatchWithSize(size)
	for i := range pairs {
		for _, kv := range pairs[i] {
			if err := b.Set(kv.key, kv.value, nil); err != nil {
				return nil, failure(err)
			}
		}
		clear(pairs[i])
		pairs[i] = pairs[i][:0]
	}
	for _, p := range writes {
		_ = p.batch.Close() // its memory goes to the next batch, and nothing else happens
		p.batch, p.events = nil, nil
	}
	return b, nil
}
