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
// The database compares values by its own rules: two texts that a collation
// considers equal are at the same place. If a SQLite column holds times as text,
// they must all be in UTC and have the same number of digits; otherwise their order
// is not the order of time.
type Keyset[T any] struct {
	dialect Dialect
	order   order[T]
	err     error // the first mistake of the definition, returned by every call
}

// NewKeyset defines an order by columns of a SELECT, under their names in the
// result. Every call returns an error for a mistake: no columns or more than 16, a
// column without a name or function, the same column twice, an unknown dialect.
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

// Read returns a page of the rows of a SELECT, which has its own conditions and
// parameters but neither ORDER BY nor LIMIT. Its columns must have distinct names,
// those of the keyset included; scan makes an item of a row.
//
// A second small query looks behind the page (see [Keyset.Statements]). The two
// queries see the same rows if db is a transaction with a stable snapshot;
// otherwise one may see a row that the other does not.
//
// Errors: those that match [ErrInvalid], about the caller's args; a mistake of the
// definition; a value that has no place (a NaN, a string that is not valid UTF-8 or
// contains NUL, a time outside the years 1 to 9999, a key over some 3,000 bytes);
// those of scan and of the database.
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

// Statements returns what Read executes, for users of other drivers than
// database/sql. Pass the rows of read to [Keyset.Page]. behind returns a row if
// there are items on the side that the page was read from, at the cursor included.
// behind is empty if there can be none, or if args is [Onward].
//
// The query is a subquery of both. With [PostgreSQL] its own parameters are $1 to
// $n, for n params.
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
	// One row more than asked for shows whether there are more.
	return reading.first(args.Limit()+1, onwards), behind, nil
}

// Page makes the page from the rows that read of [Keyset.Statements] returned for
// the same args; behind says whether its other statement returned a row.
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
