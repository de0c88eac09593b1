// Package appendqueue is group commit: when several callers want something
// stored at the same time, one of them does it for all. Executors whose storage
// has one writer share it.
//
// A caller that finds the queue idle leads: it flushes its own request in its
// own goroutine, so that a single caller never waits for another goroutine. Callers
// that come meanwhile wait. The first of them leads the next flush, which takes
// the requests of all of them. Before it takes them it waits until as many have come
// as there were the last time, for at most [Options].Linger: otherwise a batch would
// always be half of the callers, because the other half is just returning from the
// batch before.
//
// # Giving up
//
// A caller gives up when its context ends. It may then withdraw its request, except
// while a flush holds it for a transaction:
//
//	queued ──take──▶ taken ──Hold──▶ held ──Finish──▶ finished
//	   │               │ ▲              │
//	   └── withdrawn ◀─┘ └────Release───┘  the transaction was rolled back
//
// A caller that has withdrawn gets its context's error, and nothing is stored. A caller
// whose request is held waits for the outcome, at most [Options].Patience; then
// it gets [Options].Unknown. The flush learns when a caller gives up ([Options].GaveUp),
// and its context ends after all of them have, so that it can hurry, or stop.
//
// A leader whose context can end lets a goroutine flush for it, so that it can give up
// too.
package appendqueue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the bounds of a queue.
type Options struct {
	// MaxCount is the most requests in a batch. 0: 1024.
	MaxCount int
	// MaxBytes is the most bytes in a batch, by the sizes that callers of Do give.
	// A batch has at least one request, of whatever size. 0: 8 MiB.
	MaxBytes int
	// Linger is the longest that a flush waits for a full batch. 0: 100 µs.
	// Negative: not at all.
	Linger time.Duration
	// Closed is the error of requests that come after Close, or still wait
	// then.
	Closed error
	// GaveUp, if it is set, is called in a goroutine when the context of a caller
	// ends while a flush holds its request. The flush may be able to hurry.
	GaveUp func()
	// Patience is how long a caller whose context has ended waits for the outcome
	// of a request that is held. When all callers of a batch have given up, the
	// batch's context ends after half of it. 0: 1 s.
	Patience time.Duration
	// Unknown is the error of a request whose outcome did not come in that time.
	Unknown error
	// Panicked is the error of the other requests when a flush panics. Its leader
	// gets the panic.
	Panicked error
}

// ErrWithdrawn is how a flush finishes a call whose caller has given up, when nothing
// was stored. The caller gets its context's error.
var ErrWithdrawn = errors.New("appendqueue: withdrawn")

// The stages of a call that was taken.
const (
	free int32 = iota
	held
	withdrawn
)

// Call is a request in the queue or in a flush.
type Call[R any] struct {
	// Request is the caller's, to be read and filled in by the flush.
	Request R

	size     int
	taken    bool   // guarded by the queue's mutex
	batch    *batch // its leader's, from when it is taken
	leads    batch  // the batch, when it is the leader
	stage    atomic.Int32
	givenUp  atomic.Bool
	left     atomic.Bool  // it is no longer counted in batch.waiting
	finished bool         // used by the flush alone
	wake     chan message // has room for both messages that a call can get
	alone    [1]*Call[R]  // the batch of a leader that is its only caller
}

// batch is what the calls of a flush have in common. It is the context of the flush,
// part of the leader's call, so that a flush allocates none.
type batch struct {
	leader   context.Context //nolint:containedctx // for its values, as long as the call
	waiting  atomic.Int64    // callers that have no outcome yet and have not given up
	gone     atomic.Bool     // somebody has given up
	patience time.Duration

	mu    sync.Mutex
	done  chan struct{} // nil: nobody has asked for it
	ended bool
}

// Deadline implements [context.Context].
func (b *batch) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done implements [context.Context].
func (b *batch) Done() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done == nil {
		b.done = make(chan struct{})
		if b.ended {
			close(b.done)
		}
	}
	return b.done
}

// Err implements [context.Context].
func (b *batch) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return context.Canceled
	}
	return nil
}

// Value implements [context.Context]. The leader's context ends without the batch.
func (b *batch) Value(key any) any { return context.WithoutCancel(b.leader).Value(key) }

// end ends the context.
func (b *batch) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended && b.done != nil {
		close(b.done)
	}
	b.ended = true
}

// leave counts a caller off, once. When none waits any more and some have given up,
// the flush's context ends a while later.
func (c *Call[R]) leave(gaveUp bool) {
	b := c.batch
	if b == nil || c.left.Swap(true) {
		return
	}
	if gaveUp {
		b.gone.Store(true)
	}
	if b.waiting.Add(-1) == 0 && b.gone.Load() {
		time.AfterFunc(b.patience/2, b.end)
	}
}

