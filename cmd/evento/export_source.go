// What export reads.

package main

import (
	"context"
	"errors"

	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/examine"
)

// asStored returns what reads events as they are stored, and not as an executor makes the best
// of them.
func (s *session) asStored() func(ctx context.Context, from uint64, each func(*examine.Event) error) error {
	if ex, ok := s.ex.(*pebble.Executor); ok {
		return pebble.InspectorOf(ex).Events
	}
	if ex, ok := s.ex.(lookingOnly); ok {
		return func(ctx context.Context, from uint64, each func(*examine.Event) error) error {
			in, err := ex.Inspect(ctx)
			if err != nil {
				return err
			}
			return errors.Join(in.Events(ctx, from, each), in.Close())
		}
	}
	return func(ctx context.Context, from uint64, each func(*examine.Event) error) (err error) {
		in, err := s.address.inspect()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		schema, err := in.Schema(ctx)
		if err != nil {
			return err
		}
		return in.TablesOf(schema).Events(ctx, from, each)
	}
}
