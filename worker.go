// The running side of a partition: reading, handling, keeping the place.

package evento

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/evento-go/evento/cursor"
)

const (
	// pollInterval is how long an idle worker sleeps when nothing wakes it.
	pollInterval = time.Second
	// storeSoon is how much work a crash may repeat: after a chunk, or with
	// nothing left to do, the cursor is stored when it was not for this long.
	// A durable write for every chunk would cost more than reading it. Where
	// storing takes long it is done less often, for storeShare of the time.
	storeSoon  = 20 * time.Millisecond
	storeShare = 1.0 / 50
	// storeInterval is the longest that handled events go without the cursor
	// being stored within a chunk.
	storeInterval = time.Second
	// passedInterval is the same for events that were only passed over.
	passedInterval = 10 * time.Second
	// standbyInterval is the shortest time between two looks of a worker on
	// standby.
	standbyInterval = 200 * time.Millisecond
	// confirmInterval is the longest that a worker goes on without asking
	// whether it still owns the key.
	confirmInterval = 100 * time.Millisecond
	// finalTimeout bounds storing the cursor when the context has ended.
	finalTimeout = 5 * time.Second

	// mostBehind is the most events in a page that a worker reads when it is
	// behind, unless a chunk has more.
	mostBehind = 1000

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
	pages    readAhead
	at       cursor.Value  // everything up to here is handled
	position uint64        // of the last event that was
	event    *RawEvent     // that event, when this worker handled it
	handled  bool          // something was, since the cursor was stored
	stored   cursor.Value  // the cursor in the store
	storedAt time.Duration // by the claim's clock
	storing  time.Duration // how long that took
	resets   uint64        // those of the cursor that were seen to
	retry    uint64        // the requests to retry parked events that were seen to
	unsure   cursor.Value  // the cursor that was to be stored, with other work, when the store failed
	alone    uint64        // events up to this position are handled one by one
	parked   parkedAggregates
}

func (s *subscriber) worker(id ID, partition int, stopping <-chan struct{}) *worker {
	w := &worker{
		subscriber: s,
		claim:      claim{ex: s.ex, key: s.key, partition: partition, worker: id, lease: s.lease, began: time.Now()},
		logger:     s.logger.With("subscription", s.key, "worker", id.String()),
		stopping:   stopping,
		pages:      readAhead{read: s.read, least: s.chunkSize, most: mostBehind},
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
	s := w.claim.enter()
	w.goOn(&s)
	w.owns(ctx, w.claim.partition, true)
	return true, 0, nil
}

// goOn goes on from the place in the store.
func (w *worker) goOn(s *claimState) {
	w.at, w.position, w.handled = s.Cursor, s.Position, false
	w.stored, w.resets, w.unsure, w.parked.loaded, w.alone = s.Cursor, s.Resets, "", false, 0
}

// adopt takes the state as it is in the store now. The worker keeps its place,
// unless it was reset, or a change is in the store whose outcome was unknown.
func (w *worker) adopt() {
	s := w.claim.enter()
	if s.Resets != w.resets || w.unsure != "" && (w.transactor != nil || s.Cursor == w.unsure) {
		w.goOn(&s)
	}
	w.stored, w.unsure, w.parked.loaded = s.Cursor, "", false
}

// settle finds out what became of a change whose outcome is unknown.
func (w *worker) settle(ctx context.Context) error {
	if w.unsure == "" {
		return nil
	}
	if err := w.claim.confirm(ctx); err != nil && !errors.Is(err, errMoved) {
		return err
	}
	w.adopt()
	return nil
}

// errStopping ends the loops when Shutdown was called.
var errStopping = errors.New("stopping")

// run keeps the lease while fn works, ends the ownership, and returns why.
func (w *worker) run(ctx context.Context, fn func(context.Context) error) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		w.renew(running)
	}()
	defer w.owns(ctx, w.claim.partition, false)
	err := fn(running)
	cancel()
	<-renewed
	w.pages.stop()
	return w.finish(ctx, err)
}

// renew keeps the lease while a handler takes its time.
func (w *worker) renew(ctx context.Context) {
	t := time.NewTicker(w.lease / 6)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if w.claim.leased(w.claim.clock()) < w.lease/4 {
			continue
		}
		// What it is told, the worker asks for itself.
		call, cancel := context.WithTimeout(ctx, w.lease/3)
		if err := w.claim.renew(call); err != nil && ctx.Err() == nil {
			w.logger.DebugContext(ctx, "evento: the lease of a subscription was not renewed", "error", err)
		}
		cancel()
	}
}

// work handles events, after a delay, until there is a reason to end, which it
// returns.
func (w *worker) work(ctx context.Context, delay time.Duration) error {
	for began := w.claim.clock(); ; {
		err := w.sleepOwning(ctx, delay-(w.claim.clock()-began))
		if err == nil {
			break
		}
		if !errors.Is(err, errMoved) {
			return err
		}
		w.adopt()
	}
	for failures := 0; ; {
		if w.mustStop() {
			return errStopping
		}
		changed := w.ex.Changed()
		more, err := w.page(ctx)
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
			if err := pause(ctx, wait, w.stopping, nil); err != nil {
				return err
			}
			continue
		}
		if more {
			continue
		}
		idle := pollInterval
		if w.handled {
			idle = w.pace()
		}
		if err := pause(ctx, idle, w.stopping, changed); err != nil {
			return err
		}
	}
}

