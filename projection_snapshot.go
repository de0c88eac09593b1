// Stored projection states: loading, storing, listing and deleting them.

package evento

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/evento-go/evento/cursor"
)

func (p *Projection[V]) snapshotKey(id string, related []Filter) (SnapshotKey, error) {
	shape, err := p.shape()
	if err != nil {
		return SnapshotKey{}, wrap(err, "projection %s", shorten(p.name))
	}
	return SnapshotKey{
		Projection: p.name, Revision: p.revision,
		Variant:       shape + variantHash(append(relatedText(related), p.tombstoneText()...)...),
		AggregateType: p.aggregateType, AggregateID: id,
	}, nil
}

// tombstoneText is part of a snapshot's key: one that was stored before a kind of event was
// a tombstone may be of what is deleted now.
func (p *Projection[V]) tombstoneText() (names []string) {
	for kind := range p.tombstones {
		names = append(names, kind.name)
	}
	slices.Sort(names)
	return names
}

// loadSnapshot fills l from the snapshot under key, if there is a usable one, and
// returns the cursor after which to replay.
func loadSnapshot[V any](ctx context.Context, ex Executor, key SnapshotKey, l *Loaded[V], version *uint64) (cursor.Value, error) {
	s, err := ex.Snapshot(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case version != nil && s.Version >= *version:
		return "", nil // related events may be newer than the version
	}
	state, ok := stateIn[V](s.Data)
	if !ok || s.Cursor == "" || s.Version == 0 || s.Position == 0 { // not what saveSnapshot has written
		discard(ctx, ex, key)
		return "", nil
	}
	l.State, l.Version, l.Position = state, s.Version, s.Position
	return s.Cursor, nil
}

// discard removes a snapshot that is of no use: one that is saved later does not replace
// it if its version is lower. If this fails, the next load does it again.
func discard(ctx context.Context, ex Executor, key SnapshotKey) {
	_ = ex.RemoveSnapshots(ctx, []SnapshotKey{key})
}

// stateIn decodes a snapshot's state, if it holds one.
func stateIn[V any](data []byte) (state V, ok bool) {
	if cborDecoding.Unmarshal(data, &state) != nil {
		return state, false
	}
	if len(data) > 1 {
		return state, true
	}
	// Nothing is decoded from null. It is right where the zero state is stored so.
	var zero V
	stored, err := marshalCBOR(stateEncoding, &zero)
	return state, err == nil && len(stored) == 1
}

func saveSnapshot[V any](ctx context.Context, ex Executor, key SnapshotKey, l *Loaded[V], at cursor.Value) error {
	s, err := encodeSnapshot(key, l, at)
	if err != nil {
		return err
	}
	return ex.SaveSnapshot(ctx, key, s)
}

func encodeSnapshot[V any](key SnapshotKey, l *Loaded[V], at cursor.Value) (Snapshot, error) {
	data, err := marshalCBOR(stateEncoding, &l.State)
	if err != nil {
		return Snapshot{}, wrap(err, "encoding a snapshot of projection %q", key.Projection)
	}
	if len(data) > MaxPayload {
		return Snapshot{}, fmt.Errorf("%w: snapshot of projection %q of %d bytes, at most %d are allowed", ErrTooLarge, key.Projection, len(data), MaxPayload)
	}
	return Snapshot{Version: l.Version, Position: l.Position, Cursor: at, Data: data}, nil
}

// A snapshot's variant is the hash of its state's shape, followed by the hash of
// the related aggregates, so that snapshots of another shape can be recognised.
const variantHashLen = 32

func variantHash(texts ...string) string { return HashIDs(texts...)[:variantHashLen] }

// SnapshotFilter chooses stored snapshots: [SnapshotsOf], [SnapshotsOfRevision]
// or [SnapshotsOfAggregate].
type SnapshotFilter struct {
	projection string
	revision   *uint64
	aggregate  AggregateKey
	but        func(SnapshotKey) bool // selects what is left out
	passOver   *keptState             // the whole revision and shape is left out
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

// allOf returns a filter for the snapshots that every one of the filters selects.
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

// snapshots ranges over the selected snapshots. At most one error is yielded, and
// it is last.
func (f *SnapshotFilter) snapshots(ctx context.Context, ex Executor) iter.Seq2[StoredSnapshot, error] {
	return func(yield func(StoredSnapshot, error) bool) {
		if f.err != nil {
			yield(StoredSnapshot{}, f.err)
			return
		}
		q := SnapshotQuery{Projection: f.projection}
		if f.revision != nil {
			q.After = SnapshotKey{Projection: f.projection, Revision: *f.revision}
		}
		for s, err := range snapshots(ctx, ex, q, f.next) {
			switch {
			case err == nil && f.revision != nil && s.Revision > *f.revision:
				return
			case err == nil && !f.chooses(s.SnapshotKey):
			case !yield(s, err):
				return
			}
		}
	}
}

// next returns a key before the next snapshot that may be selected. It skips the
// snapshots between, which may be many.
func (f *SnapshotFilter) next(last SnapshotKey) SnapshotKey {
	next := SnapshotKey{Projection: last.Projection, Revision: last.Revision}
	at := AggregateKey{last.AggregateType, last.AggregateID}
	switch {
	case f.passOver != nil && f.passOver.shares(last):
		next.Variant = last.Variant[:variantHashLen] + "g" // greater than every digit
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

// remove removes the selected snapshots, also those found before an error.
func (f *SnapshotFilter) remove(ctx context.Context, ex Executor) (n int, err error) {
	var found []SnapshotKey
	for s, listing := range f.snapshots(ctx, ex) {
		if listing != nil {
			err = listing
			break
		}
		if found = append(found, s.SnapshotKey); len(found) < MaxRecords {
			continue
		}
		if err := ex.RemoveSnapshots(ctx, found); err != nil {
			return n, err
		}
		n, found = n+len(found), nil
	}
	if len(found) == 0 {
		return n, err
	}
	if removing := ex.RemoveSnapshots(ctx, found); removing != nil {
		return n, cmp.Or(err, removing)
	}
	return n + len(found), err
}

// Snapshots ranges over the stored snapshots that every filter chooses, without
// their states, in the order of [SnapshotKey.Compare]; without filters over all.
// At most one error is yielded, and it is last. Breaking off leaves nothing open.
//
// Errors: [ErrInvalid] for a name that cannot be stored, and for two filters of one
// kind; those of [Executor].
func Snapshots(ctx context.Context, ex Executor, filters ...SnapshotFilter) iter.Seq2[StoredSnapshot, error] {
	f := allOf(filters)
	return f.snapshots(ctx, ex)
}

// DeleteSnapshots deletes the stored snapshots that every filter chooses; without
// filters, all. It returns how many it has deleted, also with an error.
//
// Deleting is safe at any time: loads replay the events, and store snapshots again.
// A state that [Projection.Keep] keeps is missing in [Projection.States] until its
// aggregate has a new event, or [Control.ResetToStart] makes the subscription begin
// again.
//
// Errors: those of Snapshots.
func DeleteSnapshots(ctx context.Context, ex Executor, filters ...SnapshotFilter) (n int, err error) {
	f := allOf(filters)
	return f.remove(ctx, ex)
}

// DeleteUnusedSnapshots deletes the snapshots that the projection cannot use any
// more, because they have another revision or another shape of V. It returns how
// many it has deleted, also with an error. A process with another release that
// still runs stores its own again.
//
// It never deletes a present state, nor a state that a subscription of
// [Projection.Keep] keeps. The states that a key has kept before are deleted once a
// worker with the present revision has taken the key, or the subscription was
// removed.
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
