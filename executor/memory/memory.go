// Package memory is an evento executor that keeps everything in the process:
// for tests and for trying things out. It keeps the whole contract of
// [evento.Executor] but durability: what it holds is gone with it. It is also
// the model that other executors are compared with, hence plain rather than
// fast: a read of a few among many events looks at each.
package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Options are the settings of [New]. The zero Options are the defaults.
type Options struct {
	// Clock gives the time for events and records. Where it falls, events stay
	// at the latest time that one has. nil: [time.Now].
	Clock func() time.Time
}

// Executor is an [evento.Executor] in memory.
type Executor struct {
	clock     func() time.Time
	positions cursor.Positions
	changed   store.Signal
	feed      evento.Feed

	mu         sync.RWMutex
	closed     bool
	latest     time.Time                     // of an event
	log        []evento.RawEvent             // the event at position p is log[p-1]
	aggregates map[evento.AggregateKey][]int // indexes into log, by version
	records    map[evento.RecordKey]evento.Record
	snapshots  map[evento.SnapshotKey]snap // copies of their own
	inOrder    []evento.SnapshotKey        // of snapshots; nil: they are to be sorted
}

type snap = evento.Snapshot

var _ evento.Executor = (*Executor)(nil)

// New returns an empty store. nil options are the defaults.
func New(opts *Options) *Executor {
	if opts == nil {
		opts = &Options{}
	}
	ex := &Executor{
		clock:      opts.Clock,
		positions:  cursor.NewPositions(evento.NewID()),
		aggregates: map[evento.AggregateKey][]int{},
		records:    map[evento.RecordKey]evento.Record{},
		snapshots:  map[evento.SnapshotKey]snap{},
	}
	if ex.clock == nil {
		ex.clock = time.Now
	}
	return ex
}

// lock takes the lock for writing, unless the context ended or the store is
// closed. A caller unlocks when the error is nil.
func (ex *Executor) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ex.mu.Lock()
	if ex.closed {
		ex.mu.Unlock()
		return evento.ErrClosed
	}
	return nil
}

// rlock is lock for reading.
func (ex *Executor) rlock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ex.mu.RLock()
	if ex.closed {
		ex.mu.RUnlock()
		return evento.ErrClosed
	}
	return nil
}

// now is the time of the store's clock. The caller holds the lock for writing:
// clock is called by one at a time.
func (ex *Executor) now() time.Time { return ex.clock().UTC().Truncate(time.Microsecond) }

// Write implements [evento.Executor].
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := ex.lock(ctx); err != nil {
		return nil, err
	}
	defer ex.mu.Unlock()

	if w.Retry {
		if receipts := ex.earlier(w); receipts != nil {
			return receipts, nil
		}
	}
	for i := range w.Appends {
		a := &w.Appends[i]
		actual := uint64(len(ex.aggregates[a.Aggregate()]))
		if a.AnyVersion || a.Expected == actual {
			continue
		}
		if receipts := ex.earlier(w); receipts != nil {
			return receipts, nil
		}
		return nil, &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: actual}
	}

	if now := ex.now(); now.After(ex.latest) {
		ex.latest = now
	}
	receipts := make([]evento.Receipt, len(w.Appends))
	for i := range w.Appends {
		ex.append(&w.Appends[i])
		receipts[i] = evento.Receipt{
			AggregateID: w.Appends[i].AggregateID,
			Version:     ex.log[len(ex.log)-1].Version,
			Position:    uint64(len(ex.log)),
		}
	}
	ex.changed.Notify()
	return receipts, nil
}

func (ex *Executor) append(a *evento.Append) {
	key := a.Aggregate()
	places := ex.aggregates[key]
	routingKey := a.RoutingKey
	if len(places) > 0 {
		routingKey = ex.log[places[0]].RoutingKey
	}
	metadata := a.Metadata.Clone()
	for _, e := range a.Events {
		places = append(places, len(ex.log))
		ex.log = append(ex.log, evento.RawEvent{
			ID:            e.ID,
			Position:      uint64(len(ex.log) + 1),
			AggregateType: a.AggregateType,
			AggregateID:   a.AggregateID,
			Version:       uint64(len(places)),
			Name:          e.Name,
			RoutingKey:    routingKey,
			Codec:         e.Codec,
			Data:          bytes.Clone(e.Data),
			Metadata:      metadata,
			Timestamp:     ex.latest,
		})
	}
	ex.aggregates[key] = places
}

