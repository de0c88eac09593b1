package cursor_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/testserver"
)

// columnKind is a kind of column of a random table, with values as SQL literals,
// listed together where they are at one place.
type columnKind struct {
	ddl    string
	values []string
}

// tablesOf is a database that random tables are made in.
type tablesOf struct {
	dialect cursor.Dialect
	db      *sql.DB // with one connection: the tables are temporary
	kinds   []columnKind
}

func numberOfTables(t *testing.T) int {
	n := 40
	if s := os.Getenv("EVENTO_KEYSET_TABLES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("EVENTO_KEYSET_TABLES: %v", err)
		}
	}
	return n
}

func oneConnection(t *testing.T, driver, dsn string, setup ...string) *sql.DB {
	t.Helper()
	db := open(t, driver, dsn)
	db.SetMaxOpenConns(1)
	for _, s := range setup {
		exec(t, db, s)
	}
	return db
}

func TestKeysetTablesSQLite(t *testing.T) {
	t.Parallel()
	texts := []string{"''", "'a'", "'A'", "'b '", "'b'", "'é'", "'12'", "'9'", "'1e1'", "'zoë'"}
	numbers := []string{"0", "-1", "7", "0.1", "7.5", "9223372036854775807", "-9223372036854775808", "1e300", "9e999", "-9e999", "9007199254740993", "9007199254740992.0"}
	times := []string{"'2026-11-27 10:00:00'", "'2026-11-27T10:00:00Z'", "'2026-11-27 10:00:00.5'", "'2026-11-27 10:00:00.123456789'", "'2026-11-27 11:00:00+01:00'", "'2026-11-26'", "CURRENT_TIMESTAMP", "1795000000", "1795000000123", "2461007.5"}
	blobs := []string{"x''", "x'00'", "x'ff'", "x'6100'"}
	tablesOf{cursor.SQLite, oneConnection(t, "sqlite3", "file::memory:"), []columnKind{
		{"INTEGER", numbers[:3]}, {"INTEGER", numbers}, {"INTEGER", append(texts, numbers...)},
		{"REAL", numbers}, {"NUMERIC", numbers}, {"DECIMAL(10,2)", numbers}, {"BOOLEAN", []string{"0", "1"}}, {"BOOLEAN", []string{"0", "1", "'yes'"}},
		{"TEXT", texts}, {"TEXT COLLATE NOCASE", texts}, {"TEXT COLLATE RTRIM", texts}, {"VARCHAR(3)", append(texts, numbers...)},
		{"BLOB", blobs}, {"BLOB", slices.Concat(blobs, texts, numbers)}, {"", slices.Concat(blobs, texts, numbers)},
		{"TIMESTAMP", times}, {"DATETIME", times}, {"DATE", times}, {"TIME", times}, {"TEXT", times}, {"DATETIME", times[7:]},
	}}.run(t)
}

