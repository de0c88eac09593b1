// Taking over events of another store.

package sqlite

import (
	"context"
	"fmt"

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
func (ex *Executor) takeOver(ctx context.Context, events []evento.RawEvent) (err error) {
	op := &importOp{events: events, appends: store.Appends(events)}
	if op.metadata, err = sqlstore.EncodeMetadata(op.appends); err != nil {
		return fmt.Errorf("evento: sqlite: %w", err)
	}
	size := 0
	for i := range events {
		size += len(events[i].Data) + 128
	}
	return ex.do(ctx, op, size)
}

type importOp struct {
	refused
	events   []evento.RawEvent
	appends  []evento.Append // one an event
	metadata []string        // JSON by event; nil: none has any
}

// apply looks at everything that could be refused before it adds anything.
func (op *importOp) apply(tx *transaction) error {
	if op.err = (store.Head{Position: uint64(tx.position), RecordedAt: tx.last}).Check(op.events); op.err != nil {
		return nil //nolint:nilerr // the import is refused, the transaction goes on
	}
	places := map[evento.AggregateKey]head{}
	for _, a := range store.Aggregates(op.events) {
		name := a.AggregateKey
		at, err := tx.head(name)
		if err != nil {
			return err
		}
		var routing int64
		if at.version > 0 && a.RoutingKey != "" {
			if routing, err = tx.routingID(a.RoutingKey); err != nil {
				return err
			}
		}
		if op.err = a.Check(uint64(at.version), at.routing == routing); op.err != nil {
			return nil //nolint:nilerr // see above
		}
		places[name] = at
	}
	now := tx.now
	for i := range op.events {
		name := evento.AggregateKey{Type: op.events[i].AggregateType, ID: op.events[i].AggregateID}
		at, moved := tx.heads[name]
		if !moved {
			at = places[name]
		}
		metadata := ""
		if op.metadata != nil {
			metadata = op.metadata[i]
		}
		tx.now = op.events[i].Timestamp.UnixMicro()
		if err := tx.append(&op.appends[i], at, metadata); err != nil {
			return err
		}
	}
	tx.now = max(now, tx.last) // for the writes that share the transaction
	return nil
}
