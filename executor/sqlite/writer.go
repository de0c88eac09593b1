// The connection that writes, and its transactions.

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

// operation is one caller's part of a transaction. Its apply method leaves a
// refusal (such as a conflict), which changed nothing, in the operation; the
// error that it returns means that the transaction failed.
type operation interface {
	apply(tx *transaction) error
	refusal() error
}

// refused is what operations embed to keep their refusal.
type refused struct{ err error }

func (r *refused) refusal() error { return r.err }

// writer has a connection that writes. There are two: that of the flush, of which one
// runs at a time until the queue is closed, and that of callers' transactions.
type writer struct {
	ex   *Executor
	conn *conn

	// What the file held when this connection last wrote. It is stale when
	// dataVersion has moved, SQLite's count of commits by other connections.
	dataVersion int64
	position    int64
	recordedAt  int64
	places      store.Cache[evento.AggregateKey, sqlstore.Place]
	sum         rowSum // its memory is used again
}

// transaction is one flush, or one caller's transaction. The caches learn from it when
// it is committed.
type transaction struct {
	*writer
	now      int64 // the timestamp of its events
	position int64 // of the last event
	last     int64 // the timestamp of the last event
	appended bool
	woken    bool // a swap wants those who wait to be woken

	places map[evento.AggregateKey]sqlstore.Place
	names  sqlstore.Dictionary // that it has looked up or made
	tail   sqlstore.Tail
}

// flush is the queue's: it commits what callers wait for.
func (w *writer) flush(ctx context.Context, take func() (context.Context, []*appendqueue.Call[operation])) {
	err := w.ex.take(ctx, w.ex.writing)
	if err == nil {
		defer func() { <-w.ex.writing }()
		err = w.begin(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return // the leader gave up; another will lead
	}
	_, calls := take()
	if err != nil {
		for _, c := range calls {
			c.Finish(err)
		}
		return
	}
	if calls = appendqueue.Hold(calls); len(calls) == 0 { // all gave up while the file was locked
		w.rollback()
		return
	}
	returned := false
	defer func() {
		if p := recover(); p != nil { // SQLite's memory is exhausted
			w.ex.fail(fmt.Errorf("panic: %v", p))
			panic(p)
		}
		if !returned {
			w.ex.fail(errors.New("the goroutine of a commit was ended"))
		}
	}()
	if err := w.commit(calls); err != nil {
		w.alone(calls, err)
	}
	returned = true
}

// begin waits for the write lock. Nothing is written yet: a caller whose context ends
// meanwhile leaves the queue.
func (w *writer) begin(ctx context.Context) error {
	if err := w.ex.gate.Failed(); err != nil {
		return err
	}
	w.conn.SetInterrupt(ctx)
	err := w.conn.exec("BEGIN IMMEDIATE")
	w.conn.SetInterrupt(context.Background())
	return w.ex.waitError(ctx, err)
}

// waitError says why the write lock was not got, in the caller's terms.
func (ex *Executor) waitError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case ex.gate.Closed():
		return evento.ErrClosed
	}
	return classify(err)
}

// take waits for a semaphore of one. Those who wait get it in their order.
func (ex *Executor) take(ctx context.Context, turn chan<- struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-ex.closing:
		return evento.ErrClosed
	}
}

// commit applies the calls in the open transaction and commits it. It finishes
// all of the calls, or returns an error with the transaction rolled back and
// none finished.
func (w *writer) commit(calls []*appendqueue.Call[operation]) error {
	tx, err := w.transaction()
	if err != nil {
		w.rollback()
		return err
	}
	tx.tail = sqlstore.TailOf(&w.ex.recent, w.ex.positions, tx.position, slices.ContainsFunc(calls, isConditional), tx.read)
	for _, c := range calls {
		if err := c.Request.apply(tx); err != nil {
			w.rollback()
			return err
		}
	}
	err = w.conn.exec("COMMIT")
	if err == nil {
		err = w.ex.file.lost()
	}
	if err != nil {
		if !errors.Is(err, sqlite3.FULL) {
			// The log may hold the transaction, or may not.
			err = errors.Join(evento.ErrOutcomeUnknown, err)
		}
		w.rollback()
		return err
	}
	tx.publish()
	for _, c := range calls {
		c.Finish(c.Request.refusal())
	}
	if tx.appended || tx.woken {
		w.ex.changed.Notify()
	}
	return nil
}

