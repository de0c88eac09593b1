// Units of work (an event, a batch, a chunk in a transaction, a parked event to
// retry), and what follows a failure: retrying and giving up.

package evento

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/evento-go/evento/cursor"
)

// unit is a sequence of events that are attempted together: all of them are done,
// or none. It is one call of a handler or, in a transaction, several.
type unit struct {
	edges []cursor.Edge[RawEvent] // including those of other partitions, which are skipped
	retry *parkedRetry            // nil: the events are the next in order
	ex    Executor                // what the handlers get
}

func (u unit) last() *cursor.Edge[RawEvent] { return &u.edges[len(u.edges)-1] }

// failure describes the failure of a handler on a unit.
type failure struct {
	err   error
	at, n int  // the failed call: its first event in the unit, and its number of events
	known bool // which call failed is known; else at and n are those of the first call
}

// trouble is what the worker remembers of a failed unit until its events are done.
// It does not keep the events: they are read again, as a handler may have changed
// what it was given.
type trouble struct {
	sizes    []int // sizes of the next units, in events; none: as large as possible
	attempts int   // failed attempts of the next unit
	err      error // of the last attempt
	event    *RawEvent
	stored   bool // it is stored in the partition's record
	repeats  bool // an earlier commit of the transaction has failed
}

// passed removes n events, which are done.
func (t *trouble) passed(n int) {
	t.attempts, t.err, t.event, t.stored, t.repeats = 0, nil, nil, false, false
	for n > 0 && len(t.sizes) > 0 {
		took := min(n, t.sizes[0])
		n -= took
		if t.sizes[0] -= took; t.sizes[0] == 0 {
			t.sizes = t.sizes[1:]
		}
	}
}

// cut splits the next unit into smaller ones.
func (t *trouble) cut(sizes ...int) {
	for _, n := range sizes {
		if len(t.sizes) > 0 {
			t.sizes[0] -= n
		}
	}
	if len(t.sizes) > 0 && t.sizes[0] <= 0 {
		t.sizes = t.sizes[1:]
	}
	t.sizes = append(slices.DeleteFunc(sizes, func(n int) bool { return n == 0 }), t.sizes...)
	t.attempts = 0
}

// unitOf returns the unit that begins with the first of the events.
func (w *worker) unitOf(ctx context.Context, edges []cursor.Edge[RawEvent]) (unit, error) {
	if len(w.trouble.sizes) > 0 {
		edges = edges[:min(len(edges), w.trouble.sizes[0])]
	}
	if w.inTx == nil || w.staging {
		return unit{edges: edges[:w.firstCall(edges)]}, nil
	}
	n := 1
	for ; n < len(edges); n++ {
		if parked, err := w.isParked(ctx, &edges[n].Node); err != nil {
			return unit{}, err
		} else if parked {
			break
		}
	}
	return unit{edges: edges[:n]}, nil
}

// handle attempts the unit at the beginning of edges, and returns how many of its
// events are done: 0 if they must be read and attempted again.
func (w *worker) handle(ctx context.Context, edges []cursor.Edge[RawEvent]) (done int, err error) {
	if parked, err := w.isParked(ctx, &edges[0].Node); err != nil {
		return 0, err
	} else if parked {
		w.trouble.passed(1)
		return 1, w.park(ctx, &edges[0], nil, 0)
	}
	if h, err := w.handlerOf(&edges[0].Node); w.staging && h == nil && err == nil {
		w.progress.advance(&edges[0]) // without a write of its own
		w.trouble.passed(1)
		return 1, nil
	}
	u, err := w.unitOf(ctx, edges)
	if err != nil {
		return 0, err
	}
	failed, err := w.attempt(ctx, u)
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return w.failed(ctx, u, failed)
	}
	w.progress.advance(u.last())
	if w.inTx != nil {
		w.noteStored(ctx)
	}
	if w.trouble.err != nil || len(w.trouble.sizes) > 0 || w.trouble.repeats {
		w.trouble.passed(len(u.edges))
	}
	return len(u.edges), nil
}

