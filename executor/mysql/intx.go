// Appends inside of a caller's transaction.

package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

type txKey struct{}

// Tx returns the transaction of [Executor.InTx], or of a transactional
// subscription, to which ctx belongs: for the statements of the caller that are
// to be committed together with its events. nil when ctx belongs to none.
//
// Its isolation level is READ COMMITTED; other settings are those of the DSN
// or the handle. The executor ends it: Commit and Rollback end it for the
// caller without committing anything, and InTx returns an error after either.
// So it does after a statement that ended the transaction on the server, which
// a deadlock does by itself; but then COMMIT, and every change of a table's
// definition, have committed what came before them.
//
// Rows have to be read or closed before anything else is done with the context,
// loading and committing included. Savepoints are the caller's; what is
// committed to evento is not undone with them. A session is used again: to set
// variables is fine, but USE, LOCK TABLES and temporary tables would be met by
// the next.
func Tx(ctx context.Context) *sql.Tx {
	tx, _ := ctx.Value(txKey{}).(*sql.Tx)
	return tx
}

var (
	errEndedByStatement = errors.New("it has ended before its function did, by a deadlock or by a statement such as COMMIT or CREATE TABLE; what came after it was rolled back, and no event was stored")
	errEnded            = fmt.Errorf("%w call: the transaction of its context has ended", evento.ErrInvalid)
	errLost             = errors.New("evento: mysql: InTx: the connection was lost; nothing was stored")
)

// begun is set at the beginning of a caller's transaction, and is there at its
// end unless another has been begun since: the server has no other way to tell.
const (
	setBegun   = "SAVEPOINT evento_intx"
	checkBegun = "RELEASE SAVEPOINT evento_intx"
)

// callersTx is what the context of [Executor.InTx] carries.
type callersTx struct {
	sqlstore.Pending
	ex    *Executor
	s     *session
	guard *guard
	conn  *sql.Conn // the caller's, as tx
	tx    *sql.Tx
	names *dictionary

	notDurable bool // something was read that may not be durable yet
	notify     bool // something but events has changed that others wait for
	committed  bool
}

// transactionOf is the one that ctx belongs to, or nil.
func (ex *Executor) transactionOf(ctx context.Context) *callersTx {
	return sqlstore.TxOf[*callersTx](ctx, ex)
}

// openTransactionOf is the one that ctx belongs to, unless it has ended, or nil.
func (ex *Executor) openTransactionOf(ctx context.Context) *callersTx {
	return sqlstore.OpenTxOf[*callersTx](ctx, ex)
}

// dictionary is where names are looked up on a session.
func (ex *Executor) dictionary(s *session) *dictionary {
	if s.tx != nil {
		return s.tx.names
	}
	return ex.names
}

// InTx implements [evento.Transactor], on one of Options.Connections. [Tx]
// gives the transaction to fn. A deadlock, of which fn gets the server's error,
// has rolled the whole transaction back: to make it again is the caller's to
// decide. On a server without a binary log, what fn reads of others may not be
// durable until InTx has returned.
func (ex *Executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := ex.gate.Check(ctx); err != nil {
		return err
	}
	if t := ex.openTransactionOf(ctx); t != nil {
		return t.Join(ctx, fn)
	}
	t := &callersTx{ex: ex, names: newDictionary(ex, ex.names)}
	s, err := ex.lend(ctx, ex.sessions.get, func(s *session) error { return t.begin(ctx, s) })
	if err != nil {
		return err
	}
	defer ex.sessions.put(s)
	returned := false
	defer func() {
		if !returned { // a panic
			_ = t.end(ctx, nil)
		}
	}()
	err = t.Run(sqlstore.WithTx(context.WithValue(ctx, txKey{}, t.tx), ex, t), fn)
	if err == nil {
		err = t.commit(ctx)
	}
	returned = true
	return t.end(ctx, err)
}

// begin begins on a session, which is put aside if that fails.
func (t *callersTx) begin(ctx context.Context, s *session) error {
	t.s, t.guard = s, &guard{s: s}
	err := s.runAll(ctx, "SET autocommit = 0", setBegun)
	if err == nil {
		t.conn, t.tx, err = t.guard.lend(ctx)
	}
	if err != nil {
		s.broken = true
		return err
	}
	s.tx = t
	return nil
}

// release takes the connection back from the caller: its rows and statements
// are closed. It reports whether the caller had ended the transaction.
func (t *callersTx) release() (ended bool) {
	if t.conn == nil {
		return false
	}
	ended = t.guard.ended
	_, _ = t.tx.Rollback(), t.conn.Close() // nothing is done that could fail
	t.conn = nil
	return ended
}

// end rolls back what was not committed, and leaves the session as it is
// expected by others. What fn has seen is durable afterwards.
func (t *callersTx) end(ctx context.Context, err error) error {
	t.End()
	t.release()
	s := t.s
	s.tx = nil
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonAfter)
	defer cancel()
	if !t.committed && !s.broken {
		_ = s.run(late, "ROLLBACK") // a failure breaks the session
	}
	if !s.broken {
		texts := []string{autocommit}
		if t.guard.used {
			texts = []string{ownSettings, autocommit, isolation + ", " + s.access}
		}
		if s.runAll(late, texts...) != nil {
			s.broken = true
		}
	}
	if t.notDurable && !s.broken && !t.committed {
		synced := t.ex.makeAllDurable(ctx, s)
		if synced != nil && err == nil { // all was found as stored
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return classify(synced)
		}
		t.notDurable = synced != nil
	}
	if !t.notDurable {
		t.names.Publish()
	}
	return err
}