// earlier returns the receipts of the same write made before, or nil.
func (ex *Executor) earlier(w evento.Write) []evento.Receipt {
	receipts := make([]evento.Receipt, len(w.Appends))
	for i := range w.Appends {
		a := &w.Appends[i]
		last, ok := ex.find(a, w.Retry || a.AnyVersion)
		if !ok {
			return nil
		}
		receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: ex.log[last].Version, Position: ex.log[last].Position}
	}
	return receipts
}

// find returns the index of the last event of an append that is stored, by
// the ids of its events: above the expected version, or anywhere.
func (ex *Executor) find(a *evento.Append, anywhere bool) (last int, ok bool) {
	places := ex.aggregates[a.Aggregate()]
	from, to := int(a.Expected), int(a.Expected)+1
	if anywhere {
		from, to = 0, len(places)
	}
	for ; from < to; from++ {
		if from+len(a.Events) > len(places) {
			return 0, false
		}
		same := true
		for i := range a.Events {
			same = same && ex.log[places[from+i]].ID == a.Events[i].ID
		}
		if same {
			return places[from+len(a.Events)-1], true
		}
	}
	return 0, false
}

// Read implements [evento.Executor].
func (ex *Executor) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	at, err := store.Begin(q, args, ex.positions)
	if err != nil {
		return nil, err
	}
	if err := ex.rlock(ctx); err != nil {
		return nil, err
	}
	defer ex.mu.RUnlock()
	head := uint64(len(ex.log))
	if at > head {
		return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, head)
	}
	found := finding{ex: ex, q: q, most: args.Limit(), Found: store.Found{At: at, Head: head}}
	switch {
	case args.IsBackward():
		before := at // the first position that the page must not reach
		if args.At() == "" {
			before = head + 1
		}
		for i := before; i > 1 && found.look(i-2); i-- {
		}
		found.Behind = before > 0 && ex.anyMatch(q, before-1, head)
	default:
		for i := at; i < head && found.look(i); i++ {
		}
		found.Behind = !args.IsOnward() && ex.anyMatch(q, 0, at)
	}
	return found.Page(args, ex.positions), nil
}

// finding is a page on its way.
type finding struct {
	store.Found
	ex         *Executor
	q          evento.Query
	most, size int
}

// look takes the event at an index if it matches, and reports whether the page
// has room for another.
func (f *finding) look(i uint64) bool {
	if !f.q.Matches(f.ex.log[i]) {
		return true
	}
	f.size += len(f.ex.log[i].Data)
	if len(f.Edges) == f.most || len(f.Edges) > 0 && f.size > evento.PageBytes {
		f.More = true
		return false
	}
	f.Edges = append(f.Edges, f.ex.edge(i))
	return true
}

// anyMatch looks at the positions above from, up to to.
func (ex *Executor) anyMatch(q evento.Query, from, to uint64) bool {
	for i := from; i < to; i++ {
		if q.Matches(ex.log[i]) {
			return true
		}
	}
	return false
}

// edge copies what a caller could write to.
func (ex *Executor) edge(i uint64) cursor.Edge[evento.RawEvent] {
	e := ex.log[i]
	e.Data = bytes.Clone(e.Data)
	e.Metadata = e.Metadata.Clone()
	return cursor.Edge[evento.RawEvent]{Node: e}
}

// Changed implements [evento.Executor].
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// CursorAt implements [evento.Executor].
func (ex *Executor) CursorAt(position uint64) (cursor.Value, error) {
	if err := ex.rlock(context.Background()); err != nil {
		return "", err
	}
	defer ex.mu.RUnlock()
	return ex.positions.At(position), nil
}

