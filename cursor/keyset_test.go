package cursor_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/evento-go/evento/cursor"
)

func openSQLite(t *testing.T) *sql.DB {
	t.Helper()
	return open(t, "sqlite3", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "test.db")))
}

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func insertAccounts(t *testing.T, db *sql.DB, items []account) {
	t.Helper()
	exec(t, db, "CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL)")
	exec(t, db, "DELETE FROM accounts")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range items {
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO accounts VALUES (?, ?, ?)", a.ID, a.Owner, a.Balance); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func scanAccount(row cursor.Row) (a account, err error) {
	err = row.Scan(&a.ID, &a.Owner, &a.Balance)
	return a, err
}

const selectAccounts = "SELECT id, owner, balance FROM accounts"

func TestKeysetAgainstModel(t *testing.T) {
	t.Parallel()
	for _, order := range orders {
		t.Run(order.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(5, 6))
			db := openSQLite(t)
			keyset := cursor.NewKeyset(cursor.SQLite, order.columns...)
			for _, n := range []int{0, 1, 12} {
				items := accounts(r, n)
				insertAccounts(t, db, items)
				check := func(items []account, args cursor.Args, at *account) *cursor.Page[account] {
					page, err := keyset.Read(t.Context(), db, args, scanAccount, selectAccounts)
					if err != nil {
						t.Fatalf("%+v: %v", args, err)
					}
					checkPage(t, fmt.Sprintf("%d rows, %+v", len(items), args), page, items, order.compare, args, at)
					return page
				}
				whole := check(items, cursor.Forward(100, ""), nil)
				for _, limit := range []int{1, 5, 12, 13} {
					for _, args := range argsFor(limit, "") {
						check(items, args, nil)
					}
					for _, e := range whole.Edges {
						for _, args := range argsFor(limit, e.Cursor) {
							check(items, args, &e.Node)
						}
					}
				}
				// Delete the row at the cursor.
				for _, e := range whole.Edges {
					exec(t, db, "DELETE FROM accounts WHERE id = ?", e.Node.ID)
					without := slices.DeleteFunc(slices.Clone(items), func(a account) bool { return a == e.Node })
					for _, args := range argsFor(3, e.Cursor) {
						check(without, args, &e.Node)
					}
					exec(t, db, "INSERT INTO accounts VALUES (?, ?, ?)", e.Node.ID, e.Node.Owner, e.Node.Balance)
				}
			}
		})
	}
}

func TestKeysetUserConditions(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	items := accounts(rand.New(rand.NewPCG(7, 8)), 60)
	insertAccounts(t, db, items)
	order := orders[3]
	keyset := cursor.NewKeyset(cursor.SQLite, order.columns...)
	of := slices.DeleteFunc(slices.Clone(items), func(a account) bool { return a.Owner != "a" && a.Balance != 2 })
	for _, query := range []struct {
		text   string
		params []any
	}{
		{selectAccounts + " WHERE owner = ? OR balance = ?", []any{"a", 2}},
		{selectAccounts + " WHERE balance = ?2 OR owner = ?1 -- either", []any{"a", 2}},
		{selectAccounts + " WHERE owner = :owner OR balance = :balance;\n", []any{sql.Named("owner", "a"), sql.Named("balance", 2)}},
		{"WITH mine AS (" + selectAccounts + " WHERE owner = ? UNION " + selectAccounts + " WHERE balance = ?) SELECT * FROM mine", []any{"a", 2}},
	} {
		var at *account
		var after cursor.Value
		for pages := 0; ; pages++ {
			args := cursor.Forward(3, after)
			page, err := keyset.Read(t.Context(), db, args, scanAccount, query.text, query.params...)
			if err != nil {
				t.Fatalf("%s: %v", query.text, err)
			}
			checkPage(t, fmt.Sprintf("%s, page %d", query.text, pages), page, of, order.compare, args, at)
			if !page.PageInfo.HasNextPage {
				break
			}
			after, at = page.PageInfo.EndCursor, &page.Edges[len(page.Edges)-1].Node
		}
	}
}

