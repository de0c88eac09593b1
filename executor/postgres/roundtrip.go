// What is on its way to the server, and how it is called back.

package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// hurryAfter is how long a caller that gave up waits for what is on its
	// way: it is there long before, unless somebody keeps it waiting.
	hurryAfter = 20 * time.Millisecond
	// hurryFor is how long the server may take to answer when it was asked to
	// stop.
	hurryFor = time.Second
)

// errNotReplicated: a COMMIT that waits for standbys and is cancelled says that it
// has committed, though they may not have it. (The server warns of it in a notice,
// which only the options of the caller's pool could have taken.)
var errNotReplicated = errors.New("the commit was cancelled while it waited for standbys: it is committed here, and may not be replicated")

// roundTrip is a transaction on its way to the server. When it is called back the
// server is asked to cancel the statement. What it says then is definite: the
// statement was cancelled and nothing stored, or it was too late. One is
// on its way at a time, but for being called back by anybody.
type roundTrip struct {
	mu       sync.Mutex
	conn     *pgx.Conn // nil: nothing is on its way
	number   int
	recalled bool
}

// begin says that conn carries the transaction until end.
func (f *roundTrip) begin(conn *pgx.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn, f.recalled = conn, false
	f.number++
}

// end reports whether it was called back, and what its error is. Its connection is of
// no use when it was: the server may apply the cancellation to the next statement.
func (f *roundTrip) end(err error, replicated bool) (recalled bool, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn = nil
	if err == nil && f.recalled && replicated {
		err = errNotReplicated
	}
	return f.recalled, err
}

// recall calls back the transaction that is on its way now, if it still is after a
// while. It does not wait.
func (f *roundTrip) recall() {
	f.mu.Lock()
	number, underWay := f.number, f.conn != nil
	f.mu.Unlock()
	if underWay {
		time.AfterFunc(hurryAfter, func() { f.cancel(number) })
	}
}

// cancel asks the server to cancel what is on its way. It does not keep end waiting: a
// connection that was called back is used for nothing else.
func (f *roundTrip) cancel(number int) {
	conn := f.callBack(number)
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), hurryFor)
	defer cancel()
	patience := hurryFor
	if err := conn.CancelRequest(ctx); err != nil {
		patience = 0 // the round trip fails by itself: its outcome is unknown
	}
	time.AfterFunc(patience, func() { f.cut(number, conn.Conn().SetDeadline) })
}

// callBack marks a transaction as called back, and returns its connection; nil: it
// came back before, or was called back already.
func (f *roundTrip) callBack(number int) *pgconn.PgConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil || f.number != number || f.recalled {
		return nil
	}
	f.recalled = true
	return f.conn.PgConn()
}

// cut breaks the connection of a transaction that does not come back.
func (f *roundTrip) cut(number int, setDeadline func(time.Time) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil && f.number == number {
		_ = setDeadline(time.Now())
	}
}