// Earlier implements [evento.Executor].
func (ex *Executor) Earlier(a, b cursor.Value) (cursor.Value, error) {
	if err := ex.rlock(context.Background()); err != nil {
		return "", err
	}
	defer ex.mu.RUnlock()
	return ex.positions.Earlier(a, b)
}

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.lock(ctx); err != nil {
		return nil, err
	}
	defer ex.mu.Unlock()
	page := &evento.RecordPage{Now: ex.now()}
	for _, r := range ex.records {
		if r.Kind == q.Kind && (q.Key == "" || r.Key == q.Key) && r.Compare(q.After) > 0 {
			r.Value = bytes.Clone(r.Value)
			page.Records = append(page.Records, r)
		}
	}
	slices.SortFunc(page.Records, func(a, b evento.Record) int { return a.Compare(b.RecordKey) })
	if most := cmp.Or(q.Limit, evento.MaxRecords); len(page.Records) > most {
		page.Records, page.More = page.Records[:most], true
	}
	return page, nil
}

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	defer ex.mu.Unlock()
	for _, c := range s.Changes {
		if at := ex.records[c.RecordKey].Revision; at != c.Revision {
			return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
		}
	}
	now := ex.now()
	for _, c := range s.Changes {
		if c.Remove {
			delete(ex.records, c.RecordKey)
			continue
		}
		ex.records[c.RecordKey] = evento.Record{RecordKey: c.RecordKey, Revision: c.Revision + 1, ChangedAt: now, Value: bytes.Clone(c.Value)}
	}
	if s.Wake {
		ex.changed.Notify()
	}
	return nil
}

// Snapshot implements [evento.Executor].
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
	if err := ex.rlock(ctx); err != nil {
		return evento.Snapshot{}, err
	}
	defer ex.mu.RUnlock()
	s, ok := ex.snapshots[key]
	if !ok {
		return evento.Snapshot{}, fmt.Errorf("%w: snapshot of %q for %s %q", evento.ErrNotFound, key.Projection, key.AggregateType, key.AggregateID)
	}
	s.Data = bytes.Clone(s.Data)
	return s, nil
}

// SaveSnapshot implements [evento.Executor].
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	if err := ex.lock(ctx); err != nil {
		return err
	}
	defer ex.mu.Unlock()
	if old, ok := ex.snapshots[key]; ok && (old.Version > s.Version || old.Version == s.Version && old.Position > s.Position) {
		return nil
	}
	if _, known := ex.snapshots[key]; !known {
		ex.inOrder = nil
	}
	s.Data = bytes.Clone(s.Data)
	ex.snapshots[key] = s
	return nil
}

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.lock(ctx); err != nil {
		return nil, err
	}
	defer ex.mu.Unlock()
	if ex.inOrder == nil {
		ex.inOrder = slices.SortedFunc(maps.Keys(ex.snapshots), evento.SnapshotKey.Compare)
	}
	page := store.SnapshotsOf(q)
	from, after := slices.BinarySearchFunc(ex.inOrder, q.After, evento.SnapshotKey.Compare)
	if after {
		from++
	}
	for _, key := range ex.inOrder[from:] {
		if q.Projection != "" && key.Projection != q.Projection {
			continue
		}
		s := evento.StoredSnapshot{SnapshotKey: key, Snapshot: ex.snapshots[key], Size: len(ex.snapshots[key].Data)}
		if q.States {
			s.Data = bytes.Clone(s.Data)
		}
		if !page.Take(s) {
			break
		}
	}
	return page.Page(), nil
}

// RemoveSnapshots implements [evento.Executor].
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	if err := store.CheckKeys(keys); err != nil {
		return err
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	defer ex.mu.Unlock()
	for _, key := range keys {
		delete(ex.snapshots, key)
	}
	ex.inOrder = nil
	return nil
}

// Close implements [evento.Executor]. The events are gone then.
func (ex *Executor) Close() error {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	if ex.closed {
		return nil
	}
	ex.closed = true
	ex.log, ex.aggregates, ex.records, ex.snapshots = nil, nil, nil, nil
	ex.changed.Close()
	return nil
}
