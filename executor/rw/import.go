package rw

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
)

var _ evento.Importer = (*Executor)(nil)

// Import implements [evento.Importer], on the write side. Without a write side
// that is an Importer the error matches [errors.ErrUnsupported].
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	if ex.err != nil {
		return ex.err
	}
	im, ok := ex.write.(evento.Importer)
	if !ok {
		return fmt.Errorf("evento: rw: Import: %w by the write side, a %T", errors.ErrUnsupported, ex.write)
	}
	// Refused, it has told what the write side has all the same.
	defer ex.told.Add(1)
	return im.Import(ctx, events)
}
