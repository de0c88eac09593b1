package evento

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// CommitBuilder collects the events to commit to one aggregate. [Create] and
// [Aggregate] make it; its methods return it for chaining. It may be committed
// again, and is not safe for concurrent use.
type CommitBuilder struct {
	id         string
	loaded     AggregateType // the aggregate was loaded as this type; "": it was not loaded
	expected   uint64
	any        bool
	routingKey string
	metadata   Metadata
	codec      Codec
	payloads   []Payload
	deadlines  []deadlineChange

	// Set at the first attempt and kept: by these ids the store recognises later
	// attempts as the same commit.
	aggregateType AggregateType
	events        []NewEvent
	tried         bool
	unknown       bool // nobody knows whether an attempt has stored it
	late          bool // events were added after the first attempt
}

// Create begins a new aggregate with a new ULID as its id.
func Create() *CommitBuilder { return Aggregate(NewID().String()) }

// Aggregate begins a commit to the aggregate with this id. Unless
// OriginalVersion or AnyVersion says otherwise, the aggregate must be new.
func Aggregate(id string) *CommitBuilder { return &CommitBuilder{id: id} }

// OriginalVersion makes the commit succeed only while the aggregate is at version
// n, the version of the state that the decision was based on. 0: the aggregate must
// be new.
func (b *CommitBuilder) OriginalVersion(n uint64) *CommitBuilder {
	b.expected, b.any = n, false
	return b
}

// AnyVersion appends at any version of the aggregate, new or not: for events that
// cannot contradict other events.
func (b *CommitBuilder) AnyVersion() *CommitBuilder {
	b.expected, b.any = 0, true
	return b
}

// Event adds events, in order. All must be of one aggregate type.
func (b *CommitBuilder) Event(payloads ...Payload) *CommitBuilder {
	if b.tried && len(payloads) > 0 {
		b.late = true
	}
	if !b.tried {
		b.events = nil // discard what was encoded for a commit that was not sent
	}
	b.payloads = append(b.payloads, payloads...)
	return b
}

// RoutingKey sets the aggregate's routing key if this commit creates it; an
// existing aggregate keeps the key of its first event. "" is none.
func (b *CommitBuilder) RoutingKey(key string) *CommitBuilder {
	b.routingKey = key
	return b
}

// Metadata sets one of Metadata.Values.
func (b *CommitBuilder) Metadata(key, value string) *CommitBuilder {
	if b.metadata.Values == nil {
		b.metadata.Values = map[string]string{}
	}
	b.metadata.Values[key] = value
	return b
}

// MetadataFrom replaces all metadata with a copy of m.
func (b *CommitBuilder) MetadataFrom(m Metadata) *CommitBuilder {
	b.metadata = m.Clone()
	return b
}

// RequestedBy sets Metadata.RequestedBy: who asked for the commit.
func (b *CommitBuilder) RequestedBy(who string) *CommitBuilder {
	b.metadata.RequestedBy = who
	return b
}

// RequestedAs sets Metadata.RequestedAs: whom they acted as.
func (b *CommitBuilder) RequestedAs(whom string) *CommitBuilder {
	b.metadata.RequestedAs = whom
	return b
}

// CausedBy records that e led to this commit. The causation id becomes e's id; the
// correlation id becomes e's correlation id, or e's id if it has none.
func (b *CommitBuilder) CausedBy(e RawEvent) *CommitBuilder {
	b.metadata.CausationID = e.ID.String()
	b.metadata.CorrelationID = e.Metadata.CorrelationID
	if b.metadata.CorrelationID == "" {
		b.metadata.CorrelationID = b.metadata.CausationID
	}
	return b
}

// Codec encodes the payloads; nil, the default, is [CBOR]. Readers must be given
// any codec other than the two built in: see the Codecs methods of projections and
// subscriptions.
func (b *CommitBuilder) Codec(c Codec) *CommitBuilder {
	b.codec = c
	return b
}

// Commit stores the events, all of them at consecutive positions and versions, or
// none. With the context of a subscription's handler, the handler's event becomes
// their cause, unless CausedBy or MetadataFrom says otherwise. See [CommitAll] for
// the errors.
func (b *CommitBuilder) Commit(ctx context.Context, ex Executor) (Receipt, error) {
	receipts, err := CommitAll(ctx, ex, b)
	if err != nil {
		return Receipt{}, err
	}
	return receipts[0], nil
}

