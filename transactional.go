// Handling in the transaction that also stores the cursor.

package evento

import (
	"context"
	"errors"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/idle"
)

// storeError is a failure of the store, and not of a handler, while an event
// was handled.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// handleInTx handles as many of the events as it can in one transaction, and
// returns how many. After a failure those before the event are handled by
// themselves, and what failed alone, until its retries run out.
func (w *worker) handleInTx(ctx context.Context, edges []cursor.Edge[RawEvent]) (int, error) {
	n := 1
	for edges[0].Node.Position > w.alone && n < len(edges) {
		parked, err := w.parked.has(ctx, w, &edges[n].Node)
		if err != nil {
			return 0, err
		}
		if parked && w.mine(&edges[n].Node) {
			break
		}
		n++
	}
	failed, err := w.inTx(ctx, edges[:n])
	var store *storeError
	switch {
	case err == nil:
		return n, nil
	case errors.As(err, &store):
		return 0, store.err
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case failed == n && n > 1:
		w.alone = edges[n-1].Node.Position
		return 0, nil
	case failed > 0 && n > 1:
		return w.handleInTx(ctx, edges[:failed])
	}
	e := &edges[0].Node
	if _, err := w.handlerOf(e); err != nil {
		return 0, err
	}
	last, unit := e, edges[:1]
	if batch := w.batchOf(e); batch != nil {
		events, m := w.takes(batch, edges[:n])
		last, unit = &events[len(events)-1], edges[:m]
	}
	first := err
	attempts, err := w.attempt(ctx, e, func() error {
		if first != nil { // that was the first attempt
			err := first
			first = nil
			return err
		}
		_, err := w.inTx(ctx, unit)
		return err
	})
	switch {
	case err == nil:
		return len(unit), nil
	case attempts == 0:
		return 0, err
	case last.ID != e.ID:
		w.alone = last.Position
		return 0, nil
	}
	return 1, w.giveUp(ctx, &edges[0], err, attempts)
}

// inTx handles events in one transaction, with the cursor behind them. It
// returns a storeError, or a handler's error and the index of its event; or a
// conflict that was found at the end, of any of them, and their number.
func (w *worker) inTx(ctx context.Context, edges []cursor.Edge[RawEvent]) (failed int, err error) {
	var failure error
	var next *claimed
	last := &edges[len(edges)-1]
	err = w.transactor.InTx(idle.With(ctx, 2*w.lease), func(tx context.Context) error {
		failure, failed = nil, 0
		hctx := w.handlerContext(tx)
		for i := 0; i < len(edges); {
			if !w.mine(&edges[i].Node) {
				i++
				continue
			}
			n, err := w.callSome(hctx, edges[i:])
			if err != nil {
				failure, failed = err, i
				return err
			}
			i += n
		}
		var stale bool
		var err error
		next, err = w.claim.swapOnce(tx, Swap{}, func(s *claimState) {
			stale = s.Cursor != w.stored // by an earlier transaction whose outcome was lost
			s.Cursor, s.Position = last.Cursor, last.Node.Position
		})
		if stale {
			return ErrSwapped
		}
		return err
	})
	switch {
	case err == nil:
		w.claim.adopt(next)
		w.passed(last)
		w.noteStored(ctx)
		return 0, nil
	case failure != nil:
		return failed, failure
	case errors.Is(err, ErrConflict): // of what a handler committed
		return len(edges), err
	}
	// Whether it was committed is seen from the cursor in the store.
	w.unsure = last.Cursor
	return 0, &storeError{err}
}

// callSome calls the handler of the first event, or that of batches with as
// many as it takes, and returns how many.
func (w *worker) callSome(hctx context.Context, edges []cursor.Edge[RawEvent]) (int, error) {
	e := &edges[0].Node
	if batch := w.batchOf(e); batch != nil {
		events, n := w.takes(batch, edges)
		return n, w.callBatch(hctx, batch, events)
	}
	h, err := w.handlerOf(e)
	if err != nil || h == nil {
		return 1, err
	}
	return 1, w.call(hctx, h, e)
}
