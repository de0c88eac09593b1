// The index of an executor whose events are decided elsewhere.

package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/decided"
	"github.com/evento-go/evento/internal/store"
)

// Index is a store of this package to which nobody writes: it takes what a replicated
// log has decided, and is read like any other. It is for executor/jetstream, and can be
// made anew from the log. So it does not wait for the disk: after a power cut it may have
// less than before, of whole batches, in their order.
//
// One goroutine calls Apply; the other methods are safe for concurrent use.
type Index struct {
	ex  *Executor
	own [2][]byte // the first of the log's entries, and what is behind them

	unseen *unseen // for who calls Apply; nil: the index was there before
}

// Of an index the keys begin otherwise, so that Open does not take it for a store.
const (
	indexPrefix = "index/"
	entryKey    = 'x' // entries of the log's own
)

// OpenIndex opens the index in a directory, making it if there is none. "" is one in
// memory. Its cursors are those of a store of this identity. Of the options, Prefix,
// ReadOnly, FS, MinFree and Clock are not used.
//
// Errors: those of Open; [evento.ErrInvalid] for the index of another store.
func OpenIndex(ctx context.Context, dir string, identity [16]byte, opts *Options) (*Index, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	o.Prefix, o.ReadOnly, o.FS, o.MinFree, o.identity = indexPrefix, false, vfs.Default, -1, &identity
	if dir == "" {
		dir, o.FS = "index", vfs.NewMem()
	}
	ex, err := open(ctx, dir, o)
	if err != nil {
		return nil, store.Errorf("pebble: open %s: %w", dir, explain(err))
	}
	x := &Index{ex: ex}
	beginning := ex.keys.begin(entryKey)
	x.own = [2][]byte{beginning, end(beginning)}
	x.begin()
	return x, nil
}

// begin notes what an empty index will have.
func (x *Index) begin() {
	if x.ex.applied.Load() == 0 {
		x.unseen = newUnseen()
	}
}

// Close waits for the calls under way, and closes the index.
func (x *Index) Close() error { return x.ex.Close() }

// Positions makes the cursors.
func (x *Index) Positions() cursor.Positions { return x.ex.positions }

// Changed is closed after the next batch that has events, or that wakes.
func (x *Index) Changed() <-chan struct{} { return x.ex.changed.Wait() }

// Last is the position and the time of the last event, in microseconds since 1970. It is
// called by who calls Apply.
func (x *Index) Last() (position uint64, recordedAt int64) { return x.ex.applied.Load(), x.ex.latest }

// Visible is the position of the last event.
func (x *Index) Visible() uint64 { return x.ex.visible.Load() }

// Shown is Last for any caller.
func (x *Index) Shown() (position uint64, recordedAt int64) {
	x.ex.order <- struct{}{}
	defer x.ex.unlock()
	return x.Last()
}

// Wake wakes those who wait for Changed.
func (x *Index) Wake() { x.ex.changed.Notify() }

// Read reads as [evento.Executor] does.
func (x *Index) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	return x.ex.Read(ctx, q, args)
}

// Records lists records as [evento.Executor] does, with the time of this machine.
func (x *Index) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	return x.ex.Records(ctx, q)
}

// Record returns a record; nil: there is none.
func (x *Index) Record(key evento.RecordKey) (*evento.Record, error) {
	at := x.ex.keys.record(key)
	v, err := x.ex.get(at)
	if v == nil || err != nil {
		return nil, failure(err)
	}
	if _, err := revisionOf(at, v); err != nil {
		return nil, failure(err)
	}
	r, err := x.ex.record(at, v)
	return &r, failure(err)
}

// HeadNow is [Index.Head] for who calls Apply.
func (x *Index) HeadNow(a evento.AggregateKey) (decided.Head, error) {
	if x.unseen != nil && !x.unseen.has(a) {
		return decided.Head{}, nil
	}
	return x.Head(a)
}

// Head returns where an aggregate is.
func (x *Index) Head(a evento.AggregateKey) (decided.Head, error) {
	h, err := x.ex.look(a)
	return decided.Head{Version: h.version, RoutingKey: h.routing}, failure(err)
}

// Find returns the receipts of a write that may be stored behind a position, and whether it
// is.
func (x *Index) Find(ctx context.Context, w *evento.Write, behind uint64) (_ []evento.Receipt, found bool, err error) {
	m := newMade(w)
	m.upTo = behind
	if err := x.ex.search(ctx, w, m, x.ex.applied.Load()); err != nil {
		return nil, false, failure(err)
	}
	return m.receipts, m.all(), nil
}

// Entry returns a copy of an entry; nil: there is none.
func (x *Index) Entry(key []byte) ([]byte, error) {
	v, err := x.ex.get(append(bytes.Clone(x.own[0]), key...))
	return v, failure(err)
}

// Entries calls each for the entries whose keys begin so, in order. Their bytes are valid
// during the call.
func (x *Index) Entries(beginning []byte, each func(key, value []byte) error) (err error) {
	from := append(bytes.Clone(x.own[0]), beginning...)
	it, err := x.ex.db.NewIter(&lsm.IterOptions{LowerBound: from, UpperBound: x.own[1]})
	if err != nil {
		return failure(err)
	}
	defer func() { err = failure(closeAfter(it, err)) }()
	for ok := it.First(); ok && bytes.HasPrefix(it.Key(), from); ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := each(it.Key()[len(x.own[0]):], v); err != nil {
			return err
		}
	}
	return nil
}

