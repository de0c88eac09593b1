package evento

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento/cursor"
)

// SubscriptionBuilder describes a subscription: continuous processing of the
// events that it has handlers for, at least once, in order, with the place up
// to which it got stored under its key. [NewSubscription] makes it. It may be
// started several times; it is not safe for concurrent use, and not to be
// changed once it was started.
type SubscriptionBuilder struct {
	key           string
	handlers      map[eventKind]handle // name "" handles every event of the type
	batches       map[eventKind]*handleBatch
	skip          map[eventKind]bool
	safetyCheck   bool
	aggregates    []Filter
	routingKey    string
	all           bool
	chunkSize     int
	retries       int
	delay         time.Duration
	acceptFailure bool
	transactional bool
	standby       bool
	partitions    int
	lease         time.Duration
	hooks         SubscriptionHooks
	codecs        codecs
	data          shared
	logger        *slog.Logger
	err           error // the first mistake, told by Start and Execute
}

// SubscriptionHandler is what a subscription does with one kind of event, or
// with every event of a type; [Handle] and [HandleAll] make it.
type SubscriptionHandler struct {
	kinds  []eventKind // without a name: every event of the type
	handle handle
	batch  *handleBatch // nil: one at a time
	err    error
}

type handle func(context.Context, codecs, *RawEvent) error

// Handle makes a handler of the events with payload D, those stored under its
// former names included, see [Renamed]. Its context is the
// subscription's, with [Data] and [ExecutorFrom]. The event counts as handled
// when it returns nil; an error, or a panic, makes it be called again.
//
// Events come at least once: after a crash those since the last stored cursor
// come again. A handler that is not idempotent by nature can tell by the
// event's Position or ID.
func Handle[D Payload](fn func(context.Context, Event[D]) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	var h SubscriptionHandler
	if h.kinds, h.err = kindsFor[D](); h.err != nil {
		return h
	}
	decode := decoder[D]()
	h.handle = func(ctx context.Context, codecs codecs, raw *RawEvent) error {
		e, err := decode(codecs, raw)
		if err != nil {
			return err
		}
		return fn(ctx, e)
	}
	return h
}

// HandleAll makes a handler of every event of a type of aggregate, undecoded.
func HandleAll(t AggregateType, fn func(context.Context, RawEvent) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	h := SubscriptionHandler{kinds: []eventKind{{aggregateType: t}}}
	if h.err = checkName("aggregate type", string(t)); h.err != nil {
		return h
	}
	h.handle = func(ctx context.Context, _ codecs, raw *RawEvent) error { return fn(ctx, *raw) }
	return h
}

// Defaults of a subscription.
const (
	defaultChunkSize = 300
	defaultRetries   = 30
	defaultLease     = 15 * time.Second
)

// NewSubscription begins a subscription. Its place is stored under the key:
// the same key goes on where the last worker stopped, a new key begins at the
// first event.
func NewSubscription(key string) *SubscriptionBuilder {
	b := &SubscriptionBuilder{
		key:        key,
		handlers:   map[eventKind]handle{},
		batches:    map[eventKind]*handleBatch{},
		skip:       map[eventKind]bool{},
		chunkSize:  defaultChunkSize,
		retries:    defaultRetries,
		partitions: 1,
		lease:      defaultLease,
	}
	b.fail(checkName("subscription key", key))
	return b
}

func (b *SubscriptionBuilder) fail(err error) {
	if b.err == nil && err != nil {
		b.err = fmt.Errorf("subscription %s: %w", shorten(b.key), err)
	}
}

// Handler adds handlers. Two for one event are an error when it starts.
func (b *SubscriptionBuilder) Handler(handlers ...SubscriptionHandler) *SubscriptionBuilder {
	for _, h := range handlers {
		if h.handle == nil {
			b.fail(cmp.Or(h.err, errNoHandler))
			continue
		}
		for _, kind := range h.kinds {
			b.handle(kind, h)
		}
	}
	return b
}

