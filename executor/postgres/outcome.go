// What became of a write.

package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/evento-go/evento"
)

// outcome is what the server says of one append.
type outcome struct {
	head     int64     // the aggregate's version before
	fits     bool      // with all others of its write
	position int64     // of its last event, when it fits
	moved    bool      // the counter was not where the conditions were judged; nothing else is known
	above    *[16]byte // when it does not: the id of the event behind the expected version; nil: there is none
}

// behind is the outcome of an append with the same expected version as another, which
// is right behind that one.
func (o outcome) behind(a *evento.Append) outcome {
	if o.fits {
		o.head, o.fits, o.above = o.head+int64(len(a.Events)), false, (*[16]byte)(&a.Events[0].ID)
	}
	return o
}

// resolve sets the receipts of a write, or says why it was refused.
func (ex *Executor) resolve(ctx context.Context, b *batch, op *appendOp, outcomes []outcome) error {
	if op.refusal != nil {
		return ex.refused(ctx, b.via, op)
	}
	if outcomes[0].moved {
		return errMoved
	}
	if outcomes[0].fits { // all of a write do, or none
		op.receipts = make([]evento.Receipt, len(outcomes))
		for i, o := range outcomes {
			a := &op.write.Appends[i]
			op.receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: uint64(o.head) + uint64(len(a.Events)), Position: uint64(o.position)}
			ex.noteHead(o.position)
		}
		ex.remember(op, outcomes)
		return nil
	}
	if op.mayBeEarlier(outcomes) {
		if earlier, err := ex.earlierOn(ctx, b.via, op); earlier || err != nil {
			return err
		}
	}
	if !b.locked && !op.conditions.None() && op.isAt(outcomes) {
		return errMoved
	}
	return op.conflict(outcomes)
}

// isAt reports whether the aggregates are at the versions that are expected.
func (op *appendOp) isAt(outcomes []outcome) bool {
	for i := range outcomes {
		if a := &op.write.Appends[i]; !a.AnyVersion && a.Expected != uint64(outcomes[i].head) {
			return false
		}
	}
	return true
}

// mayBeEarlier reports whether a refused write may have been stored before: then its
// events are behind the versions that it expects.
func (op *appendOp) mayBeEarlier(outcomes []outcome) bool {
	if op.write.Retry {
		return true
	}
	for i := range op.write.Appends {
		a := &op.write.Appends[i]
		if above := outcomes[i].above; !a.AnyVersion && (above == nil || *above != [16]byte(a.Events[0].ID)) {
			return false
		}
	}
	return true
}

// conflict is the error for a write that was refused.
func (op *appendOp) conflict(outcomes []outcome) error {
	// The first append whose version does not fit. If all fit, some of the ids are in
	// the store already, and it is the first append.
	at := 0
	for i := range outcomes {
		if a := &op.write.Appends[i]; !a.AnyVersion && a.Expected != uint64(outcomes[i].head) {
			at = i
			break
		}
	}
	a := &op.write.Appends[at]
	return &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: uint64(outcomes[at].head)}
}

// idsOf are the ids of all events. They have a type of the driver's, which it also knows
// when it does not ask the server for the types of parameters.
func idsOf(ops ...*appendOp) (ids []pgtype.UUID) {
	for _, op := range ops {
		for _, a := range op.write.Appends {
			for _, e := range a.Events {
				ids = append(ids, pgtype.UUID{Bytes: e.ID, Valid: true})
			}
		}
	}
	return ids
}

func (ex *Executor) earlierOn(ctx context.Context, l *flushConn, op *appendOp) (bool, error) {
	conn, err := l.open(ctx)
	if err != nil {
		return false, err
	}
	return ex.earlier(ctx, conn, op)
}

// earlier looks for the whole write in the store, by the ids of its events, and
// sets the receipts if it is there.
//
// Why: docs/decisions.md, "Event ids are unique".
func (ex *Executor) earlier(ctx context.Context, conn *pgx.Conn, op *appendOp) (bool, error) {
	type place struct {
		t                 evento.AggregateType
		id                string
		version, position int64
	}
	places := map[[16]byte]place{}
	rows, err := conn.Query(ctx, ex.sql.byID, idsOf(op))
	if err != nil {
		return false, err
	}
	var id [16]byte
	var p place
	if _, err := pgx.ForEachRow(rows, []any{&id, &p.t, &p.id, &p.version, &p.position}, func() error {
		places[id] = p
		return nil
	}); err != nil {
		return false, err
	}
	receipts := make([]evento.Receipt, len(op.write.Appends))
	for i, a := range op.write.Appends {
		first, ok := places[a.Events[0].ID]
		for j, e := range a.Events {
			p, found := places[e.ID]
			if !ok || !found || p.t != a.AggregateType || p.id != a.AggregateID || p.version != first.version+int64(j) {
				return false, nil
			}
			receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: uint64(p.version), Position: uint64(p.position)}
		}
	}
	op.receipts = receipts
	return true, nil
}
