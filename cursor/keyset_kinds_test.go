package cursor_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/testserver"
)

// at is a row whose place a program sees as a time.
type at struct {
	ID   int64
	Time time.Time
}

func scanAt(row cursor.Row) (a at, err error) {
	var unused any
	err = row.Scan(&a.ID, &unused)
	return a, err
}

func byTime() []cursor.Column[at] {
	return []cursor.Column[at]{
		cursor.Asc("t", func(a at) time.Time { return a.Time }), cursor.Asc("id", func(a at) int64 { return a.ID }),
	}
}

// pages reads all pages of two rows, and returns the ids.
func pages(t *testing.T, keyset *cursor.Keyset[at], db cursor.Querier, query string) (ids []int64, err error) {
	t.Helper()
	for after := cursor.Value(""); ; {
		page, err := keyset.Read(t.Context(), db, cursor.Forward(2, after), scanAt, query)
		if err != nil {
			return ids, err
		}
		for _, e := range page.Edges {
			ids = append(ids, e.Node.ID)
		}
		if !page.PageInfo.HasNextPage {
			return ids, nil
		}
		after = page.PageInfo.EndCursor
	}
}

// Times that SQLite wrote itself, which a driver shows as times.
func TestKeysetCurrentTimestamp(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	exec(t, db, "CREATE TABLE ticks (id INTEGER PRIMARY KEY, t TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)")
	exec(t, db, "INSERT INTO ticks (id) VALUES (1), (2), (3), (4), (5), (6), (7)")
	ids, err := pages(t, cursor.NewKeyset(cursor.SQLite, byTime()...), db, "SELECT id, t FROM ticks")
	if want := []int64{1, 2, 3, 4, 5, 6, 7}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("the rows %v (%v), want %v", ids, err, want)
	}
}

// What has no place is refused, and the error says what to do.
func TestKeysetRefusesPostgreSQL(t *testing.T) {
	t.Parallel()
	dsn := testserver.Postgres(t)
	for _, test := range []struct{ setup, column, want string }{
		{"SET DateStyle = 'SQL, DMY'", "'2026-11-27 10:00Z'::timestamptz", "DateStyle must be ISO (is SQL, DMY)"},
		{"SET DateStyle = 'SQL, DMY'", "ARRAY['2026-11-27 10:00Z'::timestamptz]", "DateStyle must be ISO (is SQL, DMY)"},
		{"SET IntervalStyle = sql_standard", "'-1 day 1 us'::interval", "IntervalStyle postgres (is sql_standard)"},
		{"SET extra_float_digits = 0", "0.1::float8 + 0.2", "extra_float_digits 1 (is 0)"},
		{"SET DateStyle = 'SQL, DMY'", "NULL::int", "COALESCE"},
		{"SET DateStyle = 'SQL, DMY'", "1", ""},
		{"SET extra_float_digits = 0", "'a'::text", ""},
		{"SET DateStyle = 'ISO, DMY'", "'2026-11-27 10:00Z'::timestamptz", ""},
	} {
		db := oneConnection(t, "pgx", dsn, test.setup)
		keyset := cursor.NewKeyset(cursor.PostgreSQL, byTime()...)
		ids, err := pages(t, keyset, db, "SELECT i AS id, "+test.column+" AS t FROM generate_series(1, 5) AS i")
		if test.want == "" && (err != nil || len(ids) != 5) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s, %s: the rows %v, %v, want %q", test.setup, test.column, ids, err, test.want)
		}
	}
}

func TestKeysetRefusesMySQL(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	for _, test := range []struct{ ddl, value, want string }{
		{"POINT", "POINT(1, 1)", `column "t": a GEOMETRY has no order that a cursor can keep; let the SELECT`},
		{"TEXT", "REPEAT('a', 256)", "take LEFT(…, 255) of it"},
		{"TEXT", "REPEAT('é', 255)", ""},
		{"VARCHAR(300)", "REPEAT('a', 256)", "take LEFT(…, 255) of it"},
		{"BLOB", "REPEAT('a', 1025)", "take LEFT(…, 1024) of them"},
		{"BLOB", "REPEAT('a', 1024)", ""},
		{"DATE", "'0000-00-00'", `"0000-00-00" has a zero where a date has none`},
		{"DATE", "'2026-00-01'", "has a zero where a date has none"},
		{"DATETIME(3)", "'2026-11-00 10:00:00'", "has a zero where a date has none"},
		{"TIMESTAMP", "'0000-00-00 00:00:00'", "the zero TIMESTAMP has no place"},
		{"INTEGER NULL", "NULL", "COALESCE"},
	} {
		for _, settings := range []string{"", "?parseTime=true"} {
			db := oneConnection(t, "mysql", dsn+settings, "SET sql_mode = ''",
				"CREATE TEMPORARY TABLE refused (id INTEGER PRIMARY KEY, t "+test.ddl+")")
			for id := range 3 {
				exec(t, db, fmt.Sprintf("INSERT INTO refused VALUES (%d, %s)", id, test.value))
			}
			ids, err := pages(t, cursor.NewKeyset(cursor.MySQL, byTime()...), db, "SELECT id, t FROM refused")
			if test.want == "" && (err != nil || len(ids) != 3) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s, %s: the rows %v, %v, want %q", test.ddl, test.value, ids, err, test.want)
			}
		}
	}
}

