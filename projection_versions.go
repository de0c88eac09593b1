// The states of an aggregate at a range of its versions.

package evento

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/evento-go/evento/cursor"
)

// Name returns the name of the projection.
func (p *Projection[V]) Name() string { return p.name }

// AggregateType returns the type of the aggregates that the projection is of.
func (p *Projection[V]) AggregateType() AggregateType { return p.aggregateType }

// InPlace lets [Projection.Versions] yield one state that it changes from version to version,
// instead of copies: what it has yielded is valid until it yields the next. It costs no
// copies, and V may be any type. Load and Update do not use it.
func InPlace() LoadOption {
	return func(o *loadOptions) { o.inPlace = true }
}

// Versions ranges over the states of an aggregate at its versions between from and to, both
// included, each as [AtVersion] loads it. It replays the events once, beginning at a snapshot
// that is older than from if there is one, and stores none. It ends at the last version if the
// aggregate has not reached to. At most one error is yielded, and it is last. Breaking off
// leaves nothing open; ranging again reads again.
//
// Each state is the reader's own: it is a copy as a snapshot would give it back, see
// [Projection.SnapshotEvery], without the fields that are tagged `cbor:"-"`. A V that a
// snapshot cannot hold gives [ErrInvalid], which names the field; [InPlace] does without copies.
//
// Of the options, [Related] and [InPlace] may be given: the events of related aggregates are
// applied up to the one with version to.
//
// Errors: [ErrInvalid] for a range that begins at 0 or ends before it begins, and for other
// options; [ErrNotFound] when the aggregate has not reached from; [ErrDeleted] at the version
// that deletes it; and those of Load, after the states before the event that fails.
func (p *Projection[V]) Versions(ctx context.Context, ex Executor, id string, from, to uint64, opts ...LoadOption) iter.Seq2[*Loaded[V], error] {
	return func(yield func(*Loaded[V], error) bool) {
		var o loadOptions
		for _, opt := range opts {
			opt(&o)
		}
		more := true
		err := p.eachVersion(ctx, ex, id, from, to, o, func(l *Loaded[V]) bool {
			more = yield(l, nil)
			return more
		})
		if err != nil && more {
			yield(nil, err)
		}
	}
}

// eachVersion calls fn with each state until fn returns false; then it returns nil.
func (p *Projection[V]) eachVersion(ctx context.Context, ex Executor, id string, from, to uint64, o loadOptions, fn func(*Loaded[V]) bool) error {
	if err := p.checkVersions(id, from, to, o); err != nil {
		return err
	}
	query := Query{Filters: append([]Filter{ByID(p.aggregateType, id)}, o.related...)}
	if err := query.Check(); err != nil {
		return err
	}
	if err := p.checkRelated(o.related); err != nil {
		return err
	}
	l := p.empty(id)
	var key SnapshotKey
	var after cursor.Value
	if p.snapshotEvery > 0 {
		var err error
		if key, err = p.snapshotKey(id, o.related); err != nil {
			return err
		}
		if after, err = loadSnapshot(ctx, ex, key, l, &from); err != nil {
			return err
		}
	}
	var copying error
	next := from // a replay that begins again does not yield a version twice
	o.reached = func() bool {
		if l.Version < next {
			return true
		}
		next = l.Version + 1
		at := l
		if !o.inPlace {
			if at, copying = l.clone(); copying != nil {
				return false
			}
		}
		return fn(at) && l.Version < to
	}
	_, _, err := p.catchUp(p.data.into(ctx), ex, query, key, after, l, o)
	if copying != nil {
		return wrap(copying, "projection %s", shorten(p.name))
	}
	if after != "" && errors.Is(err, ErrDeleted) {
		discard(ctx, ex, key)
	}
	if err == nil && l.Version < from {
		return p.notReached(l, from)
	}
	return err
}

// notReached is the error of an aggregate that has not reached a version.
func (p *Projection[V]) notReached(l *Loaded[V], version uint64) error {
	if l.Version == 0 {
		return fmt.Errorf("%w: %s %s", ErrNotFound, p.aggregateType, shorten(l.ID))
	}
	return fmt.Errorf("%w: version %d of %s %s, which is at %d", ErrNotFound, version, p.aggregateType, shorten(l.ID), l.Version)
}

// checkVersions checks what Versions is asked for.
func (p *Projection[V]) checkVersions(id string, from, to uint64, o loadOptions) error {
	switch {
	case p.err != nil:
		return p.err
	case from == 0 || to < from:
		return fmt.Errorf("%w versions: from %d to %d: versions begin at 1, and the first is not after the last", ErrInvalid, from, to)
	case o.version != nil || o.asOf != nil || o.orNew || o.commit != nil:
		return fmt.Errorf("%w option: Versions uses Related and InPlace alone", ErrInvalid)
	}
	if !o.inPlace {
		if _, err := p.shape(); err != nil {
			return wrap(err, "projection %s: Versions copies states as snapshots do, or use InPlace", shorten(p.name))
		}
	}
	return checkName("aggregate id", id)
}

// clone copies a loaded state as a snapshot would give it back.
func (l *Loaded[V]) clone() (*Loaded[V], error) {
	data, err := marshalCBOR(stateEncoding, &l.State)
	if err != nil {
		return nil, wrap(err, "copying the state at version %d", l.Version)
	}
	c := *l
	var ok bool
	if c.State, ok = stateIn[V](data); !ok {
		return nil, fmt.Errorf("%w state: the one at version %d cannot be copied: it cannot be read back from CBOR; use InPlace", ErrInvalid, l.Version)
	}
	return &c, nil
}
