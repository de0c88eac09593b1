// Appending events in a transaction.

package sqlite

import (
	"context"
	"errors"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// Write implements [evento.Executor].
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if t := ex.transactionOf(ctx); t != nil {
		if err := ex.gate.Check(ctx); err != nil {
			return nil, err
		}
		return t.Add(ctx, w, t.findHead, ex)
	}
	op := &appendOp{sqlstore.OpOf(w)}
	for {
		if err := op.Look(&ex.recent, ex.positions, store.ReaderOf(ctx, ex)); err != nil {
			return nil, err
		}
		err := ex.do(ctx, op, op.Size(rowSpare))
		if err == nil {
			return op.Receipts, nil
		}
		if !errors.Is(err, store.ErrBehind) {
			return nil, err
		}
	}
}

// rowSpare is about what a row has beside data and metadata.
const rowSpare = 128

type appendOp struct{ sqlstore.Op }

func (op *appendOp) apply(tx *transaction) error {
	if s := op.Write.Swap; s != nil {
		op.Swap = func() (refusal, err error) { return tx.swap(s.Changes) }
	}
	return op.Apply(tx)
}

func (op *appendOp) refusal() error { return op.Refusal }

// Place implements [sqlstore.Appender].
func (tx *transaction) Place(a evento.AggregateKey) (at sqlstore.Place, err error) {
	if at, ok := tx.places[a]; ok {
		return at, nil
	}
	if at, ok := tx.writer.places.Get(a); ok {
		return at, nil
	}
	typeID, err := tx.names.TypeIn(tx, a.Type, false)
	if err != nil || typeID == 0 {
		return at, err
	}
	v, found, err := tx.conn.query("SELECT key, routing_id FROM evento_aggregate WHERE type_id = ? AND id = ?", 2, typeID, a.ID)
	if err != nil || !found {
		return at, err
	}
	at.Key, at.Routing = v[0], v[1]
	v, _, err = tx.conn.query("SELECT max(version) FROM evento_event WHERE agg_key = ?", 1, at.Key)
	at.Version = v[0]
	return at, err
}

// Append implements [sqlstore.Appender].
func (tx *transaction) Append(a *evento.Append, at *sqlstore.Place, metadata sqlstore.Metadata) (position int64, err error) {
	typeID, err := tx.names.TypeIn(tx, a.AggregateType, true)
	if err != nil {
		return 0, err
	}
	if at.Key == 0 {
		if a.RoutingKey != "" {
			if at.Routing, err = tx.RoutingID(a.RoutingKey); err != nil {
				return 0, err
			}
		}
		if err := tx.conn.exec("INSERT INTO evento_aggregate (type_id, id, routing_id) VALUES (?, ?, ?)", typeID, a.AggregateID, orNull(at.Routing)); err != nil {
			return 0, err
		}
		at.Key = tx.conn.LastInsertRowID()
	}
	s, err := tx.conn.stmt("INSERT INTO evento_event (position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, data, metadata, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return 0, err
	}
	row := eventRow{s: s, tx: tx, at: at}
	if err := row.begin(); err != nil {
		return 0, errors.Join(err, tx.conn.done(s))
	}
	for i := range a.Events {
		e, m := &a.Events[i], metadata.Of(i)
		kindID, err := tx.names.KindIn(tx, sqlstore.Kind{TypeID: typeID, Name: e.Name})
		if err != nil {
			return 0, errors.Join(err, tx.conn.done(s))
		}
		tx.position++
		at.Version++
		if err := row.insert(kindID, e, m.Text); err != nil {
			return 0, errors.Join(err, tx.conn.done(s))
		}
		for _, tag := range m.Tags {
			if err := tx.conn.exec("INSERT INTO evento_tag (tag, position) VALUES (?, ?)", tag, tx.position); err != nil {
				return 0, errors.Join(err, tx.conn.done(s))
			}
		}
	}
	if err := tx.conn.done(s); err != nil {
		return 0, err
	}
	if tx.places == nil {
		tx.places = map[evento.AggregateKey]sqlstore.Place{}
	}
	tx.places[a.Aggregate()] = *at
	tx.appended, tx.last = true, tx.now
	if !tx.tail.Keeps() {
		return tx.position, nil
	}
	key, known := tx.names.Routings.Name(at.Routing)
	if !known {
		key, err = tx.ex.names.routingKey(tx.conn, at.Routing)
	}
	tx.tail.Note(a, tx.position, key)
	return tx.position, err
}