// A session's clock shows an hour twice when summer time ends. Around it each
// TIMESTAMP has its place; in it they are refused, since they have one only by UTC.
func TestKeysetSummerTime(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	const ends = 1792890000 // 2026-10-25 01:00 UTC
	admin := oneConnection(t, "mysql", dsn,
		"REPLACE INTO mysql.time_zone VALUES (4711, 'N')",
		"REPLACE INTO mysql.time_zone_name VALUES ('Evento/Test', 4711)",
		"REPLACE INTO mysql.time_zone_transition_type VALUES (4711, 0, 7200, 1, 'SUM'), (4711, 1, 3600, 0, 'WIN')",
		fmt.Sprintf("REPLACE INTO mysql.time_zone_transition VALUES (4711, 0, 0), (4711, %d, 1)", ends))
	exec(t, admin, "SET time_zone = '+00:00'")
	exec(t, admin, "CREATE TABLE ticks (id INTEGER PRIMARY KEY, t TIMESTAMP NOT NULL)")
	tick := func(id, moment int) {
		exec(t, admin, "INSERT INTO ticks VALUES (?, FROM_UNIXTIME(?))", id, moment)
	}
	for i, moment := range []int{ends - 5400, ends - 3601, ends + 3600, ends + 5400, ends + 9000} {
		tick(i, moment)
	}
	for _, settings := range []string{"", "?parseTime=true&loc=Europe%2FBerlin"} {
		db := oneConnection(t, "mysql", dsn+settings, "SET time_zone = 'Evento/Test'")
		ids, err := pages(t, cursor.NewKeyset(cursor.MySQL, byTime()...), db, "SELECT id, t FROM ticks")
		if want := []int64{0, 1, 2, 3, 4}; err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s: the rows %v (%v), want %v", settings, ids, err, want)
		}
	}
	tick(5, ends-1800)
	tick(6, ends+1800)
	db := oneConnection(t, "mysql", dsn, "SET time_zone = 'Evento/Test'")
	if ids, err := pages(t, cursor.NewKeyset(cursor.MySQL, byTime()...), db, "SELECT id, t FROM ticks"); err == nil || !strings.Contains(err.Error(), "set time_zone to '+00:00'") {
		t.Errorf("in the hour that is shown twice: the rows %v (%v), want them refused with the remedy", ids, err)
	}
	ids, err := pages(t, cursor.NewKeyset(cursor.MySQL, byTime()...), admin, "SELECT id, t FROM ticks")
	if want := []int64{0, 1, 5, 6, 2, 3, 4}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("by UTC: the rows %v (%v), want %v", ids, err, want)
	}
}

// A column that has another type now does not take a cursor of the old one.
func TestKeysetTypeChanges(t *testing.T) {
	t.Parallel()
	db := oneConnection(t, "mysql", testserver.MySQL(t), "CREATE TABLE sizes (id INTEGER PRIMARY KEY, t ENUM('s', 'm', 'l') NOT NULL)",
		"INSERT INTO sizes VALUES (1, 's'), (2, 'm'), (3, 'l')")
	keyset := cursor.NewKeyset(cursor.MySQL, byTime()...)
	page, err := keyset.Read(t.Context(), db, cursor.Forward(1, ""), scanAt, "SELECT id, t FROM sizes")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, "ALTER TABLE sizes MODIFY t VARCHAR(5) NOT NULL")
	if page, err := keyset.Read(t.Context(), db, cursor.Forward(1, page.PageInfo.EndCursor), scanAt, "SELECT id, t FROM sizes"); !errors.Is(err, cursor.ErrForeign) {
		t.Errorf("%+v, %v, want ErrForeign", page, err)
	}
}
