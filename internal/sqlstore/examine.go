// Reading what tables have, whatever that is: an executor reads what the library writes, and
// ends, or makes the best of it, where it meets something else.

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/examine"
)

// Layout is how the tables of a database differ from those of others. Columns have the table's
// letter before them: e for event, k for kind, t for the aggregate's type, r for routing, a
// for aggregate.
type Layout struct {
	// Prefix is what the names of tables begin with in [Schema].
	Prefix string
	// Numbered: the parameters of statements are $1, $2, … and not ?.
	Numbered bool
	// TypeID and Aggregate are the columns of the number of an event's type and of the
	// aggregate's id.
	TypeID, Aggregate string
	// Aggregates: these are in a table of aggregates.
	Aggregates bool
	// Unrouted is the value that stands for no routing key.
	Unrouted any
	// UUIDs: event ids are shown as texts.
	UUIDs bool
	// BytesAreTexts: texts are in columns of bytes.
	BytesAreTexts bool
	// Names are other names of columns: "routing.key" is "name".
	Names map[string]string
}

// param is the n-th parameter of a statement.
func (l *Layout) param(n int) string {
	if l.Numbered {
		return fmt.Sprint("$", n)
	}
	return "?"
}

// column is the name of a column of a table.
func (l *Layout) column(table, column string) string {
	if other, is := l.Names[table+"."+column]; is {
		return other
	}
	return column
}

// Tables are the tables of a store as they are, with what is missing.
type Tables struct {
	in     *Inspector
	schema Schema
}

// TablesOf returns those with the schema that was read.
func (in *Inspector) TablesOf(schema Schema) *Tables { return &Tables{in, schema} }

// selection is a statement on tables some columns of which may be missing.
type selection struct {
	*Tables
	columns []string
	absent  map[string]bool
	from    string
}

// choose returns a selection from the table of a letter.
func (t *Tables) choose(letter string) *selection {
	return &selection{Tables: t, absent: map[string]bool{}, from: t.in.Tables + byLetter(letter) + " " + letter}
}

// byLetter is the table of a letter.
func byLetter(letter string) string {
	return map[string]string{"e": "event", "k": "kind", "kt": "type", "t": "type", "r": "routing", "a": "aggregate", "c": "record", "s": "snapshot"}[letter]
}

// name is the name of a column with its letter; ok is false when the column is missing.
func (s *selection) name(column string) (name string, ok bool) {
	letter, of, _ := strings.Cut(column, ".")
	table := byLetter(letter)
	of = s.in.Layout.column(table, of)
	return letter + "." + of, s.schema.Has(s.in.Layout.Prefix+table, of)
}

// add adds columns to what is selected; a missing one is NULL.
func (s *selection) add(columns ...string) {
	for _, c := range columns {
		name, ok := s.name(c)
		if letter, _, _ := strings.Cut(c, "."); !ok || s.absent[letter] {
			s.absent[c] = true
			name = "NULL"
		}
		s.columns = append(s.columns, name)
	}
}

// join joins a table whose column equals another one. When one of these is missing, all
// columns of the table are.
func (s *selection) join(letter, column, with string) {
	ours, ok := s.name(letter + "." + column)
	theirs, there := s.name(with)
	other, _, _ := strings.Cut(with, ".")
	if !ok || !there || s.absent[other] {
		s.absent[letter] = true
		return
	}
	s.from += " LEFT JOIN " + s.in.Tables + byLetter(letter) + " " + letter + " ON " + ours + " = " + theirs
}

func (s *selection) text() string {
	return "SELECT " + strings.Join(s.columns, ", ") + " FROM " + s.from
}

// values scans a row of unknown types.
func (s *selection) values(rows *sql.Rows) ([]any, error) {
	values, into := make([]any, len(s.columns)), make([]any, len(s.columns))
	for i := range values {
		into[i] = &values[i]
	}
	return values, rows.Scan(into...)
}

// pageOfEvents is how many events are asked for at once: the server keeps what one statement
// sees until it ends.
const pageOfEvents = 10_000

