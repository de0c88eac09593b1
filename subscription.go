// The builder of a subscription.

package evento

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/evento-go/evento/cursor"
)

// SubscriptionBuilder describes a subscription. A subscription continuously
// processes the events that it has handlers for, in order and at least once, and
// stores under its key how far it is. [NewSubscription] makes the builder. It may
// be started several times, is not safe for concurrent use, and must not be changed
// after the first start.
type SubscriptionBuilder struct {
	key           string
	handlers      map[eventKind]*handler // a key without a name: for all events of the type; without a type: for all events
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
	start         startPlace
	kept          keptState // which states it keeps: see Projection.Keep
	hooks         SubscriptionHooks
	codecs        codecs
	data          shared
	logger        *slog.Logger
	err           error // the first mistake, returned by Start and Execute
}

// Defaults of a subscription.
const (
	defaultChunkSize = 300
	defaultRetries   = 30
	defaultLease     = 15 * time.Second
	minLease         = 100 * time.Millisecond
)

// NewSubscription begins a subscription. Its cursor is stored under the key: a
// known key continues where its last worker stopped; a new key begins at the first
// event, unless StartAtEnd, StartAfter or StartAt says otherwise. The routing key is
// part of a subscription's identity: with another routing key, or none, it is another
// subscription.
//
// The selection (the routing key or All, and Aggregate) is stored with the cursor.
// A different selection with the same key is refused, as it would miss events; see
// [Control.Reselect]. Handlers may change: a new handler is called for the events
// after the cursor.
//
// Why: docs/decisions.md, "The selection is stored beside the place".
func NewSubscription(key string) *SubscriptionBuilder {
	b := &SubscriptionBuilder{
		key:        key,
		handlers:   map[eventKind]*handler{},
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
		b.err = wrap(err, "subscription %s", shorten(b.key))
	}
}

// Handler adds handlers: for a kind of event, for an aggregate type, or for every
// event. For each event the most specific one is called. Start returns an error if
// there are two for the same kind or type, or two for every event.
func (b *SubscriptionBuilder) Handler(handlers ...SubscriptionHandler) *SubscriptionBuilder {
	for _, h := range handlers {
		if h.one == nil && h.many == nil {
			b.fail(cmp.Or(h.err, errNoHandler))
			continue
		}
		if h.err != nil {
			b.fail(h.err)
			continue
		}
		for _, kind := range h.kinds {
			if b.handlers[kind] != nil {
				b.fail(fmt.Errorf("%w handler: two for %s", ErrInvalid, kind))
			}
			b.handlers[kind] = &h.handler
		}
	}
	return b
}

// Skip names events that have no handler on purpose; SafetyCheck accepts them.
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

// SafetyCheck makes the subscription stop with [ErrUnhandledEvent] at an event that
// has no handler and was not given to Skip, if the subscription handles other
// events of its aggregate type. By default such events are ignored.
func (b *SubscriptionBuilder) SafetyCheck() *SubscriptionBuilder {
	b.safetyCheck = true
	return b
}

// Aggregate restricts the subscription to one aggregate, or to several if it is
// called again.
func (b *SubscriptionBuilder) Aggregate(t AggregateType, id string) *SubscriptionBuilder {
	b.fail(checkName("aggregate type", string(t)))
	b.fail(checkName("aggregate id", id))
	b.aggregates = append(b.aggregates, ByID(t, id))
	return b
}

// RoutingKey selects the events with this routing key. Default: the events that
// have none. It is part of the subscription's identity: see [NewSubscription].
func (b *SubscriptionBuilder) RoutingKey(key string) *SubscriptionBuilder {
	b.routingKey, b.all = key, false
	b.fail(checkName("routing key", key))
	return b
}

// All selects events with any routing key or none.
func (b *SubscriptionBuilder) All() *SubscriptionBuilder {
	b.routingKey, b.all = "", true
	return b
}

// ChunkSize is how many events are handled together, 1 to [cursor.MaxPage]; default
// 300. It is the maximum for a batch, and for a transaction. After each chunk the
// cursor is stored, unless it was stored within the last 20 ms, or longer ago if
// storing is slow. Within a chunk it is stored at least every second. A page that
// is read has as many events, and up to 2,000 if the subscription is behind.
func (b *SubscriptionBuilder) ChunkSize(n int) *SubscriptionBuilder {
	b.chunkSize = n
	return b
}

