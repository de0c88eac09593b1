// Package memory is an evento executor that keeps everything in the process:
// for tests and for trying things out. It keeps the whole contract of
// [evento.Executor] except durability: its events end with it. Other executors
// are compared with it, so it is plain rather than fast: a read of a few among
// many events looks at each.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Options are the settings of [New]. The zero Options are the defaults.
type Options struct {
	// Clock gives the time of events and records. When it goes back, new events
	// get the time of the last event. nil: [time.Now].
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
	latest     time.Time                              // of the last event
	log        []evento.RawEvent                      // the event at position p is log[p-1]
	aggregates map[evento.AggregateKey][]int          // indexes into log, by version
	records    []*evento.Record                       // in the order of their keys; each is replaced, not changed
	snapshots  map[evento.SnapshotKey]evento.Snapshot // with data that nobody else has
	inOrder    []evento.SnapshotKey                   // of snapshots; nil: they are to be sorted
}

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
		snapshots:  map[evento.SnapshotKey]evento.Snapshot{},
	}
	if ex.clock == nil {
		ex.clock = time.Now
	}
	return ex
}

// lock takes the lock for writing, unless the context has ended or the store is
// closed. The caller unlocks when the error is nil.
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

// now is the time of the store's clock. The caller holds the lock for writing, so
// that clock is called by one at a time.
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

	after, err := ex.places(&w)
	if err != nil {
		return nil, err
	}
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

	for i, at := range after {
		if n := slices.IndexFunc(ex.log[at:], w.Unless[i].Query.Matches); n >= 0 {
			return nil, &evento.ConflictError{Condition: i + 1, Position: at + uint64(n) + 1}
		}
	}

	if w.Swap != nil {
		if err := ex.swap(w.Swap.Changes); err != nil {
			return nil, err
		}
	}
	if now := ex.now(); now.After(ex.latest) {
		ex.latest = now
	}
	receipts := make([]evento.Receipt, len(w.Appends))
	for i := range w.Appends {
		ex.append(&w.Appends[i])
		receipts[i] = ex.receipt(len(ex.log) - 1)
	}
	ex.changed.Notify()
	return receipts, nil
}

// places are the positions that the conditions of a write are after.
func (ex *Executor) places(w *evento.Write) ([]uint64, error) {
	after := make([]uint64, len(w.Unless))
	for i := range w.Unless {
		at, err := ex.positions.Position(w.Unless[i].After)
		if err != nil {
			return nil, err
		}
		if head := uint64(len(ex.log)); at > head {
			return nil, fmt.Errorf("%w: position %d, the store is at %d", cursor.ErrBeyondHead, at, head)
		}
		after[i] = at
	}
	return after, nil
}

// receipt is that of an append whose last event is at an index.
func (ex *Executor) receipt(last int) evento.Receipt {
	e := &ex.log[last]
	return evento.Receipt{AggregateID: e.AggregateID, Version: e.Version, Position: e.Position}
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
			Tags:          slices.Clone(e.Tags),
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
		receipts[i] = ex.receipt(last)
	}
	return receipts
}

// find returns the index of the last event of an append that is stored. It looks for
// the ids of its events right after the expected version, or anywhere.
func (ex *Executor) find(a *evento.Append, anywhere bool) (last int, ok bool) {
	places := ex.aggregates[a.Aggregate()]
	from, to := int(a.Expected), int(a.Expected)+1
	if anywhere {
		from, to = 0, len(places)
	}
	for n := len(a.Events); from < to && from+n <= len(places); from++ {
		if slices.EqualFunc(places[from:from+n], a.Events, func(at int, e evento.NewEvent) bool { return ex.log[at].ID == e.ID }) {
			return places[from+n-1], true
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
	if args.IsBackward() {
		before := at // the first position that the page must not reach
		if args.At() == "" {
			before = head + 1
		}
		for i := before; i > 1 && found.look(i-2); i-- {
		}
		found.Behind = before > 0 && slices.ContainsFunc(ex.log[before-1:], q.Matches)
	} else {
		for i := at; i < head && found.look(i); i++ {
		}
		found.Behind = !args.IsOnward() && slices.ContainsFunc(ex.log[:at], q.Matches)
	}
	return found.Page(args, ex.positions), nil
}

// finding is a page that is being filled.
type finding struct {
	store.Found
	ex         *Executor
	q          evento.Query
	most, size int
}

// look takes the event at an index if it matches, and reports whether the page
// has room for another.
func (f *finding) look(i uint64) bool {
	e := f.ex.log[i]
	if !f.q.Matches(e) {
		return true
	}
	f.size += len(e.Data)
	if len(f.Edges) == f.most || len(f.Edges) > 0 && f.size > evento.PageBytes {
		f.More = true
		return false
	}
	e.Data, e.Tags, e.Metadata = bytes.Clone(e.Data), slices.Clone(e.Tags), e.Metadata.Clone() // the caller may write to them
	f.Edges = append(f.Edges, cursor.Edge[evento.RawEvent]{Node: e})
	return true
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
