// A driver for database/sql, for the connection of InTx and for tools. It is not
// registered: it has no name that another driver for SQLite could want.
// Why: docs/decisions.md, "SQLite: a driver without a name".

package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// opener opens connections for a [sql.DB].
type opener func(ctx context.Context) (*sqlite3.Conn, error)

func (open opener) Connect(ctx context.Context) (sqldriver.Conn, error) {
	native, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return &sqlConn{native}, nil
}

func (open opener) Driver() sqldriver.Driver { return open }

// Open is what [sqldriver.Driver] has to have; [sql.OpenDB] does without it.
func (opener) Open(string) (sqldriver.Conn, error) {
	return nil, fmt.Errorf("%w: this driver opens one file", errors.ErrUnsupported)
}

// rawConn is a connection of this driver, or of github.com/ncruces/go-sqlite3/driver.
type rawConn interface{ Raw() *sqlite3.Conn }

type sqlConn struct{ native *sqlite3.Conn }

func (c *sqlConn) Raw() *sqlite3.Conn { return c.native }

func (c *sqlConn) Close() error { return c.native.Close() }

// during runs fn, which ends with the context.
func during(ctx context.Context, c *sqlite3.Conn, fn func() error) error {
	old := c.SetInterrupt(ctx)
	defer c.SetInterrupt(old)
	return fn()
}

func (c *sqlConn) Begin() (sqldriver.Tx, error) {
	return c.BeginTx(context.Background(), sqldriver.TxOptions{})
}

// BeginTx takes the write lock, unless the transaction only reads. That it does is for
// the mode of the connection to see to.
func (c *sqlConn) BeginTx(ctx context.Context, opts sqldriver.TxOptions) (sqldriver.Tx, error) {
	begin := "BEGIN IMMEDIATE"
	if opts.ReadOnly {
		begin = "BEGIN"
	}
	if err := during(ctx, c.native, func() error { return c.native.Exec(begin) }); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *sqlConn) Commit() error {
	err := c.native.Exec("COMMIT")
	if err != nil && !c.native.GetAutocommit() {
		err = errors.Join(err, c.Rollback())
	}
	return err
}

func (c *sqlConn) Rollback() error {
	return during(context.Background(), c.native, func() error { return c.native.Exec("ROLLBACK") })
}

func (c *sqlConn) Prepare(text string) (sqldriver.Stmt, error) {
	return c.PrepareContext(context.Background(), text)
}

func (c *sqlConn) PrepareContext(ctx context.Context, text string) (sqldriver.Stmt, error) {
	s := &sqlStmt{}
	err := during(ctx, c.native, func() (err error) {
		var rest string
		if s.Stmt, rest, err = c.native.Prepare(text); err != nil {
			return err
		}
		if s.Stmt == nil {
			return fmt.Errorf("%w statement: there is none in %q", errors.ErrUnsupported, text)
		}
		if strings.Trim(rest, " \t\r\n\f;") != "" {
			return errors.Join(fmt.Errorf("%w statement: more than one where values are bound: %q", errors.ErrUnsupported, rest), s.Close())
		}
		return nil
	})
	return s, err
}

// ExecContext executes any number of statements, when there are no values to bind.
func (c *sqlConn) ExecContext(ctx context.Context, text string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if len(args) > 0 {
		return nil, sqldriver.ErrSkip // prepared
	}
	return execute(ctx, c.native, func() error { return c.native.Exec(text) })
}

func execute(ctx context.Context, c *sqlite3.Conn, fn func() error) (sqldriver.Result, error) {
	before := c.TotalChanges()
	c.SetLastInsertRowID(0)
	if err := during(ctx, c, fn); err != nil {
		return nil, err
	}
	r := sqlResult{id: c.LastInsertRowID()}
	if c.TotalChanges() != before {
		r.rows = c.Changes()
	}
	return r, nil
}

type sqlResult struct{ id, rows int64 }

func (r sqlResult) LastInsertId() (int64, error) { return r.id, nil }
func (r sqlResult) RowsAffected() (int64, error) { return r.rows, nil }

type sqlStmt struct{ *sqlite3.Stmt }

// NumInput has database/sql not count: values may have names.
func (s *sqlStmt) NumInput() int { return -1 }

func (s *sqlStmt) Exec(args []sqldriver.Value) (sqldriver.Result, error) {
	return s.ExecContext(context.Background(), numbered(args))
}

func (s *sqlStmt) Query(args []sqldriver.Value) (sqldriver.Rows, error) {
	return s.QueryContext(context.Background(), numbered(args))
}

func numbered(args []sqldriver.Value) []sqldriver.NamedValue {
	named := make([]sqldriver.NamedValue, len(args))
	for i, v := range args {
		named[i] = sqldriver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return named
}

func (s *sqlStmt) ExecContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if err := s.bind(args); err != nil {
		return nil, err
	}
	return execute(ctx, s.Conn(), func() error { return errors.Join(s.Stmt.Exec(), s.ClearBindings()) })
}

func (s *sqlStmt) QueryContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if err := s.bind(args); err != nil {
		return nil, err
	}
	r := &sqlRows{Stmt: s.Stmt, ctx: ctx, declared: make([]string, s.ColumnCount())}
	for i := range r.declared {
		r.declared[i] = strings.ToUpper(s.ColumnDeclType(i))
	}
	return r, nil
}

