// Taking over events of another store.

package sqlite

import (
	"context"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

var _ evento.Importer = (*Executor)(nil)

// Import implements [evento.Importer].
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	if ex.transactionOf(ctx) != nil {
		return store.ErrImportInTx
	}
	return store.Import(ctx, store.Importing{Positions: ex.positions, Read: ex.Read, Append: ex.takeOver}, events)
}

// takeOver appends events that follow the last one.
func (ex *Executor) takeOver(ctx context.Context, events []evento.RawEvent) error {
	op := &importOp{sqlstore.ImportOf(events), events}
	return ex.do(ctx, op, op.Size(rowSpare))
}

type importOp struct {
	sqlstore.Op
	events []evento.RawEvent
}

func (op *importOp) apply(tx *transaction) error {
	now := tx.now
	err := op.Import(tx, store.Head{Position: uint64(tx.position), RecordedAt: tx.last}, op.events)
	tx.now = max(now, tx.last) // for the writes that share the transaction
	return err
}

func (op *importOp) refusal() error { return op.Refusal }

// SetTime implements [sqlstore.Importer].
func (tx *transaction) SetTime(at int64) { tx.now = at }
