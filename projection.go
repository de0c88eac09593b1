package evento

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"
)

// Projection computes a state V of one aggregate by replaying its events. It is
// built once with [NewProjection] and loads any number of aggregates. After the
// first load it must not be changed, and is safe for concurrent use.
//
// V is a plain type. Its zero value is the state before the first event.
type Projection[V any] struct {
	name          string
	aggregateType AggregateType
	handlers      map[eventKind]applier[V]
	others        []eventKind // those of the handlers that are of other aggregate types
	skip          map[eventKind]bool
	tombstones    map[eventKind]bool
	safetyCheck   bool
	revision      uint64
	snapshotEvery uint64
	codecs        codecs
	data          shared
	err           error // the builder's first mistake, returned by every load

	shape func() (hash string, err error) // of V, computed once
}

// Applier is a projection's handler of one kind of event; [Apply] and
// [ApplyContext] make it.
type Applier[V any] struct {
	kinds []eventKind
	apply applier[V]
	err   error
}

type applier[V any] func(context.Context, codecs, *V, *RawEvent) error

// Apply makes a projection's handler of the events with payload D, including those
// stored under its former names, see [Renamed]. The function changes the state; if
// it returns an error, the load fails with it.
func Apply[V any, D Payload](fn func(*V, Event[D]) error) Applier[V] {
	if fn == nil {
		return Applier[V]{err: errNilFunc}
	}
	return ApplyContext(func(_ context.Context, v *V, e Event[D]) error { return fn(v, e) })
}

// ApplyContext is [Apply] for a function that needs the context of the load, to
// read the values that were given to the projection's Data method.
func ApplyContext[V any, D Payload](fn func(context.Context, *V, Event[D]) error) Applier[V] {
	if fn == nil {
		return Applier[V]{err: errNilFunc}
	}
	var h Applier[V]
	if h.kinds, h.err = kindsFor[D](); h.err != nil {
		return h
	}
	decode := decoder[D]()
	h.apply = func(ctx context.Context, codecs codecs, v *V, raw *RawEvent) error {
		e, err := decode(codecs, raw)
		if err != nil {
			return err
		}
		return fn(ctx, v, e)
	}
	return h
}

var (
	errNilFunc   = fmt.Errorf("%w handler: the function is nil", ErrInvalid)
	errNoHandler = fmt.Errorf("%w handler: it is empty", ErrInvalid)
)

// NewProjection begins a projection of the aggregates of a type. Its snapshots are
// stored under the name, so each projection needs its own.
func NewProjection[V any](name string, aggregateType AggregateType) *Projection[V] {
	p := &Projection[V]{
		name:          name,
		aggregateType: aggregateType,
		handlers:      map[eventKind]applier[V]{},
		skip:          map[eventKind]bool{},
		tombstones:    map[eventKind]bool{},
	}
	p.fail(checkName("projection name", name))
	p.fail(checkName("aggregate type", string(aggregateType)))
	p.shape = sync.OnceValues(snapshotShape[V])
	return p
}

func (p *Projection[V]) fail(err error) {
	if p.err == nil && err != nil {
		p.err = wrap(err, "projection %s", shorten(p.name))
	}
}

// Handler adds handlers. A second one for the same kind of event makes every
// load fail.
func (p *Projection[V]) Handler(handlers ...Applier[V]) *Projection[V] {
	for _, h := range handlers {
		if h.apply == nil {
			p.fail(cmp.Or(h.err, errNoHandler))
			continue
		}
		if h.kinds[0].aggregateType != p.aggregateType {
			p.others = append(p.others, h.kinds[0])
		}
		for _, kind := range h.kinds {
			if p.handlers[kind] != nil {
				p.fail(fmt.Errorf("%w handler: two for %s", ErrInvalid, kind))
			}
			p.handlers[kind] = h.apply
			p.checkTombstone(kind)
		}
	}
	return p
}

// Skip names events that have no handler on purpose; SafetyCheck accepts them.
func (p *Projection[V]) Skip(payloads ...Payload) *Projection[V] {
	for _, d := range payloads {
		kinds, err := kindsOf(d)
		p.fail(err)
		for _, kind := range kinds {
			p.skip[kind] = true
		}
	}
	return p
}

// Tombstone names the events after which an aggregate is deleted: a load and an Update
// fail with [ErrDeleted], also with [OrNew] and whatever comes after, and its snapshots and
// kept states are removed. What it was before is still there with [AtVersion] and [AsOf].
// Such an event is of the projection's own type, and has no handler.
//
// The events stay in the store. What must not stay is to be encrypted with a key that can
// be destroyed.
func (p *Projection[V]) Tombstone(payloads ...Payload) *Projection[V] {
	for _, d := range payloads {
		kinds, err := kindsOf(d)
		p.fail(err)
		for _, kind := range kinds {
			p.tombstones[kind] = true
			if kind.aggregateType != p.aggregateType {
				p.fail(fmt.Errorf("%w tombstone: %s is of another type than the projection, %s", ErrInvalid, kind, p.aggregateType))
			}
			p.checkTombstone(kind)
		}
	}
	return p
}

func (p *Projection[V]) checkTombstone(kind eventKind) {
	if p.tombstones[kind] && p.handlers[kind] != nil {
		p.fail(fmt.Errorf("%w handler: %s is a tombstone, which no handler is called for", ErrInvalid, kind))
	}
}

// SafetyCheck makes a load fail with [ErrUnhandledEvent] at an event that has no
// handler and was not given to Skip. By default such events are ignored.
func (p *Projection[V]) SafetyCheck() *Projection[V] {
	p.safetyCheck = true
	return p
}

// Revision must be raised whenever the meaning of a handler changes: snapshots of
// another revision are not used. Default 0; at most [math.MaxInt64]. A change of
// V's fields is detected without it.
func (p *Projection[V]) Revision(n uint64) *Projection[V] {
	if n > math.MaxInt64 {
		p.fail(fmt.Errorf("%w revision: %d is over %d", ErrInvalid, n, math.MaxInt64))
	}
	p.revision = n
	return p
}

// SnapshotEvery stores the state when a load has replayed at least n events since
// the last snapshot, so that the next load begins there. 0, the default: never.
// With snapshots, V must consist of exported fields that CBOR gives back as they were;
// else each load fails with [ErrInvalid], which names the field. Two pointers to one
// value come back as two values, and times in UTC.
func (p *Projection[V]) SnapshotEvery(n uint64) *Projection[V] {
	p.snapshotEvery = n
	return p
}

// Codecs adds codecs that may have written payloads, besides [CBOR] and [JSON].
func (p *Projection[V]) Codecs(cs ...Codec) *Projection[V] {
	p.codecs = append(p.codecs, cs...)
	p.fail(p.codecs.check())
	return p
}

// Data provides a value to the handlers made by [ApplyContext], which read it with
// the function [Data]. One value of each type.
func (p *Projection[V]) Data(v any) *Projection[V] {
	p.data = append(p.data, v)
	return p
}
