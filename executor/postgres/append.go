// Appending events: one round trip for all that wait.

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
	"weak"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/store"
)

type appendCall = appendqueue.Call[*appendOp]

// appendOp is a write with its names looked up.
type appendOp struct {
	write      evento.Write
	aggregates []evento.AggregateKey // by append: the caller may have gone, and its write is its own then
	types      []int32               // by append
	routings   []*int32              // by append; nil: none
	kinds      [][]int32             // by append and event
	metadata   sqlstore.Metadata
	conditions store.Conditions
	refusal    error // by a condition
	receipts   []evento.Receipt
}

// flushTimeout is how long a server may take to answer a flush before its
// outcome counts as unknown.
const flushTimeout = time.Minute

// flushTries is how often a flush is made that stores nothing for a transient reason.
const flushTries = 5

// Write implements [evento.Executor].
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if t := ex.transactionOf(ctx); t != nil {
		return t.Add(ctx, w, ex.findHead, ex)
	}
	if w.Swap != nil {
		return sqlstore.WriteInTx(ctx, ex, w, transient)
	}
	for {
		op := &appendOp{write: w}
		var err error
		if op.conditions, err = store.Look(&w, &ex.recent, ex.positions, math.MaxUint64, store.ReaderOf(ctx, ex)); err != nil {
			return nil, err
		}
		err = ex.once(ctx, func() error {
			size, err := ex.lookUpNames(ctx, op)
			if err != nil {
				return err
			}
			return ex.queue.Do(ctx, op, size)
		})
		if err == nil {
			return op.receipts, nil
		}
		if !errors.Is(err, store.ErrBehind) {
			return nil, err
		}
	}
}

// lookUpNames turns names into numbers and metadata into text, in the caller's
// goroutine. It returns the size of the write.
func (ex *Executor) lookUpNames(ctx context.Context, op *appendOp) (size int, err error) {
	n := len(op.write.Appends)
	op.aggregates = make([]evento.AggregateKey, n)
	op.types, op.routings, op.kinds = make([]int32, n), make([]*int32, n), make([][]int32, n)
	op.metadata = sqlstore.MetadataOf(op.write.Appends)
	for i := range op.write.Appends {
		a := &op.write.Appends[i]
		typeID, err := ex.typeID(ctx, a.AggregateType, true)
		if err != nil {
			return 0, err
		}
		op.types[i], op.aggregates[i] = int32(typeID), a.Aggregate()
		if a.RoutingKey != "" {
			id, err := ex.routingID(ctx, a.RoutingKey, true)
			if err != nil {
				return 0, err
			}
			no := int32(id)
			op.routings[i] = &no
		}
		op.kinds[i] = make([]int32, len(a.Events))
		for j := range a.Events {
			if j > 0 && a.Events[j].Name == a.Events[j-1].Name {
				op.kinds[i][j] = op.kinds[i][j-1]
			} else if id, err := ex.kindID(ctx, sqlstore.Kind{TypeID: typeID, Name: a.Events[j].Name}, true); err != nil {
				return 0, err
			} else {
				op.kinds[i][j] = int32(id)
			}
			size += len(a.Events[j].Data) + rowSpare
			for _, tag := range a.Events[j].Tags {
				size += len(tag) + rowSpare
			}
		}
	}
	return size, nil
}

// rowSpare is about what a row has beside its data.
const rowSpare = 128

// flushConn is the flush's connection of the pool. It is replaced when it breaks.
type flushConn struct {
	pool *pgxpool.Pool
	conn *pgxpool.Conn // nil: none
	seen *connections
}

// connections are those that flushes have had. A new one may be to a server that has lost
// what was seen before. One flush at a time uses them.
type connections struct {
	known  map[weak.Pointer[pgx.Conn]]bool
	forget func() // what was seen
}

func (c *connections) see(conn *pgx.Conn) {
	p := weak.Make(conn)
	if c.known[p] {
		return
	}
	maps.DeleteFunc(c.known, func(old weak.Pointer[pgx.Conn], _ bool) bool { return old.Value() == nil })
	if c.known == nil {
		c.known = map[weak.Pointer[pgx.Conn]]bool{}
	}
	c.known[p] = true
	c.forget()
}

func (l *flushConn) open(ctx context.Context) (*pgx.Conn, error) {
	if l.conn != nil && l.conn.Conn().IsClosed() {
		l.release()
	}
	if l.conn == nil {
		conn, err := l.pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		l.conn = conn
		l.seen.see(conn.Conn())
	}
	return l.conn.Conn(), nil
}