// Apply stores a batch, and shows it. After an error the index is closed to its callers.
func (x *Index) Apply(b *decided.Batch) error {
	ex := x.ex
	if err := ex.gate.Enter(context.Background()); err != nil {
		return err
	}
	defer ex.gate.Leave()
	p, err := x.batch(b)
	if err == nil {
		err = x.apply(p.batch)
	}
	if err != nil {
		ex.fail(err)
		return failure(err)
	}
	for i := range b.Appends {
		a := &b.Appends[i]
		if x.unseen != nil && a.Version == 0 {
			x.unseen.add(a.Aggregate())
		}
		after := a.After()
		ex.heads.put(a.Aggregate(), head{version: after.Version, position: a.Last(), routing: after.RoutingKey})
	}
	if n := len(b.Appends); n > 0 {
		last := &b.Appends[n-1]
		ex.order <- struct{}{}
		ex.latest = last.RecordedAt
		ex.applied.Store(last.Last())
		ex.unlock()
		x.remember(b.Appends)
		ex.visible.Store(last.Last())
	}
	if len(b.Appends) > 0 || b.Wake {
		ex.changed.Notify()
	}
	return nil
}

// batch makes Pebble's batch.
func (x *Index) batch(b *decided.Batch) (*pending, error) {
	ex := x.ex
	p := &pending{ex: ex, appends: make([]evento.Append, len(b.Appends)), heads: make([]seen, len(b.Appends))}
	for i := range b.Appends {
		a := &b.Appends[i]
		p.appends[i] = *a.Append
		p.heads[i].head = head{version: a.Version, routing: a.Head.RoutingKey}
	}
	if err := p.encode(); err != nil {
		return nil, err
	}
	next := p.events
	for i := range b.Appends {
		a := &b.Appends[i]
		for j := range a.Events {
			next[0].place(a.First+uint64(j), a.Version+1+uint64(j), a.RecordedAt)
			next = next[1:]
		}
	}
	for i := range b.Records {
		if err := x.putRecord(p.batch, &b.Records[i]); err != nil {
			return nil, err
		}
	}
	for _, e := range b.Keys {
		key := append(bytes.Clone(x.own[0]), e.Key...)
		if err := set(p.batch, key, e.Value); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (x *Index) putRecord(b *lsm.Batch, r *evento.Record) error {
	key := x.ex.keys.record(r.RecordKey)
	if r.Revision == 0 {
		return b.Delete(key, nil)
	}
	value := make([]byte, recordHeader, recordHeader+len(r.Value))
	binary.BigEndian.PutUint64(value, r.Revision)
	binary.BigEndian.PutUint64(value[recordHeader-timeLen:], uint64(r.ChangedAt.UnixMicro()))
	return b.Set(key, append(value, r.Value...), nil)
}

func set(b *lsm.Batch, key, value []byte) error {
	if value == nil {
		return b.Delete(key, nil)
	}
	return b.Set(key, value, nil)
}

func (x *Index) apply(b *lsm.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil { // Pebble panics when its log is broken
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := x.ex.db.Apply(b, lsm.NoSync); err != nil {
		return err
	}
	return errors.Join(x.ex.gate.Failed(), b.Close())
}

// remember keeps what was applied for conditions.
func (x *Index) remember(appends []decided.Append) {
	if !x.ex.recent.Keep(x.ex.applied.Load(), false) {
		return
	}
	for i := range appends {
		x.ex.recent.Add(Headers(&appends[i])...)
	}
}

// Headers are what conditions look at of an append.
func Headers(a *decided.Append) []store.Header {
	return store.Headers(a.Append, a.Last(), a.Routing())
}

// Look returns the conditions of a write with places near the end, for [Index.Excluded]. The
// error is a *[evento.ConflictError] for one that does not hold.
func (x *Index) Look(ctx context.Context, w *evento.Write) ([]store.Place, error) {
	c, err := store.Look(w, &x.ex.recent, x.ex.positions, x.ex.visible.Load(), x.ex.reader(ctx, x.ex.visible.Load))
	if err == nil {
		err = c.Refused()
	}
	return c.Places(w), err
}

// Excluded returns the conflict of the first condition that does not hold, against what was
// applied and others that follow it. It is called by who calls Apply.
func (x *Index) Excluded(places []store.Place, others []store.Header) error {
	ex := x.ex
	head, read := ex.applied.Load(), ex.reader(context.Background(), ex.applied.Load)
	c := store.ConditionsAt(places)
	err := ex.recent.Cover(&c, head, ex.positions, read)
	if err == nil {
		err = ex.recent.Judge(&c, others)
	}
	if errors.Is(err, store.ErrBehind) || errors.Is(err, cursor.ErrBeyondHead) {
		err = store.JudgeByReading(places, head, others, ex.positions, read)
	}
	return err
}

// Clear removes everything, so that the index can be made anew.
func (x *Index) Clear() error {
	ex := x.ex
	from := []byte(ex.keys.prefix)
	if err := ex.db.DeleteRange(from, end(from), lsm.Sync); err != nil {
		return failure(err)
	}
	ex.heads = newHeads(headsMost)
	ex.recent.Forget()
	ex.latest = 0
	ex.applied.Store(0)
	ex.visible.Store(0)
	if err := ex.recover(); err != nil {
		return failure(err)
	}
	x.begin()
	return nil
}