func TestKeysetTablesPostgreSQL(t *testing.T) {
	t.Parallel()
	db := oneConnection(t, "pgx", testserver.Postgres(t), "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'elated')", "SET client_min_messages = error", "SET synchronous_commit = off")
	texts := []string{"''", "'a'", "'A'", "'b '", "'b'", "'é'", "'12'", "'zoë'", "'-'"}
	integers := []string{"0", "-1", "7", "32767", "-32768"}
	floats := []string{"0", "0.1", "-0.1", "1e30", "1.1", "'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0.30000001"}
	decimals := []string{"0", "0.10", "0.1", "-7.25", "123456789012345678901234567890.123456789", "9007199254740993", "9007199254740992", "'NaN'"}
	moments := []string{"'2026-11-27 10:00:00.123456'", "'2026-11-27 10:00:00.123457'", "'2026-10-25 02:30:00'", "'2026-10-25 03:30:00'", "'2026-03-29 02:30:00'", "'0044-03-15 12:00:00'", "'1969-12-31 23:59:59.999999'"}
	tablesOf{cursor.PostgreSQL, db, []columnKind{
		{"smallint", integers}, {"integer", integers}, {"bigint", append(integers, "9223372036854775807", "-9223372036854775808")},
		{"numeric", decimals}, {"numeric(20,4)", decimals[:4]}, {"real", floats}, {"double precision", floats}, {"boolean", []string{"true", "false"}},
		{"text", texts}, {`text COLLATE "C"`, texts}, {"varchar(10)", texts}, {"char(5)", texts}, {`"char"`, texts[:4]}, {"name", texts},
		{"bytea", []string{"''", `'\x00'`, `'\xff'`, `'\x6100'`, `'\x61'`}},
		{"timestamp", moments}, {"timestamptz", moments}, {"timestamp(0)", moments}, {"date", moments},
		{"time", []string{"'00:00'", "'10:00:00.000001'", "'24:00'"}}, {"timetz", []string{"'10:00+00'", "'11:00+01'", "'10:00:00.000001+00'"}},
		{"interval", []string{"'1 month'", "'30 days'", "'-1 day 1 us'", "'1.5 hours'", "'1 year -1 day'"}},
		{"uuid", []string{"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'7f000000-0000-0000-0000-000000000000'"}},
		{"inet", []string{"'10.0.0.1'", "'10.0.0.0/8'", "'::1'"}}, {"macaddr", []string{"'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"}},
		{"mood", []string{"'sad'", "'ok'", "'happy'", "'elated'"}}, {"integer[]", []string{"'{}'", "'{1,2}'", "'{1}'", "'{2}'"}}, {"text[]", []string{`'{"a,b"}'`, `'{a,b}'`, `'{}'`}},
		{"double precision[]", []string{"'{0.1}'", "'{1e300,NaN}'"}}, {"int4range", []string{"'empty'", "'[1,5)'", "'[1,)'"}},
		{"bit(3)", []string{"B'101'", "B'000'"}}, {"varbit", []string{"B'1'", "B'10'", "B''"}}, {"money", []string{"1.1", "-20000", "0"}},
		{"jsonb", []string{"'1'", `'"a"'`, "'{}'", "'[1]'", `'{"a": 1.10}'`}}, {"oid", []string{"1", "4294967295"}},
	}}.run(t)
}

func TestKeysetTablesMySQL(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	for _, settings := range []string{"", "?parseTime=true&loc=Europe%2FBerlin", "?interpolateParams=true", "?parseTime=true&interpolateParams=true&collation=utf8mb4_bin"} {
		t.Run(settings, func(t *testing.T) {
			t.Parallel()
			tablesOf{cursor.MySQL, oneConnection(t, "mysql", dsn+settings), mysqlKinds()}.run(t)
		})
	}
}

