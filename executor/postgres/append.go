// Appending events: one round trip for all that wait.

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
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
	metadata   []*string             // by append; JSON; nil: none
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
		return t.Add(ctx, w, ex.findHead)
	}
	op := &appendOp{write: w}
	err := ex.once(ctx, func() error {
		size, err := ex.lookUpNames(ctx, op)
		if err != nil {
			return err
		}
		return ex.queue.Do(ctx, op, size)
	})
	if err != nil {
		return nil, err
	}
	return op.receipts, nil
}

// lookUpNames turns names into numbers and metadata into text, in the caller's
// goroutine. It returns the size of the write.
func (ex *Executor) lookUpNames(ctx context.Context, op *appendOp) (size int, err error) {
	n := len(op.write.Appends)
	op.aggregates = make([]evento.AggregateKey, n)
	op.types, op.routings, op.kinds, op.metadata = make([]int32, n), make([]*int32, n), make([][]int32, n), make([]*string, n)
	texts := sqlstore.EncodeMetadata(op.write.Appends)
	for i := range texts {
		if texts[i] != "" {
			op.metadata[i] = &texts[i]
		}
	}
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
			id, err := ex.kindID(ctx, sqlstore.Kind{TypeID: typeID, Name: a.Events[j].Name}, true)
			if err != nil {
				return 0, err
			}
			op.kinds[i][j] = int32(id)
			size += len(a.Events[j].Data) + 128
		}
	}
	return size, nil
}