func isConditional(c *appendqueue.Call[operation]) bool {
	op, ok := c.Request.(*appendOp)
	return ok && !op.Conditions.None()
}

// alone finishes calls whose common transaction failed. When one call may be at fault,
// each is tried by itself, so that only that one fails. Why: docs/decisions.md, "No
// savepoints".
func (w *writer) alone(calls []*appendqueue.Call[operation], err error) {
	switch {
	case errors.Is(err, sqlite3.IOERR) || errors.Is(err, sqlite3.CORRUPT) || errors.Is(err, evento.ErrOutcomeUnknown):
		// After a failed sync the operating system may have dropped what
		// was written: only a new look at the file tells what is there.
		err = classify(err)
		w.ex.fail(err)
	case errors.Is(err, sqlite3.FULL) || len(calls) == 1:
		err = classify(err)
	default:
		appendqueue.Release(calls)
		for i := range calls {
			w.one(calls[i : i+1])
		}
		return
	}
	for _, c := range calls {
		c.Finish(err)
	}
}

// one tries a call by itself.
func (w *writer) one(call []*appendqueue.Call[operation]) {
	err := w.begin(context.Background())
	if call = appendqueue.Hold(call); len(call) == 0 {
		w.rollback()
		return
	}
	if err == nil {
		err = w.commit(call)
	}
	if err != nil {
		w.alone(call, err)
	}
}

func (w *writer) rollback() {
	if !w.conn.GetAutocommit() {
		// It fails only where SQLite has rolled back by itself.
		_ = w.conn.exec("ROLLBACK")
	}
}

// transaction looks whether somebody else has written, and makes what the
// operations need.
func (w *writer) transaction() (*transaction, error) {
	v, _, err := w.conn.query("PRAGMA data_version", 1)
	if err != nil {
		return nil, err
	}
	if v[0] != w.dataVersion {
		w.places.Clear()
		last, _, err := w.conn.query("SELECT position, recorded_at FROM evento_event ORDER BY position DESC LIMIT 1", 2)
		if err != nil {
			return nil, err
		}
		if err := store.CheckHead(uint64(last[0])); err != nil {
			return nil, err
		}
		w.dataVersion, w.position, w.recordedAt = v[0], last[0], last[1]
	}
	tx := &transaction{
		writer:   w,
		now:      w.clock(),
		position: w.position,
		last:     w.recordedAt,
	}
	tx.names.Over(w.ex.names.Dictionary)
	return tx, nil
}

// clock is the timestamp of events that are appended now.
func (w *writer) clock() int64 { return max(w.recordedAt, w.ex.opts.Clock().UnixMicro()) }

// publish brings what was committed into the caches.
func (tx *transaction) publish() {
	w := tx.writer
	w.position, w.recordedAt = tx.position, tx.last
	for a, at := range tx.places {
		w.places.Put(a, at)
	}
	tx.names.Publish()
	tx.tail.Publish()
}

// do queues an operation and waits for it, or makes it in the transaction that
// ctx belongs to.
func (ex *Executor) do(ctx context.Context, op operation, size int) error {
	if err := ex.checkWrite(ctx); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.apply(ctx, op)
	}
	defer ex.callers.waits()()
	return ex.callers.waitedFor(ctx, ex.queue.Do(ctx, op, size))
}

// watch notifies of commits that other connections to the file made, other
// processes' above all, while somebody waits for them. It closes c, which may be
// nil: it is opened then when it is needed.
func (ex *Executor) watch(c *conn) {
	defer close(ex.watched)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-ex.closing
		cancel()
	}()
	warn := func(err error) {
		ex.opts.Logger.Warn("evento: sqlite: watching for commits of other processes", "error", err)
	}
	store.Watch{
		Changed: &ex.changed, Interval: ex.opts.WatchInterval, Quiet: 5 * ex.opts.WatchInterval, Failed: warn,
		Ask: func(ctx context.Context) (_ int64, err error) {
			if err := ex.file.lostMeanwhile(); err != nil {
				ex.fail(err) // what is committed now is in another file
				return 0, err
			}
			if c == nil {
				if c, err = ex.readers.src(ctx); err != nil {
					return 0, err
				}
			}
			v, _, err := c.query("PRAGMA data_version", 1)
			return v[0], err
		},
	}.Run(ctx)
	if c != nil {
		if err := c.close(); err != nil {
			warn(err)
		}
	}
}
