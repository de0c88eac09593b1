package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/evento-go/evento/executor/sqlite"
)

// A program may register another driver as "sqlite3", such as that of
// github.com/mattn/go-sqlite3: database/sql refuses a second one by a panic.
func TestRegistersNoDriver(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{".", "../../cmd/evento", "../../examples/quickstart"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), "github.com/ncruces/go-sqlite3\n") || strings.Contains(string(out), "github.com/ncruces/go-sqlite3/driver\n") {
			t.Errorf("%s needs the driver that registers itself, or not SQLite at all:\n%s", pkg, out)
		}
	}
}

// What a transaction of InTx stores and finds is what a handle of the application
// does on the same file.
func TestTxValues(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Close() //nolint:errcheck // the test is about values
	theirs := handle(t, path)
	columns := []string{"INTEGER", "REAL", "NUMERIC", "TEXT", "BLOB", "BOOLEAN", "DATE", "TIME", "DATETIME", "TIMESTAMP", "VARCHAR(20)", ""}
	moment := time.Date(2026, 11, 27, 10, 0, 0, 123_456_789, time.FixedZone("", 3600))
	values := []any{
		nil, 0, 1, 7, -1, int64(math.MaxInt64), int8(3), uint16(9), 0.5, math.Inf(1), "", "a", "zo\x00e", "1", "2026-11-27", "2026-11-27T10:00:00Z", "2026-11-27T10:00:00.500Z",
		[]byte{}, []byte{0, 255}, []byte(nil), true, false, moment, moment.UTC(), "10:00:00", 2461007.5, sql.NullInt64{}, sql.NullString{String: "x", Valid: true},
	}
	ddl := "CREATE TABLE vals (i INTEGER, who TEXT"
	for i, c := range columns {
		ddl += fmt.Sprintf(", c%d %s", i, c)
	}
	if _, err := theirs.ExecContext(t.Context(), ddl+")"); err != nil {
		t.Fatal(err)
	}
	type querier interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
	insert := func(who string, db querier) {
		t.Helper()
		for i, v := range values {
			args := []any{i, who}
			for range columns {
				args = append(args, v)
			}
			r, err := db.ExecContext(t.Context(), "INSERT INTO vals VALUES (?, ?"+strings.Repeat(", ?", len(columns))+")", args...)
			if err != nil {
				t.Fatalf("%s: %#v: %v", who, v, err)
			}
			if n, err := r.RowsAffected(); n != 1 || err != nil {
				t.Errorf("%s: %d rows (%v), want 1", who, n, err)
			}
			if id, err := r.LastInsertId(); id == 0 || err != nil {
				t.Errorf("%s: the row %d (%v)", who, id, err)
			}
		}
		if r, err := db.ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS vals (i)"); err != nil {
			t.Error(err)
		} else if n, err := r.RowsAffected(); who == "ours" && (n != 0 || err != nil) {
			t.Errorf("a statement that changes no rows has changed %d (%v)", n, err)
		}
	}
	read := func(db querier, query string, args ...any) (read [][]any, types []string) {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), query, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		columns, err := rows.ColumnTypes()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range columns {
			types = append(types, c.Name()+" "+c.DatabaseTypeName())
		}
		for rows.Next() {
			row, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			read = append(read, row)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return read, types
	}
	insert("theirs", theirs)
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		insert("ours", sqlite.Tx(ctx))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stored := func(who string) [][]any {
		columnsAs := "i"
		for i := range columns {
			columnsAs += fmt.Sprintf(", typeof(c%d), quote(c%d)", i, i)
		}
		rows, _ := read(theirs, "SELECT "+columnsAs+" FROM vals WHERE who = :who ORDER BY i", sql.Named("who", who))
		return rows
	}
	if ours, others := stored("ours"), stored("theirs"); len(ours) != len(values) || !reflect.DeepEqual(ours, others) {
		t.Errorf("stored are\n%v, by the other driver\n%v", ours, others)
	}
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		for _, query := range []string{"SELECT * FROM vals WHERE who = :who ORDER BY i", "SELECT i + 1, c3 || 'x', max(c9) FROM vals WHERE who = $who GROUP BY i", "SELECT c6, c7 AS \"at\" FROM vals WHERE @who = who ORDER BY i"} {
			ours, ourTypes := read(sqlite.Tx(ctx), query, sql.Named("who", "theirs"))
			others, theirTypes := read(theirs, query, sql.Named("who", "theirs"))
			if !reflect.DeepEqual(ourTypes, theirTypes) {
				t.Errorf("%s: the columns %q, by the other driver %q", query, ourTypes, theirTypes)
			}
			for i := range ours {
				for j := range ours[i] {
					a, b := ours[i][j], others[i][j]
					if at, ok := a.(time.Time); ok {
						if bt, ok := b.(time.Time); ok && at.Equal(bt) {
							continue
						}
					}
					if !reflect.DeepEqual(a, b) {
						t.Errorf("%s: row %d, %s: %#v, by the other driver %#v", query, i, ourTypes[j], a, b)
					}
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Mistakes in a transaction's own statements are errors, not panics.
func TestTxMistakes(t *testing.T) {
	t.Parallel()
	ex, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Close() //nolint:errcheck // the test is about statements
	if err := ex.InTx(t.Context(), func(ctx context.Context) error {
		tx := sqlite.Tx(ctx)
		for _, test := range []struct {
			text string
			args []any
			want string
		}{
			{"SELECT", nil, "incomplete input"},
			{"SELECT ?, ?", []any{1}, "expected 2 arguments, got 1"},
			{"SELECT ?", []any{1, 2}, "column index out of range"},
			{"SELECT :a", []any{sql.Named("b", 1)}, "expected 1 arguments, got 0"},
			{"SELECT ?; SELECT ?", []any{1, 2}, "more than one"},
			{"-- nothing", []any{1}, "there is none in"},
			{"SELECT ?", []any{struct{}{}}, "unsupported type struct {}"},
		} {
			_, err := tx.ExecContext(ctx, test.text, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q of %v: %v, want %q", test.text, test.args, err, test.want)
			}
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE a (i); CREATE TABLE b (i); INSERT INTO a VALUES (1)"); err != nil {
			t.Errorf("several statements: %v", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := tx.ExecContext(ended, "INSERT INTO a VALUES (2)"); err == nil {
			t.Error("a statement with an ended context was executed")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
