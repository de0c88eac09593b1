// The worker of a partition: one loop that reads, handles, and stores the cursor.

package evento

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/evento-go/evento/cursor"
)

const (
	// pollInterval is how long an idle worker sleeps without a signal.
	pollInterval = time.Second
	// confirmInterval is the longest time that a worker goes on without checking
	// that it still owns the key.
	confirmInterval = 100 * time.Millisecond
	// mostAnswers is how often within that interval a signal makes it check.
	mostAnswers = 10
	// finalTimeout limits storing the cursor after the context has ended.
	finalTimeout = 5 * time.Second

	// mostBehind is the maximum of events in a page that a worker reads when it is
	// behind, unless a chunk is larger.
	mostBehind = 2000

	firstBackoff = 10 * time.Millisecond
	mostBackoff  = 10 * time.Second
)

// subscriber is what the workers of a subscription share. It is immutable.
type subscriber struct {
	name          subscriptionName
	shared        sharedState
	start         startPlace
	kept          keptState
	ex            Executor
	handlers      map[eventKind]*handler
	skip          map[eventKind]bool
	safetyCheck   bool
	codecs        codecs
	chunkSize     int
	retries       int
	acceptFailure bool
	inTx          transaction // nil: handlers run outside transactions
	staging       bool        // inTx is by staging: a transaction is one call
	lease         time.Duration
	data          shared
	hooks         SubscriptionHooks
	logger        *slog.Logger
	pages         *sharedPages
}

// worker handles the events of a partition, and owns the partition while it runs.
// One goroutine uses it, except for the lease.
//
// One turn of its loop reads a page and handles it unit by unit: it attempts the
// unit, stores the cursor if that is due, and advances. After any error (a failed
// unit, a reset, a change whose outcome is unknown) the loop reads the page again.
// What the worker remembers between turns is its progress and, about a failed unit,
// its trouble.
//
// Why: docs/decisions.md, "One loop, and two things that it knows".
type worker struct {
	*subscriber
	lease    lease
	logger   *slog.Logger
	once     bool            // Execute: end when nothing is pending
	stopping <-chan struct{} // nil: never closed

	progress progress
	pace     pace
	trouble  trouble
	ahead    readAhead
	parked   parkedAggregates
	retried  uint64 // how many requests to retry parked events it has handled

	woken      bool          // woken by a signal, and has not checked since that it still owns the key
	answers    int           // how often it has checked because of a signal, since answeredAt
	answeredAt time.Duration // by the lease's clock

	lastKind    eventKind // the kind that lastHandler is for
	lastHandler *handler
	contexts    []handlerContext // preallocated for the next calls
}

func (s *subscriber) worker(id ID, partition int, stopping <-chan struct{}) *worker {
	w := &worker{
		subscriber: s,
		lease: lease{
			ex: s.ex, name: s.name, partition: partition, worker: id, kept: s.kept, length: s.lease, began: time.Now(),
			sightings: sightings{}, lost: func() {},
		},
		logger:   s.logger.With("subscription", s.name.key, "worker", id.String()),
		stopping: stopping,
		progress: progress{coupled: s.inTx != nil},
		ahead:    readAhead{read: s.pages.get, least: s.chunkSize, most: mostBehind},
	}
	if s.name.routingKey != "" {
		w.logger = w.logger.With("routing_key", s.name.routingKey)
	}
	if s.shared.Partitions > 1 {
		w.logger = w.logger.With("partition", partition)
	}
	return w
}

var (
	// errStopping ends the loop when Shutdown was called.
	errStopping = errors.New("stopping")
	// errHandOver ends the loop when another worker asks for the partition.
	errHandOver = errors.New("handing over")
)

// run handles the events of a partition that the worker owns, and renews the lease
// meanwhile. At the end it gives the partition up, and returns why it ended.
func (w *worker) run(ctx context.Context, delay time.Duration) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.lease.lost = func() { cancel(ErrTakenOver) }
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		w.lease.keepRenewing(running, func(err error) {
			w.logger.DebugContext(running, "evento: the lease of a subscription was not renewed", "error", err)
		})
	}()
	defer w.owns(ctx, w.lease.partition, false)
	s := w.lease.enter()
	w.progress.reset(&s)
	err := w.loop(running, delay)
	if running.Err() != nil && errors.Is(context.Cause(running), ErrTakenOver) {
		err = w.lease.takenOver()
	}
	cancel(nil)
	<-renewed
	w.ahead.stop()
	return w.finish(ctx, cutShort(ctx, err))
}