// Events calls each for every event, in the order of positions, and for events at no number
// at their end. It needs the memory of one event. From is the position of the first event;
// 0: those before 1 are among them. It may be that each is called for events that were
// committed since.
func (t *Tables) Events(ctx context.Context, from uint64, each func(*examine.Event) error) error {
	s := t.choose("e")
	typeID := t.in.Layout.TypeID
	if t.in.Layout.Aggregates {
		s.join("a", "key", "e.agg_key")
	}
	s.join("k", "id", "e.kind_id")
	s.join("kt", "id", "k.type_id")
	s.join("t", "id", typeID)
	s.join("r", "id", "e.routing_id")
	s.add("e.position", "e.recorded_at", "e.version", "e.event_id", "e.codec", "e.data", "e.metadata",
		"e.kind_id", "k.name", "k.type_id", "kt.name", "e.routing_id", "r.key", typeID, "t.name", t.in.Layout.Aggregate, "e.agg_key", "a.routing_id")
	if s.absent["e.position"] {
		return fmt.Errorf("%w store: its events have no positions", evento.ErrDamaged)
	}
	order := fmt.Sprintf(" ORDER BY e.position LIMIT %d", pageOfEvents)
	text, args := s.text()+order, []any(nil)
	if from > 0 {
		text, args = s.text()+" WHERE e.position >= "+t.in.Layout.param(1)+order, []any{int64(from)}
	}
	for {
		var last any
		n := 0
		err := t.in.query(ctx, text, func(rows *sql.Rows) error {
			values, err := s.values(rows)
			if err != nil {
				return err
			}
			n++
			last = values[0]
			return each((&eventRow{selection: s, values: values}).event())
		}, args...)
		if err != nil || n < pageOfEvents {
			return err
		}
		text, args = s.text()+order, nil
		if last != nil { // NULL comes before all numbers
			text, args = s.text()+" WHERE e.position > "+t.in.Layout.param(1)+order, []any{last}
		}
	}
}

// eventRow is a row of the statement of Events.
type eventRow struct {
	*selection
	values []any
	e      examine.Event
}

// The columns of eventRow.
const (
	atPosition = iota
	atRecorded
	atVersion
	atID
	atCodec
	atData
	atMetadata
	atKind
	atName
	atKindsType
	atKindsTypeName
	atRouting
	atRoutingKey
	atType
	atTypeName
	atAggregate
	atAggregateKey
	atAggregateRouting
)

func (r *eventRow) event() *examine.Event {
	e := &r.e
	e.Position = r.count(atPosition, examine.Position)
	e.Version = r.count(atVersion, examine.Version)
	if n, ok := r.number(atRecorded, examine.Timestamp); ok {
		e.Timestamp = time.UnixMicro(n).UTC()
	}
	r.id()
	e.Codec = r.text(atCodec, examine.Codec)
	e.Data = r.bytes(atData, examine.Data)
	r.metadata()
	r.aggregate()
	r.kind()
	r.routing()
	return e
}

// missing reports whether a column is missing, so that the part is not known.
func (r *eventRow) missing(at int, part examine.Part) bool {
	if r.columns[at] != "NULL" {
		return false
	}
	r.e.Unknown(part)
	return true
}

// number is a column that is to be a number.
func (r *eventRow) number(at int, part examine.Part) (n int64, ok bool) {
	if r.missing(at, part) {
		return 0, false
	}
	if n, ok = r.values[at].(int64); !ok {
		r.e.Add(part, "its %s is %s and no whole number", part, describe(r.values[at]))
	}
	return n, ok
}

// count is a number that is not negative.
func (r *eventRow) count(at int, part examine.Part) uint64 {
	n, ok := r.number(at, part)
	if ok && n < 0 {
		r.e.Add(part, "its %s is %d", part, n)
		return 0
	}
	return uint64(n)
}

func (r *eventRow) text(at int, part examine.Part) string {
	if r.missing(at, part) {
		return ""
	}
	text, ok := r.in.textOf(r.values[at])
	if !ok {
		r.e.Add(part, "its %s is %s and no text", part, describe(r.values[at]))
	}
	return text
}

func (r *eventRow) bytes(at int, part examine.Part) []byte {
	if r.missing(at, part) {
		return nil
	}
	b, ok := r.values[at].([]byte)
	if !ok {
		r.e.Add(part, "its %s is %s and no bytes", part, describe(r.values[at]))
	}
	return b
}

