// Connections with their settings and prepared statements, and the pool of
// those that calls use.

package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
)

// openDSN makes a handle whose connections behave as this package needs.
func openDSN(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("%w mysql DSN: %w", evento.ErrInvalid, err)
	}
	if cfg.DBName == "" {
		return nil, fmt.Errorf("%w mysql DSN: it names no database", evento.ErrInvalid)
	}
	cfg.InterpolateParams = false
	cfg.MultiStatements = true // for the end of a flush; no text has anything of a caller's in it
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
		return nil, err
	}
	s := &session{conn: conn, stmts: map[string]*sql.Stmt{}, driverStmts: map[string]sqldriver.Stmt{}}
	err = s.readSettings(ctx)
	for _, text := range []string{ownSettings, autocommit, isolation} {
		if err == nil {
			err = s.run(ctx, text)
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

const (
	ownSettings = "SET character_set_client = binary, character_set_results = binary, collation_connection = binary, " +
		"sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', innodb_lock_wait_timeout = 10"
	autocommit = "SET autocommit = 1"
	isolation  = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
)

// readSettings notes what ownSettings is going to change.
func (s *session) readSettings(ctx context.Context) error {
	var client, results, collation, mode, zone sql.NullString
	var timeout int64
	if err := s.conn.QueryRowContext(ctx, "SELECT @@max_allowed_packet, @@character_set_client, @@character_set_results, @@collation_connection, @@sql_mode, @@time_zone, @@innodb_lock_wait_timeout").
		Scan(&s.maxPacket, &client, &results, &collation, &mode, &zone, &timeout); err != nil {
		return s.failed(err)
	}
	quoted := func(v sql.NullString) string {
		if !v.Valid {
			return "NULL"
		}
		return "'" + v.String + "'" // names of the server's, which have no quotes
	}
	s.callers = "SET character_set_client = " + quoted(client) + ", character_set_results = " + quoted(results) + ", collation_connection = " + quoted(collation) +
		", sql_mode = " + quoted(mode) + ", time_zone = " + quoted(zone) + ", innodb_lock_wait_timeout = " + strconv.FormatInt(timeout, 10)
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
	if err != nil && (!errors.As(err, &said) || lost(err)) {
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

// pool lends sessions.
type pool struct {
	db    *sql.DB
	slots chan struct{}

	mu   sync.Mutex
	idle []*session
}

func newPool(db *sql.DB, size int) *pool {
	return &pool{db: db, slots: make(chan struct{}, size)}
}

// get lends a session, as soon as one is free.
func (p *pool) get(ctx context.Context, closing <-chan struct{}) (*session, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-closing:
		return nil, evento.ErrClosed
	}
	select {
	case <-closing:
		<-p.slots
		return nil, evento.ErrClosed
	default:
	}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	s, err := newSession(ctx, p.db)
	if err != nil {
		<-p.slots
	}
	return s, err
}

func (p *pool) put(s *session) {
	defer func() { <-p.slots }()
	if s.broken {
		s.close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, s)
}

// close waits until all sessions are back.
func (p *pool) close() {
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		s.close()
	}
	p.idle = nil
}

// attempts is how often something is tried whose connection is lost under it.
// Sessions may have idled for so long that the server has ended all of them.
const attempts = 3

// use lends fn a session, that of the transaction to which ctx belongs if it
// does. Fn may be called again, on another session, when the connection is
// lost: doing it twice must be the same as once.
func (ex *Executor) use(ctx context.Context, fn func(s *session) error) error {
	if err := ex.check(ctx); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.do(ctx, fn)
	}
	s, err := ex.lend(ctx, fn)
	if err != nil {
		return err
	}
	ex.sessions.put(s)
	return nil
}

// lend is use for a session that is to be put back after fn has succeeded.
func (ex *Executor) lend(ctx context.Context, fn func(s *session) error) (*session, error) {
	for attempt := 1; ; attempt++ {
		s, err := ex.sessions.get(ctx, ex.closing)
		if err == nil {
			if err = fn(s); err == nil {
				return s, nil
			}
			ex.sessions.put(s)
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case lost(err):
			ex.sessions.forget()
		case !transient(err):
			return nil, classify(err)
		}
		if attempt >= attempts {
			return nil, classify(err)
		}
	}
}

// forget drops the idle sessions: where one was lost others may be.
func (p *pool) forget() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, s := range idle {
		s.close()
	}
}