// message tells a waiting caller its outcome, or that it leads.
type message struct {
	lead     bool
	err      error
	panicked any // in the goroutine that led for it
}

// GivenUp reports whether the caller's context has ended while its request was
// held.
func (c *Call[R]) GivenUp() bool { return c.givenUp.Load() }

// Hold keeps callers from withdrawing, because their requests go into a transaction. It
// returns the calls whose callers have not given up.
func Hold[R any](calls []*Call[R]) []*Call[R] {
	for i, c := range calls {
		if c.hold() {
			continue
		}
		left := slices.Clone(calls[:i])
		for _, c := range calls[i+1:] {
			if c.hold() {
				left = append(left, c)
			}
		}
		return left
	}
	return calls
}

func (c *Call[R]) hold() bool {
	switch {
	case !c.stage.CompareAndSwap(free, held):
		c.finished = true // the caller has gone
		return false
	case c.givenUp.Load(): // when it was held before
		c.Finish(ErrWithdrawn)
		return false
	}
	return true
}

// Release lets callers withdraw again, because nothing was stored for them.
func Release[R any](calls []*Call[R]) {
	for _, c := range calls {
		c.stage.Store(free)
	}
}

// Finish gives the caller its outcome: an error or nil. A flush calls it once for each
// call that it took.
func (c *Call[R]) Finish(err error) {
	c.finished = true
	c.leave(false)
	c.wake <- message{err: err}
}

// Flush makes a batch durable. It calls take at most once, as late as it can. When
// ctx, the leader's, ends before that, it returns. After take it goes on to the end,
// with the context that take returns: that has the leader's values, and ends a while
// after all callers have given up. It holds each call before it stores it, and finishes
// each.
type Flush[R any] func(ctx context.Context, take func() (context.Context, []*Call[R]))

// Queue collects requests for a flush. Its methods are safe for concurrent
// use.
//
// Why: docs/decisions.md, "A caller who gives up does not wait for the storage".
type Queue[R any] struct {
	opts   Options
	flush  Flush[R]
	length atomic.Int64  // of queued
	idle   chan struct{} // closed when the queue is, and no flush is under way

	mu      sync.Mutex
	queued  []*Call[R]
	leading bool // somebody flushes, or was told to
	closed  bool
	crowd   int // callers seen at the last flush
}

// New makes a queue. Flushes never run at the same time.
func New[R any](opts Options, flush Flush[R]) *Queue[R] {
	if opts.MaxCount <= 0 {
		opts.MaxCount = 1024
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 8 << 20
	}
	if opts.Linger == 0 {
		opts.Linger = 100 * time.Microsecond
	}
	if opts.Patience <= 0 {
		opts.Patience = time.Second
	}
	return &Queue[R]{opts: opts, flush: flush, idle: make(chan struct{})}
}

// Do queues a request and returns when a flush has finished it, or when its caller gives
// up because ctx ends. Size counts against MaxBytes. After the error Unknown, a flush
// may still read the request.
func (q *Queue[R]) Do(ctx context.Context, request R, size int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &Call[R]{Request: request, size: size, wake: make(chan message, 2)}
	lead, err := q.enqueue(c)
	if err != nil {
		return err
	}
	return q.wait(ctx, c, lead)
}

func (q *Queue[R]) enqueue(c *Call[R]) (lead bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, q.opts.Closed
	}
	q.queued = append(q.queued, c)
	q.length.Store(int64(len(q.queued)))
	lead = !q.leading
	q.leading = true
	return lead, nil
}

func (q *Queue[R]) wait(ctx context.Context, c *Call[R], lead bool) error {
	for {
		switch {
		case lead && ctx.Done() == nil:
			q.lead(ctx, c)
		case lead:
			go q.leadFor(ctx, c)
		}
		select {
		case m := <-c.wake:
			if !m.lead {
				return m.outcome(ctx)
			}
			lead = true
		case <-ctx.Done():
			return q.giveUp(ctx, c)
		}
	}
}

// outcome is what Do returns. It panics when the flush did.
func (m message) outcome(ctx context.Context) error {
	switch {
	case m.panicked != nil:
		panic(m.panicked)
	case errors.Is(m.err, ErrWithdrawn) && ctx.Err() != nil:
		return ctx.Err()
	}
	return m.err
}