func mysqlKinds() []columnKind {
	texts := []string{"''", "'a'", "'A'", "'b '", "'b'", "'e'", "'12'", "'12abc'", "'z'", "'-'"}
	integers := []string{"0", "1", "7", "100"}
	floats := []string{"0", "0.1", "-0.1", "1e30", "1.1", "0.30000001", "16777217", "123456.789"}
	decimals := []string{"0", "0.10", "-7.25", "12345678901234567890123456789012345.123456789012345678901234567891", "9007199254740993", "9007199254740992", "0.000000000000000000000000000001"}
	moments := []string{"'2026-11-27 10:00:00.123456'", "'2026-11-27 10:00:00.123457'", "'2026-10-25 02:30:00'", "'2026-10-25 03:30:00'", "'2026-03-29 02:30:00'", "'1999-12-31 23:59:59.999999'", "'2026-11-27 10:00:00'"}
	return []columnKind{
		{"TINYINT", integers}, {"SMALLINT UNSIGNED", integers}, {"MEDIUMINT", integers}, {"INT(8) UNSIGNED ZEROFILL", integers},
		{"BIGINT", append(integers, "9223372036854775807", "-9223372036854775808")}, {"BIGINT UNSIGNED", append(integers, "18446744073709551615", "18446744073709551614")},
		{"BOOLEAN", integers[:2]}, {"DECIMAL(65,30)", decimals}, {"DECIMAL(10,2)", decimals[:3]}, {"DECIMAL(20,0)", append(decimals[:3], decimals[4:6]...)},
		{"FLOAT", floats}, {"FLOAT(7,4)", floats[:3]}, {"DOUBLE", floats}, {"DOUBLE", append(floats, "-1e308", "2.2250738585072014e-308", "0.1e-5")},
		{"CHAR(5)", texts}, {"VARCHAR(20)", texts}, {"VARCHAR(20) COLLATE utf8mb4_bin", texts}, {"VARCHAR(20) CHARACTER SET latin1", texts},
		{"VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin", texts}, {"TEXT", texts}, {"TINYTEXT", texts}, {"LONGTEXT COLLATE utf8mb4_unicode_ci", texts},
		{"BINARY(4)", []string{"x''", "x'00'", "x'ff'", "'a'"}}, {"VARBINARY(9)", []string{"x''", "x'00'", "x'ff'", "x'6100'", "'a'", "'a '"}}, {"BLOB", []string{"x''", "x'ff00'", "'a'", "x'e9'"}},
		{"DATE", moments}, {"DATETIME", moments}, {"DATETIME(6)", moments}, {"TIMESTAMP", moments}, {"TIMESTAMP(3)", moments}, {"TIMESTAMP(6)", moments},
		{"TIME", []string{"'00:00:00'", "'-838:59:59'", "'838:59:59'", "'10:00:00'"}}, {"TIME(6)", []string{"'10:00:00.000001'", "'10:00:00.000002'", "'-10:00:00.5'", "'-00:00:01'"}},
		{"YEAR", []string{"0", "1901", "1970", "2026", "2155"}},
		{"ENUM('small','medium','large','10','2')", []string{"'small'", "'medium'", "'large'", "'10'", "'2'"}}, {"SET('z','a','m')", []string{"''", "'z'", "'a'", "'z,a'", "'m'", "'z,m'"}},
		{"BIT(1)", []string{"b'0'", "b'1'"}}, {"BIT(64)", []string{"b'0'", "b'101'", "18446744073709551615", "18446744073709551614", "9223372036854775808"}},
	}
}

// run makes random tables and pages through each, while rows come and go, in both
// directions. The model is what the database says is the order.
func (d tablesOf) run(t *testing.T) {
	n := numberOfTables(t)
	for seed := range n {
		d.table(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("with the table of seed %d", seed)
		}
	}
}

type row struct {
	id   int64
	rest []any
}

