// Records: each tenant has kinds of its own.
//
// The prefix is before the Kind and not before the Key. So what belongs to a tenant is listed by
// one query of the store. And the store's own list of subscriptions has none of a tenant's:
// otherwise States of a projection there would trust a subscription that keeps the states of
// one tenant alone.

package routed

import (
	"context"
	"slices"

	"github.com/evento-go/evento"
)

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	leave, err := ex.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	stored := q
	stored.Kind, stored.After.Kind = ex.prefix+q.Kind, ex.prefix+q.After.Kind
	page, err := ex.of.Records(ctx, stored)
	if err != nil {
		return nil, err
	}
	for i := range page.Records {
		page.Records[i].Kind = q.Kind
	}
	return page, nil
}

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	leave, err := ex.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return ex.of.Swap(ctx, ex.narrowSwap(s))
}

func (ex *Executor) narrowSwap(s evento.Swap) evento.Swap {
	s.Changes = slices.Clone(s.Changes)
	for i := range s.Changes {
		s.Changes[i].Kind = ex.prefix + s.Changes[i].Kind
	}
	return s
}