// attempt calls the handlers of a unit, and stores what must be stored together
// with their work. It returns a failure if a handler failed, and an error for
// anything else.
func (w *worker) attempt(ctx context.Context, u unit) (failed *failure, err error) {
	u.ex = w.ex
	if w.inTx != nil {
		failed, err = w.attemptInTx(ctx, u)
	} else if failed, err = w.callAll(ctx, u); failed == nil && err == nil && u.retry != nil {
		err = w.lease.swap(ctx, u.retry.done, keepState)
	}
	if failed != nil && ctx.Err() != nil { // the handler was cancelled: not the event's failure
		return nil, ctx.Err()
	}
	return failed, err
}

// keepState is a change that leaves the partition's state as it is.
func keepState(*partitionState) error { return nil }

// attemptInTx is attempt in a transaction, which also stores the cursor, or removes
// the record of a parked event.
func (w *worker) attemptInTx(ctx context.Context, u unit) (failed *failure, err error) {
	var more Swap
	change := func(s *partitionState) error { return w.progress.writeWith(u.last(), s, w.lease.resets.Load()) }
	sent := u.last().Cursor
	if u.retry != nil {
		more, change, sent = u.retry.done, keepState, w.progress.at
	}
	var stored *partitionRecord
	var own error // the error of the library's own work in the transaction
	called := false
	err = w.inTx(withTxIdleLimit(ctx, 2*w.lease.length), func(tx context.Context, ex Executor) error {
		failed, own, called = nil, nil, false
		w.lease.resets.Store(0)
		u.ex = ex
		if failed, own = w.callAll(tx, u); failed != nil {
			return failed.err
		}
		if called = own == nil; called {
			stored, own = w.lease.swapInTx(tx, ex, more, change)
		}
		return own
	})
	switch {
	case err == nil:
		if w.staging && stored.again { // it has changed several times, and is stored once
			return nil, w.lease.reload(ctx)
		}
		w.lease.adopt(stored)
		return nil, nil
	case failed != nil || !called && own != nil || errors.Is(own, ErrTakenOver):
		return failed, own
	case errors.Is(own, errMoved):
		return nil, cmp.Or(w.lease.confirm(ctx), errAgain)
	case called && !errors.Is(own, ErrSwapped) && (!errors.Is(err, ErrSwapped) || w.overRecords(ctx, u.ex, stored)) && w.blames(ctx, err):
		if !refused(err) && !w.trouble.repeats { // the connection may have been lost
			w.trouble.repeats = true
			return nil, errAgain
		}
		if w.staging && isAny(err, ErrInvalid, ErrTooLarge) { // such as too many records at once
			err = Permanent(err)
		}
		return &failure{err: err, n: w.firstCall(u.edges)}, nil
	}
	w.progress.doubt(sent)
	return nil, err
}

// blames reports whether a commit failed because of what was done in the
// transaction: nothing was stored, and the store works.
func (w *worker) blames(ctx context.Context, err error) bool {
	if isAny(err, ErrOutcomeUnknown, ErrClosed, ErrFull, ErrReadOnly, context.Canceled, context.DeadlineExceeded) {
		return false
	}
	return refused(err) || w.lease.reload(ctx) == nil
}

// overRecords reports whether a staged write was refused because of records that its handler
// has changed. It was not if the partition's own has changed meanwhile, or if the handler has
// changed those of the other partitions, whose workers change them all the time.
func (w *worker) overRecords(ctx context.Context, ex Executor, stored *partitionRecord) bool {
	d, staged := ex.(*staged)
	if !staged || w.lease.reload(ctx) != nil {
		return false
	}
	own := w.name.partition(w.lease.partition)
	if slices.ContainsFunc(d.records, func(r stagedRecord) bool { return r.Kind == own.Kind && r.Key == own.Key && r.RecordKey != own }) {
		return false
	}
	was := stored.revision - 1
	if stored.again {
		was--
	}
	at, _ := w.lease.known()
	return at.revision == was
}

