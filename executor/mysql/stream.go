// Reading many rows from the driver itself: database/sql locks and converts for
// each of them.

package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"io"
)

// stream calls each with the values of every row, until it wants no more: what
// is left is not read then, and the connection is dropped. Bytes among the
// values are valid during the call. Args are int64 or string.
func (s *session) stream(ctx context.Context, text string, args []any, columns int, each func(values []sqldriver.Value) (more bool, err error)) error {
	return s.failed(s.conn.Raw(func(c any) error {
		conn := c.(sqldriver.Conn)
		stmt, err := s.driverStmt(ctx, conn, text)
		if err != nil {
			return err
		}
		rows, err := query(ctx, stmt, args)
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
	if c, ok := conn.(sqldriver.ConnPrepareContext); ok {
		stmt, err = c.PrepareContext(ctx, text)
	} else {
		stmt, err = conn.Prepare(text)
	}
	if err == nil {
		s.driverStmts[text] = stmt
	}
	return stmt, err
}

func query(ctx context.Context, stmt sqldriver.Stmt, args []any) (sqldriver.Rows, error) {
	if q, ok := stmt.(sqldriver.StmtQueryContext); ok {
		named := make([]sqldriver.NamedValue, len(args))
		for i, v := range args {
			named[i] = sqldriver.NamedValue{Ordinal: i + 1, Value: v}
		}
		return q.QueryContext(ctx, named)
	}
	values := make([]sqldriver.Value, len(args))
	for i, v := range args {
		values[i] = v
	}
	return stmt.Query(values) //nolint:staticcheck // a driver that wraps the real one may have no other
}