// textOf is a text: in SQLite and PostgreSQL of that type, in MySQL bytes.
func (in *Inspector) textOf(v any) (text string, ok bool) {
	if b, is := v.([]byte); is && in.Layout.BytesAreTexts {
		return string(b), true
	}
	text, ok = v.(string)
	return text, ok
}

// describe says what a value is, for a finding.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %g", v)
	case string:
		return fmt.Sprintf("the text %.60q", v)
	case []byte:
		return fmt.Sprintf("the %d bytes %.30x", len(v), v)
	}
	return fmt.Sprintf("the value %.60v", v)
}

// same compares values, which may be bytes.
func same(a, b any) bool {
	return a == nil && b == nil || a != nil && b != nil && describe(a) == describe(b)
}

// id reads 16 bytes, which PostgreSQL shows as the text of a UUID.
func (r *eventRow) id() {
	if r.missing(atID, examine.ID) {
		return
	}
	b, ok := r.values[atID].([]byte)
	if text, is := r.values[atID].(string); is && r.in.Layout.UUIDs {
		var err error
		b, err = hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		ok = err == nil
	}
	if !ok || len(b) != len(r.e.ID) {
		r.e.Add(examine.ID, "its event id is %s and not 16 bytes", describe(r.values[atID]))
		return
	}
	r.e.ID = evento.ID(b)
}

func (r *eventRow) metadata() {
	if r.missing(atMetadata, examine.Metadata) {
		r.e.Unknown(examine.Tags)
		return
	}
	if r.values[atMetadata] == nil {
		return
	}
	text, ok := r.in.textOf(r.values[atMetadata])
	if !ok {
		r.e.Add(examine.Metadata, "its metadata are %s and no text", describe(r.values[atMetadata]))
		r.e.Unknown(examine.Tags)
		return
	}
	if err := StrictMetadata([]byte(text), &r.e.RawEvent); err != nil {
		r.e.Add(examine.Metadata, "its metadata %.100q cannot be read: %s", text, err)
		r.e.Unknown(examine.Tags)
	}
}

// aggregate reads the aggregate's id and type.
func (r *eventRow) aggregate() {
	prefix := r.in.Layout.Prefix
	if r.in.Layout.Aggregates && !r.absent["a"] && !r.absent["e.agg_key"] && r.values[atAggregate] == nil && r.values[atType] == nil {
		r.e.Add(examine.Aggregate, "its aggregate, %s, is not in the table %saggregate", describe(r.values[atAggregateKey]), prefix)
		r.e.Unknown(examine.Type)
		return
	}
	r.e.AggregateID = r.text(atAggregate, examine.Aggregate)
	switch {
	case r.missing(atTypeName, examine.Type):
	case r.values[atTypeName] == nil:
		r.e.Add(examine.Type, "its aggregate type, %s, is not in the table %stype", describe(r.values[atType]), prefix)
	default:
		r.e.AggregateType = evento.AggregateType(r.text(atTypeName, examine.Type))
	}
}

// kind reads the event's name, which is one of an aggregate type.
func (r *eventRow) kind() {
	switch {
	case r.missing(atName, examine.Name):
	case r.values[atName] == nil:
		r.e.Add(examine.Name, "its kind, %s, is not in the table %skind", describe(r.values[atKind]), r.in.Layout.Prefix)
	default:
		r.e.Name = r.text(atName, examine.Name)
		if !r.absent["k.type_id"] && !r.e.Lacks(examine.Type) && !same(r.values[atKindsType], r.values[atType]) {
			of, _ := r.in.textOf(r.values[atKindsTypeName])
			r.e.Add(examine.Name, "its kind, %s %q, is one of the aggregate type %q, and its aggregate is of the type %q", describe(r.values[atKind]), r.e.Name, of, r.e.AggregateType)
		}
	}
}