// refused reports whether the executor says for certain that a transaction was not
// committed because of what was done in it.
func refused(err error) bool {
	return isAny(err, ErrConflict, ErrTxRefused)
}

// callAll calls the handlers of a unit one after the other.
func (w *worker) callAll(ctx context.Context, u unit) (*failure, error) {
	for i := 0; i < len(u.edges); {
		e := &u.edges[i].Node
		if !w.mine(e) {
			i++
			continue
		}
		h, err := w.handlerOf(e)
		switch {
		case err != nil && u.retry != nil:
			return &failure{err: err, n: 1, known: true}, nil
		case err != nil && i > 0: // the calls before it are handled first
			return &failure{err: err, at: i, n: 1, known: true}, nil
		case err != nil:
			return nil, err
		case h == nil:
			i++
			continue
		}
		n, err := w.callOne(ctx, u, h, i)
		if err != nil {
			return w.blame(ctx, u, &failure{err: err, at: i, n: n, known: true})
		}
		i += n
	}
	return nil, nil
}

// blame narrows the failure of a call to the event that the library's own handler
// has named. If that handler failed because the store fails, it returns the error
// instead: no event has failed.
func (w *worker) blame(ctx context.Context, u unit, f *failure) (*failure, error) {
	var store *storeError
	if errors.As(f.err, &store) && (w.inTx == nil || w.staging) && !w.blames(ctx, store.err) {
		return nil, store.err
	}
	var event *eventError
	if errors.As(f.err, &event) {
		if i := slices.IndexFunc(u.edges, func(e cursor.Edge[RawEvent]) bool { return e.Node.ID == event.id }); i >= 0 {
			f.at, f.n = i, 1
		}
	}
	return f, nil
}

// callOne calls the handler of the events that begin at i, and returns how many
// events it has taken.
func (w *worker) callOne(ctx context.Context, u unit, h *handler, i int) (n int, err error) {
	edges, batch := u.edges[i:], []RawEvent(nil)
	n = 1
	if h.many != nil {
		n = w.firstCall(edges)
		batch = make([]RawEvent, 0, n)
		for j := range edges[:n] {
			if e := &edges[j].Node; w.mine(e) {
				batch = append(batch, *e)
			}
		}
	}
	last := &edges[n-1]
	attempt, replay := w.trouble.attempts+1, false
	if u.retry != nil { // a parked event was never handled before
		attempt = u.retry.parked.Attempts + 1
	} else if w.progress.furthest != "" {
		past, err := notAfter(w.ex, last.Cursor, w.progress.furthest)
		replay = err == nil && past
	}
	return n, w.call(w.contextFor(ctx, u.ex, attempt, replay, &last.Node), h, &edges[0].Node, batch)
}

// firstCall returns how many of the events the first call takes.
func (w *worker) firstCall(edges []cursor.Edge[RawEvent]) (n int) {
	h, err := w.handlerOf(&edges[0].Node)
	if err != nil || h == nil || h.many == nil {
		return 1
	}
	for n = 1; n < len(edges); n++ {
		e := &edges[n].Node
		if !w.mine(e) {
			continue
		}
		if other, err := w.handlerOf(e); err != nil || other != h || w.parked.counts[e.Aggregate()] > 0 {
			break
		}
	}
	return n
}

