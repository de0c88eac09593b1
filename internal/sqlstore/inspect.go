// What tools ask of a store and its executor does not answer.

package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// Inspector asks a store on an SQL database, each time in a read-only
// transaction. It is safe for concurrent use.
type Inspector struct {
	DB     *sql.DB
	Files  fs.FS  // of the migrations of this release
	Tables string // what names of tables begin with
	Tags   string // the table that is the index of tags
	Checks []Check

	Layout Layout
	// Describe is the query for the names and definitions of a [Schema], which may have
	// what is not the store's. Normal brings a definition into the form of Made; nil: it
	// is in that.
	Describe string
	Normal   func(name, definition string) string
	// Made returns what the migrations make.
	Made func(context.Context) (Schema, error)

	Migrated  string // the query for how many tables of migrations there are
	AppliedAt string // the expression for when one was applied, in seconds since 1970
	Clock     string // the query for the time, in microseconds since 1970; "": that of this machine
	EventID   string // the literal of an event's id, with %x for its bytes
}

// Close closes the database.
func (in *Inspector) Close() error { return in.DB.Close() }

// Applied is a migration that a store has.
type Applied struct {
	Number int
	At     time.Time
}

// Applied returns the migrations in their order; none: there is no store.
func (in *Inspector) Applied(ctx context.Context) (list []Applied, err error) {
	tables := 0
	if err := in.query(ctx, in.Migrated, func(rows *sql.Rows) error { return rows.Scan(&tables) }); err != nil || tables == 0 {
		return nil, err
	}
	err = in.query(ctx, "SELECT version, "+in.AppliedAt+" FROM "+in.Tables+"migration ORDER BY version", func(rows *sql.Rows) error {
		var number int
		var at int64
		err := rows.Scan(&number, &at)
		list = append(list, Applied{number, time.Unix(at, 0).UTC()})
		return err
	})
	return list, err
}

// Version returns the numbers of the last migration that was applied, 0: none, and
// of the last that this release knows.
func (in *Inspector) Version(ctx context.Context) (at, latest int, err error) {
	known, err := Migrations(in.Files)
	if err != nil {
		return 0, 0, err
	}
	list, err := in.Applied(ctx)
	if len(list) > 0 {
		at = list[len(list)-1].Number
	}
	return at, len(known), err
}

// Types returns the types of aggregates, in order.
func (in *Inspector) Types(ctx context.Context) (list []evento.AggregateType, err error) {
	err = in.query(ctx, "SELECT name FROM "+in.Tables+"type ORDER BY name", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		list = append(list, evento.AggregateType(name))
		return err
	})
	return list, err
}

// Position returns the position of the event with an id; 0: there is none.
func (in *Inspector) Position(ctx context.Context, id evento.ID) (position uint64, err error) {
	err = in.query(ctx, "SELECT position FROM "+in.Tables+"event WHERE event_id = "+fmt.Sprintf(in.EventID, id[:]),
		func(rows *sql.Rows) error { return rows.Scan(&position) })
	return position, err
}

// TagSums are sums over the index of tags. Those of the index and those of the events
// are the same, unless one of them was changed.
type TagSums struct {
	Rows      int64 // one for each event and number of a tag, see [store.TagNumbers]
	Tags      int64 // of the numbers
	Positions int64
	Products  int64 // of number and position: which number is at which position
}

// tagPrime is what numbers and positions are divided by: their remainders depend on all
// bits, and the sums of two billion products do not overflow.
const tagPrime = 65521

// Add adds the rows of an event.
func (s *TagSums) Add(position uint64, tags []string) {
	p := int64(position) % tagPrime
	for _, number := range store.TagNumbers(tags) {
		n := number % tagPrime
		s.Rows++
		s.Tags += n
		s.Positions += p
		s.Products += n * p
	}
}

// TagSums returns those of the index, up to a position.
func (in *Inspector) TagSums(ctx context.Context, upTo uint64) (s TagSums, err error) {
	n, p := fmt.Sprint("tag % ", tagPrime), fmt.Sprint("position % ", tagPrime)
	text := fmt.Sprintf("SELECT count(*), COALESCE(SUM(%s), 0), COALESCE(SUM(%s), 0), COALESCE(SUM((%[1]s) * (%[2]s)), 0) FROM %s WHERE position <= %d",
		n, p, in.Tags, upTo)
	err = in.query(ctx, text, func(rows *sql.Rows) error { return rows.Scan(&s.Rows, &s.Tags, &s.Positions, &s.Products) })
	return s, err
}

