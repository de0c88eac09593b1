// The caller's *sql.Tx: it uses the connection of a session, and can neither end nor
// commit the transaction.

package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	"github.com/evento-go/evento"
)

var errNotTheirs = fmt.Errorf("%w call: InTx ends the transaction when its function returns; nothing was stored", evento.ErrInvalid)

// guard lends the connection of a session that is in a transaction to a handle of its
// own. The caller's statements have the settings of the caller's handle; the session's
// own statements have others. Why: docs/decisions.md, "MySQL: InTx lends a connection,
// and knows whether it was ended".
type guard struct {
	sqldriver.Conn // of the session
	s              *session
	callers        bool  // the settings are the caller's now
	used           bool  // they were
	ended          bool  // by Commit or Rollback
	deadlock       error // the server's, which has rolled the transaction back
}

// note keeps the error of a statement that ended the transaction: the caller may pass
// over it.
func (g *guard) note(err error) {
	if number(err) == deadlock {
		g.deadlock = err
	}
}

// lend makes a handle of the session's connection, and a transaction on it. Of
// all that is done with the handle only statements come to the server.
func (g *guard) lend(ctx context.Context) (conn *sql.Conn, tx *sql.Tx, err error) {
	if err := g.s.conn.Raw(func(c any) error {
		g.Conn = c.(sqldriver.Conn)
		return nil
	}); err != nil {
		return nil, nil, g.s.failed(err)
	}
	// The handle is of one connection; what is left of it when that is closed
	// is a goroutine that waits for its end.
	db := sql.OpenDB(g)
	defer func() { err = errors.Join(err, db.Close()) }()
	if conn, err = db.Conn(ctx); err != nil {
		return nil, nil, err
	}
	// It ends with InTx, not with a context.
	if tx, err = conn.BeginTx(context.WithoutCancel(ctx), nil); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, tx, nil
}

// Connect implements [sqldriver.Connector].
func (g *guard) Connect(context.Context) (sqldriver.Conn, error) { return g, nil }

// Driver implements [sqldriver.Connector].
func (g *guard) Driver() sqldriver.Driver { return g }

// Open implements [sqldriver.Driver].
func (g *guard) Open(string) (sqldriver.Conn, error) { return g, nil }

// Close leaves the connection to the session.
func (g *guard) Close() error { return nil }

// BeginTx implements [sqldriver.ConnBeginTx]: the session has begun already.
func (g *guard) BeginTx(context.Context, sqldriver.TxOptions) (sqldriver.Tx, error) {
	return callersEnd{g}, nil
}

// callersEnd ends what the caller has of a transaction.
type callersEnd struct{ g *guard }

func (e callersEnd) Commit() error {
	e.g.ended = true
	return errNotTheirs
}

func (e callersEnd) Rollback() error {
	e.g.ended = true
	return nil
}

// enter makes the settings those of the caller.
func (g *guard) enter(ctx context.Context) error {
	if g.callers {
		return nil
	}
	g.callers, g.used = true, true
	return g.s.run(ctx, g.s.callers)
}

// leave makes the settings those of the session.
func (g *guard) leave(ctx context.Context) error {
	if !g.callers {
		return nil
	}
	g.callers = false
	return g.s.run(ctx, ownSettings)
}

// ExecContext implements [sqldriver.ExecerContext].
func (g *guard) ExecContext(ctx context.Context, text string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	c, ok := g.Conn.(sqldriver.ExecerContext)
	if !ok {
		return nil, sqldriver.ErrSkip
	}
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	r, err := c.ExecContext(ctx, text, args)
	g.note(err)
	return r, err
}

// QueryContext implements [sqldriver.QueryerContext].
func (g *guard) QueryContext(ctx context.Context, text string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	c, ok := g.Conn.(sqldriver.QueryerContext)
	if !ok {
		return nil, sqldriver.ErrSkip
	}
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, text, args)
	g.note(err)
	return rows, err
}

// PrepareContext implements [sqldriver.ConnPrepareContext].
func (g *guard) PrepareContext(ctx context.Context, text string) (sqldriver.Stmt, error) {
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	stmt, err := prepare(ctx, g.Conn, text)
	if err != nil {
		return nil, err
	}
	return &guardStmt{stmt, g}, nil
}

// CheckNamedValue implements [sqldriver.NamedValueChecker].
func (g *guard) CheckNamedValue(v *sqldriver.NamedValue) error { return checkValue(g.Conn, v) }

func checkValue(by any, v *sqldriver.NamedValue) error {
	if c, ok := by.(sqldriver.NamedValueChecker); ok {
		return c.CheckNamedValue(v)
	}
	return sqldriver.ErrSkip
}

// guardStmt is a prepared statement of the caller's.
type guardStmt struct {
	sqldriver.Stmt
	g *guard
}

// ExecContext implements [sqldriver.StmtExecContext].
func (s *guardStmt) ExecContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if err := s.g.enter(ctx); err != nil {
		return nil, err
	}
	r, err := exec(ctx, s.Stmt, args)
	s.g.note(err)
	return r, err
}

func exec(ctx context.Context, stmt sqldriver.Stmt, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if e, ok := stmt.(sqldriver.StmtExecContext); ok {
		return e.ExecContext(ctx, args)
	}
	return stmt.Exec(values(args)) //nolint:staticcheck // a driver that wraps the real one may have no other
}

// QueryContext implements [sqldriver.StmtQueryContext].
func (s *guardStmt) QueryContext(ctx context.Context, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if err := s.g.enter(ctx); err != nil {
		return nil, err
	}
	rows, err := query(ctx, s.Stmt, args)
	s.g.note(err)
	return rows, err
}

// CheckNamedValue implements [sqldriver.NamedValueChecker].
func (s *guardStmt) CheckNamedValue(v *sqldriver.NamedValue) error { return checkValue(s.Stmt, v) }
