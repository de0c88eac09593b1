package cursor

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// Keyset pages a user's own SQL table, or the result of any SELECT, in the order of
// some of its columns. It binds the values of cursors as parameters; they are never
// part of the SQL text. It may be kept in a package variable, and is safe for
// concurrent use.
//
//	var byBalance = cursor.NewKeyset(cursor.SQLite,
//		cursor.Desc("balance", func(a Account) int64 { return a.Balance }),
//		cursor.Asc("id", func(a Account) string { return a.ID }))
//
//	page, err := byBalance.Read(ctx, db, cursor.Forward(20, after), scanAccount,
//		"SELECT id, owner, balance FROM accounts WHERE country = ?", country)
//
// With an index over the columns in these directions, a page costs the same
// wherever it lies. Together the columns must be unique (the last is often the
// primary key), and none may be NULL: a row with a NULL would have no place. If a
// column is nullable, let the SELECT replace it: COALESCE(balance, 0) AS balance.
//
// Cursors have the values that the database has, which are read with each row (Why:
// docs/decisions.md, "A keyset's cursors have the database's own values"). The
// functions of the columns are not called; they are there for a [Reader], which can
// have the same columns. So a column may have any type that the database can sort,
// however a driver shows it, with these exceptions, which are errors that say what
// to do: in MySQL JSON, geometry, texts of more than 255 characters, dates with a
// zero month or day, and a TIMESTAMP in the hour that the session's time zone has
// twice; in PostgreSQL dates, floats and intervals in a session that does not write
// them as it reads them.
//
// The database compares values by its own rules: two texts that a collation
// considers equal are at the same place. SQLite sorts numbers before texts, and
// times as texts by their characters: they are in the order of time if all are in
// UTC and have the same number of digits. The branches of a UNION must agree in the
// types of their columns.
type Keyset[T any] struct {
	dialect Dialect
	order   order[T]
	err     error // the mistake of the definition, returned by every call
}

// NewKeyset defines an order by columns of a SELECT, under their names in the
// result. Every call returns an error for a mistake: no columns or more than 16, a
// column without a name or function, the same column twice, an unknown dialect.
func NewKeyset[T any](d Dialect, columns ...Column[T]) *Keyset[T] {
	o, err := newOrder(d.String(), columns)
	if err == nil && (d < SQLite || d > MySQL) {
		err = fmt.Errorf("cursor: unknown dialect %d", int(d))
	}
	return &Keyset[T]{dialect: d, order: o, err: err}
}

// Querier is what Read reads with: an [*sql.DB], [*sql.Conn] or [*sql.Tx].
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Row is a row to be scanned. The same function can scan an [*sql.Row] or an
// [*sql.Rows].
type Row interface {
	Scan(dest ...any) error
}

// Read returns a page of the rows of a SELECT, which has its own conditions and
// parameters but neither ORDER BY nor LIMIT. Its columns must have distinct names,
// those of the keyset included; scan makes an item of a row. In PostgreSQL its
// parameters are $1 to $n, for n params.
//
// The SELECT becomes a subquery. A second small query looks behind the page, unless
// args is [Onward] or has no place. In MySQL the first page is read twice if types
// need it. The queries see the same rows if db is a transaction with a stable
// snapshot; otherwise one may see a row that the other does not.
//
// Errors: those that match [ErrInvalid], about the caller's args; a mistake of the
// definition; a value that has no place (NULL, a NaN, a string that is not valid
// UTF-8 or contains NUL, a key over some 3,000 bytes, and see [Keyset]); those of
// scan and of the database.
func (k *Keyset[T]) Read(ctx context.Context, db Querier, args Args, scan func(Row) (T, error), query string, params ...any) (*Page[T], error) {
	if k.err != nil {
		return nil, k.err
	}
	if err := args.Check(); err != nil {
		return nil, err
	}
	var key []stored
	if args.At() != "" {
		var err error
		if key, err = k.decode(args.At()); err != nil {
			return nil, err
		}
	}
	edges, err := k.edges(ctx, db, args, key, scan, around(query, params))
	if err != nil {
		return nil, err
	}
	behind := false
	if key != nil && !args.IsOnward() {
		if behind, err = k.behind(ctx, db, args, key, around(query, params)); err != nil {
			return nil, err
		}
	}
	return page(args, edges, behind), nil
}

// sorted returns the columns in the order in which a page is read, or in which what
// lies behind it is.
func (k *Keyset[T]) sorted(backward bool) []ordered {
	columns := make([]ordered, len(k.order.columns))
	for i, c := range k.order.columns {
		columns[i] = ordered{c.name, c.descending != backward}
	}
	return columns
}