func TestKeysetTypes(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	exec(t, db, `CREATE TABLE everything (i INTEGER, u INTEGER, "order" REAL, s TEXT, y BLOB, b BOOLEAN, t TIMESTAMP)`)
	// SQLite has no unsigned 64-bit integers; every other value is kept.
	want := slices.DeleteFunc(ascending(), func(e everything) bool { return e.Uint > math.MaxInt64 })
	for _, i := range rand.New(rand.NewPCG(9, 10)).Perm(len(want)) {
		e := want[i]
		exec(t, db, "INSERT INTO everything VALUES (?, ?, ?, ?, ?, ?, ?)",
			e.Int, int64(e.Uint), e.Float, string(e.String), append([]byte{}, e.Bytes...), e.Bool, e.Time.UTC().Format("2006-01-02T15:04:05.000000000Z"))
	}
	scan := func(row cursor.Row) (e everything, err error) {
		err = row.Scan(&e.Int, &e.Uint, &e.Float, &e.String, &e.Bytes, &e.Bool, &e.Time)
		return e, err
	}
	// Times as texts of the same length, which SQLite can sort.
	columns := columnsOfEverything()
	columns[6] = cursor.Asc("time", func(e everything) string { return e.Time.UTC().Format("2006-01-02T15:04:05.000000000Z") })
	keyset := cursor.NewKeyset(cursor.SQLite, columns...)
	var got []everything
	for at := cursor.Value(""); ; {
		page, err := keyset.Read(t.Context(), db, cursor.Forward(1, at), scan,
			`SELECT i AS int, u AS uint, "order" AS float, s AS string, y AS bytes, b AS bool, t AS time FROM everything`)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Edges[0].Node)
		if !page.PageInfo.HasNextPage {
			break
		}
		at = page.PageInfo.EndCursor
	}
	if len(got) != len(want) {
		t.Fatalf("%d items one by one, want %d:\n%+v", len(got), len(want), got)
	}
	for i := range got {
		g, w := got[i], want[i]
		if !g.Time.Equal(w.Time) || string(g.Bytes) != string(w.Bytes) {
			t.Errorf("item %d: %+v, want %+v", i, g, w)
		}
		g.Time, g.Bytes, w.Time, w.Bytes = time.Time{}, nil, time.Time{}, nil
		if !reflect.DeepEqual(g, w) {
			t.Errorf("item %d: %+v, want %+v", i, g, w)
		}
	}
}

// A page is read from a range of an index, without sorting, wherever it begins.
func TestKeysetUsesIndex(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	insertAccounts(t, db, accounts(rand.New(rand.NewPCG(11, 12)), 100))
	exec(t, db, "CREATE INDEX by_owner ON accounts (owner, balance, id)")
	exec(t, db, "CREATE INDEX by_balance ON accounts (balance DESC, id)")
	for _, test := range []struct {
		columns []cursor.Column[account]
		want    string
	}{
		{orders[0].columns, "INTEGER PRIMARY KEY (rowid>?)"},
		{[]cursor.Column[account]{cursor.Asc("owner", byOwner), cursor.Asc("balance", byBalance), cursor.Asc("id", byID)}, "INDEX by_owner ((owner,balance)>(?,?))"},
		{orders[3].columns, "INDEX by_balance (balance<?)"},
	} {
		keyset := cursor.NewKeyset(cursor.SQLite, test.columns...)
		page, err := keyset.Read(t.Context(), db, cursor.Forward(10, ""), scanAccount, selectAccounts)
		if err != nil {
			t.Fatal(err)
		}
		recorded := &recorder{DB: db}
		if _, err := keyset.Read(t.Context(), recorded, cursor.Forward(10, page.PageInfo.EndCursor), scanAccount, selectAccounts); err != nil {
			t.Fatal(err)
		}
		if len(recorded.statements) != 2 {
			t.Fatalf("%d statements, want one that reads and one that looks behind", len(recorded.statements))
		}
		for i, s := range recorded.statements {
			plan := explain(t, db, s)
			if i == 0 && !strings.Contains(plan, test.want) || !strings.Contains(plan, "SEARCH") || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("plan of %s:\n%swant a search with %s, and no sort", s.text, plan, test.want)
			}
		}
	}
}

// recorder keeps the statements that are read with it.
type recorder struct {
	*sql.DB
	statements []statement
}

type statement struct {
	text   string
	params []any
}

func (r *recorder) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.statements = append(r.statements, statement{query, args})
	return r.DB.QueryContext(ctx, query, args...)
}

func explain(t *testing.T, db *sql.DB, s statement) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+s.text, s.params...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

func TestKeysetRefusesCursors(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	items := []account{{ID: 1, Owner: "a"}, {ID: 2, Owner: "b"}}
	insertAccounts(t, db, items)
	mine := cursor.NewKeyset(cursor.SQLite, cursor.Asc("owner", byOwner), cursor.Asc("id", byID))
	read := func(v cursor.Value) error {
		_, err := mine.Read(t.Context(), db, cursor.Forward(1, v), scanAccount, selectAccounts)
		return err
	}
	first := func(columns ...cursor.Column[account]) cursor.Value {
		page, err := cursor.NewKeyset(cursor.SQLite, columns...).Read(t.Context(), db, cursor.Forward(1, ""), scanAccount, selectAccounts)
		if err != nil {
			t.Fatal(err)
		}
		return page.PageInfo.EndCursor
	}
	readerPage, err := newReader(t, items, cursor.Asc("owner", byOwner), cursor.Asc("id", byID)).Read(cursor.Forward(1, ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		at   cursor.Value
		want error
	}{
		{"another direction", first(cursor.Asc("owner", byOwner), cursor.Desc("id", byID)), cursor.ErrForeign},
		{"other columns", first(cursor.Asc("owner", byOwner), cursor.Asc("balance", byBalance)), cursor.ErrForeign},
		{"a reader's", readerPage.PageInfo.EndCursor, cursor.ErrMalformed},
		{"a store's", cursor.NewPositions(store).Value(1), cursor.ErrMalformed},
		{"an injection", "' OR 1=1 --", cursor.ErrMalformed},
	} {
		if err := read(test.at); !errors.Is(err, test.want) || !errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%s: Read(%q) = %v, want %v", test.name, test.at, err, test.want)
		}
	}
	damaged(t, first(cursor.Asc("owner", byOwner), cursor.Asc("id", byID)), read)

	if _, err := mine.Read(t.Context(), db, cursor.Args{}, scanAccount, selectAccounts); !errors.Is(err, cursor.ErrInvalid) {
		t.Errorf("Read of the zero Args: %v, want ErrInvalid", err)
	}
}

