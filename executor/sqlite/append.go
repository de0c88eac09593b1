// Appending events in a transaction.

package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// head is where an aggregate is.
type head struct {
	key     int64 // 0: the aggregate is not in the file
	version int64
	routing int64 // 0: none
}

// Write implements [evento.Executor].
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if t := ex.transactionOf(ctx); t != nil {
		if err := ex.check(ctx); err != nil {
			return nil, err
		}
		return t.Add(ctx, w, t.findHead)
	}
	op, size, err := newAppendOp(w)
	if err != nil {
		return nil, err
	}
	if err := ex.do(ctx, op, size); err != nil {
		return nil, err
	}
	return op.receipts, nil
}

type appendOp struct {
	refused
	write    evento.Write
	metadata []string // JSON by append; nil: none has any
	receipts []evento.Receipt
	found    bool // in the file, from an earlier attempt
	judging  judging
	place    [1]head // room for the usual write
}

func newAppendOp(w evento.Write) (op *appendOp, size int, err error) {
	op = &appendOp{write: w}
	if op.metadata, err = sqlstore.EncodeMetadata(w.Appends); err != nil {
		return nil, 0, fmt.Errorf("evento: sqlite: %w", err)
	}
	for i := range w.Appends {
		a := &w.Appends[i]
		for j := range a.Events {
			size += len(a.Events[j].Data) + 128
		}
	}
	return op, size, nil
}