func (r *eventRow) routing() {
	id := r.values[atRouting]
	if r.missing(atRouting, examine.RoutingKey) || r.missing(atRoutingKey, examine.RoutingKey) {
		return
	}
	switch {
	case same(id, r.in.Layout.Unrouted):
	case r.values[atRoutingKey] == nil:
		r.e.Add(examine.RoutingKey, "its routing key, %s, is not in the table %srouting", describe(id), r.in.Layout.Prefix)
	default:
		r.e.RoutingKey = r.text(atRoutingKey, examine.RoutingKey)
		if r.e.RoutingKey == "" && !r.e.Lacks(examine.RoutingKey) {
			r.e.Add(examine.RoutingKey, "its routing key is empty")
		}
	}
	if r.in.Layout.Aggregates && !r.absent["a"] && !r.e.Lacks(examine.Aggregate) && !same(r.values[atAggregateRouting], r.values[atRouting]) {
		r.e.Add(examine.RoutingKey, "its routing key is %s, and that of its aggregate %s", describe(r.values[atRouting]), describe(r.values[atAggregateRouting]))
	}
}

// Records calls each for every record of a kind, or of all kinds for "", in the order of
// their keys. It needs the memory of one record.
func (t *Tables) Records(ctx context.Context, kind string, each func(*examine.Record) error) error {
	s := t.records()
	text, args := s.text(), []any(nil)
	if kind != "" && !s.absent["c.kind"] {
		text, args = text+" WHERE c.kind = "+t.in.Layout.param(1), []any{kind}
	}
	return s.eachRecord(ctx, text+s.orderBy(3), args, each)
}

// Record returns the record with a key; nil: there is none, or it is damaged.
func (t *Tables) Record(ctx context.Context, key evento.RecordKey) (found *examine.Record, err error) {
	s := t.records()
	l := &t.in.Layout
	text := fmt.Sprintf("%s WHERE %s = %s AND %s = %s AND %s = %s", s.text(), s.columns[0], l.param(1), s.columns[1], l.param(2), s.columns[2], l.param(3))
	err = s.eachRecord(ctx, text, []any{key.Kind, key.Key, key.Part}, func(r *examine.Record) error {
		if len(r.Faults) == 0 {
			found = r
		}
		return nil
	})
	return found, err
}

func (t *Tables) records() *selection {
	s := t.choose("c")
	s.add("c.kind", "c.key", "c.part", "c.revision", "c.changed_at", "c.value")
	return s
}

func (s *selection) eachRecord(ctx context.Context, text string, args []any, each func(*examine.Record) error) error {
	return s.in.query(ctx, text, func(rows *sql.Rows) error {
		v, err := s.values(rows)
		if err != nil {
			return err
		}
		return each((&parts{selection: s, values: v}).record())
	}, args...)
}

func (p *parts) record() *examine.Record {
	r := &examine.Record{}
	p.faults = &r.Faults
	r.Kind, r.Key, r.Part = p.text(0, "key"), p.text(1, "key"), p.text(2, "key")
	r.Revision = p.count(3, "revision")
	switch at := p.values[4].(type) {
	case int64:
		r.ChangedAt = time.UnixMicro(at).UTC()
	case time.Time:
		r.ChangedAt = at.UTC()
	default:
		p.wrong(4, "time", "time")
	}
	value, ok := p.values[5].([]byte)
	if r.Value = value; !ok {
		p.wrong(5, "value", "bytes")
	}
	return r
}

// orderBy orders by the first columns.
func (s *selection) orderBy(n int) string {
	for _, c := range s.columns[:n] {
		if c == "NULL" {
			return ""
		}
	}
	return " ORDER BY " + strings.Join(s.columns[:n], ", ")
}

// Snapshots calls each for every snapshot, in the order of their keys. It needs the memory of
// one, and does not read the states.
func (t *Tables) Snapshots(ctx context.Context, each func(*examine.Snapshot) error) error {
	s := t.choose("s")
	s.add("s.projection", "s.revision", "s.variant", "s.type", "s.id", "s.version", "s.position", "s.cursor")
	return t.in.query(ctx, s.text()+s.orderBy(5), func(rows *sql.Rows) error {
		v, err := s.values(rows)
		if err != nil {
			return err
		}
		one := &examine.Snapshot{}
		p := parts{selection: s, values: v, faults: &one.Faults}
		one.Projection, one.Revision = p.text(0, "key"), p.count(1, "key")
		one.Variant, one.AggregateType, one.AggregateID = p.text(2, "key"), evento.AggregateType(p.text(3, "key")), p.text(4, "key")
		one.Version, one.Position = p.count(5, "version"), p.count(6, "position")
		one.Cursor = cursor.Value(p.text(7, "cursor"))
		return each(one)
	})
}

