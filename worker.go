// The running side of a partition: reading, handling, keeping the place.

package evento

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/evento-go/evento/cursor"
)

const (
	// pollInterval is how long an idle worker sleeps when nothing wakes it.
	pollInterval = time.Second
	// storeSoon is how much work a crash may repeat: after a chunk, or with
	// nothing left to do, the cursor is stored when it was not for this long.
	// A durable write for every chunk would cost more than reading it.
	storeSoon = 20 * time.Millisecond
	// storeInterval is the longest that handled events go without the cursor
	// being stored within a chunk.
	storeInterval = time.Second
	// passedInterval is the same for events that were only passed over.
	passedInterval = 10 * time.Second
	// confirmInterval is the longest that a worker goes on without asking
	// whether it still owns the key.
	confirmInterval = 100 * time.Millisecond
	// finalTimeout bounds storing the cursor when the context has ended.
	finalTimeout = 5 * time.Second

	firstBackoff = 10 * time.Millisecond
	mostBackoff  = 10 * time.Second
)

// subscriber is what the workers of a subscription have in common. It does not
// change.
type subscriber struct {
	key           string
	ex            Executor
	query         Query
	handlers      map[eventKind]handle
	batches       map[eventKind]*handleBatch
	skip          map[eventKind]bool
	safetyCheck   bool
	codecs        codecs
	chunkSize     int
	retries       int
	acceptFailure bool
	transactor    Transactor // nil: handlers run outside of transactions
	partitions    int
	lease         time.Duration
	data          shared
	hooks         SubscriptionHooks
	logger        *slog.Logger
	read          func(context.Context, cursor.Args) (*cursor.Page[RawEvent], error)
}

// worker handles the events of a partition, and is its owner for as long as it
// runs. One goroutine uses it, but for the claim.
type worker struct {
	*subscriber
	claim  claim
	logger *slog.Logger

	lastKind eventKind // the one whose handler is last
	last     handle

	stopping <-chan struct{} // nil: never
	at       cursor.Value    // everything up to here is handled
	position uint64          // of the last event that was
	handled  bool            // something was, since the cursor was stored
	stored   cursor.Value    // the cursor in the store
	storedAt time.Time
	resync   bool // a transaction failed: where the cursor is, the store knows
	parked   parkedAggregates
	retry    uint64 // the requests to retry parked events that were seen to
}

func (s *subscriber) worker(id ID, partition int, stopping <-chan struct{}) *worker {
	w := &worker{
		subscriber: s,
		claim:      claim{ex: s.ex, key: s.key, partition: partition, worker: id, lease: s.lease},
		logger:     s.logger.With("subscription", s.key, "worker", id.String()),
		stopping:   stopping,
	}
	if s.partitions > 1 {
		w.logger = w.logger.With("partition", partition)
	}
	return w
}

// take makes the worker the owner. See claim.take.
func (w *worker) take(ctx context.Context, standby bool) (taken bool, wait time.Duration, err error) {
	taken, wait, err = w.claim.take(ctx, w.partitions, standby)
	if err != nil || !taken {
		return false, wait, err
	}
	w.adopt()
	return true, 0, nil
}

// adopt goes on from the state in the store.
func (w *worker) adopt() {
	s := w.claim.state()
	w.at, w.stored, w.position, w.handled = s.Cursor, s.Cursor, s.Position, false
	w.parked.loaded = false
}

// errStopping ends the loops when Shutdown was called.
var errStopping = errors.New("stopping")

// run handles events until there is a reason to end, which it returns.
func (w *worker) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		w.renew(ctx)
	}()
	err := w.loop(ctx)
	cancel()
	<-renewing
	return err
}

// renew keeps the lease while a handler takes its time.
func (w *worker) renew(ctx context.Context) {
	t := time.NewTicker(w.lease / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if w.claim.unconfirmed() < w.lease/4 {
			continue
		}
		// What it is told, the worker asks for itself.
		if err := w.claim.renew(ctx); err != nil && ctx.Err() == nil {
			w.logger.DebugContext(ctx, "evento: the lease of a subscription was not renewed", "error", err)
		}
	}
}