// query calls each for every row; each scans it.
func (in *Inspector) query(ctx context.Context, text string, each func(*sql.Rows) error, args ...any) (err error) {
	tx, err := in.DB.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for err == nil && rows.Next() {
		err = each(rows)
	}
	return errors.Join(err, rows.Err())
}

// Check is a query, and what to say of each row that is not healthy.
type Check struct {
	Name    string
	Slow    bool // the whole store is read
	Setting bool // it is about settings, which the account may not be allowed to see
	Query   string
	Healthy func(row []string) bool
	Finding Finding // with $1, $2, … for the row's columns
}

// Finding is what is wrong. Severity is error, warning or note.
type Finding struct{ Severity, Detail, Remedy string }

// Examine makes a check, and calls found for what is wrong. An error that is not found's is
// that the check could not be made: the account may not ask, say.
func (in *Inspector) Examine(ctx context.Context, c Check, found func(Finding) error) error {
	return in.query(ctx, c.Query, func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		row, into := make([]string, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if f := c.Judge(row); f != nil {
			return found(*f)
		}
		return nil
	})
}

// Judge returns what is wrong with a row; nil: nothing.
func (c Check) Judge(row []string) *Finding {
	if c.Healthy(row) {
		return nil
	}
	f := c.Finding
	for i, value := range row {
		f.Detail = strings.ReplaceAll(f.Detail, fmt.Sprint("$", i+1), value)
	}
	return &f
}

// Is judges the first column.
func Is(value string) func([]string) bool { return func(row []string) bool { return row[0] == value } }

// CheckSnapshots finds snapshots of events that are not there.
func CheckSnapshots(tables string) Check {
	return Check{
		Name: "snapshot", Healthy: Is("0"),
		Query:   "SELECT count(*) FROM " + tables + "snapshot WHERE position > (SELECT COALESCE(MAX(position), 0) FROM " + tables + "event)",
		Finding: SnapshotsBeyond(),
	}
}

// SnapshotsBeyond is what is wrong with $1 snapshots of events that are not there.
func SnapshotsBeyond() Finding {
	return Finding{"error", "$1 snapshots are of events beyond the last", "an older backup of the events was restored beside newer snapshots: evento snapshots delete --all removes them, and they are made again"}
}

// TagsRemedy is what to do about an index of tags that is not that of the events.
const TagsRemedy = "evento export, and evento import into a new store, make it anew"

// CheckTags finds rows of the index of tags, a table, for events that are not there yet.
func CheckTags(index, tables string) Check {
	return Check{
		Name: "tags", Slow: true, Healthy: Is("0"),
		Query:   "SELECT count(*) FROM " + index + " WHERE position > (SELECT COALESCE(MAX(position), 0) FROM " + tables + "event)",
		Finding: Finding{"error", "$1 rows of the index of tags are for events beyond the last", TagsRemedy},
	}
}

// CheckIdentity counts the rows of the store's identity that are as they were made.
func CheckIdentity(query string) Check {
	return Check{
		Name: "identity", Query: query, Healthy: Is("1"),
		Finding: Finding{"error", "the store's identity is missing, or is not what it was: the store cannot be opened, or the cursors of its subscriptions are refused", "restore the table from a backup of this store"},
	}
}

// CheckCounter looks for the counter of positions, and compares it with the last
// event. Both are read in one statement, which sees one moment.
func CheckCounter(tables string) []Check {
	return []Check{{
		Name: "counter", Healthy: Is("1"),
		Query:   "SELECT count(*) FROM " + tables + "counter WHERE id = 1",
		Finding: Finding{"error", "the counter of positions is missing", "restore a backup"},
	}, {
		Name: "counter", Healthy: func(row []string) bool { return row[0] == row[1] },
		Query:   "SELECT position, (SELECT COALESCE(MAX(position), 0) FROM " + tables + "event) FROM " + tables + "counter WHERE id = 1",
		Finding: Finding{"error", "the counter of positions is at $1 and the last event at $2", "a part of the store was restored or changed by hand: restore all of it from one backup"},
	}, {
		// It is not read with the other query: of a store without events there is no row.
		Name: "counter", Healthy: Is("0"),
		Query:   "SELECT CASE WHEN c.recorded_at < e.recorded_at THEN 1 ELSE 0 END, c.recorded_at, e.recorded_at FROM " + tables + "counter c JOIN " + tables + "event e ON e.position = c.position WHERE c.id = 1",
		Finding: Finding{"error", "the counter has the time $2, in microseconds, and the event at its position $3: the next events may get earlier timestamps", "a part of the store was restored or changed by hand: restore all of it from one backup"},
	}}
}