// bind binds each value to its parameter: all of them must have one.
func (s *sqlStmt) bind(args []sqldriver.NamedValue) error {
	bound := 0
	for _, a := range args {
		at := []int{a.Ordinal}
		if a.Name != "" {
			at = at[:0]
			for _, prefix := range []string{":", "@", "$"} {
				if i := s.BindIndex(prefix + a.Name); i != 0 {
					at = append(at, i)
				}
			}
		}
		for _, i := range at {
			if err := s.bindValue(i, a.Value); err != nil {
				return err
			}
			bound++
		}
	}
	if want := s.BindCount(); bound != want {
		return fmt.Errorf("sql: expected %d arguments, got %d", want, bound)
	}
	return nil
}

// bindValue binds one of the types that database/sql makes of every value.
func (s *sqlStmt) bindValue(i int, v any) error {
	switch v := v.(type) {
	case bool:
		return s.BindBool(i, v)
	case int64:
		return s.BindInt64(i, v)
	case float64:
		return s.BindFloat(i, v)
	case string:
		return s.BindText(i, v)
	case []byte:
		return s.BindBlob(i, v)
	case time.Time:
		return s.BindTime(i, v, sqlite3.TimeFormatDefault)
	case nil:
		return s.BindNull(i)
	}
	return fmt.Errorf("%w value of type %T", errors.ErrUnsupported, v)
}

type sqlRows struct {
	*sqlite3.Stmt
	ctx      context.Context // of the query: for as long as its rows are read
	declared []string        // the columns' declared types, in capitals
}

func (r *sqlRows) Columns() []string {
	names := make([]string, len(r.declared))
	for i := range names {
		names[i] = r.ColumnName(i)
	}
	return names
}

func (r *sqlRows) ColumnTypeDatabaseTypeName(i int) string {
	name, _, _ := strings.Cut(r.declared[i], "(")
	return strings.TrimSpace(name)
}

func (r *sqlRows) Close() error { return errors.Join(r.Reset(), r.ClearBindings()) }

func (r *sqlRows) Next(dest []sqldriver.Value) error {
	err := during(r.ctx, r.Conn(), func() error {
		if r.Step() {
			return nil
		}
		if err := r.Err(); err != nil {
			return err
		}
		return io.EOF
	})
	if err != nil {
		return err
	}
	for i := range dest {
		dest[i] = r.value(i)
	}
	return nil
}

// value is that of a column. What the column was declared as makes a bool or a time
// of it, where it is one; and what was bound as a time comes back as one.
func (r *sqlRows) value(i int) sqldriver.Value {
	declared := r.declared[i]
	switch r.ColumnType(i) {
	case sqlite3.INTEGER:
		n := r.ColumnInt64(i)
		if declared == "BOOLEAN" && n>>1 == 0 {
			return n == 1
		}
		return asTime(declared, n)
	case sqlite3.FLOAT:
		return asTime(declared, r.ColumnFloat(i))
	case sqlite3.TEXT:
		text := r.ColumnText(i)
		if declared != "TEXT" && len(text) > 10 && text[10] == 'T' {
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.Format(time.RFC3339Nano) == text {
				return at
			}
		}
		return asTime(declared, text)
	case sqlite3.BLOB:
		return r.ColumnBlob(i, []byte{})
	}
	return nil
}

func asTime(declared string, v any) sqldriver.Value {
	switch declared {
	case "DATE", "TIME", "DATETIME", "TIMESTAMP":
		if t, err := sqlite3.TimeFormatAuto.Decode(v); err == nil {
			return t
		}
	}
	return v
}

var (
	_ sqldriver.ConnBeginTx                    = (*sqlConn)(nil)
	_ sqldriver.ConnPrepareContext             = (*sqlConn)(nil)
	_ sqldriver.ExecerContext                  = (*sqlConn)(nil)
	_ sqldriver.StmtExecContext                = (*sqlStmt)(nil)
	_ sqldriver.StmtQueryContext               = (*sqlStmt)(nil)
	_ sqldriver.RowsColumnTypeDatabaseTypeName = (*sqlRows)(nil)
)

// openFile opens a file that is there, as database/sql has it.
func openFile(path string, readOnly bool) *sql.DB {
	return sql.OpenDB(opener(func(ctx context.Context) (*sqlite3.Conn, error) {
		c, err := openNative(path, false, readOnly)
		if err != nil {
			return nil, err
		}
		err = errors.Join(c.BusyHandler(beBusy), c.CreateFunction("evento_checksum", -1, sqlite3.DETERMINISTIC, checksumFunction))
		if err == nil {
			err = shareMemory(ctx, c)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	}))
}

// shareMemory makes the shared memory of a file, with the file's permissions. What is wrong with
// the file otherwise, the first statement of the caller will say too.
func shareMemory(ctx context.Context, c *sqlite3.Conn) error {
	err := during(ctx, c, func() error { return c.Exec("SELECT 1 FROM sqlite_schema LIMIT 1") })
	if errors.Is(err, sqlite3.READONLY) {
		return needsBeside(err)
	}
	if err == nil {
		likeFile(c.Filename("main").String())
	}
	return nil
}
