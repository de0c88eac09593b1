// States over events that share tags, whatever their aggregates are.

package evento

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Fold returns a state over all events that have all of the tags, and a payload that one of
// the appliers handles, in the order of positions. Its zero value is the state before the
// first; without any event it is returned.
//
//	taken, err := evento.Fold(ctx, d, []string{"course:go"},
//		evento.Apply(func(n *int, e evento.Event[Subscribed]) error { *n++; return nil }))
//
// Within [Decide] the decision depends on it: on there being no further such event.
// Payloads have to be written by [CBOR] or [JSON].
//
// Errors: [ErrInvalid] without tags or appliers, or with two for one kind of event;
// [ErrDecode], those of the appliers, and those of [Executor].Read.
func Fold[V any](ctx context.Context, ex Executor, tags []string, appliers ...Applier[V]) (V, error) {
	var v V
	tags = slices.Clone(tags) // they are the caller's
	apply := map[eventKind]applier[V]{}
	var q Query
	for _, a := range appliers {
		if a.apply == nil {
			return v, wrap(cmp.Or(a.err, errNoHandler), "fold")
		}
		for _, kind := range a.kinds {
			if apply[kind] != nil {
				return v, fmt.Errorf("%w fold: two appliers for %s", ErrInvalid, kind)
			}
			apply[kind] = a.apply
			q.Filters = append(q.Filters, Filter{AggregateType: kind.aggregateType, Name: kind.name, Tags: tags})
		}
	}
	if len(tags) == 0 || len(q.Filters) == 0 {
		return v, fmt.Errorf("%w fold: it needs tags and appliers", ErrInvalid)
	}
	for e, err := range Events(ctx, ex, q) {
		if err != nil {
			return *new(V), err
		}
		kind := eventKind{e.AggregateType, e.Name}
		if err := apply[kind](ctx, nil, &v, &e); err != nil {
			if !errors.Is(err, ErrDecode) { // which already names the event
				err = wrap(err, "fold of %q: %s of %q, version %d, position %d", tags, kind, e.AggregateID, e.Version, e.Position)
			}
			return *new(V), err
		}
	}
	return v, nil
}
