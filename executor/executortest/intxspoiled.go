// Transactions that cannot be committed.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/evento-go/evento"
)

// A transaction that was spoiled by what was done in it is rolled back, with an
// error that nobody takes for one of the store: trying it again without a change
// is of no use, and there is nothing to find out.
func inTxSpoiled(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	key := recordKey("key", "")
	commit(ctx, t, ex, to("old", 0, "Old"))
	swap(ctx, t, ex, set(key, 0, "before"))
	before := readAll(ctx, t, ex, evento.Query{})
	work := func(tx context.Context) error {
		_, err := ex.Write(tx, write(to("old", 1, "A"), to(fmt.Sprint("new ", evento.NewID()), 0, "A")))
		return errors.Join(err, trySwap(tx, ex, set(key, 1, "after")))
	}
	for name, spoil := range c.Spoil {
		for when, fn := range map[string]func(tx context.Context) error{
			"alone": spoil,
			"after other work": func(tx context.Context) error {
				return errors.Join(work(tx), spoil(tx))
			},
			"before other work": func(tx context.Context) error {
				err := spoil(tx)
				_ = work(tx) // may fail, which it passes over
				return err
			},
		} {
			returned := errors.New("it did not return")
			err := inTx(ctx, ex, func(tx context.Context) error {
				returned = fn(tx)
				return returned
			})
			if returned != nil {
				t.Fatalf("InTx, %s %s: the function returned %v, want nil", name, when, returned)
			}
			if err == nil {
				t.Errorf("InTx, %s %s: got no error", name, when)
			}
			for _, other := range []error{
				evento.ErrOutcomeUnknown, evento.ErrConflict, evento.ErrClosed, evento.ErrFull, evento.ErrReadOnly,
				context.Canceled, context.DeadlineExceeded,
			} {
				if errors.Is(err, other) {
					t.Errorf("InTx, %s %s: got %v, want it not to match %q", name, when, err, other)
				}
			}
			wantLog(ctx, t, ex, before)
			wantRecords(ctx, t, ex, set(key, 0, "before"))
		}
	}
	if err := inTx(ctx, ex, work); err != nil {
		t.Errorf("InTx after those that were spoiled: %v", err)
	}
	commit(ctx, t, ex, to("old", 2, "A"))
	wantRecords(ctx, t, ex, set(key, 1, "after"))
	soundLog(ctx, t, c, ex)
}