func (op *appendOp) apply(tx *transaction) error {
	op.err, op.receipts, op.found = nil, nil, false
	appends := op.write.Appends
	places := op.place[:]
	if len(appends) > 1 {
		places = make([]head, len(appends))
	}
	for i := range appends {
		a := &appends[i]
		at, err := tx.head(a.Aggregate())
		if err != nil {
			return err
		}
		places[i] = at
	}
	op.judging = judging{tx, places}
	receipts, refusal, err := sqlstore.Judge(&op.write, &op.judging)
	if err != nil || refusal != nil || receipts != nil {
		op.receipts, op.err, op.found = receipts, refusal, receipts != nil
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

// head finds where an aggregate is, with what this transaction has added.
func (tx *transaction) head(name evento.AggregateKey) (head, error) {
	if h, ok := tx.heads[name]; ok {
		return h, nil
	}
	if h, ok := tx.writer.heads.Get(name); ok {
		return h, nil
	}
	typeID, err := tx.typeID(name.Type, false)
	if err != nil || typeID == 0 {
		return head{}, err
	}
	v, found, err := tx.conn.query("SELECT key, routing_id FROM evento_aggregate WHERE type_id = ? AND id = ?", 2, typeID, name.ID)
	if err != nil || !found {
		return head{}, err
	}
	h := head{key: v[0], routing: v[1]}
	v, _, err = tx.conn.query("SELECT max(version) FROM evento_event WHERE agg_key = ?", 1, h.key)
	h.version = v[0]
	return h, err
}

// append adds the events above the head.
func (tx *transaction) append(a *evento.Append, at head, metadata string) error {
	typeID, err := tx.typeID(a.AggregateType, true)
	if err != nil {
		return err
	}
	if at.key == 0 {
		if a.RoutingKey != "" {
			if at.routing, err = tx.routingID(a.RoutingKey); err != nil {
				return err
			}
		}
		if err := tx.conn.exec("INSERT INTO evento_aggregate (type_id, id, routing_id) VALUES (?, ?, ?)", typeID, a.AggregateID, orNull(at.routing)); err != nil {
			return err
		}
		at.key = tx.conn.LastInsertRowID()
	}
	s, err := tx.conn.stmt("INSERT INTO evento_event (position, agg_key, version, kind_id, routing_id, event_id, recorded_at, codec, data, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	for i := range a.Events {
		e := &a.Events[i]
		kindID, err := tx.kindID(sqlstore.Kind{TypeID: typeID, Name: e.Name})
		if err != nil {
			return errors.Join(err, tx.conn.done(s))
		}
		tx.position++
		at.version++
		if err := insert(s, tx, at, kindID, e, metadata); err != nil {
			return errors.Join(err, tx.conn.done(s))
		}
	}
	if err := tx.conn.done(s); err != nil {
		return err
	}
	if tx.heads == nil {
		tx.heads = map[evento.AggregateKey]head{}
	}
	tx.heads[a.Aggregate()] = at
	tx.appended, tx.last = true, tx.now
	return nil
}

// insert binds column by column: this runs for every event.
func insert(s *sqlite3.Stmt, tx *transaction, at head, kindID int64, e *evento.NewEvent, metadata string) error {
	data := e.Data
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	err := errors.Join(
		s.BindInt64(1, tx.position),
		s.BindInt64(2, at.key),
		s.BindInt64(3, at.version),
		s.BindInt64(4, kindID),
		s.BindBlob(6, e.ID[:]),
		s.BindInt64(7, tx.now),
		s.BindText(8, e.Codec),
		s.BindBlob(9, data),
	)
	if at.routing == 0 {
		err = errors.Join(err, s.BindNull(5))
	} else {
		err = errors.Join(err, s.BindInt64(5, at.routing))
	}
	if metadata == "" {
		err = errors.Join(err, s.BindNull(10))
	} else {
		err = errors.Join(err, s.BindText(10, metadata))
	}
	if err != nil {
		return err
	}
	return s.Exec()
}

func orNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// judging is what a write is judged by: where its aggregates are.
type judging struct {
	tx     *transaction
	places []head
}

// Version implements [sqlstore.Judging].
func (j *judging) Version(i int) int64 { return j.places[i].version }

// VersionOf implements [sqlstore.Judging].
func (j *judging) VersionOf(i int, id *evento.ID) (int64, bool, error) {
	v, found, err := j.tx.conn.query("SELECT version FROM evento_event WHERE agg_key = ? AND event_id = ?", 1, j.places[i].key, id[:])
	return v[0], found, err
}

// PositionOf implements [sqlstore.Judging].
func (j *judging) PositionOf(i int, version int64, id *evento.ID) (int64, bool, error) {
	v, found, err := j.tx.conn.query("SELECT position FROM evento_event WHERE agg_key = ? AND version = ? AND event_id = ?", 1, j.places[i].key, version, id[:])
	return v[0], found, err
}

// typeID finds a type, or with add makes it; 0: there is none.
func (tx *transaction) typeID(t evento.AggregateType, add bool) (int64, error) {
	return tx.names.FindType(t, func() (int64, error) {
		id, err := typeID(tx.conn, t)
		if err != nil || id != 0 || !add {
			return id, err
		}
		return tx.insert("INSERT INTO evento_type (name) VALUES (?)", string(t))
	})
}

// kindID finds a kind or makes it.
func (tx *transaction) kindID(k sqlstore.Kind) (int64, error) {
	return tx.names.FindKind(k, func() (int64, error) {
		id, err := readID(tx.conn, "SELECT id FROM evento_kind WHERE type_id = ? AND name = ?", k.TypeID, k.Name)
		if err != nil || id != 0 {
			return id, err
		}
		return tx.insert("INSERT INTO evento_kind (type_id, name) VALUES (?, ?)", k.TypeID, k.Name)
	})
}

// routingID finds a routing key or makes it.
func (tx *transaction) routingID(key string) (int64, error) {
	return tx.names.FindRouting(key, func() (int64, error) {
		id, err := routingID(tx.conn, key)
		if err != nil || id != 0 {
			return id, err
		}
		return tx.insert("INSERT INTO evento_routing (key) VALUES (?)", key)
	})
}

func (tx *transaction) insert(text string, args ...any) (int64, error) {
	if err := tx.conn.exec(text, args...); err != nil {
		return 0, err
	}
	return tx.conn.LastInsertRowID(), nil
}
