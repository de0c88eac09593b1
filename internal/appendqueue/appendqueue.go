// Package appendqueue is group commit: it hands the requests of concurrent
// callers to one flusher, which makes as many of them durable at once as are
// waiting. Executors whose storage has one writer share it.
//
// A single caller is not delayed: the flusher takes what is there. With many,
// the flusher waits a moment, at most [Options].Linger, until as many have
// come as there were the last time; otherwise a batch is always half of them,
// as the other half is just returning from the batch before.
package appendqueue

import (
	"context"
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
	// waiting then. Required.
	Closed error
}

// Call is a request on its way.
type Call[R any] struct {
	// Request is the caller's, to be read and filled in by the flush.
	Request R

	size  int
	taken bool // guarded by the queue's mutex
	done  chan error
}

// Finish lets the caller go on, with an error or nil. A flush calls it once
// for each call that it took.
func (c *Call[R]) Finish(err error) { c.done <- err }

// Flush makes a batch durable. It calls take once, as late as it can: callers
// are free to give up until then. The context ends when the queue is closed;
// after that a flush that has not called take returns, and one that has goes
// on to the end.
type Flush[R any] func(ctx context.Context, take func() []*Call[R])

// Queue collects requests for a flush. Its methods are safe for concurrent
// use.
type Queue[R any] struct {
	opts  Options
	flush Flush[R]

	wake    chan struct{} // has room for one: something was queued
	length  atomic.Int64  // of queued
	ended   chan struct{}
	ctx     context.Context // of the flushes; ends with Close
	cancel  context.CancelFunc
	pool    sync.Pool
	mu      sync.Mutex
	queued  []*Call[R]
	closed  bool
	waiting int // callers seen at the last flush
}

// New starts a queue. It runs until Close.
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
	q := &Queue[R]{opts: opts, flush: flush, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.pool.New = func() any { return &Call[R]{done: make(chan error, 1)} }
	go q.run()
	return q
}

// Do queues a request and waits until a flush has finished it. When ctx ends
// before a flush took the request, Do returns its error and the request is not
// made; after that, Do waits for the true outcome. Size is what the request
// counts against MaxBytes.
func (q *Queue[R]) Do(ctx context.Context, request R, size int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := q.pool.Get().(*Call[R])
	c.Request, c.size, c.taken = request, size, false
	defer func() {
		var zero R
		c.Request = zero
		q.pool.Put(c)
	}()

	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return q.opts.Closed
	}
	q.queued = append(q.queued, c)
	q.length.Store(int64(len(q.queued)))
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}

	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		if q.withdraw(c) {
			return ctx.Err()
		}
		return <-c.done
	}
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

// Close refuses new requests, fails those that wait, and returns when the
// flush under way has ended. Closing again waits too.
func (q *Queue[R]) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cancel()
	<-q.ended
}

func (q *Queue[R]) run() {
	defer close(q.ended)
	for {
		if q.length.Load() == 0 {
			select {
			case <-q.wake:
			case <-q.ctx.Done():
			}
		}
		if q.ctx.Err() != nil {
			for _, c := range q.takeAll() {
				c.Finish(q.opts.Closed)
			}
			return
		}
		if q.length.Load() == 0 {
			continue // withdrawn meanwhile
		}
		q.linger()
		batch := 0
		q.flush(q.ctx, func() []*Call[R] {
			calls := q.take()
			batch = len(calls)
			return calls
		})
		q.waiting = batch + int(q.length.Load())
	}
}

// linger yields to callers that are on their way back, until as many wait as
// did at the last flush. It yields rather than sleeps: timers are coarser than
// the whole wait.
func (q *Queue[R]) linger() {
	want := int64(min(q.waiting, q.opts.MaxCount))
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

func (q *Queue[R]) takeAll() []*Call[R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	calls := q.queued
	for _, c := range calls {
		c.taken = true
	}
	q.queued = nil
	q.length.Store(0)
	return calls
}