// Tail implements [sqlstore.Appender].
func (tx *transaction) Tail() *sqlstore.Tail { return &tx.tail }

// read reads what the connection of the transaction sees.
func (tx *transaction) read(q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	at, err := tx.ex.positions.Position(args.At())
	if err != nil {
		return nil, err
	}
	return tx.ex.readPage(tx.conn, q, args, at)
}

// eventRow inserts the events of an append. It binds column by column, as it runs for every
// event, and binds again only what differs from the event before.
type eventRow struct {
	s  *sqlite3.Stmt
	tx *transaction
	at *sqlstore.Place

	kindID          int64 // as bound, and so the others; 0: nothing yet
	codec, metadata string
}

// begin binds what all events of the append have in common.
func (r *eventRow) begin() error {
	routing := r.s.BindNull(5)
	if r.at.Routing != 0 {
		routing = r.s.BindInt64(5, r.at.Routing)
	}
	return errors.Join(routing, r.s.BindInt64(2, r.at.Key), r.s.BindInt64(7, r.tx.now))
}

// bindRare binds what mostly is as in the event before, where it differs.
func (r *eventRow) bindRare(kindID int64, codec, metadata string) (err error) {
	first := r.kindID == 0
	if kindID != r.kindID {
		err = r.s.BindInt64(4, kindID)
	}
	if first || codec != r.codec {
		err = errors.Join(err, r.s.BindText(8, codec))
	}
	switch {
	case !first && metadata == r.metadata:
	case metadata == "":
		err = errors.Join(err, r.s.BindNull(10))
	default:
		err = errors.Join(err, r.s.BindText(10, metadata))
	}
	r.kindID, r.codec, r.metadata = kindID, codec, metadata
	return err
}

func (r *eventRow) insert(kindID int64, e *evento.NewEvent, metadata string) error {
	err := errors.Join(
		r.bindRare(kindID, e.Codec, metadata),
		r.s.BindInt64(1, r.tx.position),
		r.s.BindInt64(3, r.at.Version),
		r.s.BindBlob(6, e.ID[:]),
		r.s.BindBlob(9, sqlstore.NotNull(e.Data)),
		r.s.BindInt64(11, eventChecksum(r.tx, r.at, kindID, e, metadata)),
	)
	if err != nil {
		return err
	}
	return r.s.Exec()
}

func eventChecksum(tx *transaction, at *sqlstore.Place, kindID int64, e *evento.NewEvent, metadata string) int64 {
	r := &tx.sum
	r.int(tx.position)
	r.int(at.Key)
	r.int(at.Version)
	r.int(kindID)
	if at.Routing == 0 {
		r.null()
	} else {
		r.int(at.Routing)
	}
	r.blob(e.ID[:])
	r.int(tx.now)
	r.text(e.Codec)
	if metadata == "" {
		r.null()
	} else {
		r.text(metadata)
	}
	return r.sum(e.Data)
}

func orNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// VersionOf implements [sqlstore.Appender].
func (tx *transaction) VersionOf(op *sqlstore.Op, i int, id *evento.ID) (int64, bool, error) {
	v, found, err := tx.conn.query("SELECT version FROM evento_event WHERE agg_key = ? AND event_id = ?", 1, op.Places[i].Key, id[:])
	return v[0], found, err
}

// PositionOf implements [sqlstore.Appender].
func (tx *transaction) PositionOf(op *sqlstore.Op, i int, version int64, id *evento.ID) (int64, bool, error) {
	v, found, err := tx.conn.query("SELECT position FROM evento_event WHERE agg_key = ? AND version = ? AND event_id = ?", 1, op.Places[i].Key, version, id[:])
	return v[0], found, err
}

// RoutingID implements [sqlstore.Importer].
func (tx *transaction) RoutingID(key string) (int64, error) {
	return tx.names.Routings.Find(key, func() (int64, error) {
		return tx.Number(true, findRouting, "INSERT INTO evento_routing (key) VALUES (?)", key)
	})
}

// Number implements [sqlstore.Numberer].
func (tx *transaction) Number(add bool, find, insert string, name ...any) (int64, error) {
	id, err := readID(tx.conn, find, name...)
	if err != nil || id != 0 || !add {
		return id, err
	}
	if err := tx.conn.exec(insert, name...); err != nil {
		return 0, err
	}
	return tx.conn.LastInsertRowID(), nil
}
