// Appends inside of a caller's transaction.

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

type txKey struct{}

// Tx returns the transaction of [Executor.InTx] to which ctx belongs: for the
// statements of the caller that are to be committed together with its events.
// nil when ctx belongs to none.
//
// It has the write lock of the file from its beginning, so no statement of it
// finds the database locked. The executor ends it: Commit does not commit but
// rolls back, Rollback rolls back too, and InTx returns an error after either.
// So it does when SQLite has rolled back by itself, as it does when a context
// ends in the middle of a statement that writes. Savepoints are the caller's;
// what is committed to evento is not undone with them.
func Tx(ctx context.Context) *sql.Tx {
	tx, _ := ctx.Value(txKey{}).(*sql.Tx)
	return tx
}

var (
	errNotTheirs  = fmt.Errorf("%w call: InTx ends the transaction when its function returns; nothing was stored", evento.ErrInvalid)
	errRolledBack = fmt.Errorf("%w: a statement failed in a way that rolled it back", evento.ErrTxRefused)
	errEnded      = fmt.Errorf("%w call: the transaction of its context has ended", evento.ErrInvalid)
)

// callers owns the connection for callers' transactions. It is not that of the flush:
// when a caller leaves it changed, such as by a pragma, that does not reach others,
// and in doubt it is closed. Why: docs/decisions.md, "SQLite: InTx on a connection of
// its own" and "SQLite: hooks refuse a commit that is not ours".
type callers struct {
	ex     *Executor
	openDB func() *sql.DB // nil: the database is the caller's
	turn   chan struct{}  // who has it, uses the rest

	limited bool          // the caller's database has a limit of connections
	running atomic.Bool   // a function of InTx runs
	hint    time.Duration // after which it is said that somebody waits for that

	db     *sql.DB
	held   *sql.Conn // nil: none yet
	writer *writer   // on the same connection

	// Only looked at with the connection's lock, by raw and by SQLite.
	committing bool // the executor commits, not the caller
	rolledBack bool
}

// callersTx is what the context of [Executor.InTx] carries.
type callersTx struct {
	sqlstore.Pending
	*callers
	sql *sql.Tx
	tx  *transaction
}

// hintAfter is long for a transaction, and short for somebody who wonders.
const hintAfter = 10 * time.Second

// waits says so when a writer waits long for a transaction: its context may have no end.
// The caller calls stop when it waits no more.
func (c *callers) waits() (stop func()) {
	if !c.running.Load() {
		return func() {}
	}
	timer := time.AfterFunc(c.hint, func() {
		c.ex.opts.Logger.Warn("evento: sqlite: a write waits for a transaction of InTx; if it is made by the function of that, it has to use the context that this is given", "for", c.hint)
	})
	return func() { timer.Stop() }
}

// waitedFor says what a writer has waited for whose context has ended: the function of a
// transaction that commits with another context than its own waits for itself.
func (c *callers) waitedFor(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) || !c.running.Load() {
		return err
	}
	return store.Errorf("sqlite: waited for a transaction of InTx, whose function has to use the context that it is given: %w", err)
}

// transactionOf is the one that ctx belongs to, or nil.
func (ex *Executor) transactionOf(ctx context.Context) *callersTx {
	return sqlstore.TxOf[*callersTx](ctx, ex)
}

// openTransactionOf is the one that ctx belongs to, unless it has ended, or nil.
func (ex *Executor) openTransactionOf(ctx context.Context) *callersTx {
	return sqlstore.OpenTxOf[*callersTx](ctx, ex)
}

