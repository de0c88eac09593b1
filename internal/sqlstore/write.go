// Writes that change records too.

package sqlstore

import (
	"context"
	"errors"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// swapAttempts is how often a write is made that the server gives up on, as it has met
// another one that changes the same records.
const swapAttempts = 10

// WriteInTx stores a checked write that changes records in a transaction of its own. It
// takes the records before the positions, as the transactions of callers do: so no two of
// them wait for each other. Transient are errors of the server after which another try may
// succeed.
//
// Why: docs/decisions.md, "Records before positions".
func WriteInTx(ctx context.Context, ex evento.Transactor, w evento.Write, transient func(error) bool) ([]evento.Receipt, error) {
	find := func() ([]evento.Receipt, error) { return store.FindEarlier(store.ReaderOf(ctx, ex), &w) }
	if w.Retry {
		if earlier, err := find(); err != nil || earlier != nil {
			return earlier, err
		}
	}
	for attempt := 1; ; attempt++ {
		err := ex.InTx(ctx, func(ctx context.Context) error {
			_, err := ex.Write(ctx, w)
			return err
		})
		switch {
		case err == nil:
			receipts, err := find()
			if err != nil || receipts == nil {
				return nil, store.Errorf("%w: it was stored, and its receipts were not found: %v", evento.ErrOutcomeUnknown, err)
			}
			return receipts, nil
		case errors.Is(err, evento.ErrConflict) || errors.Is(err, evento.ErrSwapped):
			if earlier, findErr := find(); findErr == nil && earlier != nil {
				return earlier, nil
			}
			return nil, err
		case !transient(err) || attempt == swapAttempts:
			return nil, err
		}
	}
}
