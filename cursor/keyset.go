package cursor

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// Keyset pages a user's own SQL table, or whatever a SELECT gives, in the
// order of some columns of it. The values of cursors are bound as parameters,
// never part of the text. It may be kept in a variable of a package, and is
// safe for concurrent use.
//
//	var byBalance = cursor.NewKeyset(cursor.SQLite,
//		cursor.Desc("balance", func(a Account) int64 { return a.Balance }),
//		cursor.Asc("id", func(a Account) string { return a.ID }))
//
//	page, err := byBalance.Read(ctx, db, cursor.Forward(20, after), scanAccount,
//		"SELECT id, owner, balance FROM accounts WHERE country = ?", country)
//
// An index over the columns in these directions makes a page cost the same
// wherever it lies. Together the columns tell any two rows apart (the last is
// often the primary key), and none is ever NULL: rows with a NULL would have
// no place. Where a column is nullable, let the SELECT replace it:
// COALESCE(balance, 0) AS balance.
//
// What the database compares, it compares in its own way: two texts that a
// collation holds for the same are in one place. A column in SQLite that holds
// times as text needs them in UTC and with one number of digits, or its order
// is not that of time.
type Keyset[T any] struct {
	dialect Dialect
	order   order[T]
	err     error // the mistake of the definition, told by every call
}

// NewKeyset defines an order by columns of a SELECT, under the names that they
// have in its result. A mistake is told by every use: no columns or more than
// 16, one without a name or function, the same twice, an unknown dialect.
func NewKeyset[T any](d Dialect, columns ...Column[T]) *Keyset[T] {
	o, err := newOrder(columns)
	if err == nil && (d < SQLite || d > MySQL) {
		err = fmt.Errorf("cursor: unknown dialect %d", int(d))
	}
	return &Keyset[T]{dialect: d, order: o, err: err}
}

// Querier is what Read reads with: an [*sql.DB], [*sql.Conn] or [*sql.Tx].
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Row is a row to be scanned: an [*sql.Rows]. The same function can scan an
// [*sql.Row].
type Row interface {
	Scan(dest ...any) error
}

// Read returns a page of the rows of a SELECT, which has its own conditions
// and parameters but neither ORDER BY nor LIMIT. Its columns have distinct
// names, those of the keyset among them; the function scan makes an item of a
// row.
//
// A second small query looks behind the page (see [Keyset.Statements]). The
// two see the same rows when db is a transaction that does; otherwise one may
// see a row that the other does not.
//
// Errors: those that match [ErrInvalid], which are the caller's of the page;
// a mistake of the definition; a value of a row that has no place (a NaN, a
// string that is not valid UTF-8 or has NUL in it, a time outside the years 1
// to 9999, a key over some 3,000 bytes); those of scan and of the database.
func (k *Keyset[T]) Read(ctx context.Context, db Querier, args Args, scan func(Row) (T, error), query string, params ...any) (*Page[T], error) {
	read, behind, err := k.Statements(args, query, params...)
	if err != nil {
		return nil, err
	}
	rows, err := all(ctx, db, read, scan)
	if err != nil {
		return nil, err
	}
	var found []struct{}
	if behind.SQL != "" {
		found, err = all(ctx, db, behind, func(Row) (struct{}, error) { return struct{}{}, nil })
		if err != nil {
			return nil, err
		}
	}
	return k.Page(args, rows, len(found) > 0)
}

func all[T any](ctx context.Context, db Querier, s Statement, scan func(Row) (T, error)) (items []T, err error) {
	rows, err := db.QueryContext(ctx, s.SQL, s.Params...)
	if err != nil {
		return nil, fmt.Errorf("cursor: reading a page: %w", err)
	}
	defer func() {
		if cerr := rows.Close(); err == nil && cerr != nil {
			items, err = nil, fmt.Errorf("cursor: reading a page: %w", cerr)
		}
	}()
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cursor: reading a page: %w", err)
	}
	return items, nil
}

// Statements is what Read executes, for those who do not use database/sql:
// read gives the rows to hand to [Keyset.Page], and behind gives a row when
// there are items on the side that the page was read from, at the cursor
// included. behind is empty when there can be none, or nobody asked ([Onward]).
//
// The query stands within both as a subquery; with [PostgreSQL] its own
// parameters are $1 to $n, for n params.
func (k *Keyset[T]) Statements(args Args, query string, params ...any) (read, behind Statement, err error) {
	if k.err != nil {
		return Statement{}, Statement{}, k.err
	}
	if err := args.Check(); err != nil {
		return Statement{}, Statement{}, err
	}
	onwards, back := make([]ordered, len(k.order.columns)), make([]ordered, len(k.order.columns))
	for i, c := range k.order.columns {
		onwards[i] = ordered{c.name, c.descending != args.IsBackward()}
		back[i] = ordered{c.name, !onwards[i].descending}
	}
	reading := around(k.dialect, alias+".*", query, params)
	if args.At() != "" {
		key, err := k.order.decode(keysetKind, args.At())
		if err != nil {
			return Statement{}, Statement{}, err
		}
		reading.after(onwards, key, false)
		if !args.IsOnward() {
			looking := around(k.dialect, "1", query, params)
			looking.after(back, key, true)
			behind = looking.first(1, back)
		}
	}
	// One more row than asked for tells whether there are more.
	return reading.first(args.Limit()+1, onwards), behind, nil
}

// Page makes the page of the rows that [Keyset.Statements] gave for the same
// args, and of whether there was a row behind it.
func (k *Keyset[T]) Page(args Args, rows []T, behind bool) (*Page[T], error) {
	if k.err != nil {
		return nil, k.err
	}
	if err := args.Check(); err != nil {
		return nil, err
	}
	if len(rows) > args.Limit()+1 {
		return nil, fmt.Errorf("cursor: %d rows, where at most %d were to be read", len(rows), args.Limit()+1)
	}
	more := len(rows) > args.Limit()
	rows = rows[:min(len(rows), args.Limit())]
	page := &Page[T]{PageInfo: PageInfo{
		HasPreviousPage: behind, HasNextPage: more,
		StartCursor: args.At(), EndCursor: args.At(),
	}}
	if args.IsBackward() {
		page.PageInfo.HasPreviousPage, page.PageInfo.HasNextPage = more, behind
	}
	if len(rows) == 0 {
		return page, nil
	}
	page.Edges = make([]Edge[T], len(rows))
	for i, row := range rows {
		v, err := k.order.encode(keysetKind, k.order.key(row))
		if err != nil {
			return nil, err
		}
		page.Edges[i] = Edge[T]{Cursor: v, Node: row}
	}
	if args.IsBackward() {
		slices.Reverse(page.Edges)
	}
	page.PageInfo.StartCursor = page.Edges[0].Cursor
	page.PageInfo.EndCursor = page.Edges[len(page.Edges)-1].Cursor
	return page, nil
}
