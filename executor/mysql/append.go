// Judging writes, each on its own.

package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// packetSpare is what a statement has beside the data.
const packetSpare = 4 << 10

// head is where an aggregate is.
type head struct {
	version int64
	routing int64 // 0: none
}

// appendOp is one caller's write.
type appendOp struct {
	write    evento.Write
	metadata []string // JSON by append; nil: none has any
	err      error    // a refusal, which changed nothing
	earlier  bool     // it was stored before
	receipts []evento.Receipt
	judging  judging
	place    [1]head // room for the usual write
}

// Write implements [evento.Executor].
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := ex.check(ctx); err != nil {
		return nil, err
	}
	op, size, err := newAppendOp(w)
	if err != nil {
		return nil, err
	}
	if t := ex.transactionOf(ctx); t != nil {
		return t.add(ctx, op)
	}
	if err := ex.queue.Do(ctx, op, size); err != nil {
		return nil, err
	}
	return op.receipts, nil
}

// newAppendOp makes the operation of a write, and says about how large it is.
func newAppendOp(w evento.Write) (op *appendOp, size int, err error) {
	op = &appendOp{write: w}
	if op.metadata, err = sqlstore.EncodeMetadata(w.Appends); err != nil {
		return nil, 0, fmt.Errorf("evento: mysql: %w", err)
	}
	for i := range w.Appends {
		a := &w.Appends[i]
		metadata := 0
		if op.metadata != nil {
			metadata = len(op.metadata[i])
		}
		for j := range a.Events {
			size += len(a.Events[j].Data) + metadata + rowSpare
		}
	}
	return op, size, nil
}

// errAssumed says that a batch has to be judged again with all heads read.
var errAssumed = errors.New("an aggregate that was taken for new may not be")

// apply judges the write and adds its rows to the transaction. What it refuses
// is kept in the operation.
func (op *appendOp) apply(tx *transaction) error {
	op.receipts, op.earlier = nil, false
	op.err = op.fits(tx.s.maxPacket)
	if op.err != nil {
		return nil //nolint:nilerr // the write is refused, the transaction goes on
	}
	appends := op.write.Appends
	places := op.place[:]
	if len(appends) > 1 {
		places = make([]head, len(appends))
	}
	for i := range appends {
		places[i] = tx.head(appends[i].Aggregate())
	}
	op.judging = judging{tx, &op.write, places}
	receipts, refusal, err := sqlstore.Judge(&op.write, &op.judging)
	if err != nil || refusal != nil || receipts != nil {
		op.receipts, op.err, op.earlier = receipts, refusal, receipts != nil
		tx.found = tx.found || op.earlier
		return err
	}
	op.receipts = make([]evento.Receipt, len(appends))
	for i := range appends {
		metadata := ""
		if op.metadata != nil {
			metadata = op.metadata[i]
		}
		if err := tx.append(&appends[i], places[i], metadata); err != nil {
			return err
		}
		op.receipts[i] = evento.Receipt{
			AggregateID: appends[i].AggregateID,
			Version:     uint64(places[i].version) + uint64(len(appends[i].Events)),
			Position:    uint64(tx.position),
		}
	}
	return nil
}

// fits refuses an event that the server would not take: told of it only by the
// server, a prepared statement could not be used again.
func (op *appendOp) fits(maxPacket int) error {
	for i := range op.write.Appends {
		metadata := 0
		if op.metadata != nil {
			metadata = len(op.metadata[i])
		}
		for _, e := range op.write.Appends[i].Events {
			if n := len(e.Data) + metadata; n > maxPacket-packetSpare {
				return fmt.Errorf("%w: %s of %d bytes with its metadata, the server's max_allowed_packet is %d", evento.ErrTooLarge, e.Name, n, maxPacket)
			}
		}
	}
	return nil
}

// judging is what a write is judged by: where its aggregates are.
type judging struct {
	tx     *transaction
	write  *evento.Write
	places []head
}

// Version implements [sqlstore.Judging].
func (j *judging) Version(i int) int64 { return j.places[i].version }

// VersionOf implements [sqlstore.Judging].
func (j *judging) VersionOf(i int, id *evento.ID) (version int64, found bool, err error) {
	typeID, err := j.begin(i)
	if err != nil || typeID == 0 {
		return 0, false, err
	}
	found, err = j.tx.s.row(j.tx.ctx, "SELECT version FROM evento_event FORCE INDEX (evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? AND event_id = ?",
		[]any{j.write.Appends[i].AggregateID, typeID, id[:]}, &version)
	return version, found, err
}

// PositionOf implements [sqlstore.Judging].
func (j *judging) PositionOf(i int, version int64, id *evento.ID) (position int64, found bool, err error) {
	typeID, err := j.begin(i)
	if err != nil || typeID == 0 {
		return 0, false, err
	}
	found, err = j.tx.s.row(j.tx.ctx, "SELECT position FROM evento_event WHERE aggregate_id = ? AND type_id = ? AND version = ? AND event_id = ?",
		[]any{j.write.Appends[i].AggregateID, typeID, version, id[:]}, &position)
	return position, found, err
}

// begin finds the type of an append. Rows of this transaction are sent before the
// store is asked: the same write may be in the batch twice. Where not all heads were
// read, the batch is to be judged again: another append of a write may be the first
// that does not fit.
func (j *judging) begin(i int) (typeID int64, err error) {
	if !j.tx.careful && len(j.write.Appends) > 1 && !j.write.Retry {
		return 0, errAssumed
	}
	if err := j.tx.send(); err != nil {
		return 0, err
	}
	return j.tx.typeID(j.write.Appends[i].AggregateType, false)
}