// failed decides what follows a unit's failure: it is attempted again, split into
// smaller units, or given up.
func (w *worker) failed(ctx context.Context, u unit, f *failure) (done int, err error) {
	switch whole := f.n == len(u.edges); {
	case !whole && f.known: // first the events before the failed call, then that call
		w.trouble.cut(f.at, f.n)
		return 0, errAgain
	case !whole:
		w.trouble.cut(singly(len(u.edges))...)
		return 0, errAgain
	}
	first := &u.edges[0].Node
	w.trouble.attempts++
	w.trouble.err, w.trouble.event, w.trouble.stored = f.err, first, false
	attempts := w.trouble.attempts
	switch {
	case attempts <= w.retries && !hopeless(f.err, first):
		return 0, w.backOff(ctx, first, attempts)
	case len(u.edges) > 1:
		w.trouble.cut(singly(len(u.edges))...)
		return 0, errAgain
	}
	if err := w.giveUp(ctx, u.last(), f.err, attempts); err != nil {
		return 0, err
	}
	w.trouble.passed(1)
	return 1, nil
}

func singly(n int) []int { return slices.Repeat([]int{1}, n) }

// backOff waits before the next attempt, and returns errAgain.
func (w *worker) backOff(ctx context.Context, e *RawEvent, attempt int) error {
	wait := backoff(attempt - 1)
	w.logger.WarnContext(ctx, "evento: a handler failed; trying again", append(about(e), "attempt", attempt, "error", w.trouble.err, "wait", wait)...)
	if w.hooks.Retry != nil {
		w.hooks.Retry(ctx, w.name.key, *e, attempt, w.trouble.err)
	}
	// Store the cursor first: what is handled must not wait for this event. If the
	// store fails here, the next access reports it.
	if err := w.storeAfter(ctx, storeSoon); isAny(err, ErrTakenOver, errMoved) {
		return err
	}
	if err := w.sleepOwning(ctx, wait); err != nil {
		return err
	}
	return errAgain
}

// giveUp parks an event that has failed after all retries, or ends the worker. It
// reports the event as it is in the store: the handler may have changed its copy.
func (w *worker) giveUp(ctx context.Context, edge *cursor.Edge[RawEvent], err error, attempts int) error {
	if page, readErr := w.pages.read(ctx, cursor.Onward(1, w.progress.at)); readErr == nil && len(page.Edges) > 0 && page.Edges[0].Node.ID == edge.Node.ID {
		edge = &page.Edges[0]
	}
	if w.hooks.GaveUp != nil {
		w.hooks.GaveUp(ctx, w.name.key, edge.Node, attempts, err)
	}
	if !w.acceptFailure {
		return &HandlerError{Key: w.name.key, RoutingKey: w.name.routingKey, Event: edge.Node, Attempts: attempts, Err: err}
	}
	w.logger.ErrorContext(ctx, "evento: an event could not be handled and is parked", append(about(&edge.Node), "attempts", attempts, "error", err)...)
	return w.park(ctx, edge, err, attempts)
}

// about returns the log attributes of an event.
func about(e *RawEvent) []any {
	return []any{"event", e.ID.String(), "kind", string(e.AggregateType) + " " + e.Name, "aggregate", e.AggregateID, "position", e.Position}
}

// errAgain: the events of a unit must be read and attempted again.
var errAgain = errors.New("evento: to be attempted again")

// text returns what the partition's record says about the trouble.
func (t *trouble) text(n subscriptionName) (text, event string) {
	if t.err == nil {
		return "", ""
	}
	h := HandlerError{Key: n.key, RoutingKey: n.routingKey, Event: *t.event, Attempts: t.attempts, Err: t.err}
	return cut(h.Error()), t.event.ID.String()
}

// sleepOwning sleeps. It returns early with an error if the worker has to stop, or
// if others have changed or asked for its partition.
func (w *worker) sleepOwning(ctx context.Context, d time.Duration) error {
	for ; d > 0; d -= pollInterval {
		if err := pause(ctx, min(d, pollInterval), w.stopping, nil); err != nil {
			return err
		}
		if err := w.confirm(ctx); isAny(err, ErrTakenOver, errMoved, errHandOver) {
			return err
		}
	}
	return nil
}

// cut shortens an error's text so that a record has room for it.
func cut(text string) string {
	const most = 8 << 10
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