func (d tablesOf) table(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(d.dialect)))
	kinds := []columnKind{}
	for range 1 + r.IntN(3) {
		kinds = append(kinds, d.kinds[r.IntN(len(d.kinds))])
	}
	name := fmt.Sprintf("random_%d", seed) // PostgreSQL's driver knows the columns of a text
	ddl := "CREATE TEMPORARY TABLE " + name + " (id INTEGER NOT NULL"
	for i, k := range kinds {
		ddl += fmt.Sprintf(", c%d %s NOT NULL", i, k.ddl)
	}
	exec(t, d.db, ddl+", PRIMARY KEY (id))")
	defer func() { exec(t, d.db, "DROP TABLE "+name) }()
	insert := func(id int) {
		text := fmt.Sprintf("INSERT INTO %s VALUES (%d", name, id)
		for _, k := range kinds {
			text += ", " + k.values[r.IntN(len(k.values))]
		}
		exec(t, d.db, text+")")
	}
	next := 0
	for range r.IntN(20) {
		insert(next)
		next++
	}

	// An order of some of its columns, and the id last.
	var columns []cursor.Column[row]
	var orderBy []string
	add := func(name string) {
		if r.IntN(2) == 0 {
			columns, orderBy = append(columns, cursor.Asc(name, func(row) int64 { return 0 })), append(orderBy, name)
		} else {
			columns, orderBy = append(columns, cursor.Desc(name, func(row) int64 { return 0 })), append(orderBy, name+" DESC")
		}
	}
	for _, i := range r.Perm(len(kinds))[:1+r.IntN(len(kinds))] {
		add(fmt.Sprintf("c%d", i))
	}
	add("id")
	indexed := r.IntN(2) == 0 && !strings.Contains(ddl, "TEXT") && !strings.Contains(ddl, "BLOB") // MySQL wants a length
	if indexed {
		exec(t, d.db, "CREATE INDEX order_of_"+name+" ON "+name+" ("+strings.Join(orderBy, ", ")+")")
	}
	query, params := d.query(r, name)
	what := fmt.Sprintf("%s\n%s, index: %t, ORDER BY %s\n%s", d.dialect, ddl, indexed, strings.Join(orderBy, ", "), query)

	ordered := func() (ids []int64) {
		t.Helper()
		rows, err := d.db.QueryContext(t.Context(), "SELECT id FROM ("+strings.TrimSuffix(query, ";")+"\n) AS q ORDER BY "+strings.Join(orderBy, ", "), params...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	scan := func(at cursor.Row) (read row, err error) {
		read.rest = make([]any, len(kinds))
		dest := []any{&read.id}
		for i := range read.rest {
			dest = append(dest, &read.rest[i])
		}
		return read, at.Scan(dest...)
	}
	keyset := cursor.NewKeyset(d.dialect, columns...)
	for _, backward := range []bool{false, true} {
		var at cursor.Value
		seen := false // rows are behind the place
		want := ordered()
		if backward {
			slices.Reverse(want)
		}
		for {
			limit := 1 + r.IntN(4)
			args := cursor.Forward(limit, at)
			if backward {
				args = cursor.Backward(limit, at)
			}
			page, err := keyset.Read(t.Context(), d.db, args, scan, query, params...)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			var got []int64
			for _, e := range page.Edges {
				got = append(got, e.Node.id)
			}
			info, end := page.PageInfo, page.PageInfo.EndCursor
			more, behind := info.HasNextPage, info.HasPreviousPage
			if backward {
				slices.Reverse(got)
				end, more, behind = info.StartCursor, behind, more
			}
			expect := want[:min(limit, len(want))]
			if !slices.Equal(got, expect) || more != (len(want) > limit) {
				t.Errorf("%s\npage of %d (backward: %t) has the rows %v (more: %t), want %v of %v", what, limit, backward, got, more, expect, want)
				return
			}
			if at != "" && behind != seen {
				t.Errorf("%s\npage of %d (backward: %t) after %d: behind it: %t, want %t", what, limit, backward, got, behind, seen)
			}
			if !more {
				break
			}
			// Rows come and go, now and then also the one that the cursor is of.
			last := got[len(got)-1]
			for range r.IntN(3) {
				insert(next)
				next++
			}
			if gone := want[r.IntN(len(want))]; gone != last {
				exec(t, d.db, fmt.Sprintf("DELETE FROM %s WHERE id = %d", name, gone))
			}
			want = ordered()
			if backward {
				slices.Reverse(want)
			}
			place := slices.Index(want, last)
			want, seen = want[place+1:], true
			if r.IntN(3) == 0 {
				seen = place > 0
				exec(t, d.db, fmt.Sprintf("DELETE FROM %s WHERE id = %d", name, last))
			}
			at = end
		}
	}
}

// query returns one of the forms that a SELECT of all rows has.
func (d tablesOf) query(r *rand.Rand, name string) (string, []any) {
	p := "?"
	if d.dialect == cursor.PostgreSQL {
		p = "$1"
	}
	switch r.IntN(4) {
	case 0:
		return "SELECT * FROM " + name, nil
	case 1:
		return "SELECT * FROM " + name + " WHERE id >= " + p, []any{0}
	case 2:
		if d.dialect == cursor.MySQL {
			return "SELECT * FROM " + name + " LIMIT 100000", nil // a temporary table is opened once
		}
		return "SELECT * FROM " + name + " WHERE id % 2 = 0 UNION ALL SELECT * FROM " + name + " WHERE id % 2 = 1 -- both", nil
	}
	return "WITH mine AS (SELECT * FROM " + name + " WHERE id < " + p + ") SELECT * FROM mine;", []any{1_000_000}
}