// do runs fn, which belongs to the caller's part of the transaction, while no
// statement of the caller runs, those that database/sql closes in the
// background included.
func (t *callersTx) do(ctx context.Context, fn func(s *session) error) (err error) {
	var panicked any
	if e := t.conn.Raw(func(any) error {
		// Raw would wait for the transaction to end, which waits for this.
		defer func() { panicked = recover() }()
		switch {
		case t.Ended(): // the session may be another's
			err = errEnded
		case t.guard.ended:
			err = errNotTheirs
		case t.s.broken:
			err = errLost
		default:
			if err = t.guard.leave(ctx); err == nil {
				err = fn(t.s)
			}
		}
		return nil
	}); e != nil {
		err = e
	}
	if panicked != nil {
		panic(panicked)
	}
	return t.failure(ctx, err)
}

// failure is the error to return for one of a statement.
func (t *callersTx) failure(ctx context.Context, err error) error {
	t.guard.note(err)
	switch {
	case err == nil, errors.Is(err, evento.ErrOutcomeUnknown):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case disconnected(err):
		return fmt.Errorf("%w: %w", errLost, err)
	case transient(err):
		return store.Errorf("mysql: InTx: the server gave up on it: %w", err)
	}
	return classify(err)
}

// add keeps a write for the end of the transaction.
func (t *callersTx) add(ctx context.Context, op *appendOp) ([]evento.Receipt, error) {
	if !t.Ended() {
		if err := op.fits(t.s.maxPacket); err != nil {
			return nil, err
		}
	}
	return t.Add(ctx, op.Write, t.findHead, t.ex)
}

// findHead is for [sqlstore.Pending].
func (t *callersTx) findHead(ctx context.Context, a evento.AggregateKey) (h sqlstore.Head, err error) {
	err = t.do(ctx, func(s *session) error {
		typeID, err := t.names.typeID(ctx, s, a.Type)
		if err != nil || typeID == 0 {
			return err
		}
		_, err = s.row(ctx, "SELECT e.version, COALESCE(r.name, '') FROM evento_event e FORCE INDEX (evento_event_aggregate) LEFT JOIN evento_routing r ON r.id = e.routing_id WHERE e.aggregate_id = ? AND e.type_id = ? ORDER BY e.version DESC LIMIT 1",
			[]any{a.ID, typeID}, &h.Version, &h.RoutingKey)
		return err
	})
	return h, err
}

// commit appends what waits and commits. When it was all stored by an earlier
// attempt it does neither.
func (t *callersTx) commit(ctx context.Context) error {
	t.End()
	if t.release() {
		return errNotTheirs
	}
	if t.s.broken {
		return errLost
	}
	err := ctx.Err()
	if err == nil {
		err = t.guard.leave(ctx)
	}
	if err == nil {
		err = t.flush(ctx)
	}
	if isReadOnly(err) { // the store, or a transaction that the caller has begun
		if e := t.s.run(ctx, checkBegun); number(e) == noSavepoint {
			err = e
		}
	}
	if number(err) == noSavepoint {
		return fmt.Errorf("%w: %w: %w", evento.ErrTxRefused, errEndedByStatement, cmp.Or(t.guard.deadlock, err))
	}
	return t.failure(ctx, err)
}

func (t *callersTx) flush(ctx context.Context) error {
	var ops []*appendOp
	for _, w := range t.Writes() {
		ops = append(ops, &appendOp{sqlstore.OpOf(w)})
	}
	last := []string{checkBegun}
	var tx *transaction
	if len(ops) > 0 {
		at, err := t.lockCounter(ctx)
		if err != nil {
			return err
		}
		tx = writerOn(t.ex, t.s).transaction(ctx, at, true)
		tx.tail = sqlstore.OwnTail(t.ex.positions, at.position, tx.page)
		if stored, err := tx.appendAll(ops); err != nil || stored {
			t.notDurable = t.notDurable || stored
			return err
		}
		last = append(last, tx.bump())
	} else if t.notDurable {
		// So that what fn has read is durable; see Executor.makeDurable.
		if err := t.s.barrier(ctx); err != nil && !isReadOnly(err) {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	committing, cancel := lingering(ctx)
	defer cancel()
	if err := t.s.commit(committing, last...); err != nil {
		return err
	}
	t.committed, t.notDurable = true, false
	if tx != nil {
		tx.publish()
	}
	if tx != nil || t.notify {
		t.ex.changed.Notify()
	}
	return nil
}

// lockCounter is patient with others who have the counter for long, as long as
// the context is.
func (t *callersTx) lockCounter(ctx context.Context) (counter, error) {
	for {
		at, err := t.s.lockCounter(ctx)
		if number(err) != lockWaitTimeout {
			return at, err
		}
	}
}

// appendAll judges writes in their order, all of which have to be accepted, and
// sends their rows. It reports whether all of them were stored already.
func (tx *transaction) appendAll(ops []*appendOp) (stored bool, err error) {
	for _, op := range ops {
		tx.needPlaces(&op.Write)
	}
	if err := tx.readPlaces(); err != nil {
		return false, err
	}
	stored, err = sqlstore.ApplyAll(ops, func(op *appendOp) (*sqlstore.Op, error) { return &op.Op, op.apply(tx) })
	if err == nil && !stored {
		err = tx.send()
	}
	return stored, err
}

// lingering returns a context that ends a while after ctx.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(abandonAfter, cancel) })
	return late, func() {
		stop()
		cancel()
	}
}
