// Listing the states that are kept.

package evento

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// StatesOption changes what States lists. [StatesAfter] and [StatesSoFar] make it.
type StatesOption func(*statesOptions)

type statesOptions struct {
	after string
	soFar bool
}

// StatesAfter begins behind an aggregate id, which need not exist, such as the
// last one of the page before.
func StatesAfter(id string) StatesOption {
	return func(o *statesOptions) { o.after = id }
}

// StatesSoFar lists the states that there are, whether they are all or not.
func StatesSoFar() StatesOption {
	return func(o *statesOptions) { o.soFar = true }
}

// firstStates is how many states are read at first: a page of a list often has no
// more.
const firstStates = 64

// States ranges over the states that a subscription of [Projection.Keep] keeps, in
// the order of the ids of their aggregates, compared bytewise. It reads them page
// by page. At most one error is yielded, and it is last. Breaking off leaves
// nothing open; ranging again reads again.
//
// The states are those of this revision and shape of V. Each is as current as the
// subscription: use [WaitFor] with its key to read one's own writes. A state is
// missing, or older, when its events are parked, when the subscription is narrowed
// to others or was reset past them, and when its snapshot was deleted, until its
// aggregate has a new event or the subscription was reset to the start. What changes during the range
// is in it or not. Loads with SnapshotEvery store under the same keys: a state
// may be newer than the subscription.
//
// Errors: [ErrNotKept] when no subscription keeps the states, or none has built
// all of them yet, as after a change of Revision; see [StatesSoFar]. [ErrInvalid]
// for a mistake in the projection, the options, or V; those of [Executor], and
// those of Load for a state that can no longer be decoded, which is loaded anew.
func (p *Projection[V]) States(ctx context.Context, ex Executor, opts ...StatesOption) iter.Seq2[*Loaded[V], error] {
	return func(yield func(*Loaded[V], error) bool) {
		var o statesOptions
		for _, opt := range opts {
			opt(&o)
		}
		err := p.eachState(ctx, ex, o, func(l *Loaded[V]) bool { return yield(l, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// eachState calls fn with each state until it returns false; then it returns nil.
func (p *Projection[V]) eachState(ctx context.Context, ex Executor, o statesOptions, fn func(*Loaded[V]) bool) error {
	if p.err != nil {
		return p.err
	}
	after, err := p.snapshotKey(o.after, nil)
	if err != nil {
		return err
	}
	if o.after != "" {
		if err := checkName("aggregate id", o.after); err != nil {
			return err
		}
	}
	if !o.soFar {
		if err := p.checkKept(ctx, ex); err != nil {
			return err
		}
	}
	q := SnapshotQuery{Projection: p.name, After: after, States: true, Limit: firstStates}
	for s, err := range snapshots(ctx, ex, q, nil) {
		if err != nil {
			return err
		}
		if after.AggregateID = s.AggregateID; s.SnapshotKey != after {
			return nil // of other states
		}
		l, err := p.stateOf(ctx, ex, &s)
		if err != nil || !fn(l) {
			return err
		}
	}
	return nil
}

func (p *Projection[V]) stateOf(ctx context.Context, ex Executor, s *StoredSnapshot) (*Loaded[V], error) {
	l := &Loaded[V]{ID: s.AggregateID, Version: s.Version, Position: s.Position}
	if CBOR().Unmarshal(s.Data, &l.State) != nil {
		return p.load(ctx, ex, s.AggregateID, loadOptions{})
	}
	return l, nil
}

// checkKept returns an error unless a subscription keeps the states, and has built
// them all.
func (p *Projection[V]) checkKept(ctx context.Context, ex Executor) error {
	want, err := p.keeps()
	if err != nil {
		return err
	}
	keepers, err := keepersOf(ctx, ex, p.name)
	building := ""
	for _, k := range keepers {
		partitions := k.of(want)
		switch {
		case partitions == 0:
		case partitions == len(k.partitions) && k.complete(ex):
			return nil
		default:
			building = k.key
		}
	}
	switch {
	case err != nil:
		return err
	case building != "":
		return fmt.Errorf("%w: projection %s: subscription %s has not built all of them yet", ErrNotKept, shorten(p.name), shorten(building))
	}
	return fmt.Errorf("%w: projection %s: no subscription keeps those of revision %d and its present state; see Projection.Keep", ErrNotKept, shorten(p.name), p.revision)
}

// keeper is a subscription that keeps states of a projection.
type keeper struct {
	key        string
	partitions []partitionState
}

// of is how many partitions keep some states.
func (k *keeper) of(want keptState) (n int) {
	for i := range k.partitions {
		if k.partitions[i].Kept.same(want) {
			n++
		}
	}
	return n
}

func (k *keeper) keeps(projection string) bool {
	return slices.ContainsFunc(k.partitions, func(p partitionState) bool { return p.Kept.Projection == projection })
}

func (k *keeper) complete(ex Executor) bool {
	for i := range k.partitions {
		if !k.partitions[i].complete(ex) {
			return false
		}
	}
	return true
}

// keepersOf finds the subscriptions that keep states of a projection. An error
// about a record that cannot be read is returned with all others.
func keepersOf(ctx context.Context, ex Executor, projection string) (keepers []*keeper, unreadable error) {
	found := map[RecordKey]*keeper{} // by a key with the beginning of their parts
	for r, err := range records(ctx, ex, RecordQuery{Kind: subscriptionKind}) {
		if err != nil {
			return nil, err
		}
		prefix, ok := partitionPart(r.Part)
		if !ok {
			continue
		}
		p, err := partitionOfRecord(r.Record)
		if err != nil {
			p, unreadable = partitionRecord{}, err
		}
		key := RecordKey{Key: r.Key, Part: prefix}
		if found[key] == nil {
			found[key] = &keeper{key: r.Key}
			keepers = append(keepers, found[key])
		}
		found[key].partitions = append(found[key].partitions, p.partitionState)
	}
	return slices.DeleteFunc(keepers, func(k *keeper) bool { return !k.keeps(projection) }), unreadable
}

// partitionPart reports whether a record's part is that of a partition, and what
// it begins with where its subscription has a routing key.
func partitionPart(part string) (prefix string, ok bool) {
	number := part
	if strings.HasPrefix(part, routePrefix) {
		i := strings.LastIndexByte(part, '-') + 1
		prefix, number = part[:i], part[i:]
	}
	_, err := strconv.Atoi(number)
	return prefix, err == nil
}