// flushConn is the flush's connection of the pool. It is replaced when it breaks.
type flushConn struct {
	pool *pgxpool.Pool
	conn *pgxpool.Conn // nil: none
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
	b := &batch{via: &flushConn{pool: ex.pool}}
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

// split returns the calls for one statement, and those that have to wait for another
// that appends to the same aggregate. A call that waits makes later calls to its
// aggregates wait too, so that the order holds.
func split(calls []*appendCall) (now, later []*appendCall) {
	taken := aggregates{}
	for _, c := range calls {
		if taken.take(c.Request, c.Request.isSingle()) {
			now = append(now, c)
		} else {
			later = append(later, c)
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
		if op.isSingle() {
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
	for i, c := range calls {
		c.Finish(ex.resolve(ctx, b.via, c.Request, outcomes[i]))
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
	sent := make([][]outcome, len(ops)) // by write
	if len(ops) == 1 && ops[0].isSingle() {
		o, err := ex.sendOne(ctx, conn, b, ops[0], len(calls) == 1)
		if err != nil {
			return nil, err
		}
		sent[0] = []outcome{o}
	} else {
		g := group{ops: ops}
		if err := ex.transact(ctx, conn, b, func(to *pgx.Batch) { ex.queueAppend(to, &g) }); err != nil {
			return nil, err
		}
		next := 0
		for i, op := range ops {
			n := len(op.write.Appends)
			sent[i] = g.outcomes[next : next+n]
			next += n
		}
	}
	outcomes := make([][]outcome, len(calls))
	for i, c := range calls {
		outcomes[i] = sent[by[i]]
		if first := ops[by[i]]; first != c.Request {
			outcomes[i] = []outcome{outcomes[i][0].behind(&first.write.Appends[0])}
		}
	}
	return outcomes, nil
}

// transact sends what queue adds, in a transaction that holds the counter.
func (ex *Executor) transact(ctx context.Context, conn *pgx.Conn, b *batch, queue func(*pgx.Batch)) error {
	all := &pgx.Batch{}
	all.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	all.Queue(ex.sql.lock)
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
func (ex *Executor) sendOne(ctx context.Context, conn *pgx.Conn, b *batch, op *appendOp, alone bool) (o outcome, err error) {
	if alone {
		b.published = false
		o, err = ex.sendAlone(ctx, conn, op)
		switch {
		case o.fits:
			return o, nil
		case err != nil && code(err) != uniqueViolation && !transient(err):
			return o, err
		}
	}
	err = ex.transact(ctx, conn, b, func(to *pgx.Batch) {
		to.Queue(ex.sql.appendOne, oneArguments(op)...).
			QueryRow(func(row pgx.Row) error { return row.Scan(&o.head, &o.fits, &o.position, &o.above) })
	})
	return o, err
}

// sendAlone sends the statement of a single append as a transaction of its own. That
// judges by what was committed when it began, before it waited for the counter. It is
// certain that an append fits, as a unique index sees what came meanwhile. Everything
// else has to be judged again.
func (ex *Executor) sendAlone(ctx context.Context, conn *pgx.Conn, op *appendOp) (o outcome, err error) {
	a := &op.write.Appends[0]
	seen := ex.head.Load()
	var text string
	var args []any
	if len(a.Events) > 1 {
		text, args = ex.sql.appendOneAlone.at(seen), oneArguments(op)
	} else {
		e := &a.Events[0]
		text = ex.sql.appendEvent.at(seen)
		args = []any{a.AggregateID, op.types[0], int64(a.Expected), op.routings[0], op.metadata[0], op.kinds[0][0], pgtype.UUID{Bytes: e.ID, Valid: true}, e.Codec, sqlstore.NotNull(e.Data)}
	}
	err = conn.QueryRow(ctx, text, args...).Scan(&o.position)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, nil
	}
	o.head, o.fits = int64(a.Expected), err == nil
	return o, err
}

// oneArguments are the parameters of appendOne.
func oneArguments(op *appendOp) []any {
	a, e := &op.write.Appends[0], eventArguments([]*appendOp{op})
	return []any{a.AggregateID, op.types[0], int64(a.Expected), int64(len(a.Events)), op.routings[0], op.metadata[0], e.step, e.kind, e.ids, e.codecs, e.data}
}

// group is appends that share a statement: of two to one aggregate, one fits at most.
type group struct {
	ops      []*appendOp
	outcomes []outcome // by append
}

// queueAppend adds the statement of a group to a batch, behind that which locks
// the counter.
func (ex *Executor) queueAppend(to *pgx.Batch, g *group) {
	args, events := arguments(g.ops)
	to.Queue(ex.sql.append, args...).Query(func(rows pgx.Rows) error {
		g.outcomes = make([]outcome, 0, len(events))
		var no int32
		var o outcome
		var before int64 // the position before the statement
		taken := int64(0)
		_, err := pgx.ForEachRow(rows, []any{&no, &o.head, &o.fits, &before, &o.above}, func() error {
			if o.fits {
				taken += int64(events[no])
			}
			o.position = before + taken
			g.outcomes = append(g.outcomes, o)
			return nil
		})
		return err
	})
}

// arguments are the parameters of the append statement, and the number of
// events of each append.
func arguments(ops []*appendOp) ([]any, []int32) {
	var (
		no, writeNo, types []int32
		aggregates         []string
		routings           []*int32
		expected           []int64
		retried            []pgtype.UUID
		events             []int32
	)
	for w, op := range ops {
		for i := range op.write.Appends {
			a := &op.write.Appends[i]
			no, writeNo, types = append(no, int32(len(no))), append(writeNo, int32(w)), append(types, op.types[i])
			aggregates, routings = append(aggregates, a.AggregateID), append(routings, op.routings[i])
			e := int64(a.Expected)
			if a.AnyVersion {
				e = -1
			}
			expected, events = append(expected, e), append(events, int32(len(a.Events)))
			retried = append(retried, pgtype.UUID{Bytes: a.Events[0].ID, Valid: op.write.Retry})
		}
	}
	e := eventArguments(ops)
	return []any{no, writeNo, types, aggregates, routings, expected, retried, events, e.no, e.step, e.kind, e.ids, e.codecs, e.data, e.metadata}, events
}

// eventParams are the parameters for the events of all appends.
type eventParams struct {
	no, step, kind []int32 // no: of the append
	ids            []pgtype.UUID
	codecs         []string
	data           [][]byte
	metadata       []*string
}

func eventArguments(ops []*appendOp) (c eventParams) {
	no := int32(0)
	for _, op := range ops {
		for i := range op.write.Appends {
			for j := range op.write.Appends[i].Events {
				e := &op.write.Appends[i].Events[j]
				c.no, c.step, c.kind = append(c.no, no), append(c.step, int32(j+1)), append(c.kind, op.kinds[i][j])
				c.ids, c.codecs = append(c.ids, pgtype.UUID{Bytes: e.ID, Valid: true}), append(c.codecs, e.Codec)
				c.data, c.metadata = append(c.data, sqlstore.NotNull(e.Data)), append(c.metadata, op.metadata[i])
			}
			no++
		}
	}
	return c
}