// drop closes the connection.
func (l *flushConn) drop(ctx context.Context) {
	if l.conn != nil {
		_ = l.conn.Conn().Close(ctx) // it is of no use any more
		l.release()
	}
}

func (l *flushConn) release() {
	if l.conn != nil {
		l.conn.Release()
		l.conn = nil
	}
}

// flush is the queue's: it commits what callers wait for.
func (ex *Executor) flush(ctx context.Context, take func() (context.Context, []*appendCall)) {
	b := &batch{via: &flushConn{pool: ex.pool, seen: &ex.flushed}}
	defer b.via.release() // also when a codec or tracer of the pool panics
	_, err := b.via.open(ctx)
	if err != nil && ctx.Err() != nil {
		return // another will lead
	}
	waiting, calls := take()
	if err != nil {
		for _, c := range calls {
			c.Finish(store.Errorf("postgres: no connection for the commit: %w", err)) // nothing was sent
		}
		return
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(waiting), flushTimeout)
	defer cancel()
	for now, later := split(calls); len(now) > 0; now, later = split(later) {
		ex.commit(sending, b, now)
	}
	if b.published {
		ex.changed.Notify()
	} else {
		ex.committed()
	}
}

// batch is calls that a flush commits.
type batch struct {
	via       *flushConn
	published bool // other processes were told of the last commit
	locked    bool // conditions are judged with the counter held
}

// committed tells everybody that there may be new events.
func (ex *Executor) committed() {
	ex.changed.Notify()
	ex.announce()
}

// aggregates are those that a statement appends to, and whether any number of appends
// to one may be in it.
type aggregates map[evento.AggregateKey]bool

// take adds those of op, and reports whether the statement can have it too: it does not
// see what it has added itself. Single appends that wait together may be in any order: of
// those to one aggregate one fits at most.
func (taken aggregates) take(op *appendOp, single bool) bool {
	free := true
	for _, key := range op.aggregates {
		singles, known := taken[key]
		free = free && (!known || singles && single)
		taken[key] = single && (!known || singles)
	}
	return free
}

// isSingle reports whether a write is one append with an expected version, and was not
// tried before.
func (op *appendOp) isSingle() bool {
	a := op.write.Appends
	return len(a) == 1 && !a[0].AnyVersion && !op.write.Retry
}

// isPlain reports whether a write is single and its version alone decides.
func (op *appendOp) isPlain() bool { return op.isSingle() && op.conditions.None() }

// split returns the calls for one statement, and those that have to wait for another
// that appends to the same aggregate, or what their conditions may exclude. A call that
// waits makes later calls to its aggregates wait too, so that the order holds.
func split(calls []*appendCall) (now, later []*appendCall) {
	judging := slices.ContainsFunc(calls, func(c *appendCall) bool { return !c.Request.conditions.None() })
	taken := aggregates{}
	var added []store.Header // by now, for the conditions of those behind
	for _, c := range calls {
		op := c.Request
		if !taken.take(op, op.isPlain()) || op.conditions.Concern(added) {
			later = append(later, c)
			continue
		}
		now = append(now, c)
		for i := 0; judging && i < len(op.write.Appends); i++ {
			added = append(added, store.Headers(&op.write.Appends[i], 0, store.UnknownRouting)...)
		}
	}
	return now, later
}

// place is where a single append is to be.
type place struct {
	evento.AggregateKey
	expected uint64
}

// firsts returns the writes that are sent for the calls. Of single appends at one place
// it is the first: what becomes of it decides on the others. By call it returns where its
// write, or the one that decides, is among them.
//
// Why: docs/decisions.md, "Conflicts cost no statement of their own".
func firsts(calls []*appendCall) (ops []*appendOp, by []int) {
	by = make([]int, len(calls))
	if len(calls) == 1 {
		return []*appendOp{calls[0].Request}, by
	}
	places := map[place]int{}
	for i, c := range calls {
		op := c.Request
		by[i] = len(ops)
		if op.isPlain() {
			at := place{op.aggregates[0], op.write.Appends[0].Expected}
			if first, ok := places[at]; ok {
				by[i] = first
				continue
			}
			places[at] = len(ops)
		}
		ops = append(ops, op)
	}
	return ops, by
}