func (w *worker) loop(ctx context.Context) error {
	for failures := 0; ; {
		changed := w.ex.Changed()
		more, err := w.chunk(ctx)
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, errMoved) && ctx.Err() == nil:
			w.adopt()
			continue
		case final(err) || ctx.Err() != nil:
			return err
		default:
			wait := backoff(failures)
			failures++
			w.logger.WarnContext(ctx, "evento: the store failed a subscription; trying again", "error", err, "wait", wait)
			if err := w.sleep(ctx, wait); err != nil {
				return err
			}
			continue
		}
		if more {
			continue
		}
		idle := pollInterval
		if w.handled {
			idle = storeSoon
		}
		poll := time.NewTimer(idle)
		select {
		case <-changed:
		case <-poll.C:
		case <-w.stopping:
			err = errStopping
		case <-ctx.Done():
			err = ctx.Err()
		}
		poll.Stop()
		if err != nil {
			return err
		}
	}
}

// pending handles what is pending, and returns.
func (w *worker) pending(ctx context.Context) error {
	for {
		before := w.at
		more, err := w.chunk(ctx)
		switch {
		case errors.Is(err, errMoved):
			w.adopt()
		case err != nil:
			return err
		case !more && w.at == before:
			return w.store(ctx)
		}
	}
}

// final tells the errors that end a worker from those that a store gets over.
func final(err error) bool {
	var handler *HandlerError
	for _, target := range []error{errStopping, ErrTakenOver, ErrUnhandledEvent, ErrInvalid, ErrClosed, cursor.ErrInvalid, errors.ErrUnsupported} {
		if errors.Is(err, target) {
			return true
		}
	}
	return errors.As(err, &handler)
}