// forget drops what was read, so that it is read again.
func (w *worker) forget() {
	w.ahead.forget()
	w.pages.forget()
}

// loop handles events until an error ends it, which it returns.
func (w *worker) loop(ctx context.Context, delay time.Duration) error {
	began := w.lease.clock()
	for failures := 0; ; {
		changed := w.ex.Changed()
		more, err := false, w.sleepOwning(ctx, delay-(w.lease.clock()-began))
		if err == nil {
			more, err = w.turn(ctx)
		}
		wait := pollInterval
		if err == nil && !more && !w.once {
			wait, err = w.answer(ctx)
		}
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, errAgain),
			errors.Is(err, ErrSwapped) && w.progress.doubts && ctx.Err() == nil: // as by a renewal; resolve finds out the outcome
			w.forget()
			more = true
		case errors.Is(err, errMoved) && ctx.Err() == nil:
			w.adopt()
			more = true
		case w.once || final(err) || ctx.Err() != nil:
			return err
		default:
			wait, changed = nextTry(ctx, w.logger, &failures, err), nil
			w.forget()
		}
		if more {
			continue
		}
		if w.once {
			return nil
		}
		if err := w.idle(ctx, wait, changed); err != nil {
			return err
		}
	}
}

// idle waits until there may be something to do.
func (w *worker) idle(ctx context.Context, wait time.Duration, changed <-chan struct{}) error {
	err := pause(ctx, wait, w.stopping, changed)
	select {
	case <-changed:
		w.woken = changed != nil
	default:
	}
	return err
}

// answer checks, after a signal, that the worker still owns its key and that nobody
// asks for it. It returns how long the worker may sleep.
func (w *worker) answer(ctx context.Context) (wait time.Duration, err error) {
	wait = pollInterval
	if w.progress.handled {
		wait = w.pace.interval()
	}
	if !w.woken {
		return wait, nil
	}
	if now := w.lease.clock(); now-w.answeredAt >= confirmInterval {
		w.answeredAt, w.answers = now, 0
	} else if w.answers == mostAnswers {
		return min(wait, confirmInterval-(now-w.answeredAt)), nil
	}
	w.woken = false
	w.answers++
	if err := w.lease.confirm(ctx); err != nil {
		return 0, err
	}
	return wait, w.confirm(ctx)
}

// adopt continues with the record as it is in the store. The worker keeps its
// place, unless the subscription was reset, or a change with unknown outcome was
// applied.
func (w *worker) adopt() {
	s := w.lease.enter()
	if w.progress.resolve(&s) {
		w.trouble = trouble{}
	}
	w.parked.loaded = false
	w.forget()
}

// resolve finds out the outcome of a change if it is unknown.
func (w *worker) resolve(ctx context.Context) error {
	if !w.progress.doubts {
		return nil
	}
	if err := w.lease.confirm(ctx); err != nil && !errors.Is(err, errMoved) {
		return err
	}
	w.adopt()
	return nil
}

// confirm checks whether the worker still owns its partition, if it has not done so
// within confirmInterval, and whether another worker asks for it.
func (w *worker) confirm(ctx context.Context) error {
	if w.lease.unconfirmed(w.lease.clock()) >= confirmInterval {
		if err := w.lease.confirm(ctx); err != nil {
			return err
		}
	}
	if !w.lease.moved.Load() {
		return nil
	}
	if at, epoch := w.lease.known(); at.Epoch != epoch {
		return errMoved
	}
	return errHandOver
}

