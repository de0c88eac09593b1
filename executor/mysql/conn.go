// Connections with their settings and prepared statements.

package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
)

// openDSN makes a handle whose connections behave as this package needs.
func openDSN(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errDSN
	}
	if cfg.DBName == "" {
		return nil, fmt.Errorf("%w mysql DSN: it names no database", evento.ErrInvalid)
	}
	cfg.InterpolateParams = false
	cfg.MultiStatements = true // for the end of a flush; what is a caller's is in a text as hexadecimal digits only
	cfg.MaxAllowedPacket = 0   // the server's
	cfg.Logger = quiet{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w mysql DSN: %w", evento.ErrInvalid, err)
	}
	return sql.OpenDB(connector), nil
}

// quiet drops what the driver would print: the errors that it tells of are
// returned as well.
type quiet struct{}

func (quiet) Print(...any) {}

// session is a connection. One goroutine uses it at a time.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	// driverStmts are those of stream, which end with the connection.
	driverStmts map[string]sqldriver.Stmt
	maxPacket   int  // the connection's max_allowed_packet, which does not change
	broken      bool // not to be used again
	reserved    bool // it is the one that is kept apart
	// lastRows is the number of rows of the last insert of more than rowStep, and exactRows
	// that which has a statement of its own; 0: none. See rowsAtOnce.
	lastRows, exactRows int

	callers string     // the statement that sets what the handle had set
	access  string     // of transactions, as the handle or the server had set it
	tx      *callersTx // that it is in; nil: none
	// several is whether it takes several statements at once, which a handle
	// of the caller's may not; nil: it was not tried yet.
	several *bool
}

// maxStatements bounds the prepared statements of a session. More texts than
// that come only from queries with ever other shapes.
const maxStatements = 200

