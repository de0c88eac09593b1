// Callers who wait for their writes, or do not any more.

package mysql

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento"
)

// The stages of a write. The caller may withdraw it, and it is not stored,
// unless a flush has claimed it for a transaction. It is unclaimed again when
// that has come to nothing, and another has to wait for the counter.
const (
	unclaimed int32 = iota
	claimed
	withdrawn
)

const (
	// abandonAfter is how long a transaction goes on, of which the server says
	// nothing, when all who wait for it have given up.
	abandonAfter = 500 * time.Millisecond
	// unknownAfter is how long a caller whose context has ended waits for what
	// becomes of a write that was claimed.
	unknownAfter = 2 * abandonAfter
)

// outcome is what the queue makes of a write.
type outcome struct {
	err      error
	panicked any
}

// do has a write made. Flushes run in the goroutine of a caller, hence another
// one for a caller who may not wait for the end of it.
func (ex *Executor) do(op *appendOp, size int) error {
	if op.ctx.Done() == nil {
		return ex.queue.Do(op.ctx, op, size)
	}
	ended := make(chan outcome, 1)
	go func() {
		o := outcome{panicked: errors.New("evento: mysql: a flush ended its goroutine")}
		defer func() {
			if p := recover(); p != nil {
				o.panicked = p
			}
			ended <- o
		}()
		o.err = ex.queue.Do(op.ctx, op, size)
		o.panicked = nil
	}()
	select {
	case o := <-ended:
		return o.result()
	case <-op.ctx.Done():
	}
	if op.stage.CompareAndSwap(unclaimed, withdrawn) {
		return op.ctx.Err()
	}
	late := time.NewTimer(unknownAfter)
	defer late.Stop()
	select {
	case o := <-ended:
		return o.result()
	case <-late.C:
		return fmt.Errorf("%w: the server has not answered, and the caller waits no more: %v", evento.ErrOutcomeUnknown, op.ctx.Err()) //nolint:errorlint // matching the context's error would say that nothing was stored
	}
}

func (o outcome) result() error {
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.err
}

// claim takes the calls for a transaction, but for those that were withdrawn,
// which it finishes.
func claim(calls []*call) []*call {
	left := make([]*call, 0, len(calls))
	for _, c := range calls {
		if c.Request.stage.CompareAndSwap(unclaimed, claimed) {
			left = append(left, c)
		} else {
			c.Finish(c.Request.ctx.Err())
		}
	}
	return left
}

// unclaim lets the callers withdraw again: the transaction is rolled back.
func unclaim(calls []*call) {
	for _, c := range calls {
		c.Request.stage.Store(unclaimed)
	}
}

// anyOf returns a context that ends when those of all calls have ended, and a
// while after: nobody waits for the outcome then.
func anyOf(calls []*call) (context.Context, context.CancelFunc) {
	for _, c := range calls {
		if c.Request.ctx.Done() == nil {
			return context.Background(), func() {}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var left atomic.Int64
	left.Store(int64(len(calls)))
	stops := make([]func() bool, len(calls))
	for i, c := range calls {
		stops[i] = context.AfterFunc(c.Request.ctx, func() {
			if left.Add(-1) == 0 {
				time.AfterFunc(abandonAfter, cancel)
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