// InTx implements [evento.Transactor]. [Tx] gives the transaction to fn. It has
// the file's write lock until fn returns: nobody else commits meanwhile, not in
// other processes either.
func (ex *Executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := ex.checkWrite(ctx); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.Join(ctx, fn)
	}
	c := ex.callers
	stop := c.waits()
	err := ex.take(ctx, c.turn)
	stop()
	if err != nil {
		return c.waitedFor(ctx, err)
	}
	defer func() { <-c.turn }()
	if err := c.open(ctx); err != nil {
		return ex.waitError(ctx, err)
	}
	if err := ex.take(ctx, ex.writing); err != nil {
		return err
	}
	defer func() { <-ex.writing }()
	if err := ex.gate.Check(ctx); err != nil {
		return err
	}
	t, err := c.begin(ctx)
	if err != nil {
		return ex.waitError(ctx, err)
	}
	clean := false
	defer func() {
		t.End()
		t.clear(clean)
	}()
	c.running.Store(true)
	defer c.running.Store(false)
	if err := t.Run(sqlstore.WithTx(context.WithValue(ctx, txKey{}, t.sql), ex, t), fn); err != nil {
		clean = true
		return err
	}
	t.End()
	if err := t.commit(ctx); err != nil {
		return err
	}
	clean = true
	return nil
}

// open makes sure that there is a connection.
func (c *callers) open(ctx context.Context) error {
	if c.held != nil {
		return nil
	}
	if c.db == nil {
		c.db = c.openDB()
	}
	held, native, err := hold(ctx, c.db)
	if err != nil {
		return err
	}
	if err := c.prepare(ctx, native); err != nil {
		return errors.Join(err, native.close())
	}
	native.CommitHook(func() bool { return c.committing })
	native.RollbackHook(func() { c.rolledBack = true })
	c.held = held
	c.writer = &writer{ex: c.ex, conn: native, places: store.NewCache[evento.AggregateKey, sqlstore.Place](1 << 12)}
	return nil
}

// prepare gives the connection the settings of the executor's others, and makes sure
// that it has opened the same file: a relative path may mean another one by now.
func (c *callers) prepare(ctx context.Context, native *conn) error {
	native.SetInterrupt(ctx)
	defer native.SetInterrupt(context.Background())
	if err := setDurable(ctx, native); err != nil {
		return err
	}
	return c.ex.isStore(ctx, native)
}

// begin begins a transaction with the write lock.
func (c *callers) begin(ctx context.Context) (_ *callersTx, err error) {
	t := &callersTx{callers: c}
	defer func() {
		if t.tx != nil {
			return
		}
		if t.sql != nil {
			_ = t.sql.Rollback() // a connection in a transaction cannot be closed
		}
		if !errors.Is(err, sqlite3.BUSY) { // else only the lock was not got
			c.drop()
		}
	}()
	err = c.raw(func() error {
		c.committing, c.rolledBack = false, false
		// The statement that takes the lock has no context of its own: with
		// one, database/sql would roll back when it ends, at any moment.
		return c.writer.conn.BusyHandler(func(_ context.Context, count int) bool {
			select {
			case <-c.ex.closing:
				return false
			default:
				return beBusy(ctx, count)
			}
		})
	})
	if err != nil {
		return nil, err
	}
	// The drivers make BEGIN IMMEDIATE of this isolation level.
	if t.sql, err = c.held.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{Isolation: sql.LevelSerializable}); err != nil {
		return nil, err
	}
	err = c.raw(func() (err error) {
		t.tx, err = c.writer.transaction()
		return err
	})
	return t, err
}

// raw runs fn while no statement of the caller runs, those that database/sql
// closes in the background included.
func (c *callers) raw(fn func() error) (err error) {
	var panicked any
	locked := c.held.Raw(func(any) error {
		// Raw would wait for the transaction to end, which waits for this.
		defer func() { panicked = recover() }()
		err = fn()
		return nil
	})
	if panicked != nil { // SQLite's memory is exhausted
		panic(panicked)
	}
	if locked != nil {
		return locked
	}
	return err
}

// do runs fn, which belongs to the caller's part of the transaction.
func (t *callersTx) do(ctx context.Context, fn func(tx *transaction) error) error {
	err := t.raw(func() error {
		switch {
		case t.Ended(): // the connection may be another's
			return errEnded
		case t.rolledBack:
			return errRolledBack
		}
		t.tx.conn.SetInterrupt(ctx)
		defer t.tx.conn.SetInterrupt(context.Background())
		return fn(t.tx)
	})
	return t.ex.readError(ctx, err)
}

// apply makes an operation part of the transaction.
func (t *callersTx) apply(ctx context.Context, op operation) error {
	if err := t.do(ctx, op.apply); err != nil {
		return err
	}
	return op.refusal()
}