// newSession takes a connection out of the handle and makes the meaning of
// statements independent of the server's and the DSN's settings: names are
// bytes, nothing is cut to fit, and what is committed is seen at once.
func newSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, ended(ctx, err)
	}
	s := &session{conn: conn, stmts: map[string]*sql.Stmt{}, driverStmts: map[string]sqldriver.Stmt{}}
	err = s.readSettings(ctx)
	for _, text := range []string{ownSettings, autocommit, isolation} {
		if err == nil {
			err = s.run(ctx, text)
		}
	}
	if err == nil {
		err = s.readAccess(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// ended is the error of a connection that was not made. A dial ends at the context's
// deadline by a clock of its own, and so before the context. Somebody else who waits for
// the same flush could not tell that from an error of the server.
func ended(ctx context.Context, err error) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

const (
	autocommit = "SET autocommit = 1"
	isolation  = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
)

// A setting is a variable of the session. The server's file, the DSN or the handle's
// owner may have set it to what would change the meaning of our statements, and of a
// caller's own, which have theirs.
type setting struct {
	name, own string
	isText    bool
}

var settings = []setting{
	{"character_set_client", "binary", true},
	{"character_set_results", "binary", true},
	{"collation_connection", "binary", true},
	{"sql_mode", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", true},
	{"time_zone", "+00:00", true},
	{"innodb_lock_wait_timeout", "10", false},
	{"sql_select_limit", "18446744073709551615", false}, // pages are not cut
	{"sql_big_selects", "1", false},
	{"sql_safe_updates", "0", false},
	{"unique_checks", "1", false},
	{"foreign_key_checks", "1", false},
}

// ownSettings are the executor's. Two are not given back: a clock that stands still, and
// what a COMMIT does beside.
var ownSettings = setAll(settings, func(i int) string { return settings[i].own }) + ", completion_type = 0, timestamp = DEFAULT"

// setAll is the statement that sets each to a value.
func setAll(all []setting, value func(i int) string) string {
	parts := make([]string, len(all))
	for i, s := range all {
		v := value(i)
		if s.isText {
			v = "'" + v + "'" // names of the server's, which have no quotes
		}
		parts[i] = s.name + " = " + v
	}
	return "SET " + strings.Join(parts, ", ")
}

// readSettings notes what ownSettings is going to change.
func (s *session) readSettings(ctx context.Context) error {
	text := "SELECT @@max_allowed_packet"
	values := make([]string, len(settings))
	into := []any{&s.maxPacket}
	for i, v := range settings {
		text += ", COALESCE(@@" + v.name + ", 'NULL')"
		into = append(into, &values[i])
	}
	if err := s.conn.QueryRowContext(ctx, text).Scan(into...); err != nil {
		return s.failed(err)
	}
	s.callers = strings.ReplaceAll(setAll(settings, func(i int) string { return values[i] }), "'NULL'", "NULL")
	return nil
}

// readAccess notes whether transactions are to be read-only.
func (s *session) readAccess(ctx context.Context) error {
	// One is MySQL's and the other MariaDB's; newer ones of it have both.
	var name, readOnly string
	if err := s.conn.QueryRowContext(ctx, "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_read_only', 'tx_read_only')").Scan(&name, &readOnly); err != nil {
		return s.failed(err)
	}
	if s.access = "READ WRITE"; readOnly == "ON" {
		s.access = "READ ONLY"
	}
	return nil
}

// close ends the connection: as its settings were changed it is not given back
// to the handle.
func (s *session) close() {
	for _, stmt := range s.stmts {
		_ = stmt.Close()
	}
	_ = s.conn.Raw(func(any) error { return sqldriver.ErrBadConn })
	_ = s.conn.Close()
}

// failed notes an error after which the connection is not to be trusted.
func (s *session) failed(err error) error {
	var said *mysql.MySQLError
	if err != nil && (!errors.As(err, &said) || disconnected(err)) {
		s.broken = true
	}
	return err
}

// run executes a statement without parameters.
func (s *session) run(ctx context.Context, text string) error {
	_, err := s.conn.ExecContext(ctx, text)
	return s.failed(err)
}

// takesSeveral reports whether it takes several statements at once.
func (s *session) takesSeveral(ctx context.Context) (bool, error) {
	if s.several == nil {
		err := s.run(ctx, "DO 1; DO 1")
		if err != nil && (s.broken || ctx.Err() != nil) {
			return false, err
		}
		s.several = new(err == nil)
	}
	return *s.several, nil
}

// runAll is run for several statements, in one round trip where that can be.
// It stops at the first that fails.
func (s *session) runAll(ctx context.Context, texts ...string) error {
	several, err := s.takesSeveral(ctx)
	if err != nil {
		return err
	}
	if several {
		return s.run(ctx, strings.Join(texts, "; "))
	}
	for _, text := range texts {
		if err := s.run(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt, ok := s.stmts[text]; ok {
		return stmt, nil
	}
	if len(s.stmts) >= maxStatements {
		for _, stmt := range s.stmts {
			_ = stmt.Close()
		}
		clear(s.stmts)
	}
	stmt, err := s.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, s.failed(err)
	}
	s.stmts[text] = stmt
	return stmt, nil
}

// forget closes a statement, if it was prepared.
func (s *session) forget(text string) {
	if stmt, ok := s.stmts[text]; ok {
		_ = stmt.Close()
		delete(s.stmts, text)
	}
}

func (s *session) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	stmt, err := s.stmt(ctx, text) //nolint:sqlclosecheck // kept with the session
	if err != nil {
		return nil, err
	}
	r, err := stmt.ExecContext(ctx, args...)
	return r, s.failed(err)
}

// query calls each for every row; each scans it.
func (s *session) query(ctx context.Context, text string, args []any, each func(rows *sql.Rows) error) (err error) {
	stmt, err := s.stmt(ctx, text) //nolint:sqlclosecheck // kept with the session
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return s.failed(err)
	}
	defer func() { err = s.failed(errors.Join(err, rows.Close())) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// row scans the first row, if there is one.
func (s *session) row(ctx context.Context, text string, args []any, into ...any) (found bool, err error) {
	err = s.query(ctx, text, args, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(into...)
	})
	return found, err
}

// counter is the row that orders all commits.
type counter struct{ position, recordedAt int64 }

func (s *session) counter(ctx context.Context) (counter, error) {
	return s.readCounter(ctx, "SELECT position, recorded_at FROM evento_counter WHERE id = 1")
}

func (s *session) lockCounter(ctx context.Context) (counter, error) {
	return s.readCounter(ctx, "SELECT position, recorded_at FROM evento_counter WHERE id = 1 FOR UPDATE")
}

func (s *session) readCounter(ctx context.Context, text string) (c counter, err error) {
	found, err := s.row(ctx, text, nil, &c.position, &c.recordedAt)
	if err == nil && !found {
		err = errors.New("the table evento_counter is empty")
	}
	return c, err
}

const barrier = "UPDATE evento_barrier SET n = n + 1 WHERE id = 1"

func (s *session) barrier(ctx context.Context) error {
	_, err := s.exec(ctx, barrier)
	return err
}
