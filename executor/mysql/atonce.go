// A flush in one round trip, or two for a large one, for a writer alone.

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

// mostAsText bounds the size of a write whose rows are sent as text, with two digits for
// each byte: those of a larger one are parameters of a statement before.
const mostAsText = 8 << 10

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
	large := op.Size(rowSpare) > mostAsText
	if len(tx.needed) > 0 || large && !w.s.hasInsertOf(op.rows()) {
		return false
	}
	if err := op.apply(tx); err != nil || op.Refusal != nil || !tx.appended {
		return false
	}
	if !w.s.isAlive(ctx) {
		w.rollback()
		return false
	}
	if large && !tx.insertFirst() {
		w.rollback()
		return false
	}
	if len(appendqueue.Hold([]*call{c})) == 0 {
		if large {
			w.rollback()
		}
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

// guardedInsertOf is insertOf for a store whose last event is at a position, the first
// parameter: NULL is no position. It locks the counter, and waits for nobody.
func guardedInsertOf(n int) string {
	return strings.Replace(insertOf(n), "(?", "(IF((SELECT position FROM evento_counter WHERE id = 1 FOR UPDATE NOWAIT) = ?, ?, NULL)", 1)
}

// rows is how many rows a write inserts.
func (op *appendOp) rows() (n int) {
	for i := range op.Write.Appends {
		n += len(op.Write.Appends[i].Events)
	}
	return n
}

// insertFirst inserts the rows, if the counter is where it was left. If not, the transaction
// is to be rolled back.
func (tx *transaction) insertFirst() bool {
	n := len(tx.args) / rowColumns
	tx.s.lastRows = n
	_, err := tx.s.exec(tx.ctx, guardedInsertOf(n), append([]any{tx.w.position}, tx.args...)...)
	tx.args = tx.args[:0]
	return err == nil
}

// atOnce is the whole transaction, or what is left of it behind insertFirst. Its first
// statement waits for nobody. The second fails unless the counter is where it was left,
// since NULL is no position. The third tells the session that it was reached. What is a
// caller's stands there as hexadecimal digits. Tags are inserted between the second and the
// third.
func (tx *transaction) atOnce() string {
	var parts []string
	if len(tx.args) > 0 {
		parts = append(parts, "SET @evento_at = (SELECT position FROM evento_counter WHERE id = 1 FOR UPDATE NOWAIT)", tx.rowsAsText())
	}
	if len(tx.tags) > 0 {
		parts = append(parts, insertTagsText(tx.tags))
	}
	parts = append(parts, fmt.Sprintf("UPDATE evento_counter SET position = LAST_INSERT_ID(%d), recorded_at = %d WHERE id = 1", tx.position, tx.now), "COMMIT")
	return strings.Join(parts, "; ")
}

// rowsAsText is the insert of the rows, with their values in the text.
func (tx *transaction) rowsAsText() string {
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
	return insertRows + strings.Join(rows, ",")
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
