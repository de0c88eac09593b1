// Reading what tables have, whatever that is: an executor reads what the library writes, and
// ends, or makes the best of it, where it meets something else.

package sqlstore

import (
	"context"
	"database/sql"
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
	r.Value = p.bytes(5, "value")
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
// one.
func (t *Tables) Snapshots(ctx context.Context, each func(*examine.Snapshot) error) error {
	s := t.choose("s")
	s.add("s.projection", "s.revision", "s.variant", "s.type", "s.id", "s.version", "s.position", "s.cursor", "s.data")
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
		one.Cursor, one.Data = cursor.Value(p.text(7, "cursor")), p.bytes(8, "state")
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

func (p *parts) bytes(at int, part examine.Part) []byte {
	b, ok := p.values[at].([]byte)
	if !ok {
		p.wrong(at, part, "bytes")
	}
	return b
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

// Last returns the position of the n-th event from the end; 0: there are fewer. It is not known
// if that is none.
func (t *Tables) Last(ctx context.Context, n int) (position uint64, known bool, err error) {
	known = true
	text := fmt.Sprintf("SELECT position FROM %sevent ORDER BY position DESC LIMIT 1 OFFSET %d", t.in.Tables, n-1)
	err = t.in.query(ctx, text, func(rows *sql.Rows) error {
		var at any
		err := rows.Scan(&at)
		if n, ok := at.(int64); ok && n > 0 {
			position = uint64(n)
		}
		known = position > 0
		return err
	})
	return position, known, err
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
