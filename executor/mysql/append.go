// Judging writes, each on its own.

package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// packetSpare is what a statement has beside the data.
const packetSpare = 4 << 10

// appendOp is one caller's write.
type appendOp struct{ sqlstore.Op }

// Write implements [evento.Executor].
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := ex.gate.Check(ctx); err != nil {
		return nil, err
	}
	op := &appendOp{sqlstore.OpOf(w)}
	if t := ex.transactionOf(ctx); t != nil {
		return t.add(ctx, op)
	}
	if w.Swap != nil {
		return sqlstore.WriteInTx(ctx, ex, w, transient)
	}
	for {
		if err := op.Look(&ex.recent, ex.positions, store.ReaderOf(ctx, ex)); err != nil {
			return nil, err
		}
		err := ex.queue.Do(ctx, op, op.Size(rowSpare))
		if err == nil {
			return op.Receipts, nil
		}
		if !errors.Is(err, store.ErrBehind) {
			return nil, err
		}
	}
}

func isConditional(c *call) bool { return !c.Request.Conditions.None() }

// errAssumed says that a batch has to be judged again with all places read, or with
// what only the server knows.
var errAssumed = errors.New("an aggregate that was taken for new may not be")

// apply judges the write and adds its rows to the transaction.
func (op *appendOp) apply(tx *transaction) error {
	if op.Refusal = op.fits(tx.s.maxPacket); op.Refusal != nil {
		return nil //nolint:nilerr // the write is refused, the transaction goes on
	}
	err := op.Apply(tx)
	if err == nil && op.Refusal != nil && !op.Conditions.None() && tx.assumed(&op.Write) {
		// If it is not new, an earlier attempt may have stored it.
		return errAssumed
	}
	tx.found = tx.found || op.Earlier
	return err
}

// assumed reports whether an aggregate of a write was taken for new.
func (tx *transaction) assumed(w *evento.Write) bool {
	for i := range w.Appends {
		a := &w.Appends[i]
		if at, err := tx.Place(a.Aggregate()); !tx.careful && err == nil && at.Version == 0 && a.Expected == 0 && !a.AnyVersion {
			return true
		}
	}
	return false
}

// fits refuses an event that the server would not take: told of it only by the
// server, a prepared statement could not be used again.
func (op *appendOp) fits(maxPacket int) error {
	events := 0
	for i := range op.Write.Appends {
		for _, e := range op.Write.Appends[i].Events {
			events++
			if n := len(e.Data) + len(op.Metadata.Of(events-1).Text); n > maxPacket-packetSpare {
				return fmt.Errorf("%w: %s of %d bytes with its metadata, the server's max_allowed_packet is %d", evento.ErrTooLarge, e.Name, n, maxPacket)
			}
		}
	}
	return nil
}

// VersionOf implements [sqlstore.Appender].
//
// Why: docs/decisions.md, "No index of event ids".
func (tx *transaction) VersionOf(op *sqlstore.Op, i int, id *evento.ID) (version int64, found bool, err error) {
	typeID, err := tx.typeOf(op, i)
	if err != nil || typeID == 0 {
		return 0, false, err
	}
	found, err = tx.s.row(tx.ctx, "SELECT version FROM evento_event FORCE INDEX (evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? AND event_id = ?",
		[]any{op.Write.Appends[i].AggregateID, typeID, id[:]}, &version)
	return version, found, err
}

// PositionOf implements [sqlstore.Appender]. What is at a version never changes, so it is
// asked for once, however many writes expect the version below.
func (tx *transaction) PositionOf(op *sqlstore.Op, i int, version int64, id *evento.ID) (position int64, found bool, err error) {
	at := slot{op.Write.Appends[i].Aggregate(), version}
	e, known := tx.events[at]
	if !known {
		typeID, err := tx.typeOf(op, i)
		if err != nil || typeID == 0 {
			return 0, false, err
		}
		var stored []byte
		if found, err = tx.s.row(tx.ctx, "SELECT position, event_id FROM evento_event WHERE aggregate_id = ? AND type_id = ? AND version = ?",
			[]any{at.ID, typeID, version}, &e.position, &stored); err != nil || !found {
			return 0, false, err
		}
		copy(e.id[:], stored)
		if tx.events == nil {
			tx.events = map[slot]placed{}
		}
		tx.events[at] = e
	}
	return e.position, e.id == *id, nil
}

// slot is a version of an aggregate, and placed is the event there.
type (
	slot struct {
		evento.AggregateKey
		version int64
	}
	placed struct {
		position int64
		id       evento.ID
	}
)

// typeOf finds the type of an append. Rows of this transaction are sent before the
// store is asked: the same write may be in the batch twice. Where not all places were
// read, the batch is to be judged again: another append of a write may be the first
// that does not fit.
func (tx *transaction) typeOf(op *sqlstore.Op, i int) (typeID int64, err error) {
	if !tx.careful && len(op.Write.Appends) > 1 && !op.Write.Retry {
		return 0, errAssumed
	}
	if err := tx.send(); err != nil {
		return 0, err
	}
	return tx.names.TypeIn(tx, op.Write.Appends[i].AggregateType, false)
}
