// What is appended at once.

package mysql

import (
	"context"
	"database/sql"
	"math/bits"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// transaction is one flush. What it would teach the caches is kept aside until
// it is committed.
type transaction struct {
	// ctx is no caller's: a transaction that has begun goes on to its end, as
	// long as anybody waits for it.
	ctx      context.Context
	w        *writer
	s        *session
	careful  bool  // every head was read
	now      int64 // the timestamp of its events
	position int64 // of the last event
	appended bool
	found    bool // an earlier attempt of some write

	read  map[evento.AggregateKey]head // heads that were read in it
	heads map[evento.AggregateKey]head // heads that it has moved
	names *sqlstore.Dictionary         // that it has looked up or made

	args []any // rows that are not sent yet
	size int   // of their data
}

func (w *writer) transaction(ctx context.Context, at counter, careful bool) *transaction {
	if at.position != w.position {
		w.heads.Clear() // somebody else has appended
		w.position = at.position
	}
	return &transaction{
		ctx:      ctx,
		w:        w,
		s:        w.s,
		careful:  careful,
		now:      max(at.recordedAt, w.ex.now()),
		position: at.position,
		names:    sqlstore.NewDictionary(w.ex.names.Dictionary),
	}
}

// head is where an aggregate is, with what this transaction has added. An
// aggregate that was not looked for is new: if it is not, its first version is
// there, and the row is refused.
func (tx *transaction) head(name evento.AggregateKey) head {
	if h, ok := tx.heads[name]; ok {
		return h
	}
	if h, ok := tx.read[name]; ok {
		return h
	}
	h, _ := tx.w.heads.Get(name)
	return h
}

// maxLegs is the most parts of one statement, a power of two.
const maxLegs = 64

// readHeads reads where the aggregates are of which that has to be known.
func (tx *transaction) readHeads(calls []*call) error {
	var names []evento.AggregateKey
	for _, c := range calls {
		w := &c.Request.write
		for i := range w.Appends {
			a := &w.Appends[i]
			if !tx.careful && !a.AnyVersion && a.Expected == 0 && !w.Retry {
				continue
			}
			name := a.Aggregate()
			if _, ok := tx.w.heads.Get(name); ok {
				continue
			}
			if _, ok := tx.read[name]; ok {
				continue
			}
			if tx.read == nil {
				tx.read = map[evento.AggregateKey]head{}
			}
			tx.read[name] = head{}
			names = append(names, name)
		}
	}
	var args []any
	byID := map[int64]evento.AggregateType{}
	for _, name := range names {
		id, err := tx.typeID(name.Type, false)
		if err != nil {
			return err
		}
		if id == 0 {
			continue // no event of that type
		}
		byID[id] = name.Type
		args = append(args, name.ID, id)
	}
	const perLeg = 2
	for len(args) > 0 {
		n := min(len(args)/perLeg, maxLegs)
		if err := tx.readLegs(args[:n*perLeg], byID); err != nil {
			return err
		}
		args = args[n*perLeg:]
	}
	return nil
}

const headLeg = "(SELECT type_id, aggregate_id, version, routing_id FROM evento_event FORCE INDEX (evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? ORDER BY version DESC LIMIT 1)"

func (tx *transaction) readLegs(args []any, types map[int64]evento.AggregateType) error {
	legs := powerOfTwo(len(args) / 2)
	args = append([]any(nil), args...)
	for len(args) < 2*legs {
		args = append(args, args[:2]...) // again the first
	}
	return tx.s.query(tx.ctx, repeat(headLeg, " UNION ALL ", legs), args, func(rows *sql.Rows) error {
		var typeID int64
		var id string
		var h head
		if err := rows.Scan(&typeID, &id, &h.version, &h.routing); err != nil {
			return err
		}
		tx.read[evento.AggregateKey{Type: types[typeID], ID: id}] = h
		return nil
	})
}

// powerOfTwo rounds up, so that few statements have to be prepared.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

func repeat(text, separator string, n int) string {
	return strings.Repeat(text+separator, n-1) + text
}

// append adds rows above the head.
func (tx *transaction) append(a *evento.Append, at head, metadata string) error {
	typeID, err := tx.typeID(a.AggregateType, true)
	if err != nil {
		return err
	}
	if at.version == 0 && a.RoutingKey != "" {
		if at.routing, err = tx.routingID(a.RoutingKey); err != nil {
			return err
		}
	}
	var stored any
	if metadata != "" {
		stored = metadata
	}
	for i := range a.Events {
		e := &a.Events[i]
		kindID, err := tx.kindID(sqlstore.Kind{TypeID: typeID, Name: e.Name})
		if err != nil {
			return err
		}
		data := e.Data
		if data == nil {
			data = []byte{} // nil would be NULL
		}
		size := len(data) + len(metadata) + rowSpare
		if len(tx.args) == maxRows*rowColumns || len(tx.args) > 0 && tx.size+size > tx.s.maxPacket-packetSpare {
			if err := tx.send(); err != nil {
				return err
			}
		}
		tx.position++
		at.version++
		tx.size += size
		tx.args = append(tx.args, tx.position, tx.now, at.version, kindID, at.routing, typeID, e.Codec, e.ID[:], a.AggregateID, data, stored)
	}
	if tx.heads == nil {
		tx.heads = map[evento.AggregateKey]head{}
	}
	tx.heads[a.Aggregate()] = at
	tx.appended = true
	return nil
}

const (
	insertRows = "INSERT INTO evento_event (position, recorded_at, version, kind_id, routing_id, type_id, codec, event_id, aggregate_id, data, metadata) VALUES "
	insertRow  = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	rowColumns = 11
	// rowSpare is what a row has at most beside data and metadata.
	rowSpare = 512
	// maxRows is the most rows of one statement.
	maxRows = 256
	// rowStep divides the number of rows of the statements that have more:
	// two statements at most for a batch, and few that have to be prepared.
	rowStep = 16
)

// send inserts the rows that are waiting.
func (tx *transaction) send() error {
	args := tx.args
	for len(args) > 0 {
		n := len(args) / rowColumns
		if n > rowStep {
			n -= n % rowStep
		}
		if _, err := tx.s.exec(tx.ctx, insertRows+repeat(insertRow, ",", n), args[:n*rowColumns]...); err != nil {
			return err
		}
		args = args[n*rowColumns:]
	}
	tx.args, tx.size = tx.args[:0], 0
	return nil
}

// typeID finds a type, or with add makes it; 0: there is none.
func (tx *transaction) typeID(t evento.AggregateType, add bool) (int64, error) {
	return tx.names.FindType(t, func() (int64, error) {
		id, err := tx.s.typeID(tx.ctx, t)
		if err != nil || id != 0 || !add {
			return id, err
		}
		return tx.insert("INSERT INTO evento_type (name) VALUES (?)", string(t))
	})
}

// kindID finds a kind or makes it.
func (tx *transaction) kindID(k sqlstore.Kind) (int64, error) {
	return tx.names.FindKind(k, func() (id int64, err error) {
		found, err := tx.s.row(tx.ctx, "SELECT id FROM evento_kind WHERE type_id = ? AND name = ?", []any{k.TypeID, k.Name}, &id)
		if err != nil || found {
			return id, err
		}
		return tx.insert("INSERT INTO evento_kind (type_id, name) VALUES (?, ?)", k.TypeID, k.Name)
	})
}

// routingID finds a routing key or makes it.
func (tx *transaction) routingID(key string) (int64, error) {
	return tx.names.FindRouting(key, func() (int64, error) {
		id, err := tx.s.routingID(tx.ctx, key)
		if err != nil || id != 0 {
			return id, err
		}
		return tx.insert("INSERT INTO evento_routing (name) VALUES (?)", key)
	})
}

func (tx *transaction) insert(text string, args ...any) (int64, error) {
	r, err := tx.s.exec(tx.ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// publish brings what was committed into the caches.
func (tx *transaction) publish() {
	w := tx.w
	for name, h := range tx.read {
		if h.version > 0 {
			w.heads.Put(name, h)
		}
	}
	if !tx.appended {
		return // names that were added are gone with the transaction
	}
	w.position = tx.position
	store.Raise(&w.ex.durable.position, tx.position)
	for name, h := range tx.heads {
		w.heads.Put(name, h)
	}
	tx.names.Publish()
}