// edges reads the items after the key, or from the beginning, and one more than asked
// for, which shows whether there are more.
func (k *Keyset[T]) edges(ctx context.Context, db Querier, args Args, key []stored, scan func(Row) (T, error), query sqlText) ([]Edge[T], error) {
	columns := k.sorted(args.IsBackward())
	classes := make([]class, len(columns)) // 0: not known yet
	for i, v := range key {
		classes[i] = v.class
	}
	for {
		hidden := k.hidden(classes)
		s := query.selecting(k.dialect, append([]string{alias + ".*"}, hidden...))
		if key != nil {
			s.after(columns, key, false)
		}
		edges, found, err := k.read(ctx, db, s.first(args.Limit()+1, columns), hidden, classes, scan)
		switch {
		case err != nil:
			return nil, err
		case found == nil:
			return edges, nil
		case key != nil:
			return nil, fmt.Errorf("%w: a column has another type now", ErrForeign)
		}
		classes = found
	}
}

// hidden returns what a statement selects behind the user's columns.
func (k *Keyset[T]) hidden(classes []class) []string {
	var list []string
	for i, c := range k.order.columns {
		for _, expression := range k.dialect.hidden(c.name, classes[i]) {
			list = append(list, fmt.Sprintf("%s AS evento_key_%d", expression, len(list)+1))
		}
	}
	return list
}

// read executes a statement and makes items of its rows. If the columns are of other
// classes than its hidden ones were written for, and what it reads is not their values,
// it returns the right classes.
func (k *Keyset[T]) read(ctx context.Context, db Querier, s sqlText, hidden []string, classes []class, scan func(Row) (T, error)) (edges []Edge[T], other []class, err error) {
	err = s.query(ctx, db, func(rows *sql.Rows) error {
		types, err := rows.ColumnTypes()
		if err != nil {
			return failed(err)
		}
		own := len(types) - len(hidden)
		if k.dialect == MySQL {
			found, err := k.mysqlClasses(types[own:])
			if err != nil {
				return err
			}
			known := classes[0] != 0
			if known && !slices.Equal(found, classes) || !slices.Equal(k.hidden(found), hidden) {
				other = found
				return nil
			}
			classes = found
		}
		for row := newKeyedRow(rows, own, len(hidden)); rows.Next(); {
			item, got, err := scanKeyed(row, scan)
			if err != nil {
				return err
			}
			at, err := k.cursor(classes, got)
			if err != nil {
				return err
			}
			edges = append(edges, Edge[T]{Cursor: at, Node: item})
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return edges, other, nil
}

// cursor makes the cursor of a row from what its hidden columns have.
func (k *Keyset[T]) cursor(classes []class, got []any) (Value, error) {
	each := len(got) / len(classes)
	key := make([]stored, len(classes))
	for i, c := range classes {
		var err error
		if key[i], err = k.dialect.value(c, got[i*each:(i+1)*each]); err != nil {
			return "", fmt.Errorf("cursor: column %q: %w", k.order.columns[i].name, err)
		}
	}
	return k.encode(key)
}

// behind returns whether there are rows on the side that a page was read from, at its
// place included.
func (k *Keyset[T]) behind(ctx context.Context, db Querier, args Args, key []stored, query sqlText) (found bool, err error) {
	columns := k.sorted(!args.IsBackward())
	looking := query.selecting(k.dialect, []string{"1"})
	looking.after(columns, key, true)
	err = looking.first(1, columns).query(ctx, db, func(rows *sql.Rows) error {
		found = rows.Next()
		return nil
	})
	return found, err
}

// query executes the statement, and closes its rows after use.
func (s sqlText) query(ctx context.Context, db Querier, use func(*sql.Rows) error) (err error) {
	rows, err := db.QueryContext(ctx, s.text, s.params...)
	if err != nil {
		return failed(err)
	}
	defer func() {
		if cerr := rows.Close(); err == nil && cerr != nil {
			err = failed(cerr)
		}
	}()
	if err := use(rows); err != nil {
		return err
	}
	if err := rows.Err(); err != nil {
		return failed(err)
	}
	return nil
}

func failed(err error) error { return fmt.Errorf("cursor: reading a page: %w", err) }

// page makes a page of the items that were read, in the order in which they were.
func page[T any](args Args, edges []Edge[T], behind bool) *Page[T] {
	more := len(edges) > args.Limit()
	edges = edges[:min(len(edges), args.Limit())]
	page := &Page[T]{PageInfo: PageInfo{
		HasPreviousPage: behind, HasNextPage: more,
		StartCursor: args.At(), EndCursor: args.At(),
	}}
	if args.IsBackward() {
		page.PageInfo.HasPreviousPage, page.PageInfo.HasNextPage = more, behind
		slices.Reverse(edges)
	}
	if len(edges) > 0 {
		page.Edges = edges
		page.PageInfo.StartCursor = edges[0].Cursor
		page.PageInfo.EndCursor = edges[len(edges)-1].Cursor
	}
	return page
}
