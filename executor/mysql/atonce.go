// A flush in one round trip, for a writer alone.

package mysql

import (
	"context"
	sqldriver "database/sql/driver"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/sqlstore"
)

// mostAtOnce bounds the size of a write that is sent at once: as text, its bytes are
// sent as two digits each.
const mostAtOnce = 8 << 10

// isQuiet reports whether the next flush will probably have one call and find the counter
// where the last one has left it.
func (w *writer) isQuiet() bool {
	return w.quiet && w.s != nil && !w.s.broken && *w.s.several && w.position >= 0
}

// flushAtOnce commits a call without having asked for the counter first: the statements
// themselves see to it that nobody has appended since the last flush. If somebody has, or
// more than one call waits, it does what other flushes do.
//
// Why: docs/decisions.md, "MySQL: a writer alone commits in one round trip".
func (w *writer) flushAtOnce(take func() (context.Context, []*call)) {
	ctx, calls := take()
	w.quiet = false
	if len(calls) == 1 && w.storeAtOnce(ctx, calls[0]) {
		return
	}
	at, err := w.relock(ctx)
	if err != nil {
		finish(calls, err)
		return
	}
	w.store(ctx, calls, at)
}

// storeAtOnce judges a call by the places that are known and, if that accepts it, sends
// and finishes it. It reports whether the call is finished. If not, nothing was stored.
func (w *writer) storeAtOnce(ctx context.Context, c *call) (finished bool) {
	op := c.Request
	tx := w.transaction(ctx, counter{w.position, w.recordedAt}, false)
	tx.local = true
	tx.tail = sqlstore.TailOf(&w.ex.recent, w.ex.positions, w.position, isConditional(c), tx.page)
	tx.needPlaces(&op.Write)
	if len(tx.needed) > 0 || op.Size(rowSpare) > mostAtOnce {
		return false
	}
	if err := op.apply(tx); err != nil || op.Refusal != nil || !tx.appended {
		return false
	}
	if !w.s.isAlive(ctx) {
		w.rollback()
		return false
	}
	if len(appendqueue.Hold([]*call{c})) == 0 {
		return true
	}
	err := w.s.run(ctx, tx.atOnce())
	switch {
	case err == nil:
		tx.acknowledge(c)
		w.quiet = true
	case w.s.endsBefore(ctx, tx.position):
		w.rollback()
		appendqueue.Release([]*call{c})
		return false
	default:
		w.settle(ctx, c, w.s.unknown(ctx, err))
	}
	return true
}

// isAlive looks whether the server has ended the connection, without a round trip.
func (s *session) isAlive(ctx context.Context) bool {
	return s.failed(s.conn.Raw(func(c any) error {
		if c, ok := c.(sqldriver.SessionResetter); ok {
			return c.ResetSession(ctx)
		}
		return nil
	})) == nil
}

// endsBefore reports whether statements of atOnce have certainly failed before the
// counter got its new position, and so before COMMIT.
func (s *session) endsBefore(ctx context.Context, position int64) bool {
	if s.broken {
		return false
	}
	var last int64
	found, err := s.row(ctx, "SELECT LAST_INSERT_ID()", nil, &last)
	return err == nil && found && last != position
}

// settle finds out what became of a call whose outcome is unknown, by making it again.
// It is stored once at most: should what was sent first still be on its way, it does not
// find the counter where it expects it.
func (w *writer) settle(ctx context.Context, c *call, doubt error) {
	w.rollback()
	c.Request.Write.Retry = true
	at, err := w.relock(ctx)
	if err == nil {
		err = w.commit(ctx, []*call{c}, at, true)
	}
	if err != nil {
		w.rollback()
		c.Finish(doubt)
	}
}

// atOnce is the whole transaction. Its first statement waits for nobody. The second fails
// unless the counter is where it was left, since NULL is no position. The third tells the
// session that it was reached. What is a caller's stands there as hexadecimal digits. Tags
// are inserted between the second and the third.
func (tx *transaction) atOnce() string {
	var rows []string
	for row := range slices.Chunk(tx.args, rowColumns) {
		values := make([]string, rowColumns)
		for i, v := range row {
			values[i] = literal(v)
		}
		if rows == nil {
			values[0] = fmt.Sprintf("IF(@evento_at = %d, %s, NULL)", tx.w.position, values[0])
		}
		rows = append(rows, "("+strings.Join(values, ",")+")")
	}
	text := "SET @evento_at = (SELECT position FROM evento_counter WHERE id = 1 FOR UPDATE NOWAIT); " +
		insertRows + strings.Join(rows, ",")
	if len(tx.tags) > 0 {
		text += "; " + insertTagsText(tx.tags)
	}
	return text + fmt.Sprintf("; UPDATE evento_counter SET position = LAST_INSERT_ID(%d), recorded_at = %d WHERE id = 1; COMMIT", tx.position, tx.now)
}

// literal is a parameter of a row as text.
func literal(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		return "x'" + hex.EncodeToString([]byte(v)) + "'"
	case []byte:
		return "x'" + hex.EncodeToString(v) + "'"
	}
	return "NULL"
}