// findHead is for [sqlstore.Pending].
func (t *callersTx) findHead(ctx context.Context, a evento.AggregateKey) (h sqlstore.Head, err error) {
	err = t.do(ctx, func(tx *transaction) error {
		at, err := tx.Place(a)
		if err != nil {
			return err
		}
		h.Version = uint64(at.Version)
		h.RoutingKey, err = tx.ex.names.routingKey(tx.conn, at.Routing)
		return err
	})
	return h, err
}

// commit appends what waits and commits. When it was all stored by an earlier
// attempt it does neither.
func (t *callersTx) commit(ctx context.Context) error {
	earlier, err := t.appendAll(ctx)
	switch {
	case errors.Is(err, errRolledBack) && errors.Is(t.sql.Rollback(), sql.ErrTxDone):
		return errNotTheirs
	case errors.Is(err, sqlite3.IOERR) || errors.Is(err, sqlite3.CORRUPT):
		t.ex.fail(err)
		return err
	case errors.Is(err, sqlite3.READONLY) && t.queryOnly():
		return fmt.Errorf("%w: %w", evento.ErrTxRefused, err)
	case err != nil || earlier:
		return t.ex.readError(ctx, err)
	}
	defer func() {
		if p := recover(); p != nil {
			t.ex.fail(fmt.Errorf("panic: %v", p))
			panic(p)
		}
	}()
	err = t.sql.Commit()
	if err == nil {
		err = t.ex.file.lost()
	}
	switch {
	case err == nil:
	case errors.Is(err, sqlite3.FULL):
		return classify(err) // nothing was stored
	case errors.Is(err, sqlite3.CONSTRAINT), errors.Is(err, sqlite3.BUSY):
		// Such as by a deferred foreign key, or a statement that has not ended.
		return fmt.Errorf("%w: %w", evento.ErrTxRefused, err)
	default:
		err = errors.Join(evento.ErrOutcomeUnknown, err)
		t.ex.fail(err)
		return err
	}
	t.tx.publish()
	if t.tx.appended || t.tx.woken {
		t.ex.changed.Notify()
	}
	return nil
}

// appendAll appends what waits, and lets a commit be made. When all was stored by an
// earlier attempt none is to be made.
func (t *callersTx) appendAll(ctx context.Context) (earlier bool, err error) {
	err = t.raw(func() (err error) {
		if t.rolledBack {
			return errRolledBack
		}
		t.tx.conn.SetInterrupt(ctx)
		defer t.tx.conn.SetInterrupt(context.Background())
		t.tx.now = t.tx.clock()
		t.tx.tail = sqlstore.OwnTail(t.ex.positions, t.tx.position, t.tx.read)
		earlier, err = sqlstore.ApplyAll(t.Writes(), func(w evento.Write) (*sqlstore.Op, error) {
			op := sqlstore.OpOf(w)
			return &op, op.Apply(t.tx)
		})
		if err == nil {
			err = ctx.Err()
		}
		t.committing = err == nil && !earlier
		return err
	})
	return earlier, err
}

// clear rolls back what was not committed, and leaves a connection without a
// transaction, or none.
func (t *callersTx) clear(clean bool) {
	if err := t.sql.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		clean = false
	}
	if !clean || !t.writer.conn.GetAutocommit() || t.queryOnly() {
		t.drop()
	}
}

// queryOnly reports whether the caller has made the connection read-only.
func (c *callers) queryOnly() (yes bool) {
	_ = c.raw(func() error {
		v, _, err := c.writer.conn.query("PRAGMA query_only", 1)
		yes = v[0] != 0
		return err
	})
	return yes
}

// drop closes the connection. Without a transaction that was committed it has
// changed nothing, so its errors are nobody's.
func (c *callers) drop() {
	if c.held != nil {
		_ = c.writer.conn.close()
		c.held, c.writer = nil, nil
	}
}

// close waits for the transaction under way.
func (c *callers) close() error {
	c.turn <- struct{}{}
	var err error
	if c.held != nil {
		err = c.writer.conn.close()
		c.held = nil
	}
	if c.openDB != nil && c.db != nil {
		err = errors.Join(err, c.db.Close())
	}
	return err
}