// pending handles what is pending, and returns.
func (w *worker) pending(ctx context.Context) error {
	for {
		before := w.at
		more, err := w.page(ctx)
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
		text = cut(reason.Error())
	}
	err := w.settle(ctx)
	for err == nil || errors.Is(err, errMoved) {
		if err != nil {
			w.adopt()
		}
		err = w.claim.swap(ctx, Swap{Wake: true}, func(s *claimState) {
			w.place(s)
			s.Owner, s.Host, s.LeaseMillis, s.Error = "", "", 0, text
		})
		if err == nil {
			w.noteStored(ctx)
			break
		}
	}
	if errors.Is(reason, errStopping) {
		return err
	}
	return errors.Join(reason, err)
}

// place writes where the worker is into a state. In transactions the cursor is
// only moved from where it is known to be: one whose outcome was lost may have
// moved it since.
func (w *worker) place(s *claimState) {
	if w.transactor != nil && s.Cursor != w.stored {
		w.unsure = w.at
		return
	}
	s.Cursor, s.Position = w.at, w.position
}

// page reads and handles the next events, and reports whether there may be
// more. What was handled counts even when it returns an error.
func (w *worker) page(ctx context.Context) (more bool, err error) {
	if err := w.settle(ctx); err != nil {
		return false, err
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
	page, err := w.pages.get(ctx, w.at)
	if err != nil {
		return false, err
	}
	if len(page.Edges) == 0 {
		w.at = page.PageInfo.EndCursor
		return false, w.storeSometime(ctx)
	}
	for chunk := range slices.Chunk(page.Edges, w.chunkSize) {
		if err := w.chunk(ctx, chunk); err != nil {
			return false, err
		}
		if err := w.storeSometime(ctx); err != nil {
			return false, err
		}
		if s := w.claim.state(); s.Retry != w.retry {
			return true, nil
		}
	}
	return page.PageInfo.HasNextPage, nil
}

// chunk handles the events of a chunk that are of this partition.
func (w *worker) chunk(ctx context.Context, edges []cursor.Edge[RawEvent]) error {
	hctx := w.handlerContext(ctx)
	now := w.claim.clock()
	for i := 0; i < len(edges); {
		if w.mustStop() {
			return errStopping
		}
		if !w.mine(&edges[i].Node) {
			w.at = edges[i].Cursor
			i++
			continue
		}
		if err := w.keep(ctx, now); err != nil {
			return err
		}
		n, err := w.handleSome(ctx, hctx, edges[i:])
		if err != nil {
			return err
		}
		i += n
		if now = w.claim.clock(); now-w.storedAt >= storeInterval {
			if err := w.store(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep renews a lease that may have lapsed, before the next event.
func (w *worker) keep(ctx context.Context, now time.Duration) error {
	if w.claim.leased(now) <= w.lease/2 {
		return nil
	}
	return w.claim.swap(ctx, Swap{}, func(*claimState) {})
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
	w.at, w.position, w.event, w.handled = e.Cursor, e.Node.Position, &e.Node, true
}

// confirm asks whether the worker still owns its partition, if it has not heard
// so lately.
func (w *worker) confirm(ctx context.Context) error {
	if w.claim.unconfirmed(w.claim.clock()) < confirmInterval {
		return nil
	}
	return w.claim.confirm(ctx)
}

// storeSometime stores the cursor soon when events were handled.
func (w *worker) storeSometime(ctx context.Context) error {
	if w.handled {
		return w.storeAfter(ctx, w.pace())
	}
	return w.storeAfter(ctx, passedInterval)
}

// pace is how much work goes by between two times of storing the cursor.
func (w *worker) pace() time.Duration {
	return min(max(storeSoon, time.Duration(float64(w.storing)/storeShare)), storeInterval)
}

// storeAfter stores the cursor if that was not done for a time.
func (w *worker) storeAfter(ctx context.Context, d time.Duration) error {
	if w.claim.clock()-w.storedAt < d {
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
	began := w.claim.clock()
	if err := w.claim.swap(ctx, Swap{}, w.place); err != nil {
		return err
	}
	w.noteStored(ctx)
	w.storing = w.storedAt - began
	return nil
}

// noteStored says that the cursor is stored at the worker's place.
func (w *worker) noteStored(ctx context.Context) {
	if w.handled && w.event != nil && w.hooks.Stored != nil {
		w.hooks.Stored(ctx, w.key, w.claim.partition, *w.event)
	}
	w.stored, w.storedAt, w.handled = w.at, w.claim.clock(), false
}

// pause waits for a time, or until changed is closed, which may be nil. It
// returns why it is to end before.
func pause(ctx context.Context, d time.Duration, stopping, changed <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-changed:
		return nil
	case <-stopping:
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
