// Records.

package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
)

// serverNow is the server's clock in microseconds since 1970.
const serverNow = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"

// What is read last, by the same statement, is the clock.
const (
	listRecords   = "(SELECT name, part, made, revision, changed_at, value FROM evento_record WHERE kind = ? AND name >= ? AND (name > ? OR part > ?) ORDER BY name, part LIMIT ?)" + andNow
	listRecordsOf = "(SELECT name, part, made, revision, changed_at, value FROM evento_record WHERE kind = ? AND name = ? AND part >= ? AND (part > ? OR ? = 1) ORDER BY part LIMIT ?)" + andNow
	andNow        = " UNION ALL (SELECT '', '', 0, 0, " + serverNow + ", '')"
)

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (page *evento.RecordPage, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	err = ex.useBeside(ctx, func(s *session) error {
		var states map[evento.RecordKey]state
		if page, states, err = s.records(ctx, q); err != nil {
			return err
		}
		return ex.makeRecordsDurable(ctx, s, states)
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// records reads a page of records, and the state that each is in.
func (s *session) records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, map[evento.RecordKey]state, error) {
	after, most := sqlstore.RecordsAfter(q)
	text, args := listRecords, []any{q.Kind, after.Key, after.Key, after.Part, int64(most)}
	if q.Key != "" {
		first := int64(0)
		if after.Key < q.Key {
			after.Part, first = "", 1
		}
		text, args = listRecordsOf, []any{q.Kind, q.Key, after.Part, after.Part, first, int64(most)}
	}
	var now int64
	var found []evento.Record
	states := map[evento.RecordKey]state{}
	err := s.query(ctx, text, args, func(rows *sql.Rows) error {
		r := evento.Record{RecordKey: evento.RecordKey{Kind: q.Kind}}
		var made, revision, changedAt int64
		if err := rows.Scan(&r.Key, &r.Part, &made, &revision, &changedAt, &r.Value); err != nil {
			return err
		}
		if r.Key == "" {
			now = changedAt
			return nil
		}
		r.Revision, r.ChangedAt = uint64(revision), time.UnixMicro(changedAt).UTC()
		states[r.RecordKey] = state{made, revision}
		found = append(found, r)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	// Nobody promises the order of what was put together.
	slices.SortFunc(found, func(a, b evento.Record) int { return a.Compare(b.RecordKey) })
	return sqlstore.RecordPage(found, most, time.UnixMicro(now).UTC()), states, nil
}

const (
	makeRecord   = "INSERT INTO evento_record (kind, name, part, made, revision, changed_at, value) VALUES (?, ?, ?, ?, 1, " + serverNow + ", ?)"
	changeRecord = "UPDATE evento_record SET revision = revision + 1, changed_at = " + serverNow + ", value = ? WHERE kind = ? AND name = ? AND part = ? AND revision = ?"
	removeRecord = "DELETE FROM evento_record WHERE kind = ? AND name = ? AND part = ? AND revision = ?"
)

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, sw evento.Swap) error {
	if err := sw.Check(); err != nil {
		return err
	}
	if err := ex.gate.Check(ctx); err != nil {
		return err
	}
	changes := sqlstore.InOrder(sw.Changes)
	var err error
	if t := ex.openTransactionOf(ctx); t != nil {
		// The transaction goes on when a record is stale.
		err = t.do(ctx, func(s *session) error {
			return s.swap(ctx, changes, "SAVEPOINT evento_swap", "ROLLBACK TO SAVEPOINT evento_swap", "RELEASE SAVEPOINT evento_swap")
		})
	} else {
		err = ex.swapAtOnce(ctx, changes)
	}
	if err == nil && sw.Wake {
		ex.notify(ctx)
	}
	return err
}

// swapAtOnce makes the changes in a transaction of their own. A connection
// that is lost under them is an error: they may have been made.
func (ex *Executor) swapAtOnce(ctx context.Context, changes []evento.Change) error {
	for attempt := 1; ; attempt++ {
		s, err := ex.lend(ctx, ex.sessions.beside, (*session).alive)
		if err != nil {
			return err
		}
		err = s.swap(ctx, changes, "BEGIN", "ROLLBACK", "COMMIT")
		ex.sessions.put(s)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !transient(err) || attempt == sqlstore.SwapAttempts:
			return classify(err)
		}
	}
}

// alive reports a connection that the server has ended while it idled, without
// asking the server.
func (s *session) alive() error {
	return s.failed(s.conn.Raw(func(c any) error {
		if r, ok := c.(sqldriver.SessionResetter); ok {
			return r.ResetSession(context.Background())
		}
		return nil
	}))
}

// swap makes changes, several of them between the statements that make them
// one. One is that by itself.
func (s *session) swap(ctx context.Context, changes []evento.Change, begin, undo, end string) error {
	if len(changes) == 1 {
		return s.change(ctx, changes[0])
	}
	if err := s.run(ctx, begin); err != nil {
		return err
	}
	for _, c := range changes {
		err := s.change(ctx, c)
		if err == nil {
			continue
		}
		if number(err) == deadlock && s.tx != nil {
			return err // there is nothing to go back to
		}
		if !s.broken {
			if e := s.run(ctx, undo); e != nil {
				s.broken = true
				return fmt.Errorf("%w; %w", e, err)
			}
		}
		return err
	}
	err := s.run(ctx, end)
	if err != nil {
		s.broken = true // it may still be in the transaction
	}
	return err
}

// change makes one change.
func (s *session) change(ctx context.Context, c evento.Change) error {
	value := sqlstore.NotNull(c.Value)
	var r sql.Result
	var err error
	switch {
	case c.Remove:
		r, err = s.exec(ctx, removeRecord, c.Kind, c.Key, c.Part, int64(c.Revision))
	case c.Revision == 0:
		r, err = s.exec(ctx, makeRecord, c.Kind, c.Key, c.Part, rand.Int64(), value)
	default:
		r, err = s.exec(ctx, changeRecord, value, c.Kind, c.Key, c.Part, int64(c.Revision))
	}
	n := int64(0)
	switch {
	case err == nil:
		n, err = r.RowsAffected()
	case duplicate(err):
		err = nil
	}
	if err == nil && n != 1 {
		err = fmt.Errorf("%w: %s %q %q is not at revision %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, c.Revision)
	}
	return err
}
