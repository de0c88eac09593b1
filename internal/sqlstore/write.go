// Writes that change records too.

package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// SwapAttempts is how often records are changed when the server gives up on it, as it has
// met somebody else who changes the same ones.
const SwapAttempts = 10

// WriteInTx stores a checked write that changes records in a transaction of its own. It
// takes the records before the positions, as the transactions of callers do: so no two of
// them wait for each other. Transient are errors of the server after which another try may
// succeed.
//
// Why: docs/decisions.md, "Records before positions".
func WriteInTx(ctx context.Context, ex evento.Transactor, w evento.Write, transient func(error) bool) ([]evento.Receipt, error) {
	if w.Retry {
		if earlier, err := store.FindEarlier(store.ReaderOf(ctx, ex), &w); err != nil || earlier != nil {
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
			return receiptsOf(ctx, ex, &w)
		case errors.Is(err, evento.ErrConflict) || errors.Is(err, evento.ErrSwapped):
			if w.Retry || slices.ContainsFunc(w.Appends, func(a evento.Append) bool { return !a.AnyVersion }) {
				if earlier, findErr := store.FindEarlier(store.ReaderOf(ctx, ex), &w); findErr == nil && earlier != nil {
					return earlier, nil
				}
			}
			return nil, err
		case !transient(err) || attempt == SwapAttempts:
			return nil, err
		}
	}
}

// receiptsPatience is how long the receipts of what is stored are looked for, also when the
// caller's context has ended meanwhile.
const receiptsPatience = 10 * time.Second

// receiptsOf finds the receipts of a write that is stored.
func receiptsOf(ctx context.Context, ex evento.Executor, w *evento.Write) ([]evento.Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), receiptsPatience)
	defer cancel()
	receipts, err := store.FindEarlier(store.ReaderOf(ctx, ex), w)
	if err == nil && receipts == nil {
		err = errors.New("its events are not there")
	}
	if err != nil { // only its text: the write does not match other errors
		return nil, fmt.Errorf("%w: it was stored, and its receipts were not read: %v", evento.ErrOutcomeUnknown, err) //nolint:errorlint // see above
	}
	return receipts, nil
}