// CommitAll commits to several aggregates atomically. Each builder has an aggregate
// of its own. The receipts are in the order of the builders.
//
// Committing the same builders to the same store again is safe: the store finds by
// their ids the events of an earlier attempt, and returns its receipts.
//
// Errors: [ErrConflict], [ErrNoEvents], [ErrInvalid] and [ErrTooLarge], with
// nothing stored; [ErrOutcomeUnknown], after which committing again finds out the
// outcome; errors of the codec; and those of [Executor]. What fails after an attempt
// of unknown outcome matches ErrOutcomeUnknown too, until an attempt succeeds or
// conflicts.
func CommitAll(ctx context.Context, ex Executor, builders ...*CommitBuilder) ([]Receipt, error) {
	w := Write{Appends: make([]Append, 0, len(builders))}
	for _, b := range builders {
		if b == nil {
			return nil, fmt.Errorf("%w commit: a builder is nil", ErrInvalid)
		}
		if err := b.encode(); err != nil {
			return nil, err
		}
		w.Retry = w.Retry || b.tried
		w.Appends = append(w.Appends, Append{
			AggregateType: b.aggregateType,
			AggregateID:   b.id,
			Expected:      b.expected,
			AnyVersion:    b.any,
			RoutingKey:    b.routingKey,
			Metadata:      b.metadata.causedBy(ctx),
			Events:        b.events,
		})
	}
	if slices.ContainsFunc(builders, func(b *CommitBuilder) bool { return len(b.deadlines) > 0 }) {
		receipts, err := writeWith(ctx, ex, w, builders)
		return receipts, outcome(builders, err)
	}
	for _, b := range builders {
		b.tried = true
	}
	receipts, err := ex.Write(ctx, w)
	return receipts, outcome(builders, err)
}

// outcome notes whether it is known what became of a commit, and returns its error. An
// attempt that fails says nothing of one before it whose outcome is unknown, unless it
// conflicts: then the store has looked for that one.
func outcome(builders []*CommitBuilder, err error) error {
	unknown := errors.Is(err, ErrOutcomeUnknown)
	known := err == nil || isAny(err, ErrConflict, ErrSwapped)
	was := false
	for _, b := range builders {
		was = was || b.unknown
		b.unknown = unknown || b.unknown && !known
	}
	if was && !unknown && !known {
		return &stillUnknownError{err}
	}
	return err
}

// stillUnknownError is why an attempt has failed after one of unknown outcome.
type stillUnknownError struct{ err error }

func (e *stillUnknownError) Error() string {
	return fmt.Sprintf("%v, and this attempt has failed: %s", ErrOutcomeUnknown, bare(e.err))
}

func (e *stillUnknownError) Unwrap() []error { return []error{ErrOutcomeUnknown, e.err} }

// encode sets the ids and the encoded payloads, once.
func (b *CommitBuilder) encode() error {
	if b.late {
		return fmt.Errorf("%w commit: events were added to the builder of %s after it was committed", ErrInvalid, shorten(b.id))
	}
	if b.events != nil {
		return nil
	}
	if len(b.payloads) == 0 {
		return fmt.Errorf("%w: aggregate %s", ErrNoEvents, shorten(b.id))
	}
	codec := b.codecOr()
	events := make([]NewEvent, len(b.payloads))
	for i, p := range b.payloads {
		kind, err := kindOf(p)
		if err != nil {
			return wrap(err, "payload %d of aggregate %s", i+1, shorten(b.id))
		}
		if _, ok := p.(Retired); ok {
			return fmt.Errorf("%w event: %s of aggregate %s is retired: it can be read, and no longer committed", ErrInvalid, kind, shorten(b.id))
		}
		switch t := kind.aggregateType; {
		case b.loaded != "" && t != b.loaded:
			return fmt.Errorf("%w event: %s is of another type than the aggregate that was loaded, %s %s", ErrInvalid, kind, b.loaded, shorten(b.id))
		case i == 0:
			b.aggregateType = t
		case t != b.aggregateType:
			return fmt.Errorf("%w commit: %s and %s are types of two aggregates; commit them with CommitAll", ErrInvalid, b.aggregateType, t)
		}
		data, err := encodePayload(codec, p)
		if err != nil {
			return wrap(err, "encoding %s", kind)
		}
		events[i] = NewEvent{Name: kind.name, Codec: codec.Name(), Data: data, Tags: tagsOf(p)}
	}
	ids.give(events)
	b.events = events
	return nil
}

// codecOr is the codec of the payloads.
func (b *CommitBuilder) codecOr() Codec {
	if b.codec == nil {
		return CBOR()
	}
	return b.codec
}

func encodePayload(codec Codec, p Payload) ([]byte, error) {
	data, err := codec.Marshal(p)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxPayload {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(data), MaxPayload)
	}
	return data, nil
}
