// Writing events.

package pebble

import (
	"context"
	"errors"
	"math"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Write implements [evento.Executor]. It looks up heads and encodes events before it
// takes the order. Only positions, versions and the time are filled in under it.
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	for {
		receipts, err := ex.write(ctx, &w)
		if !errors.Is(err, store.ErrBehind) {
			return receipts, err
		}
	}
}

func (ex *Executor) write(ctx context.Context, w *evento.Write) ([]evento.Receipt, error) {
	p := &pending{ex: ex, appends: w.Appends}
	var err error
	if p.conditions, err = store.Look(w, &ex.recent, ex.positions, math.MaxUint64, ex.reader(ctx, ex.visible.Load)); err != nil {
		return nil, err
	}
	if w.Swap != nil {
		if p.records, err = ex.lockRecords(ctx, w.Swap); err != nil {
			return nil, err
		}
		defer ex.unlockKeys(p.records.keys)
	}
	plain := p.plain(w)
	if plain {
		ex.queue.under.Add(1)
		defer ex.queue.under.Add(-1)
	}
	if err := p.prepare(); err != nil {
		return nil, failure(err)
	}
	if w.Retry {
		p.made = newMade(w)
		if err := ex.search(ctx, w, p.made, ex.applied.Load()); err != nil {
			return nil, failure(err)
		}
		if p.made.all() {
			return ex.earlier(p.made)
		}
	}
	if err := ex.disk.room(p.batch.Len()); err != nil {
		return nil, err
	}
	if !plain {
		return p.commit(ctx, w)
	}
	p.share(ctx)
	switch {
	case p.err != nil:
		return nil, p.err
	case p.conflict != nil:
		return ex.conflict(ctx, w, p.conflict, ex.applied.Load())
	}
	return p.receipts, nil
}

// reader reads pages of the events up to a head.
func (ex *Executor) reader(ctx context.Context, head func() uint64) store.Reader {
	return func(q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
		from, err := ex.positions.Position(args.At())
		if err != nil {
			return nil, err
		}
		return ex.readPage(ctx, q, args, from, head())
	}
}

// pending is a write with its batch.
type pending struct {
	ex      *Executor
	appends []evento.Append
	heads   []seen
	batch   *lsm.Batch
	events  []event
	made    *made // of a retry
	records records

	conditions store.Conditions

	turn     chan bool // of a plain write in the queue: true, it leads; false, it has its outcome
	receipts []evento.Receipt
	conflict *conflicted
	err      error
}

// plain reports whether the versions alone decide, and nothing else is written.
func (p *pending) plain(w *evento.Write) bool {
	return w.Swap == nil && !w.Retry && p.conditions.None()
}

// event is one event of the batch: the places in the batch's memory where place fills in
// its position.
type event struct {
	values [2]stored
	keys   [4][]byte // the ends of its keys; the last is nil without a routing key
	tags   [][]byte  // and of those of its tags
}

// prepare looks up where the aggregates are and makes the batch.
func (p *pending) prepare() error {
	p.heads = make([]seen, len(p.appends))
	for i := range p.appends {
		var err error
		if p.heads[i], err = p.ex.look(p.appends[i].Aggregate()); err != nil {
			return err
		}
	}
	return p.encode()
}

// routing is the key that an append's events get.
func (p *pending) routing(i int) string {
	if p.heads[i].version > 0 {
		return p.heads[i].routing
	}
	return p.appends[i].RoutingKey
}

// The batch keeps its keys and values in one piece of memory, which is made large
// enough at once: it must not move before they are filled in.
const (
	batchHeader   = 12
	recordLengths = 1 + 2*5 // a record's kind and the lengths of key and value
)

// encode makes the batch.
func (p *pending) encode() error {
	ex := p.ex
	size, count := batchHeader, 0
	metadata := make([][]byte, 0, len(p.appends)) // by event
	for i := range p.appends {
		a := &p.appends[i]
		routing := p.routing(i)
		count += len(a.Events)
		for j := range a.Events {
			e := &a.Events[j]
			if j > 0 && len(e.Tags)+len(a.Events[j-1].Tags) == 0 {
				metadata = append(metadata, metadata[len(metadata)-1])
			} else {
				text, err := encodeMetadata(&a.Metadata, e.Tags)
				if err != nil {
					return err
				}
				metadata = append(metadata, text)
			}
			size += 2*storedLen(a, e, routing, metadata[len(metadata)-1]) + 4*(recordLengths+len(ex.keys.prefix)+1+positionLen) +
				2*len(a.AggregateType) + len(a.AggregateID) + len(e.Name) + len(routing) + 5
			for _, tag := range e.Tags {
				size += recordLengths + len(ex.keys.prefix) + 1 + len(tag) + 1 + positionLen
			}
		}
	}
	size += p.records.room()
	p.batch = ex.db.NewBatchWithSize(size)
	p.events = make([]event, 0, count)
	events := ex.keys.events()
	for i := range p.appends {
		a := &p.appends[i]
		routing := p.routing(i)
		own := ex.keys.aggregate(a.AggregateType, a.AggregateID)
		for j := range a.Events {
			e := &a.Events[j]
			metadata := metadata[len(p.events)]
			n := storedLen(a, e, routing, metadata)
			var at event
			at.keys[0], at.values[0] = p.set(events, n)
			at.values[0].put(a, e, routing, metadata)
			at.keys[1], at.values[1] = p.set(own, n)
			copy(at.values[1], at.values[0])
			at.keys[2], _ = p.set(ex.keys.kind(a.AggregateType, e.Name), 0)
			if routing != "" {
				at.keys[3], _ = p.set(ex.keys.routing(routing), 0)
			}
			for _, tag := range e.Tags {
				key, _ := p.set(ex.keys.tag(tag), 0)
				at.tags = append(at.tags, key)
			}
			p.events = append(p.events, at)
		}
	}
	if err := p.records.write(p.batch); err != nil {
		return err
	}
	if p.batch.Len() > size {
		return errors.New("a batch outgrew its size")
	}
	return nil
}