// giveUp is for a caller whose context has ended.
func (q *Queue[R]) giveUp(ctx context.Context, c *Call[R]) error {
	if q.withdraw(c) {
		select {
		case m := <-c.wake: // it was told to lead meanwhile
			if m.lead {
				q.handOver(0)
			}
		default:
		}
		return ctx.Err()
	}
	if c.batch == nil { // the queue was closed
		return (<-c.wake).outcome(ctx)
	}
	late := time.NewTimer(q.opts.Patience)
	defer late.Stop()
	c.givenUp.Store(true)
	c.leave(true)
	if q.opts.GaveUp != nil {
		go q.opts.GaveUp() // it may have to wait for the storage
	}
	for {
		select {
		case m := <-c.wake:
			if !m.lead {
				return m.outcome(ctx)
			}
		case <-late.C:
			if c.stage.CompareAndSwap(free, withdrawn) {
				return ctx.Err()
			}
			// An error that matches the context's would say that nothing was stored.
			return fmt.Errorf("%w: the store has not answered, and the caller waits no more: %v", q.opts.Unknown, ctx.Err()) //nolint:errorlint // see above
		}
	}
}

// leadFor leads in a goroutine of its own, for a caller that may give up.
func (q *Queue[R]) leadFor(ctx context.Context, own *Call[R]) {
	returned := false
	defer func() {
		if p := recover(); p != nil {
			own.wake <- message{panicked: p}
		} else if !returned && !own.finished {
			own.Finish(q.opts.Panicked) // the goroutine was ended
		}
	}()
	q.lead(ctx, own)
	returned = true
}

// lead runs one flush, and lets the next caller lead.
func (q *Queue[R]) lead(ctx context.Context, own *Call[R]) {
	var taken []*Call[R]
	returned := false
	defer func() {
		if !returned { // the flush panics
			q.withdraw(own)
			for _, c := range taken {
				if c != own && !c.finished {
					c.Finish(q.opts.Panicked)
				}
			}
		}
		q.handOver(len(taken))
	}()
	q.linger()
	b := &own.leads
	b.leader, b.patience = ctx, q.opts.Patience
	q.flush(ctx, func() (context.Context, []*Call[R]) {
		taken = q.take(own)
		if ctx.Done() == nil {
			return ctx, taken // the leader never gives up
		}
		return b, taken
	})
	b.end()
	returned = true
}

// handOver ends a leadership. The caller that has waited longest leads next.
func (q *Queue[R]) handOver(batch int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if batch > 0 {
		q.crowd = batch + len(q.queued)
	}
	switch {
	case q.closed:
		q.end()
	case len(q.queued) > 0:
		q.queued[0].wake <- message{lead: true}
	default:
		q.leading = false
	}
}

// end fails those who wait when the queue is closed.
func (q *Queue[R]) end() {
	for _, c := range q.queued {
		c.taken = true
		c.Finish(q.opts.Closed)
	}
	q.queued = nil
	q.length.Store(0)
	q.leading = false
	close(q.idle)
}

// withdraw takes a call back, unless a flush has held it.
func (q *Queue[R]) withdraw(c *Call[R]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.taken {
		if c.batch == nil || !c.stage.CompareAndSwap(free, withdrawn) {
			return false
		}
		c.leave(true)
		return true
	}
	if i := slices.Index(q.queued, c); i >= 0 {
		q.queued = slices.Delete(q.queued, i, i+1)
	}
	q.length.Store(int64(len(q.queued)))
	return true
}

// linger waits until as many callers wait as did at the last flush, at most Linger. It
// yields to them rather than sleeps: timers are coarser than the whole wait.
func (q *Queue[R]) linger() {
	q.mu.Lock()
	want := int64(min(q.crowd, q.opts.MaxCount))
	q.mu.Unlock()
	if want <= 1 || q.opts.Linger < 0 {
		return
	}
	for began := time.Now(); q.length.Load() < want && time.Since(began) < q.opts.Linger; {
		runtime.Gosched()
	}
}

// take removes a batch from the queue.
func (q *Queue[R]) take(leader *Call[R]) []*Call[R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.queued) && n < q.opts.MaxCount {
		size += q.queued[n].size
		if n > 0 && size > q.opts.MaxBytes {
			break
		}
		q.queued[n].taken, q.queued[n].batch = true, &leader.leads
		n++
	}
	leader.leads.waiting.Store(int64(n))
	taken := append(leader.alone[:0], q.queued[:n]...)
	q.queued = slices.Delete(q.queued, 0, n)
	q.length.Store(int64(len(q.queued)))
	return taken
}

// Close refuses new requests, fails those that wait, and returns when no flush
// is under way. It does not interrupt a flush that has not called take yet: the
// executor does. Closing again waits too.
func (q *Queue[R]) Close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		if !q.leading {
			q.end()
		}
	}
	q.mu.Unlock()
	<-q.idle
}