func (b *SubscriptionBuilder) handle(kind eventKind, h SubscriptionHandler) {
	all := kind.name == ""
	for k := range b.handlers {
		if k == kind || k.aggregateType == kind.aggregateType && (all || k.name == "") {
			b.fail(fmt.Errorf("%w handler: two for %s", ErrInvalid, cmpKind(k, kind)))
		}
	}
	b.handlers[kind] = h.handle
	if h.batch != nil {
		b.batches[kind] = h.batch
	}
}

// cmpKind is the narrower of two kinds that overlap.
func cmpKind(a, b eventKind) eventKind {
	if a.name == "" {
		return b
	}
	return a
}

// Skip names events that have no handler on purpose, for SafetyCheck.
func (b *SubscriptionBuilder) Skip(payloads ...Payload) *SubscriptionBuilder {
	for _, p := range payloads {
		kinds, err := kindsOf(p)
		b.fail(err)
		for _, kind := range kinds {
			b.skip[kind] = true
		}
	}
	return b
}

// SafetyCheck makes the subscription stop with [ErrUnhandledEvent] at an event
// of a type of aggregate that it handles, for which it has neither a handler
// nor a Skip. By default such events are passed over.
func (b *SubscriptionBuilder) SafetyCheck() *SubscriptionBuilder {
	b.safetyCheck = true
	return b
}

// Aggregate narrows the subscription to one aggregate, or to several when
// called again.
func (b *SubscriptionBuilder) Aggregate(t AggregateType, id string) *SubscriptionBuilder {
	b.fail(checkName("aggregate type", string(t)))
	b.fail(checkName("aggregate id", id))
	b.aggregates = append(b.aggregates, ByID(t, id))
	return b
}

// RoutingKey chooses the events with this routing key. Default: the events
// that have none.
func (b *SubscriptionBuilder) RoutingKey(key string) *SubscriptionBuilder {
	b.routingKey, b.all = key, false
	b.fail(checkName("routing key", key))
	return b
}

// All chooses events whatever their routing key.
func (b *SubscriptionBuilder) All() *SubscriptionBuilder {
	b.routingKey, b.all = "", true
	return b
}

// ChunkSize is how many events are handled together: after each chunk the
// cursor is stored, unless it was within the last 20 ms, or longer ago where
// storing is slow; within a chunk, at least every second. It is the most events of a batch, and of a transaction.
// As many are read at once, and up to 1,000 by a subscription that is behind.
// 1 to [cursor.MaxPage]; default 300.
func (b *SubscriptionBuilder) ChunkSize(n int) *SubscriptionBuilder {
	b.chunkSize = n
	return b
}

// Retry is how often an event whose handler fails is tried again, with a wait
// that doubles from 10 ms up to 10 s. Default 30, which is some four minutes.
// 0: not once.
func (b *SubscriptionBuilder) Retry(n int) *SubscriptionBuilder {
	b.retries = n
	return b
}

// Delay is how long a started subscription waits before its first event, so
// that the instances of a deployment do not begin all at once. Default 0.
// Execute does not wait.
func (b *SubscriptionBuilder) Delay(d time.Duration) *SubscriptionBuilder {
	b.delay = d
	return b
}

// AcceptFailure makes the subscription park an event whose retries ran out, and
// go on: later events of the same aggregate are parked behind it, so that their
// order holds, and all others are handled. See [Parked]. By default the
// subscription stops at such an event.
func (b *SubscriptionBuilder) AcceptFailure() *SubscriptionBuilder {
	b.acceptFailure = true
	return b
}

// Transactional makes the handlers of a chunk run in one transaction of the
// storage, which also stores the cursor: what they write there happens exactly
// once. They find the transaction with the Tx function of the executor's
// package; what they commit to the executor with their context is part of it.
// It takes a [Transactor]; Start and Execute return [errors.ErrUnsupported]
// for any other executor.
//
// What a handler does elsewhere, such as sending a mail, is done again when
// the transaction fails. On PostgreSQL the server ends a transaction of which
// nothing was asked for twice the lease, as of a process that was halted: raise
// Lease for handlers that take longer between their statements.
func (b *SubscriptionBuilder) Transactional() *SubscriptionBuilder {
	b.transactional = true
	return b
}