// parts reads parts of a row, and adds what is wrong with them.
type parts struct {
	*selection
	values []any
	faults *examine.Faults
}

func (p *parts) text(at int, part examine.Part) string {
	text, ok := p.in.textOf(p.values[at])
	if !ok {
		p.wrong(at, part, "text")
	}
	return text
}

func (p *parts) count(at int, part examine.Part) uint64 {
	n, ok := p.values[at].(int64)
	if !ok || n < 0 {
		p.wrong(at, part, "whole number from 0 on")
		return 0
	}
	return uint64(n)
}

// wrong adds a value that is not what its column is to have.
func (p *parts) wrong(at int, part examine.Part, what string) {
	if p.columns[at] == "NULL" {
		p.faults.Unknown(part)
		return
	}
	p.faults.Add(part, "its %s is %s and no %s", p.columns[at][2:], describe(p.values[at]), what)
}

// Names calls each for every row of the tables of names whose name is not one, or whose type is
// missing: also for those that no event has. Which is the row, for people.
func (t *Tables) Names(ctx context.Context, each func(which, fault string) error) error {
	for _, table := range []struct {
		letter, column, typeID string
		part                   examine.Part
	}{{"t", "name", "", examine.Type}, {"k", "name", "k.type_id", examine.Name}, {"r", "key", "", examine.RoutingKey}, {"a", "id", "a.type_id", examine.Aggregate}} {
		if table.letter == "a" && !t.in.Layout.Aggregates {
			continue
		}
		if err := t.namesIn(ctx, table.letter, table.column, table.typeID, table.part, each); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tables) namesIn(ctx context.Context, letter, column, typeID string, part examine.Part, each func(which, fault string) error) error {
	table, number := byLetter(letter), ".id"
	if letter == "a" {
		number = ".key"
	}
	s := t.choose(letter)
	if typeID != "" {
		s.join("kt", "id", typeID)
		s.add(letter+number, letter+"."+column, typeID, "kt.id")
	} else {
		s.add(letter+number, letter+"."+column)
	}
	if _, there := t.schema["table "+t.in.Layout.Prefix+table]; !there {
		return nil
	}
	return t.in.query(ctx, s.text(), func(rows *sql.Rows) error {
		v, err := s.values(rows)
		if err != nil {
			return err
		}
		which := fmt.Sprintf("%s %s in the table %s", t.in.Layout.column(table, number[1:]), strings.TrimPrefix(describe(v[0]), "the number "), t.in.Layout.Prefix+table)
		if fault := t.in.nameFault(v[1], part); fault != "" && s.columns[1] != "NULL" {
			if err := each(which, fault); err != nil {
				return err
			}
		}
		if typeID != "" && s.columns[2] != "NULL" && s.columns[3] != "NULL" && v[3] == nil {
			return each(which, fmt.Sprintf("its aggregate type, %s, is not in the table %stype", describe(v[2]), t.in.Layout.Prefix))
		}
		return nil
	})
}

// nameFault says what is wrong with a name; "": nothing.
func (in *Inspector) nameFault(v any, part examine.Part) string {
	text, ok := in.textOf(v)
	if !ok {
		return fmt.Sprintf("it is %s and no text", describe(v))
	}
	return examine.NameFault(part, text)
}

// Last returns the position of the n-th event from the end; 0: there are fewer, or it is at no
// number.
func (t *Tables) Last(ctx context.Context, n int) (position uint64, err error) {
	text := fmt.Sprintf("SELECT position FROM %sevent ORDER BY position DESC LIMIT 1 OFFSET %d", t.in.Tables, n-1)
	err = t.in.query(ctx, text, func(rows *sql.Rows) error {
		var at any
		err := rows.Scan(&at)
		if n, ok := at.(int64); ok && n > 0 {
			position = uint64(n)
		}
		return err
	})
	return position, err
}

// Now returns the time by the store's clock.
func (t *Tables) Now(ctx context.Context) (now time.Time, err error) {
	if t.in.Clock == "" {
		return time.Now(), nil
	}
	err = t.in.query(ctx, t.in.Clock, func(rows *sql.Rows) error {
		var us int64
		err := rows.Scan(&us)
		now = time.UnixMicro(us)
		return err
	})
	return now, err
}
