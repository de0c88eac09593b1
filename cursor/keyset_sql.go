// The SQL of a keyset.

package cursor

import (
	"fmt"
	"slices"
	"strings"
)

// Dialect is the SQL of a database: parameters, quotes, and which of several
// equivalent conditions its planner can answer from an index.
type Dialect int

const (
	// SQLite writes parameters as ?.
	SQLite Dialect = iota + 1
	// PostgreSQL writes parameters as $1, $2, …
	PostgreSQL
	// MySQL writes parameters as ?; so does MariaDB.
	MySQL
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// sqlText is SQL text and the values of its parameters.
type sqlText struct {
	text   string
	params []any
}

// alias is the name of the user's SELECT within ours.
const alias = "paged"

// quoted returns a column of the user's SELECT. Because of the alias before it,
// SQLite cannot take a misspelled quoted name for a string.
func (d Dialect) quoted(name string) string {
	q := `"`
	if d == MySQL {
		q = "`"
	}
	return alias + "." + q + strings.ReplaceAll(name, q, q+q) + q
}

// ordered is a column in the ORDER BY of a statement, with its direction there.
type ordered struct {
	name       string
	descending bool
}

// statement builds a statement around the user's.
type statement struct {
	dialect Dialect
	text    strings.Builder
	params  []any
}

// around returns a query as the source of a statement. It ends the query with a line
// break, so that a trailing comment of the query ends too.
func around(query string, params []any) sqlText {
	return sqlText{fmt.Sprintf(" FROM (%s\n) AS %s", strings.TrimRight(query, "; \t\r\n"), alias), params}
}

// selecting begins a statement that selects expressions from the source.
func (source sqlText) selecting(d Dialect, expressions []string) *statement {
	s := &statement{dialect: d, params: slices.Clone(source.params)}
	s.text.WriteString("SELECT " + strings.Join(expressions, ", ") + source.text)
	return s
}

// param binds a value and returns the text that stands for it.
func (s *statement) param(v stored) string {
	s.params = append(s.params, v.param())
	p := "?"
	if s.dialect == PostgreSQL {
		p = fmt.Sprintf("$%d", len(s.params))
	}
	return s.dialect.placeholder(v, p)
}

// after adds the condition that rows come after a key in the order of the columns,
// or also are at it. There are three equivalent conditions; each is for the
// planners that turn it into an index range:
//
//   - (a, b) > (?, ?), when all directions agree: SQLite and PostgreSQL.
//   - a >= ? AND (a > ? OR b < ?), when they do not: at least the first column
//     bounds the range there.
//   - a > ? OR (a = ? AND b < ?): MySQL, whose planner uses neither of the others.
func (s *statement) after(columns []ordered, key []stored, orAt bool) {
	s.text.WriteString(" WHERE ")
	agree := true
	for _, c := range columns {
		agree = agree && c.descending == columns[0].descending
	}
	switch {
	case len(columns) == 1:
		s.compare(columns[0], key[0], orAt)
	case s.dialect == MySQL:
		s.alternatives(columns, key, orAt)
	case agree:
		names, params := make([]string, len(columns)), make([]string, len(columns))
		for i, c := range columns {
			names[i], params[i] = s.dialect.quoted(c.name), s.param(key[i])
		}
		fmt.Fprintf(&s.text, "(%s) %s (%s)", strings.Join(names, ", "), operator(columns[0], orAt), strings.Join(params, ", "))
	default:
		s.nested(columns, key, orAt)
	}
}

func (s *statement) nested(columns []ordered, key []stored, orAt bool) {
	c := columns[0]
	if len(columns) == 1 {
		s.compare(c, key[0], orAt)
		return
	}
	s.compare(c, key[0], true)
	s.text.WriteString(" AND (")
	s.compare(c, key[0], false)
	s.text.WriteString(" OR ")
	s.nested(columns[1:], key[1:], orAt)
	s.text.WriteString(")")
}

func (s *statement) alternatives(columns []ordered, key []stored, orAt bool) {
	for i, c := range columns {
		last := i == len(columns)-1
		if i > 0 {
			s.text.WriteString(" OR ")
		}
		s.text.WriteString("(")
		for j := range i {
			fmt.Fprintf(&s.text, "%s = %s AND ", s.dialect.quoted(columns[j].name), s.param(key[j]))
		}
		s.compare(c, key[i], last && orAt)
		s.text.WriteString(")")
	}
}

func (s *statement) compare(c ordered, v stored, orAt bool) {
	fmt.Fprintf(&s.text, "%s %s %s", s.dialect.quoted(c.name), operator(c, orAt), s.param(v))
}

func operator(c ordered, orAt bool) string {
	op := ">"
	if c.descending {
		op = "<"
	}
	if orAt {
		op += "="
	}
	return op
}

// first adds ORDER BY and LIMIT, and returns the statement.
func (s *statement) first(n int, columns []ordered) sqlText {
	for i, c := range columns {
		if i == 0 {
			s.text.WriteString(" ORDER BY ")
		} else {
			s.text.WriteString(", ")
		}
		s.text.WriteString(s.dialect.quoted(c.name))
		if c.descending {
			s.text.WriteString(" DESC")
		}
	}
	fmt.Fprintf(&s.text, " LIMIT %d", n)
	return sqlText{s.text.String(), s.params}
}