// finish stores the exact place and gives the partition up, also when the
// context has ended, and returns what the worker ends with.
func (w *worker) finish(ctx context.Context, reason error) error {
	// A handler's error is the event's, whatever it is about.
	var handler *HandlerError
	if !errors.As(reason, &handler) && (errors.Is(reason, ErrTakenOver) || errors.Is(reason, ErrClosed)) {
		return reason
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
	defer cancel()
	text := ""
	if reason != nil && !errors.Is(reason, errStopping) {
		text = shorten(reason.Error())
	}
	err := w.claim.swap(ctx, Swap{Wake: true}, func(s *claimState) {
		w.place(s)
		s.Owner, s.Host, s.LeaseMillis, s.Error = "", "", 0, text
	})
	if errors.Is(err, errMoved) { // the place is not ours to say any more
		err = w.claim.release(ctx, text)
	}
	if errors.Is(reason, errStopping) {
		return err
	}
	return errors.Join(reason, err)
}

// place writes where the worker is into a state.
func (w *worker) place(s *claimState) { s.Cursor, s.Position = w.at, w.position }

// chunk reads and handles the next events, and reports whether there may be
// more. What was handled counts even when it returns an error.
func (w *worker) chunk(ctx context.Context) (more bool, err error) {
	if w.resync {
		if err := w.claim.confirm(ctx); err != nil {
			return false, err
		}
		w.adopt()
		w.resync = false
	}
	if err := w.confirm(ctx); err != nil {
		return false, err
	}
	state := w.claim.state()
	if state.Paused {
		return false, w.storeAfter(ctx, storeSoon)
	}
	if err := w.retryParked(ctx, state.Retry); err != nil {
		return false, err
	}
	page, err := w.read(ctx, cursor.Onward(w.chunkSize, w.at))
	if err != nil {
		return false, err
	}
	if len(page.Edges) == 0 {
		w.at = page.PageInfo.EndCursor
		if w.handled {
			return false, w.storeAfter(ctx, storeSoon)
		}
		return false, w.storeAfter(ctx, passedInterval)
	}
	if err := w.handlePage(ctx, page.Edges); err != nil {
		return false, err
	}
	return page.PageInfo.HasNextPage, w.storeAfter(ctx, storeSoon)
}

// handlePage handles the events of a page that are of this partition.
func (w *worker) handlePage(ctx context.Context, edges []cursor.Edge[RawEvent]) error {
	hctx := w.handlerContext(ctx)
	for i := 0; i < len(edges); {
		if w.mustStop() {
			return errStopping
		}
		if !w.mine(&edges[i].Node) {
			w.at = edges[i].Cursor
			i++
			continue
		}
		// A lease that may have lapsed is asked for before the next event.
		if w.claim.unconfirmed() > w.lease/2 {
			if err := w.claim.renew(ctx); err != nil {
				return err
			}
		}
		n, err := w.handleSome(ctx, hctx, edges[i:])
		if err != nil {
			return err
		}
		i += n
		if err := w.storeAfter(ctx, storeInterval); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) handlerContext(ctx context.Context) context.Context {
	return context.WithValue(w.data.into(ctx), executorKey{}, w.ex)
}

func (w *worker) mustStop() bool {
	select {
	case <-w.stopping:
		return true
	default:
		return false
	}
}

// mine reports whether an event is of this partition.
func (w *worker) mine(e *RawEvent) bool {
	return w.partitions == 1 || partitionOf(e.AggregateType, e.AggregateID, w.partitions) == w.claim.partition
}

// passed says that everything up to an event is done.
func (w *worker) passed(e *cursor.Edge[RawEvent]) {
	w.at, w.position, w.handled = e.Cursor, e.Node.Position, true
}

// handleSome handles the first of the events, or, with a handler of batches, as
// many as it takes at once, and returns how many.
func (w *worker) handleSome(ctx, hctx context.Context, edges []cursor.Edge[RawEvent]) (int, error) {
	e := &edges[0].Node
	if parked, err := w.parked.has(ctx, w, e); err != nil {
		return 0, err
	} else if parked {
		return 1, w.park(ctx, &edges[0], nil, 0)
	}
	if w.transactor != nil {
		return w.handleInTx(ctx, hctx, edges)
	}
	if batch := w.batchOf(eventKind{e.AggregateType, e.Name}); batch != nil {
		return w.handleBatch(ctx, hctx, batch, edges)
	}
	return 1, w.handle(ctx, hctx, &edges[0])
}

// confirm asks whether the worker still owns its partition, if it has not heard
// so lately.
func (w *worker) confirm(ctx context.Context) error {
	if w.claim.unconfirmed() < confirmInterval {
		return nil
	}
	return w.claim.confirm(ctx)
}

// storeAfter stores the cursor if that was not done for a time.
func (w *worker) storeAfter(ctx context.Context, d time.Duration) error {
	if time.Since(w.storedAt) < d {
		return nil
	}
	return w.store(ctx)
}

// store stores the place up to which everything is handled.
func (w *worker) store(ctx context.Context) error {
	if w.at == w.stored {
		w.handled = false
		return nil
	}
	now, at := time.Now(), w.at
	if err := w.claim.swap(ctx, Swap{}, w.place); err != nil {
		return err
	}
	w.stored, w.storedAt, w.handled = at, now, false
	return nil
}

// handle calls the handler until it succeeds or its retries run out, and moves
// the place behind the event.
func (w *worker) handle(ctx, hctx context.Context, edge *cursor.Edge[RawEvent]) error {
	e := &edge.Node
	h, err := w.handlerOf(e)
	if err != nil {
		return err
	}
	if h == nil {
		w.passed(edge)
		return nil
	}
	attempts, err := w.attempt(ctx, e, func() error { return w.call(hctx, h, e) })
	switch {
	case err == nil:
		w.passed(edge)
		return nil
	case attempts == 0: // not the event's fault
		return err
	}
	return w.giveUp(ctx, edge, err, attempts)
}

// attempt calls fn until it succeeds or the retries run out. It returns the
// number of attempts with fn's last error, or 0 with a reason to end.
func (w *worker) attempt(ctx context.Context, e *RawEvent, fn func() error) (attempts int, err error) {
	for attempt := 1; ; attempt++ {
		err := fn()
		if err == nil {
			return attempt, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err() // the handler was cut short; that is no failure of the event
		}
		var store *storeError
		if errors.As(err, &store) {
			return 0, store.err
		}
		if attempt > w.retries || permanent(err) || undecodable(err, e) {
			return attempt, err
		}
		wait := backoff(attempt - 1)
		w.logger.WarnContext(ctx, "evento: a handler failed; trying again", append(about(e), "attempt", attempt, "error", err, "wait", wait)...)
		if w.hooks.Retry != nil {
			w.hooks.Retry(ctx, w.key, *e, attempt, err)
		}
		// What was handled before is not to wait for this event. A store that
		// fails is met again, and reported, after it.
		if err := w.storeAfter(ctx, storeSoon); errors.Is(err, ErrTakenOver) || errors.Is(err, errMoved) {
			return 0, err
		}
		if err := w.sleepOwning(ctx, wait); err != nil {
			return 0, err
		}
	}
}

// giveUp parks an event whose retries ran out, or ends the worker.
func (w *worker) giveUp(ctx context.Context, edge *cursor.Edge[RawEvent], err error, attempts int) error {
	if w.hooks.GaveUp != nil {
		w.hooks.GaveUp(ctx, w.key, edge.Node, attempts, err)
	}
	if !w.acceptFailure {
		return &HandlerError{Key: w.key, Event: edge.Node, Attempts: attempts, Err: err}
	}
	w.logger.ErrorContext(ctx, "evento: an event could not be handled and is parked", append(about(&edge.Node), "attempts", attempts, "error", err)...)
	return w.park(ctx, edge, err, attempts)
}

// about is what logs say of an event.
func about(e *RawEvent) []any {
	return []any{"event", e.ID.String(), "kind", string(e.AggregateType) + " " + e.Name, "aggregate", e.AggregateID, "position", e.Position}
}

// handlerOf finds the handler of an event; nil: it is skipped. Events of one
// kind often come in runs, so the last answer is kept.
func (w *worker) handlerOf(e *RawEvent) (handle, error) {
	kind := eventKind{e.AggregateType, e.Name}
	if kind != w.lastKind || w.last == nil {
		h := w.handlers[kind]
		if h == nil {
			h = w.handlers[eventKind{aggregateType: kind.aggregateType}]
		}
		w.lastKind, w.last = kind, h
	}
	if w.last == nil && !w.skip[kind] {
		return nil, fmt.Errorf("%w: subscription %q: %s of %q, version %d, position %d",
			ErrUnhandledEvent, w.key, kind, e.AggregateID, e.Version, e.Position)
	}
	return w.last, nil
}

// undecodable reports whether an error says of this very event that it cannot
// be decoded: trying again does not help.
func undecodable(err error, e *RawEvent) bool {
	var d *DecodeError
	return errors.As(err, &d) && d.ID == e.ID
}

// sleepOwning sleeps, and ends early when the key was taken over.
func (w *worker) sleepOwning(ctx context.Context, d time.Duration) error {
	for ; d > 0; d -= pollInterval {
		if err := w.sleep(ctx, min(d, pollInterval)); err != nil {
			return err
		}
		if err := w.confirm(ctx); errors.Is(err, ErrTakenOver) || errors.Is(err, errMoved) {
			return err
		}
	}
	return nil
}

// call calls a handler.
func (w *worker) call(ctx context.Context, h handle, e *RawEvent) error {
	if w.hooks.Handle == nil {
		return guard(func() error { return h(ctx, w.codecs, e) })
	}
	return w.hooks.Handle(ctx, w.key, []RawEvent{*e}, func(ctx context.Context) error {
		return guard(func() error { return h(ctx, w.codecs, e) })
	})
}

// guard turns a panic into an error with its stack.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("evento: handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return fn()
}

// sleep waits, unless the worker is to end first.
func (w *worker) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-w.stopping:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff doubles with each failure, and is spread over its upper half so that
// workers that failed together do not try again together.
func backoff(failures int) time.Duration {
	d := mostBackoff
	if failures < 10 { // 10 ms × 2^10 is over the most
		d = min(d, firstBackoff<<failures)
	}
	return d/2 + rand.N(d/2+1)
}
