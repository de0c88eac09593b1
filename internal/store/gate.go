// Whether an executor takes calls: the gate of open and closed.

package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/evento-go/evento"
)

// Gate lets calls in until the executor is closed, or has failed for good. The zero
// Gate is open. It is safe for concurrent use.
//
// An executor whose Close has to wait for calls begins each of them with Enter and
// ends it with Leave; Wait returns when all have left. Where a queue or a pool of
// connections already waits for them, Check alone is enough.
//
//	func (ex *Executor) Close() error {
//		return ex.gate.Close(func() error {
//			ex.gate.Wait()
//			return ex.db.Close()
//		})
//	}
type Gate struct {
	// Inside reports whether a context is that of a transaction which Close waits
	// for. Check lets its calls in after Close. nil: there are none.
	Inside func(context.Context) bool

	closed atomic.Bool
	cause  atomic.Pointer[error]
	close  sync.Once
	calls  sync.RWMutex // each call under way holds it for reading; Wait takes it for good
}

// Check returns an error if the context has ended, or the executor is closed or has
// failed.
func (g *Gate) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if g.closed.Load() && (g.Inside == nil || !g.Inside(ctx)) {
		return evento.ErrClosed
	}
	return g.Failed()
}

// Enter is Check, and counts a call as under way if there is no error. The caller
// calls Leave when it ends. It never blocks.
func (g *Gate) Enter(ctx context.Context) error {
	if err := g.Check(ctx); err != nil {
		return err
	}
	if !g.calls.TryRLock() { // this fails only once Wait was called
		return evento.ErrClosed
	}
	return nil
}

// Leave ends a call that has entered.
func (g *Gate) Leave() { g.calls.RUnlock() }

// Closed reports whether Close was called.
func (g *Gate) Closed() bool { return g.closed.Load() }

// Fail closes the executor to its callers, after an error that leaves unknown what is
// in the store. Close still has to be called. The first cause is kept.
func (g *Gate) Fail(cause error) {
	err := Errorf("%w: open it again: %w", evento.ErrClosed, cause)
	g.cause.CompareAndSwap(nil, &err)
}

// Failed returns an error that matches [evento.ErrClosed] and the cause of Fail; nil
// without one.
func (g *Gate) Failed() error {
	if cause := g.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// Close refuses further calls, runs shut and returns its error. Called again, it waits
// for the first Close and returns nil.
func (g *Gate) Close(shut func() error) (err error) {
	g.close.Do(func() {
		g.closed.Store(true)
		err = shut()
	})
	return err
}

// Wait waits for the calls that have entered. It is called once, by what Close runs.
func (g *Gate) Wait() { g.calls.Lock() }
