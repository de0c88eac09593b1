// Listing the kept states.

package evento

import (
	"context"
	"errors"
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

// StatesAfter begins after an aggregate id, such as the last one of the page
// before. The id need not exist.
func StatesAfter(id string) StatesOption {
	return func(o *statesOptions) { o.after = id }
}

// StatesSoFar lists the existing states, even if some are not built yet.
func StatesSoFar() StatesOption {
	return func(o *statesOptions) { o.soFar = true }
}

// firstStates is how many states are read first: a page of a list often has no
// more.
const firstStates = 64

// States ranges over the states that a subscription of [Projection.Keep] keeps, in
// the order of the ids of their aggregates, compared bytewise. It reads them page
// by page. At most one error is yielded, and it is last. Breaking off leaves
// nothing open; ranging again reads again.
//
// The states have this revision and this shape of V. Each is as current as the
// subscription: use [WaitFor] with its key to read your own writes. A state is
// missing or older if its events are parked, or if the subscription was restricted
// to other aggregates or was reset to a place after its events. It is missing if
// its snapshot was deleted, until its aggregate has a new event or the subscription
// was reset to the start. A state that changes during the range may or may not be
// yielded. Loads with SnapshotEvery store under the same keys: a state may be newer
// than the subscription.
//
// Errors: [ErrNotKept] when no subscription keeps the states, or none has built all
// of them yet, as after a change of Revision; see [StatesSoFar]. [ErrInvalid] for a
// mistake in the projection, the options, or V; those of [Executor]; and those of
// Load for a state that can no longer be decoded, which is loaded again.
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

// eachState calls fn with each state until fn returns false; then it returns nil.
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
		if errors.Is(err, ErrDeleted) {
			continue
		}
		if err != nil || !fn(l) {
			return err
		}
	}
	return nil
}

func (p *Projection[V]) stateOf(ctx context.Context, ex Executor, s *StoredSnapshot) (*Loaded[V], error) {
	l := p.empty(s.AggregateID)
	l.Version, l.Position = s.Version, s.Position
	var ok bool
	if l.State, ok = stateIn[V](s.Data); !ok {
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

// of returns how many partitions keep the wanted states.
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

// keepersOf finds the subscriptions that keep states of a projection. If a record
// cannot be read, it returns an error together with all other subscriptions.
func keepersOf(ctx context.Context, ex Executor, projection string) (keepers []*keeper, unreadable error) {
	found := map[RecordKey]*keeper{} // by key and prefix of the parts
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

// partitionPart reports whether a record's part is that of a partition. The prefix
// is that of the subscription's routing key; "" for one without.
func partitionPart(part string) (prefix string, ok bool) {
	number := part
	if strings.HasPrefix(part, routePrefix) {
		i := strings.LastIndexByte(part, '-') + 1
		prefix, number = part[:i], part[i:]
	}
	_, err := strconv.Atoi(number)
	return prefix, err == nil
}
