// Writing to the aggregates of one routing key.
//
// The store gives a new aggregate the routing key of its append, and an existing one keeps its
// own, whatever the append says. So an append must never come to an aggregate of another
// key. What is known of an aggregate decides how it is sent:
//
//	it has the routing key    as it is: that never changes
//	it has another, or none   not at all
//	it was not found          so that it is stored only if the aggregate is new
//
// Somebody may create an aggregate right after it was not found. Then the store refuses the
// write, and Write looks again.

package routed

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/evento-go/evento"
)

// never is a version that no aggregate reaches, and the highest that may be expected.
const never = 1<<62 - 1

// Write implements [evento.Executor]. New aggregates get the routing key. An append that names
// another one, or is to an aggregate that has another one or none, is refused with
// [evento.ErrInvalid]. An append to an aggregate that ex does not know yet costs one read, all
// of a write together; those at version 0 cost none.
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	leave, err := ex.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if w, err = ex.narrowWrite(w); err != nil {
		return nil, err
	}
	for {
		guarded, err := ex.guard(ctx, w)
		if err != nil {
			return nil, err
		}
		receipts, err := ex.of.Write(ctx, guarded)
		if err == nil {
			return receipts, nil
		}
		if err := ex.explain(ctx, w, guarded, err); err != nil {
			return nil, err
		}
	}
}

// narrowWrite returns a checked write with the routing key in its appends, conditions and
// changes of records.
func (ex *Executor) narrowWrite(w evento.Write) (evento.Write, error) {
	w.Appends, w.Unless = slices.Clone(w.Appends), slices.Clone(w.Unless)
	for i := range w.Appends {
		a := &w.Appends[i]
		if a.RoutingKey != "" && a.RoutingKey != ex.key {
			return w, fmt.Errorf("%w routing key %q of %s %q: an executor of routing key %q writes no other",
				evento.ErrInvalid, a.RoutingKey, a.AggregateType, a.AggregateID, ex.key)
		}
		a.RoutingKey = ex.key
	}
	for i := range w.Unless {
		var err error
		if w.Unless[i].Query, err = ex.narrow(w.Unless[i].Query); err != nil {
			return w, err
		}
	}
	if w.Swap != nil {
		s := ex.narrowSwap(*w.Swap)
		w.Swap = &s
	}
	return w, nil
}

// guard returns a narrowed write as it is to be sent: see the top of the file.
func (ex *Executor) guard(ctx context.Context, w evento.Write) (evento.Write, error) {
	var existing []evento.AggregateKey // if nobody is mistaken
	for i := range w.Appends {
		if a := &w.Appends[i]; a.AnyVersion || a.Expected > 0 {
			existing = append(existing, a.Aggregate())
		}
	}
	if len(existing) == 0 {
		return w, nil
	}
	found, err := ex.look(ctx, existing...)
	if err != nil {
		return w, err
	}
	w.Appends = slices.Clone(w.Appends)
	for i := range w.Appends {
		a := &w.Appends[i]
		switch mine, exists := found[a.Aggregate()]; {
		case !a.AnyVersion && a.Expected == 0, mine:
		case exists:
			return w, ex.othersError(a.Aggregate())
		case a.AnyVersion:
			a.AnyVersion = false
		case evento.WithinTx(ctx): // which reads what it would be written to
			return w, &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected}
		default:
			a.Expected = never // the store says whether it is new, and finds an earlier attempt
		}
	}
	return w, nil
}

// explain returns the error of a write that the store has refused; nil: it is to be guarded
// and sent again.
func (ex *Executor) explain(ctx context.Context, w, guarded evento.Write, err error) error {
	var over *evento.ConflictError
	if !errors.As(err, &over) {
		return err
	}
	i := slices.IndexFunc(w.Appends, func(a evento.Append) bool {
		return a.AggregateType == over.AggregateType && a.AggregateID == over.AggregateID
	})
	if i < 0 { // it is over a condition
		return err
	}
	a := &w.Appends[i]
	found, lookErr := ex.look(ctx, a.Aggregate())
	if lookErr != nil {
		return lookErr
	}
	_, exists := found[a.Aggregate()]
	switch unchanged := a.AnyVersion == guarded.Appends[i].AnyVersion && a.Expected == guarded.Appends[i].Expected; {
	case isOthers(found, a.Aggregate()):
		return ex.othersError(a.Aggregate())
	case unchanged, !exists && evento.WithinTx(ctx): // which may not be shown what it conflicts with
		return err
	case !a.AnyVersion && over.Actual == 0:
		return &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected}
	}
	return nil
}

// othersError is that of a write to an aggregate that has another routing key, or none. It does
// not say which: that is the other tenant's.
func (ex *Executor) othersError(a evento.AggregateKey) error {
	return fmt.Errorf("%w aggregate: %s %q is in the store, and not of routing key %q", evento.ErrInvalid, a.Type, a.ID, ex.key)
}