// Standby makes Start wait for as long as another worker owns the key, and take
// over when that one shuts down or its lease lapses. By default the newest
// worker takes over at once, and the one before ends with [ErrTakenOver]. A
// worker on standby that loses the key, as when its process was halted, goes
// back to waiting. Execute does not wait.
func (b *SubscriptionBuilder) Standby() *SubscriptionBuilder {
	b.standby = true
	return b
}

// Lease is how long after its last sign of life a worker keeps the key from
// those on standby. A worker gives a sign three times as often, also while a
// handler is at work. Times are those of the store's clock. At least 100 ms;
// default 15 s.
func (b *SubscriptionBuilder) Lease(d time.Duration) *SubscriptionBuilder {
	b.lease = d
	return b
}

// Partitions splits the aggregates into n parts, 1 to 64, which are handled in
// parallel; the events of one aggregate stay in order. All workers that run
// with the same key share them: each handles a fair part, takes over those of
// one that has gone when its lease has lapsed, and gives some up to one that
// comes. (So Start does not take over then.) The number is fixed when the
// key is first used; [Control.Repartition] changes it. Default 1.
func (b *SubscriptionBuilder) Partitions(n int) *SubscriptionBuilder {
	b.partitions = n
	return b
}

// Hooks are told of what the subscription does.
func (b *SubscriptionBuilder) Hooks(h SubscriptionHooks) *SubscriptionBuilder {
	b.hooks = h
	return b
}

// Codecs adds codecs by which payloads may have been written, beside [CBOR]
// and [JSON].
func (b *SubscriptionBuilder) Codecs(cs ...Codec) *SubscriptionBuilder {
	b.codecs = append(b.codecs, cs...)
	b.fail(b.codecs.check())
	return b
}

// Data gives the handlers a value, which they read with the function [Data].
// One value of each type.
func (b *SubscriptionBuilder) Data(v any) *SubscriptionBuilder {
	b.data = append(b.data, v)
	return b
}

// Logger takes the warnings of retries and accepted failures. Default:
// [slog.Default].
func (b *SubscriptionBuilder) Logger(l *slog.Logger) *SubscriptionBuilder {
	b.logger = l
	return b
}

// Start makes a new worker the owner of the key and processes events in the
// background until the context ends, Shutdown is called, a handler's retries
// run out, or a newer worker takes over. Errors of the store are waited out.
// See Standby and Partitions for workers that share a key.
//
// Errors: [ErrInvalid] for a mistake in the builder; [errors.ErrUnsupported];
// those of [Executor].
func (b *SubscriptionBuilder) Start(ctx context.Context, ex Executor) (*Subscription, error) {
	s, err := b.subscriber(ex)
	if err != nil {
		return nil, err
	}
	sub := newSubscription()
	switch {
	case b.partitions > 1:
		// A wrong number of partitions is told here.
		if err := s.checkPartitions(ctx); err != nil {
			return nil, err
		}
		sub.run(ctx, func(ctx context.Context) error { return s.share(ctx, sub, b.delay) })
	case b.standby:
		sub.run(ctx, func(ctx context.Context) error { return s.stand(ctx, sub, b.delay) })
	default:
		w := s.worker(sub.ID, 0, sub.stopping)
		if _, _, err := w.take(ctx, false); err != nil {
			return nil, err
		}
		sub.run(ctx, func(ctx context.Context) error {
			return w.run(ctx, func(ctx context.Context) error { return w.work(ctx, b.delay) })
		})
	}
	return sub, nil
}

