// Listing and deleting snapshots.

package evento

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// SnapshotFilter chooses stored snapshots: [SnapshotsOf], [SnapshotsOfRevision]
// or [SnapshotsOfAggregate].
type SnapshotFilter struct {
	projection string
	revision   *uint64
	aggregate  AggregateKey
	but        func(SnapshotKey) bool // chooses what is left out
	passOver   *keptState             // all of this revision and shape are
	err        error
}

// SnapshotsOf chooses the snapshots of a projection.
func SnapshotsOf(projection string) SnapshotFilter {
	return SnapshotFilter{projection: projection, err: checkName("projection name", projection)}
}

// SnapshotsOfRevision chooses the snapshots of one revision of a projection.
func SnapshotsOfRevision(projection string, revision uint64) SnapshotFilter {
	f := SnapshotsOf(projection)
	f.revision = &revision
	if revision > math.MaxInt64 {
		f.err = fmt.Errorf("%w revision: %d", ErrInvalid, revision)
	}
	return f
}

// SnapshotsOfAggregate chooses the snapshots of an aggregate, of whatever
// projection.
func SnapshotsOfAggregate(t AggregateType, id string) SnapshotFilter {
	f := SnapshotFilter{aggregate: AggregateKey{t, id}, err: checkName("aggregate type", string(t))}
	if f.err == nil {
		f.err = checkName("aggregate id", id)
	}
	return f
}

// allOf is a filter for what each of some filters chooses.
func allOf(filters []SnapshotFilter) (all SnapshotFilter) {
	for _, f := range filters {
		switch {
		case all.err != nil:
			return all
		case f.err != nil:
			return f
		case f.projection != "" && all.projection != "", f.aggregate.ID != "" && all.aggregate.ID != "":
			all.err = fmt.Errorf("%w filter: two for a projection, or for an aggregate", ErrInvalid)
		case f.projection != "":
			all.projection, all.revision = f.projection, f.revision
		default:
			all.aggregate = f.aggregate
		}
	}
	return all
}

// chooses reports whether a snapshot is chosen.
func (f *SnapshotFilter) chooses(key SnapshotKey) bool {
	switch {
	case f.projection != "" && key.Projection != f.projection,
		f.revision != nil && key.Revision != *f.revision,
		f.aggregate.ID != "" && f.aggregate != AggregateKey{key.AggregateType, key.AggregateID}:
		return false
	}
	return f.but == nil || !f.but(key)
}

// pages calls fn with what is chosen of one page after the other, until it returns
// false or an error.
func (f *SnapshotFilter) pages(ctx context.Context, ex Executor, fn func([]StoredSnapshot) (bool, error)) error {
	if f.err != nil {
		return f.err
	}
	q := SnapshotQuery{Projection: f.projection}
	if f.revision != nil {
		q.After = SnapshotKey{Projection: f.projection, Revision: *f.revision}
	}
	for {
		page, err := ex.Snapshots(ctx, q)
		if err != nil || len(page.Snapshots) == 0 {
			return err
		}
		last := page.Snapshots[len(page.Snapshots)-1].SnapshotKey
		chosen := slices.DeleteFunc(page.Snapshots, func(s StoredSnapshot) bool { return !f.chooses(s.SnapshotKey) })
		if on, err := fn(chosen); err != nil || !on {
			return err
		}
		if !page.More || f.revision != nil && last.Revision > *f.revision {
			return nil
		}
		q.After = f.next(last)
	}
}

// next is a key before the next one that may be chosen: a projection may have many
// snapshots, of which none is.
func (f *SnapshotFilter) next(last SnapshotKey) SnapshotKey {
	next := SnapshotKey{Projection: last.Projection, Revision: last.Revision}
	at := AggregateKey{last.AggregateType, last.AggregateID}
	switch {
	case f.passOver != nil && f.passOver.shares(last):
		next.Variant = last.Variant[:variantHashLen] + "g" // no digit
	case f.aggregate.ID == "":
	case cmp.Or(cmp.Compare(at.Type, f.aggregate.Type), cmp.Compare(at.ID, f.aggregate.ID)) >= 0:
		next.Variant = last.Variant + "0"
	default:
		_, size := utf8.DecodeLastRuneInString(f.aggregate.ID)
		next.Variant, next.AggregateType = last.Variant, f.aggregate.Type
		next.AggregateID = f.aggregate.ID[:len(f.aggregate.ID)-size]
	}
	if next.Compare(last) < 0 {
		return last
	}
	return next
}

