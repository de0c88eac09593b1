// PostgreSQL's errors in evento's terms.

package postgres

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evento-go/evento"
)

// SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	readOnlyTransaction   = "25006"
	inFailedTransaction   = "25P02"
	idleInTransaction     = "25P03"
	divisionByZero        = "22012"
	insufficientPrivilege = "42501"
	diskFull              = "53100"
	outOfMemory           = "53200"
	lockNotAvailable      = "55P03"
	queryCanceled         = "57014"
	uniqueViolation       = "23505"
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
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
	if errors.Is(err, evento.ErrTxRefused) {
		return err // whatever their statements failed with
	}
	switch code(err) {
	case readOnlyTransaction:
		return fmt.Errorf("%w: %w", evento.ErrReadOnly, err)
	case diskFull:
		return fmt.Errorf("%w: %w", evento.ErrFull, err)
	}
	return err
}

// failsAll reports whether every commit would currently fail with this error. Tried one
// by one, the last would wait for the timeouts of all.
func failsAll(err error) bool {
	switch code(err) {
	case readOnlyTransaction, diskFull, outOfMemory, lockNotAvailable, queryCanceled, insufficientPrivilege:
		return true
	}
	return transient(err)
}

// transient reports whether the server gave up a transaction, of which nothing is
// left then, for the sake of another.
func transient(err error) bool {
	return code(err) == serializationFailure || code(err) == deadlockDetected
}

// unknown reports whether a batch that failed with err may have been committed all the
// same. The server did not answer, or it ended the session, which it may do after the
// commit too; a pool such as PgBouncer does so when its own connection is lost.
func unknown(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return true
	}
	switch cmp.Or(e.SeverityUnlocalized, e.Severity) {
	case "FATAL", "PANIC":
		return e.Code != idleInTransaction // that was before
	}
	return false
}

// unsent reports whether a batch that failed with err was not sent: there was no
// connection for it.
func unsent(err error) bool {
	var e *pgconn.ConnectError
	return pgconn.SafeToRetry(err) || errors.As(err, &e)
}
