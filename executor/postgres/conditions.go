// Judging the conditions of writes.

package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// errMoved says that somebody else has appended since the conditions of a write were
// judged. Nothing was stored.
var errMoved = errors.New("the store has moved on since the conditions were judged")

// judge holds the conditions of writes against the events that are known here: those up to
// a position, where the statement has to find the counter. If not enough is known, they
// are to be judged with the counter held.
//
// Why: docs/decisions.md, "Conditions are judged against what is known of the end".
func (ex *Executor) judge(ops []*appendOp) (at int64, known bool) {
	to, kept := ex.recent.To()
	if !kept || int64(to) < ex.head.Load() {
		return 0, false
	}
	for _, op := range ops {
		if op.refusal = ex.excluded(op); errors.Is(op.refusal, store.ErrBehind) {
			return 0, false
		}
	}
	return int64(to), true
}

func (ex *Executor) excluded(op *appendOp) error {
	if err := op.conditions.Refused(); err != nil {
		return err
	}
	return ex.recent.Judge(&op.conditions, nil)
}

// judgeLocked is judge with the counter held, which is at a position.
func (ex *Executor) judgeLocked(ctx context.Context, conn *pgx.Conn, ops []*appendOp, position int64) error {
	read := func(_ evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		return ex.readRecent(ctx, conn, args)
	}
	for _, op := range ops {
		op.refusal = op.conditions.Refused()
		for try := 1; op.refusal == nil && try <= 2; try++ {
			err := ex.recent.Cover(&op.conditions, uint64(position), ex.positions, read)
			if err == nil {
				err = ex.recent.Judge(&op.conditions, nil)
			}
			switch {
			case err == nil:
				try = 2
			case errors.Is(err, store.ErrBehind) && try == 1: // a routing key is not known
				ex.recent.Forget()
			case store.IsRefusal(err):
				op.refusal = err
			default:
				return err
			}
		}
	}
	return nil
}

// readRecent reads what conditions look at of the events behind a place.
func (ex *Executor) readRecent(ctx context.Context, conn *pgx.Conn, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	above, err := ex.positions.Position(args.At())
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, ex.sql.recent, int64(above), args.Limit())
	if err != nil {
		return nil, err
	}
	page := &cursor.Page[evento.RawEvent]{}
	var e evento.RawEvent
	var metadata []byte // of an event with tags
	_, err = pgx.ForEachRow(rows, []any{&e.Position, (*[16]byte)(&e.ID), &e.AggregateType, &e.AggregateID, &e.Name, &e.RoutingKey, &metadata}, func() error {
		node := e
		if err := sqlstore.DecodeMetadata(metadata, int64(e.Position), &node); err != nil {
			return err
		}
		page.Edges = append(page.Edges, cursor.Edge[evento.RawEvent]{Node: node})
		return nil
	})
	page.PageInfo.HasNextPage = len(page.Edges) == args.Limit()
	return page, err
}

// refused says why a write was refused by its conditions, unless an earlier attempt has
// stored it.
func (ex *Executor) refused(ctx context.Context, l *flushConn, op *appendOp) error {
	if errors.Is(op.refusal, evento.ErrConflict) && (op.write.Retry || op.conditions.Refused() != nil || ex.recent.Has(&op.conditions, &op.write)) {
		if earlier, err := ex.earlierOn(ctx, l, op); earlier || err != nil {
			return err
		}
	}
	return op.refusal
}

// remember keeps what was stored for the conditions of others.
func (ex *Executor) remember(op *appendOp, outcomes []outcome) {
	if !ex.recent.Keep(0, false) {
		return
	}
	for i, o := range outcomes {
		a := &op.write.Appends[i]
		routing := store.UnknownRouting
		if o.head == 0 {
			routing = a.RoutingKey
		}
		ex.recent.Add(store.Headers(a, uint64(o.position), routing)...)
	}
}

// conditional are the writes that have conditions.
func conditional(ops []*appendOp) (with []*appendOp) {
	for _, op := range ops {
		if !op.conditions.None() {
			with = append(with, op)
		}
	}
	return with
}

// lookLocked judges the conditions of a caller's transaction, with the counter held. The
// events of the transaction itself exclude nothing.
func (ex *Executor) lookLocked(ctx context.Context, t *transaction) (refusal, err error) {
	for _, w := range t.Writes() {
		if len(w.Unless) == 0 {
			continue
		}
		var position int64
		var settings [2]string
		if err := t.tx.QueryRow(ctx, ex.sql.lock).Scan(&position, &settings[0], &settings[1]); err != nil {
			return nil, err
		}
		c, err := store.Look(&w, &store.Recent{}, ex.positions, uint64(position), store.ReaderOf(ctx, ex))
		if store.IsRefusal(err) {
			return err, nil
		}
		if err != nil || c.Refused() != nil {
			return c.Refused(), err
		}
	}
	return nil, nil
}