// commit makes the calls durable in one transaction and finishes them.
func (ex *Executor) commit(ctx context.Context, b *batch, calls []*appendCall) {
	var outcomes [][]outcome
	var sessions renewal
	for try := 1; ; try++ {
		conn, err := b.via.open(ctx)
		if err != nil {
			ex.failed(ctx, b, calls, err)
			return
		}
		if calls = appendqueue.Hold(calls); len(calls) == 0 {
			return
		}
		ex.roundTrip.begin(conn)
		if slices.ContainsFunc(calls, (*appendCall).GivenUp) { // before anybody could call it back
			ex.roundTrip.recall()
		}
		outcomes, err = ex.send(ctx, conn, b, calls)
		var recalled bool
		recalled, err = ex.roundTrip.end(err, ex.replicated)
		if recalled {
			b.via.drop(ctx)
		}
		if err == nil {
			break
		}
		switch {
		case recalled && code(err) == queryCanceled:
			try-- // nothing was stored; those who gave up are let go
		case ex.renews(err, &sessions):
			b.via.drop(ctx)
		case !transient(err) && !pgconn.SafeToRetry(err) || try == flushTries:
			ex.failed(ctx, b, calls, err)
			return
		}
		appendqueue.Release(calls)
	}
	var again []*appendCall
	for i, c := range calls {
		if err := ex.resolve(ctx, b, c.Request, outcomes[i]); errors.Is(err, errMoved) {
			again = append(again, c)
		} else {
			c.Finish(err)
		}
	}
	if len(again) > 0 {
		appendqueue.Release(again)
		b.locked = true
		ex.commit(ctx, b, again)
		b.locked = false
	}
}

// failed finishes calls whose transaction failed. When one call may be at fault, each
// is tried by itself, so that only that one fails.
func (ex *Executor) failed(ctx context.Context, b *batch, calls []*appendCall, err error) {
	switch {
	case unsent(err):
		err = store.Errorf("postgres: no connection for the commit: %w", err)
	case unknown(err):
		err = fmt.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
	case len(calls) > 1 && !failsAll(err):
		appendqueue.Release(calls)
		for i := range calls {
			ex.commit(ctx, b, calls[i:i+1])
		}
		return
	case code(err) == uniqueViolation:
		// Its ids are in the store: an earlier attempt was on its way still.
		op := calls[0].Request
		if earlier, e := ex.earlierOn(ctx, b.via, op); earlier || e != nil {
			err = e
		}
	}
	for _, c := range calls {
		c.Finish(classify(err))
	}
}

// send makes the round trip, and returns the outcomes by call. An error that the server
// sent means that nothing was stored.
func (ex *Executor) send(ctx context.Context, conn *pgx.Conn, b *batch, calls []*appendCall) ([][]outcome, error) {
	ops, by := firsts(calls)
	sent := make(map[*appendOp][]outcome, len(ops))
	at, judged := int64(-1), true
	if with := conditional(ops); len(with) > 0 {
		if at, judged = ex.judge(with); b.locked {
			judged = false
		}
	}
	if !judged {
		if err := ex.sendJudged(ctx, conn, b, ops, sent); err != nil {
			return nil, err
		}
	} else if err := ex.sendAccepted(ctx, conn, b, ops, at, len(calls) == 1, sent); err != nil {
		return nil, err
	}
	outcomes := make([][]outcome, len(calls))
	for i, c := range calls {
		outcomes[i] = sent[ops[by[i]]]
		if first := ops[by[i]]; first != c.Request {
			outcomes[i] = []outcome{outcomes[i][0].behind(&first.write.Appends[0])}
		}
	}
	return outcomes, nil
}

// sendAccepted sends the writes that are not refused. Those with conditions are for a
// store whose last event is at a position.
func (ex *Executor) sendAccepted(ctx context.Context, conn *pgx.Conn, b *batch, ops []*appendOp, at int64, alone bool, sent map[*appendOp][]outcome) error {
	ops = accepted(ops)
	if len(ops) == 0 {
		return nil
	}
	if op := ops[0]; len(ops) == 1 && op.isSingle() && (alone || op.conditions.None()) {
		o, err := ex.sendOne(ctx, conn, b, op, at, alone)
		sent[op] = []outcome{o}
		return err
	}
	g := group{ops: ops, at: at}
	if err := ex.transact(ctx, conn, b, nil, func(to *pgx.Batch) { ex.queueAppend(to, &g) }); err != nil {
		return err
	}
	g.outcomesOf(sent)
	return nil
}