// Retry is how often a handler is called again for an event that failed. The wait
// before each retry doubles, from 10 ms to 10 s. Default 30, which take 158 s on
// average and 210 s at most. 0: no retries.
func (b *SubscriptionBuilder) Retry(n int) *SubscriptionBuilder {
	b.retries = n
	return b
}

// StartAtEnd makes a new key begin after the event that is then the store's last,
// instead of at the first. A known key continues where it was.
func (b *SubscriptionBuilder) StartAtEnd() *SubscriptionBuilder {
	b.start = startPlace{end: true}
	return b
}

// StartAfter makes a new key begin after a position, instead of at the first event. It is
// for a store to which events were moved: positions are the same there, and the
// subscription goes on where it was. So move the events first: starting after a position
// beyond the last event fails with [ErrInvalid], which names both. A known key continues
// where it was. Where one position is not a place, as in executor/group, starting fails
// with an error that matches [errors.ErrUnsupported].
func (b *SubscriptionBuilder) StartAfter(position uint64) *SubscriptionBuilder {
	b.start = startPlace{after: position}
	return b
}

// StartAt makes a new key begin at the first event with this timestamp or a later
// one, instead of at the first. A known key continues where it was.
func (b *SubscriptionBuilder) StartAt(t time.Time) *SubscriptionBuilder {
	b.start = startPlace{at: t}
	return b
}

// Delay is how long a started subscription waits before its first event, so that
// the instances of a deployment do not all begin at once. Default 0. Execute does
// not wait.
func (b *SubscriptionBuilder) Delay(d time.Duration) *SubscriptionBuilder {
	b.delay = d
	return b
}

// AcceptFailure makes the subscription park an event that has failed after all
// retries, and continue. Later events of the same aggregate are parked too, to keep
// their order; all others are handled. See [Parked]. By default the subscription
// stops at such an event.
func (b *SubscriptionBuilder) AcceptFailure() *SubscriptionBuilder {
	b.acceptFailure = true
	return b
}

// Transactional stores what handlers commit together with the cursor, or not at all: so
// each event's work is stored exactly once, on every executor. Handlers commit by
// [ExecutorFrom] with their context, and read there what they have committed.
//
// On a [Transactor], the handlers of a chunk run in one transaction of the storage. They
// get it from the Tx function of the executor's package, for the application's own tables.
// What they commit to the executor itself with their context is part of it too.
//
// Elsewhere, as on executor/pebble and executor/memory, what a call of a handler commits
// waits until the call has returned, and is stored in one write with the cursor. Each
// event, or batch, takes a write then: with many events, batches are faster. Commits of one
// call to one aggregate have to have the same metadata. Changes of records wait too, such
// as those of [ControlOf] with that executor.
//
// What a handler does elsewhere, such as sending a mail, is repeated when the
// transaction fails. PostgreSQL aborts a transaction that is idle for twice the
// lease, as its process may have been halted: raise Lease if handlers take longer
// than that between statements.
//
// Why: docs/decisions.md, "What fails at the end of a transaction is the event's failure".
func (b *SubscriptionBuilder) Transactional() *SubscriptionBuilder {
	b.transactional = true
	return b
}

// Standby makes the worker wait while another worker owns the key. It takes over
// when the other shuts down, or has given no sign of life for its lease. A standby
// worker that is itself taken over, such as when its process was halted, waits
// again. It logs which worker it waits for. Execute does not wait. By default,
// without Standby, the newest worker asks the owner to hand over the key; the old
// owner then ends with [ErrTakenOver].
func (b *SubscriptionBuilder) Standby() *SubscriptionBuilder {
	b.standby = true
	return b
}

// Lease is how long a worker keeps the key after its last sign of life, and how
// long it has to answer a worker that asks for the key. A worker gives a sign of
// life three times per lease, also while a handler runs. Each process measures by
// its own monotonic clock, not by wall clocks. 100 ms to a year; default 15 s.
//
// Why: docs/decisions.md, "Leases without wall clocks".
func (b *SubscriptionBuilder) Lease(d time.Duration) *SubscriptionBuilder {
	b.lease = d
	return b
}

// Partitions splits the aggregates into n partitions, 1 to 64, which are handled in
// parallel; the events of one aggregate stay in order. All running workers with the
// same key share the partitions evenly: a new worker gets some of them by
// hand-over, and the others take over those of a worker whose lease has expired. So
// Start does not take over the key. The number is fixed when the key is first used;
// [Control.Repartition] changes it. Default 1.
func (b *SubscriptionBuilder) Partitions(n int) *SubscriptionBuilder {
	b.partitions = n
	return b
}

