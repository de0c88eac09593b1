// The one connection that appends, and its transactions.

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// writer owns the session that appends. Only the flush uses it, until the queue is
// closed; there is one flush at a time.
type writer struct {
	ex *Executor
	db *sql.DB
	s  *session // nil: there is none now

	// places are exact while the counter is at this position: nobody else has
	// appended then. RecordedAt is the counter's too.
	position   int64
	recordedAt int64
	places     store.Cache[evento.AggregateKey, sqlstore.Place]
	// quiet: the last flush had one call, and found the counter where it was left.
	quiet bool
}

func newWriter(ex *Executor, db *sql.DB) *writer {
	return &writer{ex: ex, db: db, position: -1, places: store.NewCache[evento.AggregateKey, sqlstore.Place](1 << 15)}
}

// writerOn is a writer for one transaction of a session.
func writerOn(ex *Executor, s *session) *writer {
	return &writer{ex: ex, s: s, position: -1, places: store.NewCache[evento.AggregateKey, sqlstore.Place](1)}
}

func (w *writer) close() {
	if w.s != nil {
		w.s.close()
		w.s = nil
	}
}

type call = appendqueue.Call[*appendOp]

// abandonAfter is how long a transaction goes on when all callers have given up and
// the server does not answer.
const abandonAfter = 500 * time.Millisecond

// flush is the queue's: it commits what callers wait for.
func (w *writer) flush(ctx context.Context, take func() (context.Context, []*call)) {
	returned := false
	defer func() {
		if !returned { // a panic: the server rolls back what the session has begun
			w.close()
		}
	}()
	if w.isQuiet() {
		w.flushAtOnce(take)
	} else {
		w.flushLocked(ctx, take)
	}
	returned = true
}

// flushLocked takes the calls when it holds the counter: until then, more may come.
func (w *writer) flushLocked(ctx context.Context, take func() (context.Context, []*call)) {
	locking, cancel := w.ex.untilClosed(ctx)
	at, err := w.lock(locking)
	cancel()
	if err != nil && ctx.Err() != nil {
		return // the leader gave up; another will lead
	}
	waiting, calls := take()
	switch {
	case err != nil:
		finish(calls, err)
	case len(calls) == 0: // all gave up while the counter was locked
		w.rollback()
	default:
		w.store(waiting, calls, at)
	}
}

func finish(calls []*call, err error) {
	for _, c := range calls {
		c.Finish(err)
	}
}

// lock begins a transaction that holds the counter. Nothing is sent yet: when the
// connection turns out to be lost, it tries again on another. Why: docs/decisions.md,
// "Positions under one row's lock".
func (w *writer) lock(ctx context.Context) (at counter, err error) {
	for attempt := 1; ; {
		if at, err = w.tryLock(ctx); err == nil {
			return at, nil
		}
		w.rollback()
		switch {
		case w.ex.gate.Closed():
			return at, evento.ErrClosed
		case ctx.Err() != nil:
			return at, ctx.Err()
		case transient(err):
			continue // somebody has it for long: wait on, as long as the context does
		case !disconnected(err) || attempt == attempts:
			return at, classify(err)
		}
		attempt++
	}
}

func (w *writer) tryLock(ctx context.Context) (counter, error) {
	if w.s == nil {
		s, err := newSession(ctx, w.db)
		if err != nil {
			return counter{}, err
		}
		if err := s.run(ctx, "SET autocommit = 0"); err != nil {
			s.close()
			return counter{}, err
		}
		if _, err := s.takesSeveral(ctx); err != nil {
			s.close()
			return counter{}, err
		}
		w.s = s
		// The last connection may have ended with the server, and with it
		// what was seen but not yet durable.
		w.position = -1
		w.ex.recent.Forget()
	}
	return w.s.lockCounter(ctx)
}

// rollback gives the counter free.
func (w *writer) rollback() {
	if w.s == nil {
		return
	}
	if !w.s.broken {
		ctx, cancel := context.WithTimeout(context.Background(), abandonAfter)
		_ = w.s.run(ctx, "ROLLBACK") // a failure breaks the session
		cancel()
	}
	if w.s.broken {
		w.close()
	}
}

