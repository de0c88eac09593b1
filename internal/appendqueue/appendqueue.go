// Package appendqueue is group commit: of the callers that want something
// stored at the same time, one does it for all. Executors whose storage has
// one writer share it.
//
// A caller that finds the queue idle leads: it flushes its own request, in its
// own goroutine, and a single caller is not delayed by any hand-over. Those
// that come meanwhile wait, and the first of them leads the next flush, which
// takes all of them. The leader waits a moment, at most [Options].Linger, until
// as many have come as there were the last time: otherwise a batch is always
// half of the callers, as the other half is just returning from the one before.
package appendqueue

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the bounds of a queue.
type Options struct {
	// MaxCount is the most requests in a batch. 0: 1024.
	MaxCount int
	// MaxBytes is the most bytes in a batch, as its callers count them; a
	// batch has one request at least. 0: 8 MiB.
	MaxBytes int
	// Linger is the longest that a flush waits for a full batch. 0: 100 µs.
	// Negative: not at all.
	Linger time.Duration
	// Closed is the error of requests that come after Close, or are still
	// waiting then.
	Closed error
	// GaveUp, if it is set, is called when the context of a caller ends whose
	// request was taken by a flush, which may be able to hurry. See
	// [Call.GivenUp] and [ErrWithdrawn].
	GaveUp func()
	// Panicked is the error of requests whose flush panicked under another
	// caller; that caller gets the panic.
	Panicked error
}

// ErrWithdrawn is what a flush finishes a call with, whose caller has given up,
// when it has not made the request: the caller returns its context's error.
var ErrWithdrawn = errors.New("appendqueue: withdrawn")

// Call is a request on its way.
type Call[R any] struct {
	// Request is the caller's, to be read and filled in by the flush.
	Request R

	size     int
	taken    bool // guarded by the queue's mutex
	givenUp  atomic.Bool
	finished bool         // the leader's
	wake     chan message // has room for both messages that a call can get
}

// message tells a waiting caller its outcome, or that it leads.
type message struct {
	lead bool
	err  error
}

// GivenUp reports whether the caller's context has ended. The caller waits for
// the true outcome all the same.
func (c *Call[R]) GivenUp() bool { return c.givenUp.Load() }

// Finish lets the caller go on, with an error or nil. A flush calls it once
// for each call that it took.
func (c *Call[R]) Finish(err error) {
	c.finished = true
	c.wake <- message{err: err}
}

// Flush makes a batch durable. It calls take at most once, as late as it can:
// callers are free to give up until then. When ctx ends before it called take
// it returns without; once it has called take it goes on to the end, whatever
// becomes of ctx, which is the leader's alone.
type Flush[R any] func(ctx context.Context, take func() []*Call[R])

// Queue collects requests for a flush. Its methods are safe for concurrent
// use.
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
	return &Queue[R]{opts: opts, flush: flush, idle: make(chan struct{})}
}

// Do queues a request and returns when a flush has finished it. When ctx ends
// before a flush took the request, Do returns its error and the request is not
// made; after that, Do waits for the true outcome. Size is what the request
// counts against MaxBytes.
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
		if lead {
			q.lead(ctx, c)
		}
		select {
		case m := <-c.wake:
			if !m.lead {
				return outcome(ctx, m.err)
			}
			lead = true
			continue
		case <-ctx.Done():
		}
		if !q.withdraw(c) {
			// A flush has it: what it says is the truth.
			q.gaveUp(c)
			for m := range c.wake {
				if !m.lead {
					return outcome(ctx, m.err)
				}
			}
		}
		select {
		case m := <-c.wake: // was told to lead while it gave up
			if m.lead {
				q.handOver(0)
			}
		default:
		}
		return ctx.Err()
	}
}

func outcome(ctx context.Context, err error) error {
	if errors.Is(err, ErrWithdrawn) {
		return ctx.Err()
	}
	return err
}

// gaveUp tells the flush that has a call that its caller's context has ended.
func (q *Queue[R]) gaveUp(c *Call[R]) {
	c.givenUp.Store(true)
	if q.opts.GaveUp != nil {
		q.opts.GaveUp()
	}
}

// lead runs one flush in the goroutine of a caller, and lets the next caller
// lead.
func (q *Queue[R]) lead(ctx context.Context, own *Call[R]) {
	var batch []*Call[R]
	returned := false
	defer func() {
		if !returned { // a panic, which goes on in this goroutine
			q.withdraw(own)
			for _, c := range batch {
				if c != own && !c.finished {
					c.Finish(q.opts.Panicked)
				}
			}
		}
		q.handOver(len(batch))
	}()
	q.linger()
	stop := func() bool { return true }
	q.flush(ctx, func() []*Call[R] {
		batch = q.take()
		if q.opts.GaveUp != nil && ctx.Done() != nil {
			stop = context.AfterFunc(ctx, func() { q.gaveUp(own) })
		}
		return batch
	})
	stop()
	returned = true
}

// handOver ends a leadership: the caller that has waited longest leads next.
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

// withdraw takes a call out of the queue, unless a flush was faster.
func (q *Queue[R]) withdraw(c *Call[R]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.taken {
		return false
	}
	for i := range q.queued {
		if q.queued[i] == c {
			q.queued = append(q.queued[:i], q.queued[i+1:]...)
			break
		}
	}
	q.length.Store(int64(len(q.queued)))
	return true
}

// linger yields to callers that are on their way back, until as many wait as
// did at the last flush. It yields rather than sleeps: timers are coarser than
// the whole wait.
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
func (q *Queue[R]) take() []*Call[R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(q.queued) && n < q.opts.MaxCount {
		size += q.queued[n].size
		if n > 0 && size > q.opts.MaxBytes {
			break
		}
		q.queued[n].taken = true
		n++
	}
	batch := q.queued[:n:n]
	q.queued = append([]*Call[R](nil), q.queued[n:]...)
	q.length.Store(int64(len(q.queued)))
	return batch
}

// Close refuses new requests, fails those that wait, and returns when no flush
// is under way. A flush that has not called take yet is not interrupted: its
// executor sees to that. Closing again waits too.
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