// Hooks sets functions that are called when the subscription does something.
func (b *SubscriptionBuilder) Hooks(h SubscriptionHooks) *SubscriptionBuilder {
	b.hooks = h
	return b
}

// Codecs adds codecs that may have written payloads, besides [CBOR] and [JSON].
func (b *SubscriptionBuilder) Codecs(cs ...Codec) *SubscriptionBuilder {
	b.codecs = append(b.codecs, cs...)
	b.fail(b.codecs.check())
	return b
}

// Data provides a value to the handlers, which read it with the function [Data].
// One value of each type.
func (b *SubscriptionBuilder) Data(v any) *SubscriptionBuilder {
	b.data = append(b.data, v)
	return b
}

// Logger receives the warnings about retries, parked events, and a failing store.
// Default: [slog.Default].
func (b *SubscriptionBuilder) Logger(l *slog.Logger) *SubscriptionBuilder {
	b.logger = l
	return b
}

// subscriber checks the builder.
func (b *SubscriptionBuilder) subscriber(ctx context.Context, ex Executor) (*subscriber, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	selection, err := b.selection()
	if err != nil {
		return nil, wrap(err, "subscription %s", b.name())
	}
	s := &subscriber{
		name: b.name(), shared: sharedState{Partitions: b.partitions, Selection: selection}, start: b.start, kept: b.kept, ex: ex,
		handlers: b.handlers, skip: b.skip, safetyCheck: b.safetyCheck, codecs: b.codecs,
		chunkSize: b.chunkSize, retries: b.retries, acceptFailure: b.acceptFailure,
		lease: b.lease, hooks: b.hooks.of(b.name()), data: b.data, logger: b.logger,
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if b.transactional {
		s.inTx, s.staging = transactionOf(ctx, ex)
	}
	query := selection.query()
	s.pages = &sharedPages{keep: b.partitions > 1, read: func(ctx context.Context, args cursor.Args) (*cursor.Page[RawEvent], error) {
		return ex.Read(ctx, query, args)
	}}
	return s, nil
}

func (b *SubscriptionBuilder) name() subscriptionName { return nameOf(b.key, b.routingKey) }

// transactionOf returns how a function is run in a transaction: in one of the storage or,
// where there are none, by staging what the function commits. An executor made of others
// finds out whether it has transactions only when InTx is called; with a context
// that has ended, it does not begin one.
func transactionOf(ctx context.Context, ex Executor) (inTx transaction, staging bool) {
	if t, ok := ex.(Transactor); ok {
		ended, end := context.WithCancel(ctx)
		end()
		if err := t.InTx(ended, func(context.Context) error { return ended.Err() }); !errors.Is(err, errors.ErrUnsupported) {
			return func(ctx context.Context, fn func(context.Context, Executor) error) error {
				return t.InTx(ctx, func(ctx context.Context) error { return fn(ctx, ex) })
			}, false
		}
	}
	return func(ctx context.Context, fn func(context.Context, Executor) error) error {
		return inStaging(ctx, ex, fn)
	}, true
}

// transaction runs a function in a transaction, with the executor to use in it.
type transaction func(ctx context.Context, fn func(tx context.Context, ex Executor) error) error

// check returns the first mistake of the builder.
func (b *SubscriptionBuilder) check() error {
	mistake := func(format string, args ...any) error {
		return wrap(fmt.Errorf("%w %s", ErrInvalid, fmt.Sprintf(format, args...)), "subscription %s", b.name())
	}
	switch {
	case b.err != nil:
		return b.err
	case len(b.handlers) == 0:
		return mistake("handler: there is none")
	case b.chunkSize < 1 || b.chunkSize > cursor.MaxPage:
		return mistake("chunk size: %d is not 1 to %d", b.chunkSize, cursor.MaxPage)
	case b.retries < 0:
		return mistake("retries: %d", b.retries)
	case b.partitions < 1 || b.partitions > maxPartitions:
		return mistake("partitions: %d is not 1 to %d", b.partitions, maxPartitions)
	case b.lease < minLease || b.lease > maxLease:
		return mistake("lease: %s is not %s to %s", b.lease, minLease, maxLease)
	case b.delay < 0:
		return mistake("delay: %s", b.delay)
	}
	return nil
}