// sendJudged judges the writes with the counter held, which takes a round trip more.
func (ex *Executor) sendJudged(ctx context.Context, conn *pgx.Conn, b *batch, ops []*appendOp, sent map[*appendOp][]outcome) error {
	g := group{at: -1}
	err := ex.transact(ctx, conn, b, func(position int64) error {
		return ex.judgeLocked(ctx, conn, conditional(ops), position)
	}, func(to *pgx.Batch) {
		if g.ops = accepted(ops); len(g.ops) > 0 {
			ex.queueAppend(to, &g)
		}
	})
	if err == nil {
		g.outcomesOf(sent)
	}
	return err
}

// accepted are the writes that no condition has refused.
func accepted(ops []*appendOp) (left []*appendOp) {
	for _, op := range ops {
		if op.refusal == nil {
			left = append(left, op)
		}
	}
	return left
}

// transact sends what queue adds, in a transaction that holds the counter. Judge, if it is
// not nil, is told where the counter is before.
func (ex *Executor) transact(ctx context.Context, conn *pgx.Conn, b *batch, judge func(position int64) error, queue func(*pgx.Batch)) error {
	all := &pgx.Batch{}
	all.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	lock := all.Queue(ex.sql.lock)
	if judge != nil {
		var position int64
		var settings [2]string
		lock.QueryRow(func(row pgx.Row) error { return row.Scan(&position, &settings[0], &settings[1]) })
		err := conn.SendBatch(ctx, all).Close()
		if err == nil {
			err = judge(position)
		}
		if err != nil {
			return ex.rolledBack(ctx, conn, err)
		}
		all = &pgx.Batch{}
	}
	queue(all)
	committed := false
	all.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		committed = tag.String() == "COMMIT"
		return nil
	})
	// On the way back it tells other processes, in a transaction of its own,
	// which fails rather than wait long for that of somebody else.
	if b.published = ex.mayPublish(); b.published {
		all.Queue(ex.sql.publishAtOnce)
	}
	err := conn.SendBatch(ctx, all).Close()
	if committed && err != nil {
		b.published, err = false, nil
	}
	return ex.rolledBack(ctx, conn, err)
}

// rolledBack leaves no transaction after an error.
func (ex *Executor) rolledBack(ctx context.Context, conn *pgx.Conn, err error) error {
	if err != nil && !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		if _, e := conn.Exec(ctx, "ROLLBACK"); e != nil {
			err = errors.Join(err, conn.Close(ctx))
		}
	}
	return err
}

// sendOne sends a single append. When nobody else waits it most probably fits, and the
// statement is sent alone. What that does not settle is sent again with the counter held.
//
// Why: docs/decisions.md, "A writer alone sends one statement".
func (ex *Executor) sendOne(ctx context.Context, conn *pgx.Conn, b *batch, op *appendOp, at int64, alone bool) (o outcome, err error) {
	if alone {
		b.published = false
		o, err = ex.sendAlone(ctx, conn, op, at)
		switch {
		case o.fits:
			return o, nil
		case err != nil && code(err) != uniqueViolation && !transient(err):
			return o, err
		case !op.conditions.None():
			return outcome{moved: true}, nil
		}
	}
	err = ex.transact(ctx, conn, b, nil, func(to *pgx.Batch) {
		to.Queue(ex.sql.appending(op).one, oneArguments(op)...).
			QueryRow(func(row pgx.Row) error { return row.Scan(&o.head, &o.fits, &o.position, &o.above) })
	})
	return o, err
}

// sendAlone sends the statement of a single append as a transaction of its own. That
// judges by what was committed when it began, before it waited for the counter. It is
// certain that an append fits, as a unique index sees what came meanwhile. Everything
// else has to be judged again.
func (ex *Executor) sendAlone(ctx context.Context, conn *pgx.Conn, op *appendOp, at int64) (o outcome, err error) {
	a := &op.write.Appends[0]
	seen := ex.head.Load()
	texts := ex.sql.appending(op)
	text, guarded, args := &texts.event, &texts.eventAt, eventArguments
	if len(a.Events) > 1 {
		text, guarded, args = &texts.oneAlone, &texts.oneAloneAt, oneArguments
	}
	params := args(op)
	if !op.conditions.None() {
		text, params = guarded, append(params, at)
	}
	err = conn.QueryRow(ctx, text.at(seen), params...).Scan(&o.position)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, nil
	}
	o.head, o.fits = int64(a.Expected), err == nil
	return o, err
}
