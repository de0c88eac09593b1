// PostgreSQL's errors in evento's terms.

package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evento-go/evento"
)

// SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	readOnlyTransaction  = "25006"
	divisionByZero       = "22012"
	diskFull             = "53100"
	queryCanceled        = "57014"
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
)

// code is the SQLSTATE of an error that the server sent; "" of others.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// classify adds the error of evento that callers match.
func classify(err error) error {
	switch code(err) {
	case readOnlyTransaction:
		return fmt.Errorf("%w: %w", evento.ErrReadOnly, err)
	case diskFull:
		return fmt.Errorf("%w: %w", evento.ErrFull, err)
	}
	return err
}

// unknown reports whether a batch that failed with err may have been committed
// all the same: the server did not say.
func unknown(err error) bool {
	switch code(err) {
	case "", adminShutdown, crashShutdown, cannotConnectNow:
		return true
	}
	return false
}
