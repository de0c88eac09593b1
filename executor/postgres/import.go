// Taking over events of another store.

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

var _ evento.Importer = (*Executor)(nil)

// Import implements [evento.Importer], by COPY on a connection of the pool.
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	if ex.transactionOf(ctx) != nil {
		return store.ErrImportInTx
	}
	return ex.once(ctx, func() error {
		return store.Import(ctx, store.Importing{Positions: ex.positions, Read: ex.Read, Append: ex.takeOver}, events)
	})
}

// imported is events, and the same as appends of one event each with their names
// looked up.
type imported struct {
	*appendOp
	events     []evento.RawEvent
	aggregates []store.ImportedAggregate
}

// takeOver appends events that follow the last one.
func (ex *Executor) takeOver(ctx context.Context, events []evento.RawEvent) error {
	im := &imported{
		appendOp: &appendOp{write: evento.Write{Appends: store.Appends(events)}},
		events:   events, aggregates: store.Aggregates(events),
	}
	if _, err := ex.lookUpNames(ctx, im.appendOp); err != nil {
		return err
	}
	var sessions renewal
	for try := 1; ; try++ {
		err := ex.tryTakeOver(ctx, im)
		if ex.renews(err, &sessions) {
			continue
		}
		if err == nil || !transient(err) || errors.Is(err, evento.ErrOutcomeUnknown) || try == flushTries {
			return err
		}
	}
}

func (ex *Executor) tryTakeOver(ctx context.Context, im *imported) error {
	conn, err := ex.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer rollBack(conn)
	if err := ex.copyEvents(ctx, conn.Conn(), im); err != nil {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case code(err) == uniqueViolation: // versions were looked at
			return fmt.Errorf("%w import: an event's id is that of another event in the store: %w", evento.ErrInvalid, err)
		}
		return err
	}
	return ex.commitImport(ctx, conn, im)
}

// commitImport does not give up with the context: what becomes of a commit that
// was sent is not known before the server says so.
func (ex *Executor) commitImport(ctx context.Context, conn *pgxpool.Conn, im *imported) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	switch tag, err := conn.Exec(sending, "COMMIT"); {
	case err != nil && unknown(err) && !pgconn.SafeToRetry(err):
		return fmt.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
	case err != nil:
		return err
	case tag.String() != "COMMIT":
		return pgx.ErrTxCommitRollback
	}
	ex.noteHead(int64(im.events[len(im.events)-1].Position))
	ex.committed()
	return nil
}

// copyEvents does all but the commit, under the counter's lock.
func (ex *Executor) copyEvents(ctx context.Context, conn *pgx.Conn, im *imported) error {
	var head, recordedAt int64
	batch := &pgx.Batch{}
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	batch.Queue(ex.sql.lock)
	batch.Queue(ex.sql.lastRecorded).QueryRow(func(row pgx.Row) error { return row.Scan(&head, &recordedAt) })
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	if err := (store.Head{Position: uint64(head), RecordedAt: recordedAt}).Check(im.events); err != nil {
		return err
	}
	if err := ex.checkAggregates(ctx, conn, im); err != nil {
		return err
	}
	table := pgx.Identifier{ex.opts.Schema, "event"}
	columns := []string{"position", "recorded_at", "version", "kind_id", "type_id", "routing_id", "event_id", "codec", "aggregate_id", "data", "metadata"}
	if _, err := conn.CopyFrom(ctx, table, columns, &importRows{imported: im, values: make([]any, len(columns))}); err != nil {
		return err
	}
	if err := ex.copyTags(ctx, conn, im); err != nil {
		return err
	}
	last := &im.events[len(im.events)-1]
	_, err := conn.Exec(ctx, ex.sql.moveCounter, int64(last.Position), last.Timestamp.UnixMicro())
	return err
}

// checkAggregates looks where all aggregates are, in one statement.
func (ex *Executor) checkAggregates(ctx context.Context, conn *pgx.Conn, im *imported) error {
	types, ids := make([]int32, len(im.aggregates)), make([]string, len(im.aggregates))
	for i, a := range im.aggregates {
		types[i], ids[i] = im.types[a.First], a.ID
	}
	rows, err := conn.Query(ctx, ex.sql.headsOf, types, ids)
	if err != nil {
		return err
	}
	var no, version int64
	var routing int32
	var refusal error
	next := 0 // aggregates without a row have no events
	checkUntil := func(until int) {
		for ; next < until && refusal == nil; next++ {
			refusal = im.aggregates[next].Check(0, true)
		}
	}
	_, err = pgx.ForEachRow(rows, []any{&no, &version, &routing}, func() error {
		at := int(no) - 1
		checkUntil(at)
		if a := &im.aggregates[at]; refusal == nil {
			wanted := int32(0)
			if id := im.routings[a.First]; id != nil {
				wanted = *id
			}
			refusal = a.Check(uint64(version), wanted == routing)
			next = at + 1
		}
		return nil
	})
	if err == nil {
		checkUntil(len(im.aggregates))
		err = refusal
	}
	return err
}

// importRows are the rows of events, for COPY.
type importRows struct {
	*imported
	next   int
	values []any
}

func (r *importRows) Next() bool { r.next++; return r.next <= len(r.events) }
func (r *importRows) Err() error { return nil }

func (r *importRows) Values() ([]any, error) {
	i := r.next - 1
	e := &r.events[i]
	for column, v := range [...]any{
		int64(e.Position), e.Timestamp.UnixMicro(), int64(e.Version), r.kinds[i][0], r.types[i], r.routings[i],
		[16]byte(e.ID), e.Codec, e.AggregateID, sqlstore.NotNull(e.Data), orNull(r.metadata.Of(i).Text),
	} {
		r.values[column] = v
	}
	return r.values, nil
}