// Execute processes what is pending, and what its handlers commit meanwhile, and
// returns when there is none left, with the cursor stored. It owns the key
// meanwhile, all partitions of it: workers that were running end with
// [ErrTakenOver], or wait.
//
// Errors: [ErrInvalid]; [errors.ErrUnsupported]; a [HandlerError], with the
// cursor stored before the event that failed; [ErrUnhandledEvent];
// [ErrTakenOver]; those of [Executor].
func (b *SubscriptionBuilder) Execute(ctx context.Context, ex Executor) error {
	s, err := b.subscriber(ex)
	if err != nil {
		return err
	}
	id := NewID()
	execute := func(partition int) (moved bool, err error) {
		w := s.worker(id, partition, nil)
		if _, _, err := w.take(ctx, false); err != nil {
			return false, err
		}
		from := w.at
		err = w.run(ctx, w.pending)
		return w.at != from, err
	}
	if b.partitions == 1 {
		_, err := execute(0)
		return err
	}
	// What one partition's handlers commit may be another's to handle.
	for {
		var wg sync.WaitGroup
		var moved atomic.Bool
		errs := make([]error, b.partitions)
		for p := range errs {
			wg.Go(func() {
				did, err := execute(p)
				if errs[p] = err; did {
					moved.Store(true)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil || !moved.Load() {
			return err
		}
	}
}

// subscriber checks the builder.
func (b *SubscriptionBuilder) subscriber(ex Executor) (*subscriber, error) {
	query, err := b.query()
	if err != nil {
		return nil, err
	}
	s := &subscriber{
		ex: ex, query: query, key: b.key,
		handlers: b.handlers, batches: b.batches, skip: b.skip, safetyCheck: b.safetyCheck, codecs: b.codecs,
		chunkSize: b.chunkSize, retries: b.retries, acceptFailure: b.acceptFailure,
		partitions: b.partitions, lease: b.lease, hooks: b.hooks,
		data: b.data, logger: b.logger,
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if b.transactional {
		var ok bool
		if s.transactor, ok = ex.(Transactor); !ok {
			return nil, fmt.Errorf("subscription %s: transactional on %T: %w", shorten(b.key), ex, errors.ErrUnsupported)
		}
	}
	s.read = func(ctx context.Context, args cursor.Args) (*cursor.Page[RawEvent], error) {
		return ex.Read(ctx, query, args)
	}
	if s.partitions > 1 {
		pages := &sharedPages{read: s.read}
		s.read = pages.get
	}
	return s, nil
}

// query is what the handlers need to see, and no more.
func (b *SubscriptionBuilder) query() (Query, error) {
	switch {
	case b.err != nil:
		return Query{}, b.err
	case len(b.handlers) == 0:
		return Query{}, fmt.Errorf("subscription %s: %w handler: there is none", shorten(b.key), ErrInvalid)
	case b.chunkSize < 1 || b.chunkSize > cursor.MaxPage:
		return Query{}, fmt.Errorf("subscription %s: %w chunk size: %d is not 1 to %d", shorten(b.key), ErrInvalid, b.chunkSize, cursor.MaxPage)
	case b.retries < 0:
		return Query{}, fmt.Errorf("subscription %s: %w retries: %d", shorten(b.key), ErrInvalid, b.retries)
	case b.partitions < 1 || b.partitions > maxPartitions:
		return Query{}, fmt.Errorf("subscription %s: %w partitions: %d is not 1 to %d", shorten(b.key), ErrInvalid, b.partitions, maxPartitions)
	case b.lease < 100*time.Millisecond:
		return Query{}, fmt.Errorf("subscription %s: %w lease: %s is under 100ms", shorten(b.key), ErrInvalid, b.lease)
	case b.delay < 0:
		return Query{}, fmt.Errorf("subscription %s: %w delay: %s", shorten(b.key), ErrInvalid, b.delay)
	}
	q := Query{RoutingKey: b.routingKey, Unrouted: b.routingKey == "" && !b.all}
	seen := map[Filter]bool{}
	add := func(f Filter) {
		if !seen[f] {
			seen[f] = true
			q.Filters = append(q.Filters, f)
		}
	}
	for k := range b.handlers {
		f := Filter{AggregateType: k.aggregateType, Name: k.name}
		if b.safetyCheck {
			f.Name = ""
		}
		if len(b.aggregates) == 0 {
			add(f)
			continue
		}
		if !slices.ContainsFunc(b.aggregates, func(a Filter) bool { return a.AggregateType == k.aggregateType }) {
			return Query{}, fmt.Errorf("subscription %s: %w handler: %s is of none of its aggregates", shorten(b.key), ErrInvalid, k)
		}
		for _, a := range b.aggregates {
			if a.AggregateType == k.aggregateType {
				f.AggregateID = a.AggregateID
				add(f)
			}
		}
	}
	if err := q.Check(); err != nil {
		return Query{}, fmt.Errorf("subscription %s: %w", shorten(b.key), err)
	}
	return q, nil
}
