// Reading many rows from the driver itself: database/sql locks and converts for
// each of them.

package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"io"
)

// stream calls each with the values of every row, until it wants no more. The rest is
// not read then, and the connection is dropped unless it is in a caller's transaction.
// Bytes among the values are valid during the call. Args are int64 or string.
//
// Why: docs/decisions.md, "A page cut by size drops its connection".
func (s *session) stream(ctx context.Context, text string, args []any, columns int, each func(values []sqldriver.Value) (more bool, err error)) error {
	return s.failed(s.conn.Raw(func(c any) error {
		conn := c.(sqldriver.Conn)
		stmt, err := s.driverStmt(ctx, conn, text)
		if err != nil {
			return err
		}
		named := make([]sqldriver.NamedValue, len(args))
		for i, v := range args {
			named[i] = sqldriver.NamedValue{Ordinal: i + 1, Value: v}
		}
		rows, err := query(ctx, stmt, named)
		if err != nil {
			return err
		}
		values := make([]sqldriver.Value, columns)
		for {
			switch err := rows.Next(values); {
			case err == io.EOF: //nolint:errorlint // as the driver's interface says
				return rows.Close()
			case err != nil:
				return errors.Join(err, rows.Close())
			}
			switch more, err := each(values); {
			case err != nil:
				return errors.Join(err, rows.Close())
			case !more && s.tx != nil:
				return rows.Close() // the connection is needed
			case !more:
				s.broken = true
				_ = conn.Close()
				return nil
			}
		}
	}))
}

// driverStmt prepares a statement, once.
func (s *session) driverStmt(ctx context.Context, conn sqldriver.Conn, text string) (stmt sqldriver.Stmt, err error) {
	if stmt, ok := s.driverStmts[text]; ok {
		return stmt, nil
	}
	if len(s.driverStmts) >= maxStatements {
		for _, stmt := range s.driverStmts {
			_ = stmt.Close()
		}
		clear(s.driverStmts)
	}
	stmt, err = prepare(ctx, conn, text)
	if err == nil {
		s.driverStmts[text] = stmt
	}
	return stmt, err
}

func prepare(ctx context.Context, conn sqldriver.Conn, text string) (sqldriver.Stmt, error) {
	if c, ok := conn.(sqldriver.ConnPrepareContext); ok {
		return c.PrepareContext(ctx, text)
	}
	return conn.Prepare(text)
}

func query(ctx context.Context, stmt sqldriver.Stmt, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if q, ok := stmt.(sqldriver.StmtQueryContext); ok {
		return q.QueryContext(ctx, args)
	}
	return stmt.Query(values(args)) //nolint:staticcheck // a driver that wraps the real one may have no other
}

func values(args []sqldriver.NamedValue) []sqldriver.Value {
	list := make([]sqldriver.Value, len(args))
	for i := range args {
		list[i] = args[i].Value
	}
	return list
}
