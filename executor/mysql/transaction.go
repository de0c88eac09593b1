// One flush: places, rows, the counter.

package mysql

import (
	"context"
	"database/sql"
	"math/bits"
	"slices"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// transaction is one flush, or the appends of one caller's transaction. The caches
// learn from it when it is committed.
type transaction struct {
	// ctx ends when nobody waits for the transaction any more.
	ctx      context.Context
	w        *writer
	s        *session
	careful  bool  // every place was read
	local    bool  // the server is not asked: errAssumed where it would be
	now      int64 // the timestamp of its events
	position int64 // of the last event
	appended bool
	found    bool // an earlier attempt of some write

	read   map[evento.AggregateKey]sqlstore.Place // that were read in it
	needed []evento.AggregateKey                  // are to be read
	places map[evento.AggregateKey]sqlstore.Place // that it has moved
	names  *sqlstore.Dictionary                   // that it has looked up or made
	events map[slot]placed                        // that it has looked at, to tell attempts from conflicts
	tail   sqlstore.Tail

	args []any   // rows that are not sent yet
	size int     // of their data and tags
	tags []tagAt // theirs
}

func (w *writer) transaction(ctx context.Context, at counter, careful bool) *transaction {
	if at.position != w.position {
		w.places.Clear() // somebody else has appended
	}
	w.position, w.recordedAt = at.position, at.recordedAt
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

// Place implements [sqlstore.Appender]. An aggregate that was not read counts as new:
// if it is not, its first version is in the store, and the row is refused. Why:
// docs/decisions.md, "New aggregates are not looked up".
func (tx *transaction) Place(a evento.AggregateKey) (sqlstore.Place, error) {
	if at, ok := tx.places[a]; ok {
		return at, nil
	}
	if at, ok := tx.read[a]; ok {
		return at, nil
	}
	at, _ := tx.w.places.Get(a)
	return at, nil
}

// maxLegs is the most parts of one statement, a power of two.
const maxLegs = 64

// needPlaces notes the aggregates of a write whose places have to be read.
func (tx *transaction) needPlaces(w *evento.Write) {
	for i := range w.Appends {
		a := &w.Appends[i]
		if !tx.careful && !a.AnyVersion && a.Expected == 0 && !w.Retry {
			continue
		}
		name := a.Aggregate()
		if _, ok := tx.w.places.Get(name); ok {
			continue
		}
		if _, ok := tx.read[name]; ok {
			continue
		}
		if tx.read == nil {
			tx.read = map[evento.AggregateKey]sqlstore.Place{}
		}
		tx.read[name] = sqlstore.Place{}
		tx.needed = append(tx.needed, name)
	}
}

// readPlaces reads the places that needPlaces has noted.
func (tx *transaction) readPlaces() error {
	var args []any
	byID := map[int64]evento.AggregateType{}
	for _, name := range tx.needed {
		id, err := tx.names.TypeIn(tx, name.Type, false)
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
	for legs := range slices.Chunk(args, maxLegs*perLeg) {
		if err := tx.readLegs(legs, byID); err != nil {
			return err
		}
	}
	return nil
}

const placeLeg = "(SELECT type_id, aggregate_id, version, routing_id FROM evento_event FORCE INDEX (evento_event_aggregate) WHERE aggregate_id = ? AND type_id = ? ORDER BY version DESC LIMIT 1)"

func (tx *transaction) readLegs(args []any, types map[int64]evento.AggregateType) error {
	legs := powerOfTwo(len(args) / 2)
	args = append([]any(nil), args...)
	for len(args) < 2*legs {
		args = append(args, args[:2]...) // again the first
	}
	return tx.s.query(tx.ctx, repeat(placeLeg, " UNION ALL ", legs), args, func(rows *sql.Rows) error {
		var typeID int64
		var id string
		var at sqlstore.Place
		if err := rows.Scan(&typeID, &id, &at.Version, &at.Routing); err != nil {
			return err
		}
		tx.read[evento.AggregateKey{Type: types[typeID], ID: id}] = at
		return nil
	})
}

// powerOfTwo rounds up, so that few statements have to be prepared.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

func repeat(text, separator string, n int) string {
	return strings.Repeat(text+separator, n-1) + text
}

// Append implements [sqlstore.Appender].
func (tx *transaction) Append(a *evento.Append, at *sqlstore.Place, metadata sqlstore.Metadata) (position int64, err error) {
	typeID, err := tx.names.TypeIn(tx, a.AggregateType, true)
	if err != nil {
		return 0, err
	}
	if at.Version == 0 && a.RoutingKey != "" {
		if at.Routing, err = tx.RoutingID(a.RoutingKey); err != nil {
			return 0, err
		}
	}
	for i := range a.Events {
		e, m := &a.Events[i], metadata.Of(i)
		kindID, err := tx.names.KindIn(tx, sqlstore.Kind{TypeID: typeID, Name: e.Name})
		if err != nil {
			return 0, err
		}
		var stored any // NULL: it has neither metadata nor tags
		if m.Text != "" {
			stored = m.Text
		}
		size := len(e.Data) + len(m.Text) + rowSpare + len(m.Tags)*tagSpare
		if len(tx.args) == maxRows*rowColumns || len(tx.args) > 0 && tx.size+size > tx.s.maxPacket-packetSpare {
			if err := tx.send(); err != nil {
				return 0, err
			}
		}
		tx.position++
		at.Version++
		tx.size += size
		tx.args = append(tx.args, tx.position, tx.now, at.Version, kindID, at.Routing, typeID, e.Codec, e.ID[:], a.AggregateID, sqlstore.NotNull(e.Data), stored)
		for _, tag := range m.Tags {
			tx.tags = append(tx.tags, tagAt{tag, tx.position})
		}
	}
	if tx.places == nil {
		tx.places = map[evento.AggregateKey]sqlstore.Place{}
	}
	tx.places[a.Aggregate()] = *at
	tx.appended = true
	if !tx.tail.Keeps() {
		return tx.position, nil
	}
	key, err := tx.routingKey(at.Routing)
	tx.tail.Note(a, tx.position, key)
	return tx.position, err
}

// Tail implements [sqlstore.Appender].
func (tx *transaction) Tail() *sqlstore.Tail { return &tx.tail }

// page reads what the session of the transaction sees.
func (tx *transaction) page(q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if tx.local {
		return nil, errAssumed
	}
	at, err := tx.w.ex.positions.Position(args.At())
	if err != nil {
		return nil, err
	}
	return tx.w.ex.readPage(tx.ctx, tx.s, q, args, int64(at))
}

// routingKey is the key with a number; "" for 0.
func (tx *transaction) routingKey(id int64) (string, error) {
	key, known := tx.names.Routings.Name(id)
	if known || id == 0 {
		return key, nil
	}
	if tx.local {
		return "", errAssumed
	}
	err := tx.w.ex.names.fetch(tx.ctx, tx.s, id)
	key, _ = tx.names.Routings.Name(id)
	return key, err
}

const (
	insertRows = "INSERT INTO evento_event (position, recorded_at, version, kind_id, routing_id, type_id, codec, event_id, aggregate_id, data, metadata) VALUES "
	insertRow  = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	rowColumns = 11
	// rowSpare is what a row has at most beside data and metadata.
	rowSpare = 512
	// maxRows is the most rows of one statement.
	maxRows = 256
	// rowStep divides the number of rows of most statements that have more, so that few
	// have to be prepared: the server takes 5 KiB for each row of each.
	rowStep = 16
)

// rowsAtOnce is how many of n rows the next statement inserts. A number that comes twice in
// a row has a statement of its own, until another does: who imports commits as many events
// each time.
func (s *session) rowsAtOnce(n int) int {
	if n <= rowStep { // it may be the rest of another number
		return n
	}
	again := n == s.lastRows
	s.lastRows = n
	switch {
	case s.hasInsertOf(n):
		return n
	case !again:
		return n - n%rowStep
	case s.exactRows > 0:
		s.forget(insertOf(s.exactRows))
		s.forget(guardedInsertOf(s.exactRows))
	}
	s.exactRows = n
	return n
}

// hasInsertOf reports whether n rows have a statement of their own.
func (s *session) hasInsertOf(n int) bool {
	return n <= maxRows && (n <= rowStep || n%rowStep == 0 || n == s.exactRows)
}

// insertOf is the statement that inserts n rows.
func insertOf(n int) string { return insertRows + repeat(insertRow, ",", n) }

// send inserts the rows that are waiting.
func (tx *transaction) send() error {
	if tx.local {
		return errAssumed
	}
	args := tx.args
	for len(args) > 0 {
		n := tx.s.rowsAtOnce(len(args) / rowColumns)
		if _, err := tx.s.exec(tx.ctx, insertOf(n), args[:n*rowColumns]...); err != nil {
			return err
		}
		args = args[n*rowColumns:]
	}
	tx.args, tx.size = tx.args[:0], 0
	if len(tx.tags) > 0 {
		if err := tx.s.run(tx.ctx, insertTagsText(tx.tags)); err != nil {
			return err
		}
	}
	tx.tags = tx.tags[:0]
	return nil
}

// SetTime implements [sqlstore.Importer].
func (tx *transaction) SetTime(at int64) { tx.now = at }

// RoutingID implements [sqlstore.Importer].
func (tx *transaction) RoutingID(key string) (int64, error) {
	return tx.names.Routings.Find(key, func() (int64, error) {
		return tx.Number(true, findRouting, "INSERT INTO evento_routing (name) VALUES (?)", key)
	})
}

// Number implements [sqlstore.Numberer].
func (tx *transaction) Number(add bool, find, insert string, name ...any) (int64, error) {
	if tx.local {
		return 0, errAssumed
	}
	id, err := tx.s.number(tx.ctx, find, name...)
	if err != nil || id != 0 || !add {
		return id, err
	}
	r, err := tx.s.exec(tx.ctx, insert, name...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// publish brings what was committed into the caches.
func (tx *transaction) publish() {
	w := tx.w
	for a, at := range tx.read {
		if at.Version > 0 {
			w.places.Put(a, at)
		}
	}
	if !tx.appended {
		return // names that were added are gone with the transaction
	}
	w.position, w.recordedAt = tx.position, tx.now
	store.Raise(&w.ex.durable.position, tx.position)
	for a, at := range tx.places {
		w.places.Put(a, at)
	}
	tx.names.Publish()
	tx.tail.Publish()
}