// remove removes what is chosen.
func (f *SnapshotFilter) remove(ctx context.Context, ex Executor) (n int, err error) {
	err = f.pages(ctx, ex, func(chosen []StoredSnapshot) (bool, error) {
		keys := make([]SnapshotKey, len(chosen))
		for i := range chosen {
			keys[i] = chosen[i].SnapshotKey
		}
		if len(keys) == 0 {
			return true, nil
		}
		if err := ex.RemoveSnapshots(ctx, keys); err != nil {
			return false, err
		}
		n += len(keys)
		return true, nil
	})
	return n, err
}

// Snapshots ranges over the stored snapshots that every filter chooses, without
// their states, in the order of [SnapshotKey.Compare]; without filters over all.
// At most one error is yielded, and it is last. Breaking off leaves nothing open.
//
// Errors: [ErrInvalid] for a name that cannot be stored, and for two filters of one
// kind; those of [Executor].
func Snapshots(ctx context.Context, ex Executor, filters ...SnapshotFilter) iter.Seq2[StoredSnapshot, error] {
	return func(yield func(StoredSnapshot, error) bool) {
		f := allOf(filters)
		err := f.pages(ctx, ex, func(page []StoredSnapshot) (bool, error) {
			for _, s := range page {
				if !yield(s, nil) {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			yield(StoredSnapshot{}, err)
		}
	}
}

// DeleteSnapshots deletes the stored snapshots that every filter chooses, without
// filters all, and returns how many they were, also with an error.
//
// That is safe at any time: loads replay the events, and store snapshots again. A
// state that [Projection.Keep] keeps is missing in [Projection.States] until its
// aggregate has a new event, or [Control.ResetToStart] makes the subscription
// begin anew.
//
// Errors: those of Snapshots.
func DeleteSnapshots(ctx context.Context, ex Executor, filters ...SnapshotFilter) (n int, err error) {
	f := allOf(filters)
	return f.remove(ctx, ex)
}

// DeleteUnusedSnapshots deletes the snapshots of the projection that it cannot use
// any more, since they are of another revision or of another shape of V, and
// returns how many they were, also with an error. A process with another release
// that still runs stores its own again.
//
// It never deletes a present state, nor those that the subscription of a
// [Projection.Keep] keeps: the ones that a key kept before are deleted once it
// was taken by the present revision, or removed.
//
// Errors: [ErrInvalid] for a mistake in the projection, and for a V that a snapshot
// cannot hold; [ErrDamaged] for a record of a subscription; those of [Executor].
func (p *Projection[V]) DeleteUnusedSnapshots(ctx context.Context, ex Executor) (n int, err error) {
	if p.err != nil {
		return 0, p.err
	}
	present, err := p.keeps()
	if err != nil {
		return 0, err
	}
	keepers, err := keepersOf(ctx, ex, p.name)
	if err != nil {
		return 0, err
	}
	f := SnapshotFilter{projection: p.name, passOver: &present}
	f.but = func(key SnapshotKey) bool {
		return key.AggregateType != p.aggregateType || present.shares(key) || keptByAny(keepers, key)
	}
	return f.remove(ctx, ex)
}

// shares reports whether a snapshot is of the same projection, revision and shape.
func (k keptState) shares(key SnapshotKey) bool {
	return key.Projection == k.Projection && key.Revision == k.Revision &&
		strings.HasPrefix(key.Variant, k.Variant[:variantHashLen])
}

func keptByAny(keepers []*keeper, key SnapshotKey) bool {
	of := keptState{Projection: key.Projection, Revision: key.Revision, Variant: key.Variant, AggregateType: key.AggregateType}
	for _, k := range keepers {
		if k.of(of) > 0 {
			return true
		}
	}
	return false
}
