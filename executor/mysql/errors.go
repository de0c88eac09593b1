// The server's errors in evento's terms.

package mysql

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/evento-go/evento"
)

// number is that of the server's error; 0: it is none.
func number(err error) uint16 {
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		return said.Number
	}
	return 0
}

// disconnected reports whether the connection is gone. database/sql says so in words of
// its own when it finds that out before it sends anything.
func disconnected(err error) bool {
	switch number(err) {
	case 0:
	case 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031: // shut down, killed, timed out
		return true
	default:
		return false
	}
	var network net.Error
	return errors.Is(err, sqldriver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &network)
}

// transient reports whether the server gave up on a transaction that may
// succeed when it is tried again: deadlock, lock wait timeout.
func transient(err error) bool {
	n := number(err)
	return n == lockWaitTimeout || n == deadlock
}

// duplicate reports whether a unique key was there already.
func duplicate(err error) bool { return number(err) == 1062 }

func isReadOnly(err error) bool {
	n := number(err)
	return n == 1290 || n == 1792 || n == 1836
}

// Numbers of the server's errors.
const (
	lockWaitTimeout = 1205
	deadlock        = 1213
	noSavepoint     = 1305 // there is none of that name
)

// classify adds the error of evento that callers match.
func classify(err error) error {
	switch n := number(err); {
	case err == nil:
		return nil
	case isReadOnly(err):
		return fmt.Errorf("%w: %w", evento.ErrReadOnly, err)
	case n == 1021 || n == 1114 || n == 28:
		return fmt.Errorf("%w: %w", evento.ErrFull, err)
	case n == 1153 || errors.Is(err, mysql.ErrPktTooLarge):
		return fmt.Errorf("%w: max_allowed_packet: %w", evento.ErrTooLarge, err)
	}
	return err
}