func TestKeysetErrors(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	insertAccounts(t, db, []account{{ID: 1, Owner: "a\x00"}, {ID: 2}})
	byID, byOwner := cursor.Asc("id", byID), cursor.Asc("owner", byOwner)
	errScan := errors.New("cannot scan")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		keyset *cursor.Keyset[account]
		scan   func(cursor.Row) (account, error)
		query  string
		want   string
	}{
		{"no columns", t.Context(), cursor.NewKeyset[account](cursor.SQLite), scanAccount, selectAccounts, "1 to 16 columns"},
		{"no dialect", t.Context(), cursor.NewKeyset(0, byID), scanAccount, selectAccounts, "unknown dialect 0"},
		{"unknown dialect", t.Context(), cursor.NewKeyset(4, byID), scanAccount, selectAccounts, "unknown dialect 4"},
		{"two of a column", t.Context(), cursor.NewKeyset(cursor.SQLite, byID, byID), scanAccount, selectAccounts, `"id" is in the order twice`},
		{"a column that is not selected", t.Context(), cursor.NewKeyset(cursor.SQLite, cursor.Asc("iban", func(account) int { return 0 })), scanAccount, selectAccounts, "no such column"},
		{"a failing scan", t.Context(), cursor.NewKeyset(cursor.SQLite, byID), func(cursor.Row) (account, error) { return account{}, errScan }, selectAccounts, errScan.Error()},
		{"NULL", t.Context(), cursor.NewKeyset(cursor.SQLite, byID), scanAccount, "SELECT NULL AS id, '' AS owner, 0 AS balance", "converting NULL"},
		{"no SQL", t.Context(), cursor.NewKeyset(cursor.SQLite, byID), scanAccount, "SELECT FROM", "syntax error"},
		{"a text with NUL", t.Context(), cursor.NewKeyset(cursor.SQLite, byOwner, byID), scanAccount, selectAccounts, `column "owner": a string`},
		{"context", ended, cursor.NewKeyset(cursor.SQLite, byID), scanAccount, selectAccounts, "context canceled"},
	} {
		page, err := test.keyset.Read(test.ctx, db, cursor.Forward(2, ""), test.scan, test.query)
		if page != nil || err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, cursor.ErrInvalid) {
			t.Errorf("%s: %+v, %v, want %q", test.name, page, err, test.want)
		}
	}
}

// Rows are closed before the next statement: one connection is enough.
func TestKeysetInTransaction(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	insertAccounts(t, db, []account{{ID: 1}, {ID: 2}, {ID: 3}})
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keyset := cursor.NewKeyset(cursor.SQLite, cursor.Asc("id", byID))
	page, err := keyset.Read(t.Context(), tx, cursor.Forward(1, ""), scanAccount, selectAccounts)
	if err != nil {
		t.Fatal(err)
	}
	page, err = keyset.Read(t.Context(), tx, cursor.Forward(1, page.PageInfo.EndCursor), scanAccount, selectAccounts)
	if err != nil || len(page.Edges) != 1 || page.Edges[0].Node.ID != 2 || !page.PageInfo.HasPreviousPage || !page.PageInfo.HasNextPage {
		t.Errorf("the second page: %+v, %v, want the row 2 with rows on both sides", page, err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}

func TestKeysetTimes(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	exec(t, db, "CREATE TABLE ticks (at TIMESTAMP PRIMARY KEY)")
	first := time.Date(2038, 1, 19, 3, 14, 7, 123_456_781, time.UTC)
	for i := range 9 {
		exec(t, db, "INSERT INTO ticks VALUES (?)", first.Add(time.Duration(i)))
	}
	keyset := cursor.NewKeyset(cursor.SQLite, cursor.Desc("at", func(at time.Time) time.Time { return at }))
	scan := func(row cursor.Row) (at time.Time, err error) {
		err = row.Scan(&at)
		return at, err
	}
	var before cursor.Value
	for i := range 9 {
		page, err := keyset.Read(t.Context(), db, cursor.Backward(1, before), scan, "SELECT at FROM ticks")
		if err != nil {
			t.Fatal(err)
		}
		if want := first.Add(time.Duration(i)); len(page.Edges) != 1 || !page.Edges[0].Node.Equal(want) || page.PageInfo.HasNextPage != (i > 0) || page.PageInfo.HasPreviousPage != (i < 8) {
			t.Fatalf("tick %d: %+v, want %s", i, page, want)
		}
		before = page.PageInfo.StartCursor
	}
}