// set adds a key of this beginning and a position, and a value of this length. It
// returns where the position and the value are to be written.
func (p *pending) set(beginning []byte, valueLen int) ([]byte, stored) {
	op := p.batch.SetDeferred(len(beginning)+positionLen, valueLen)
	copy(op.Key, beginning)
	return op.Key[len(beginning):], op.Value
}

// commit checks all that a write may depend on, applies its batch and waits for the disk.
func (p *pending) commit(ctx context.Context, w *evento.Write) ([]evento.Receipt, error) {
	ex := p.ex
	if err := ex.lock(ctx); err != nil {
		return nil, err
	}
	receipts, conflict, err := p.apply(ctx, w)
	applied := ex.applied.Load()
	ex.unlock()
	switch {
	case err != nil:
		return nil, err
	case p.made != nil && p.made.all():
		return ex.earlier(p.made)
	case conflict != nil:
		return ex.conflict(ctx, w, conflict, applied)
	}
	if err := ex.finish(p.batch, receipts[len(receipts)-1].Position); err != nil {
		return nil, err
	}
	return receipts, nil
}

// conflicted is a conflict, and the position of the event that causes it.
type conflicted struct {
	err      *evento.ConflictError
	position uint64
}

// apply is the part under the order.
func (p *pending) apply(ctx context.Context, w *evento.Write) ([]evento.Receipt, *conflicted, error) {
	ex := p.ex
	if p.made != nil && ex.applied.Load() > p.made.upTo {
		if err := ex.search(ctx, w, p.made, ex.applied.Load()); err != nil {
			return nil, nil, failure(err)
		}
		if p.made.all() {
			return nil, nil, nil
		}
	}
	if conflict, err := p.fits(nil); conflict != nil || err != nil {
		return nil, conflict, err
	}
	if conflict, err := p.judge(ctx); conflict != nil || err != nil {
		return nil, conflict, err
	}
	if p.records.stale != nil {
		return nil, nil, p.records.stale
	}
	now := max(ex.latest, ex.opts.Clock().UnixMicro())
	p.receipts = p.place(ex.applied.Load(), now)
	if err := ex.apply(p.batch); err != nil {
		return nil, nil, err
	}
	p.applied(now)
	return p.receipts, nil, nil
}

// fits brings the heads up to date and compares versions. Placed are heads that are going
// to be applied in the same batch, before it.
func (p *pending) fits(placed map[evento.AggregateKey]head) (*conflicted, error) {
	again := false
	for i := range p.appends {
		a, h := &p.appends[i], &p.heads[i]
		before := p.routing(i)
		if other, ok := placed[a.Aggregate()]; ok {
			h.head = other
		} else if err := p.ex.now(a.Aggregate(), h); err != nil {
			return nil, failure(err)
		}
		if !a.AnyVersion && a.Expected != h.version {
			return &conflicted{&evento.ConflictError{
				AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: h.version,
			}, h.position}, nil
		}
		again = again || p.routing(i) != before
	}
	if again { // somebody else made the aggregate, with another routing key
		if err := p.encode(); err != nil {
			return nil, failure(err)
		}
	}
	return nil, nil
}

// head is where an append's aggregate is once the write is applied.
func (p *pending) head(i int) head {
	return head{version: p.receipts[i].Version, position: p.receipts[i].Position, routing: p.routing(i)}
}

// applied tells others what was applied.
func (p *pending) applied(now int64) {
	ex := p.ex
	ex.latest = now
	ex.applied.Store(p.receipts[len(p.receipts)-1].Position)
	for i := range p.receipts {
		ex.heads.put(p.appends[i].Aggregate(), p.head(i))
	}
	p.remember(p.receipts)
}

// judge holds the conditions against what was applied, which may not be durable yet.
func (p *pending) judge(ctx context.Context) (*conflicted, error) {
	ex := p.ex
	if p.conditions.None() {
		return nil, nil
	}
	err := p.conditions.Refused()
	if err == nil {
		err = ex.recent.Cover(&p.conditions, ex.applied.Load(), ex.positions, ex.reader(ctx, ex.applied.Load))
	}
	if err == nil {
		err = ex.recent.Judge(&p.conditions, nil)
	}
	var conflict *evento.ConflictError
	if errors.As(err, &conflict) {
		return &conflicted{conflict, conflict.Position}, nil
	}
	return nil, err
}

// remember keeps what was applied for the conditions of others.
func (p *pending) remember(receipts []evento.Receipt) {
	if !p.ex.recent.Keep(p.ex.applied.Load(), false) {
		return
	}
	for i := range receipts {
		p.ex.recent.Add(store.Headers(&p.appends[i], receipts[i].Position, p.routing(i))...)
	}
}

// place gives the events of the batch the positions after last.
func (p *pending) place(last uint64, now int64) []evento.Receipt {
	receipts := make([]evento.Receipt, len(p.appends))
	next := p.events
	for i := range p.appends {
		version := p.heads[i].version
		for range p.appends[i].Events {
			last++
			version++
			next[0].place(last, version, now)
			next = next[1:]
		}
		receipts[i] = evento.Receipt{AggregateID: p.appends[i].AggregateID, Version: version, Position: last}
	}
	return receipts
}
