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

// SubscriptionBuilder describes a subscription: continuous processing of the
// events that it has handlers for, at least once, in order, with the place up
// to which it got stored under its key. [NewSubscription] makes it. It may be
// started several times; it is not safe for concurrent use, and not to be
// changed once it was started.
type SubscriptionBuilder struct {
	key           string
	handlers      map[eventKind]*handler // without a name: of every event of the type; without a type: of every event
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
	kept          keptState // what it keeps: see Projection.Keep
	hooks         SubscriptionHooks
	codecs        codecs
	data          shared
	logger        *slog.Logger
	err           error // the first mistake, told by Start and Execute
}

// Defaults of a subscription.
const (
	defaultChunkSize = 300
	defaultRetries   = 30
	defaultLease     = 15 * time.Second
	minLease         = 100 * time.Millisecond
)

// NewSubscription begins a subscription. Its place is stored under the key:
// the same key goes on where the last worker stopped, a new key begins at the
// first event, unless StartAtEnd or StartAt says otherwise. With a routing key it is
// another subscription than without, or with another routing key.
//
// What it selects (the routing key or All, and Aggregate) is stored beside the
// place: another selection with the same key would pass over events, and is
// refused; see [Control.Reselect]. Its handlers may change. A new one is called for
// events behind the place.
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

// Handler adds handlers. Two for one kind of event, for one type or for every
// event are an error when it starts. Of one for a kind, one for its type and one
// for every event, the narrowest is called.
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
// that have none. It belongs to the subscription's name: see [NewSubscription].
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
// As many are read at once, and up to 2,000 by a subscription that is behind.
// 1 to [cursor.MaxPage]; default 300.
func (b *SubscriptionBuilder) ChunkSize(n int) *SubscriptionBuilder {
	b.chunkSize = n
	return b
}

// Retry is how often an event whose handler fails is tried again, with a wait
// that doubles from 10 ms up to 10 s. Default 30, which take 158 s in the mean and
// 210 s at most. 0: not once.
func (b *SubscriptionBuilder) Retry(n int) *SubscriptionBuilder {
	b.retries = n
	return b
}

// StartAtEnd makes a key that was never used begin behind the last event that the
// store has then, instead of at the first. A key that was used goes on.
func (b *SubscriptionBuilder) StartAtEnd() *SubscriptionBuilder {
	b.start = startPlace{end: true}
	return b
}

// StartAt makes a key that was never used begin at the first event of that time or
// later, instead of at the first. A key that was used goes on.
func (b *SubscriptionBuilder) StartAt(t time.Time) *SubscriptionBuilder {
	b.start = startPlace{at: t}
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

// Standby makes the worker wait for as long as another one owns the key, and take
// over when that one shuts down or nothing was heard of it for its lease. By
// default the newest worker asks the one before for the key, which then ends with
// [ErrTakenOver]. A worker on standby that loses the key, as when its process was
// halted, goes back to waiting. It logs for whom it waits. Execute does not wait.
func (b *SubscriptionBuilder) Standby() *SubscriptionBuilder {
	b.standby = true
	return b
}

// Lease is how long after its last sign of life a worker keeps the key from
// others, and how long it has to answer one that asks for it. A worker gives a sign
// three times as often, also while a handler is at work. Each process counts by
// its own monotonic clock; wall clocks do not matter. 100 ms to a year; default
// 15 s.
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
		if s.transactor, err = transactorOf(ctx, ex); err != nil {
			return nil, wrap(err, "subscription %s: transactional", b.name())
		}
	}
	query := selection.query()
	s.pages = &sharedPages{keep: b.partitions > 1, read: func(ctx context.Context, args cursor.Args) (*cursor.Page[RawEvent], error) {
		return ex.Read(ctx, query, args)
	}}
	return s, nil
}

func (b *SubscriptionBuilder) name() subscriptionName { return nameOf(b.key, b.routingKey) }

// transactorOf asks an executor for transactions. One made of others tells only
// when it is asked for one, and before it begins one, as in a context that has
// ended.
func transactorOf(ctx context.Context, ex Executor) (Transactor, error) {
	t, ok := ex.(Transactor)
	if !ok {
		return nil, fmt.Errorf("%w by %T", errors.ErrUnsupported, ex)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := t.InTx(ended, func(context.Context) error { return ended.Err() }); errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	return t, nil
}

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
