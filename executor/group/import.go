package group

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
)

var _ evento.Importer = (*Executor)(nil)

// Import implements [evento.Importer], in the first member: positions and
// versions are those of that member. Without a first member that is an Importer
// the error matches [errors.ErrUnsupported].
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	first, err := ex.first()
	if err != nil {
		return err
	}
	im, ok := first.(evento.Importer)
	if !ok {
		return fmt.Errorf("evento: group: Import: %w by the first member, a %T", errors.ErrUnsupported, first)
	}
	return ex.explain(ctx, im.Import(ctx, events))
}