// final reports whether an error ends the worker. After any other error it tries
// again.
func final(err error) bool {
	var handler *HandlerError
	return errors.As(err, &handler) || isAny(err, errStopping, errHandOver, ErrTakenOver,
		ErrUnhandledEvent, ErrInvalid, ErrDamaged, ErrClosed, cursor.ErrInvalid, errors.ErrUnsupported)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// nextTry counts and logs a failure of the store, and returns how long to wait
// before the next try.
func nextTry(ctx context.Context, logger *slog.Logger, failures *int, err error) time.Duration {
	wait := backoff(*failures)
	*failures++
	logger.WarnContext(ctx, "evento: the store failed a subscription; trying again", "error", err, "wait", wait)
	return wait
}

// turn reads and handles the next events, and reports whether there may be more.
// Even if it returns an error, the events that it has handled stay handled.
func (w *worker) turn(ctx context.Context) (more bool, err error) {
	if err := w.resolve(ctx); err != nil {
		return false, err
	}
	if err := w.confirm(ctx); err != nil {
		return false, err
	}
	state := w.lease.state()
	if state.Paused {
		return false, w.paused(ctx)
	}
	if state.Retry != w.retried {
		if err := w.retryParked(ctx); err != nil {
			return false, err
		}
		w.retried = state.Retry
	}
	at := w.progress.at
	page, err := w.ahead.get(ctx, at)
	if err != nil {
		return false, err
	}
	if len(page.Edges) == 0 {
		w.progress.pass(page.PageInfo.EndCursor)
		return w.drained(ctx, w.progress.at != at)
	}
	for chunk := range slices.Chunk(page.Edges, w.chunkSize) {
		if err := w.chunk(ctx, chunk); err != nil {
			return false, err
		}
		if err := w.storeSometime(ctx); err != nil {
			return false, err
		}
		if s := w.lease.state(); s.Retry != w.retried {
			return true, nil
		}
	}
	return page.PageInfo.HasNextPage || w.once, nil
}

// paused is a turn of a paused subscription.
func (w *worker) paused(ctx context.Context) error {
	if err := w.storeAfter(ctx, storeSoon); err != nil || !w.once {
		return err
	}
	return fmt.Errorf("%w: %s", ErrPaused, w.name)
}

// drained is a turn that has found no event. Execute ends when no event was
// handled, with the cursor stored.
func (w *worker) drained(ctx context.Context, moved bool) (more bool, err error) {
	switch {
	case !w.once:
		return false, w.storeSometime(ctx)
	case moved:
		return true, nil
	}
	return false, w.store(ctx)
}

// chunk handles those events of a chunk that belong to this partition.
func (w *worker) chunk(ctx context.Context, edges []cursor.Edge[RawEvent]) error {
	now := w.lease.clock()
	for len(edges) > 0 {
		if w.mustStop() {
			return errStopping
		}
		if !w.mine(&edges[0].Node) {
			w.progress.pass(edges[0].Cursor)
			w.trouble.passed(1)
			edges = edges[1:]
			continue
		}
		if err := w.keep(ctx, now); err != nil {
			return err
		}
		n, err := w.handle(ctx, edges)
		if err != nil {
			return err
		}
		edges = edges[n:]
		if now = w.lease.clock(); now-w.pace.storedAt >= storeInterval {
			if err := w.store(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep renews the lease before the next event if it may have expired, and checks
// whether another worker asks for the partition.
func (w *worker) keep(ctx context.Context, now time.Duration) error {
	if w.lease.leased(now) > w.lease.length/2 {
		if err := w.lease.swap(ctx, Swap{}, keepState); err != nil {
			return err
		}
	}
	if w.lease.unconfirmed(now) < confirmInterval && !w.lease.moved.Load() {
		return nil
	}
	return w.confirm(ctx)
}

func (w *worker) mustStop() bool {
	select {
	case <-w.stopping:
		return true
	default:
		return false
	}
}

// mine reports whether an event belongs to this partition.
func (w *worker) mine(e *RawEvent) bool {
	return w.shared.Partitions == 1 || partitionOf(e.AggregateType, e.AggregateID, w.shared.Partitions) == w.lease.partition
}

// storeSometime stores the cursor if events were handled and storing is due.
func (w *worker) storeSometime(ctx context.Context) error {
	if w.progress.handled {
		return w.storeAfter(ctx, w.pace.interval())
	}
	return w.storeAfter(ctx, passedInterval)
}

// storeAfter stores the cursor if it was last stored at least d ago.
func (w *worker) storeAfter(ctx context.Context, d time.Duration) error {
	if w.lease.clock()-w.pace.storedAt < d {
		return nil
	}
	return w.store(ctx)
}

// store stores the cursor behind the last handled event.
func (w *worker) store(ctx context.Context) error {
	if w.progress.at == w.progress.stored && (w.trouble.err == nil || w.trouble.stored) {
		w.progress.handled = false
		return nil
	}
	began := w.lease.clock()
	if err := w.lease.swap(ctx, Swap{}, w.write); err != nil {
		return err
	}
	w.noteStored(ctx)
	w.trouble.stored = true
	w.pace.took = w.pace.storedAt - began
	return nil
}

// write puts the cursor, and the trouble there, into the partition's state.
func (w *worker) write(s *partitionState) error {
	s.Error, s.ErrorEvent = w.trouble.text(w.name)
	return w.progress.write(s)
}

// noteStored notes that the cursor is stored at the worker's place, and calls the hook.
func (w *worker) noteStored(ctx context.Context) {
	if w.progress.handled && w.progress.last != nil && w.hooks.Stored != nil {
		w.hooks.Stored(ctx, w.name.key, w.lease.partition, *w.progress.last)
	}
	w.progress.confirm()
	w.pace.storedAt = w.lease.clock()
}

// finish stores the exact cursor and gives the partition up, even when the context
// has ended. It returns the error with which the worker ends.
func (w *worker) finish(ctx context.Context, reason error) error {
	// A handler's error concerns the event, whatever it wraps.
	var handler *HandlerError
	if !errors.As(reason, &handler) && isAny(reason, ErrTakenOver, ErrClosed) {
		return reason
	}
	// Until the partition is given up, others must wait for the lease.
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(finalTimeout, w.lease.length))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(finalTimeout, cancel) })()
	known := reason
	if !errors.As(reason, &handler) && isAny(reason, context.Canceled, context.DeadlineExceeded) {
		known = nil // it was to end
	}
	err := w.giveBack(patient, known)
	switch {
	case errors.Is(reason, errStopping):
		return err
	case errors.Is(reason, errHandOver):
		return join(fmt.Errorf("%w: key %s, which it asked for", ErrTakenOver, w.name), err)
	}
	return join(reason, err)
}

// giveBack stores the cursor and removes the owner. It tries again while the store
// fails and time is left: until this is stored, others must wait for the lease.
func (w *worker) giveBack(ctx context.Context, reason error) error {
	given := func(s *partitionState) error {
		if err := w.write(s); err != nil {
			return err
		}
		s.Owner, s.Host = "", ""
		if s.Next == "" {
			s.LeaseMillis = 0
		}
		if reason != nil && !isAny(reason, errStopping, errHandOver) {
			s.Error = cut(reason.Error())
		}
		return nil
	}
	sent := false
	for failures := 0; ; failures++ {
		err := w.resolve(ctx)
		if err == nil {
			err = w.lease.swap(ctx, Swap{Wake: true}, given)
		}
		switch {
		case err == nil:
			w.noteStored(ctx)
			return nil
		case errors.Is(err, errMoved):
			w.adopt()
		case errors.Is(err, ErrTakenOver) && sent: // an earlier try was applied, but its answer did not arrive
			return nil
		case final(err) || pause(ctx, backoff(failures), nil, nil) != nil:
			return err
		}
		sent = sent || !errors.Is(err, errMoved)
	}
}

// pause waits for a duration, or until changed is closed, which may be nil. It
// returns an error if stopping is closed or ctx ends before.
func pause(ctx context.Context, d time.Duration, stopping, changed <-chan struct{}) error {
	select {
	case <-time.After(d):
		return nil
	case <-changed:
		return nil
	case <-stopping:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff returns a wait that doubles with each failure. It is random within its
// upper half, so that workers that failed together do not try again together.
func backoff(failures int) time.Duration {
	d := mostBackoff
	if failures < 10 { // 10 ms × 2^10 is over the maximum
		d = min(d, firstBackoff<<failures)
	}
	return d/2 + rand.N(d/2+1)
}