// store commits the calls in the transaction that holds the counter. When that fails
// before COMMIT was sent, it commits them in another. The context ends when nobody
// waits any more.
func (w *writer) store(ctx context.Context, calls []*call, at counter) {
	careful := false
	for attempt := 1; ; {
		if calls = appendqueue.Hold(calls); len(calls) == 0 {
			w.rollback()
			return
		}
		err := w.commit(ctx, calls, at, careful)
		if err == nil {
			return
		}
		w.rollback()
		switch {
		case errors.Is(err, evento.ErrOutcomeUnknown):
			finish(calls, err)
			return
		case ctx.Err() != nil: // before it was told to commit
			finish(calls, appendqueue.ErrWithdrawn)
			return
		case !careful && (errors.Is(err, errAssumed) || duplicate(err)):
			careful = true
		case (disconnected(err) || transient(err)) && attempt < attempts:
			attempt++
		case len(calls) > 1 && !disconnected(err):
			appendqueue.Release(calls)
			w.alone(ctx, calls)
			return
		default:
			finish(calls, classify(err))
			return
		}
		appendqueue.Release(calls)
		if at, err = w.relock(ctx); err != nil {
			finish(calls, err)
			return
		}
	}
}

func (w *writer) relock(ctx context.Context) (counter, error) {
	locking, cancel := w.ex.untilClosed(ctx)
	defer cancel()
	at, err := w.lock(locking)
	if err != nil && ctx.Err() != nil { // nobody waits any more
		err = appendqueue.ErrWithdrawn
	}
	return at, err
}

// alone tries each call by itself, so that it fails only its own.
func (w *writer) alone(ctx context.Context, calls []*call) {
	for i := range calls {
		at, err := w.relock(ctx)
		if err != nil {
			finish(calls[i:], err)
			return
		}
		w.store(ctx, calls[i:i+1], at)
	}
}

// commit judges the calls, stores what is accepted and finishes all of them. After an
// error none is finished. The error is ErrOutcomeUnknown only if COMMIT was sent.
func (w *writer) commit(ctx context.Context, calls []*call, at counter, careful bool) error {
	quiet := at.position == w.position && len(calls) == 1
	tx := w.transaction(ctx, at, careful)
	tx.tail = sqlstore.TailOf(&w.ex.recent, w.ex.positions, at.position, slices.ContainsFunc(calls, isConditional), tx.page)
	for _, c := range calls {
		tx.needPlaces(&c.Request.Write)
	}
	if err := tx.readPlaces(); err != nil {
		return err
	}
	for _, c := range calls {
		if err := c.Request.apply(tx); err != nil {
			return err
		}
	}
	if err := tx.end(); err != nil {
		return err
	}
	tx.acknowledge(calls...)
	w.quiet = quiet
	return nil
}

// acknowledge tells everybody of what was committed.
func (tx *transaction) acknowledge(calls ...*call) {
	tx.publish()
	for _, c := range calls {
		c.Finish(c.Request.Refusal)
	}
	if tx.appended {
		tx.w.ex.changed.Notify()
	}
}

// end commits, if there is anything to commit.
func (tx *transaction) end() error {
	if err := tx.send(); err != nil {
		return err
	}
	var last string
	switch {
	case tx.appended:
		last = tx.bump()
	case tx.found && !tx.w.ex.server.binlog:
		// What was found may not be durable yet; see Executor.makeDurable.
		last = barrier
	default:
		tx.w.rollback()
		return nil
	}
	err := tx.s.commit(tx.ctx, last)
	if errors.Is(err, evento.ErrOutcomeUnknown) {
		tx.w.position = -1
	}
	return err
}

// bump is the statement that gives the counter its new position.
func (tx *transaction) bump() string {
	return fmt.Sprintf("UPDATE evento_counter SET position = %d, recorded_at = %d WHERE id = 1", tx.position, tx.now)
}

// commit commits after some last statements. The error is ErrOutcomeUnknown
// unless it is known that nothing was committed.
func (s *session) commit(ctx context.Context, last ...string) error {
	several, err := s.takesSeveral(ctx)
	if err != nil {
		return err
	}
	if several {
		err = s.run(ctx, strings.Join(append(last, "COMMIT"), "; "))
	} else {
		for _, text := range last {
			if err := s.run(ctx, text); err != nil {
				return err
			}
		}
		err = s.run(ctx, "COMMIT")
	}
	switch {
	case err == nil:
		return nil
	case transient(err), // a cluster's way to say that it was rolled back
		isReadOnly(err), number(err) == 1114, // the server's to say that it refused
		number(err) == noSavepoint: // that was before the commit
		return err
	}
	return s.unknown(ctx, err)
}

// unknown is the error of a commit that may have been made. The session is not used again.
func (s *session) unknown(ctx context.Context, err error) error {
	s.broken = true
	if ctx.Err() != nil {
		// Matching the context's error would say that nothing was stored.
		return fmt.Errorf("%w: %v", evento.ErrOutcomeUnknown, err) //nolint:errorlint // see above
	}
	return fmt.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
}
