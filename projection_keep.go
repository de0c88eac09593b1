// Keeping states: a subscription that brings the snapshot of each aggregate up to
// date.

package evento

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"

	"github.com/evento-go/evento/cursor"
)

// Keep begins a subscription that keeps the state of every aggregate of the
// projection's type: for each chunk of events it updates the snapshots of their
// aggregates. [Projection.States] lists the states: a read model without a table,
// on every executor. Loads of a projection with SnapshotEvery begin at these
// snapshots too.
//
// It has the options of other subscriptions, such as Transactional, Partitions,
// Standby and AcceptFailure. RoutingKey and Aggregate restrict what is kept. If a
// Handler is added for an event, Keep does not apply this event before the next
// event of its aggregate. Keep begins at the first event, whatever StartAtEnd,
// StartAfter and StartAt say.
//
// The state of an aggregate that a tombstone has deleted is removed.
//
// When a handler of the projection returns an error, its event has failed. The
// failure is final, without retries, if the event cannot be decoded, if SafetyCheck
// refuses it, or if the state after it cannot be stored. While an event is parked,
// its aggregate's state stays the one before the event. Dropping the parked event
// does not remove it from the replay: the next event fails too, as a load does.
// Errors of a failing store are not failures of an event; the subscription waits
// and tries again.
//
// States have one revision of the projection and one shape of V. If a key has kept
// states of another revision or shape, then the first worker with the present ones
// that takes the key begins again at the first event, and the old states are no
// longer kept. To keep both while old and new processes run, give each revision its
// own key.
//
// Start and Execute return the mistakes of the projection, and [ErrInvalid] for a V
// that a snapshot cannot hold.
//
// Why: docs/decisions.md, "A place of kept states is of one revision".
func (p *Projection[V]) Keep(key string) *SubscriptionBuilder {
	b := NewSubscription(key).All()
	b.fail(cmp.Or(p.err, p.checkOwn()))
	var err error
	b.kept, err = p.keeps()
	b.fail(err)
	return b.Handler(HandleAllBatch(p.aggregateType, p.keep))
}

// keptState identifies the states that a partition keeps up to its cursor. It is
// the zero value for a subscription that keeps none.
type keptState struct {
	Projection    string        `json:"projection"`
	Revision      uint64        `json:"revision,omitempty"`
	Variant       string        `json:"variant"`
	AggregateType AggregateType `json:"aggregate_type"`
	// Complete was the end of the store when the subscription began to keep these
	// states. Before the partition has reached it, some states are missing.
	Complete cursor.Value `json:"complete,omitempty"`
}

// keeps returns which states the projection has at present.
func (p *Projection[V]) keeps() (keptState, error) {
	key, err := p.snapshotKey("", nil)
	return keptState{Projection: key.Projection, Revision: key.Revision, Variant: key.Variant, AggregateType: key.AggregateType}, err
}

func (k keptState) same(other keptState) bool {
	k.Complete = other.Complete
	return k == other
}

func (k *keptState) check() error {
	if k.Revision > math.MaxInt64 {
		return fmt.Errorf("kept revision: %d", k.Revision)
	}
	return nil
}

// begin resets a partition that has kept other states to the first event. It runs
// when a worker takes the partition.
func (k keptState) begin(ctx context.Context, ex Executor, s *partitionState) (err error) {
	switch {
	case k.same(s.Kept):
		return nil
	case k == keptState{}:
		s.Kept = k
		return nil
	}
	if k.Complete, _, err = headOf(ctx, ex); err != nil {
		return err
	}
	s.Kept, s.Cursor, s.Position, s.Furthest = k, "", 0, ""
	s.Resets++
	return nil
}

// complete reports whether all states of a partition have been built: the partition
// has reached the end that the store had when they were begun.
func (s *partitionState) complete(ex Executor) bool {
	for _, at := range []cursor.Value{s.Cursor, s.Furthest} {
		if done, err := notAfter(ex, s.Kept.Complete, at); err == nil && done {
			return true
		}
	}
	return false
}

// together returns what a partition keeps that is joined from two: the same states
// if both kept them, else none.
func (k keptState) together(ex Executor, other keptState) (keptState, error) {
	if !k.same(other) {
		return keptState{}, nil
	}
	var err error
	k.Complete, err = laterOf(ex, k.Complete, other.Complete)
	return k, err
}

// storeError is an error of the store that the library's own handler has met. While
// the store fails, it is not the event's failure.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// eventError is the failure of one event of a batch.
type eventError struct {
	id  ID
	err error
}

func (e *eventError) Error() string { return e.err.Error() }
func (e *eventError) Unwrap() error { return e.err }

// storeFailed wraps the store's error about the state after an event.
func storeFailed(e *RawEvent, err error) error {
	if errors.Is(err, ErrTooLarge) {
		err = Permanent(err)
	}
	return &eventError{e.ID, &storeError{err}}
}

// keep is the handler: it keeps the states of the aggregates in a batch.
func (p *Projection[V]) keep(ctx context.Context, events []RawEvent) error {
	ex := ExecutorFrom(ctx)
	saves := saver{ex: ex, slots: make(chan struct{}, savesAtOnce)}
	for _, mine := range byAggregate(events) {
		if err := p.keepOne(ctx, ex, mine, &saves); err != nil {
			return cmp.Or(saves.wait(), err)
		}
	}
	return saves.wait()
}

// saver saves several snapshots at once, as stores make concurrent writes durable
// together. In a transaction, which has one connection, it saves one after the
// other. One goroutine uses it.
//
// Why: docs/decisions.md, "Kept states are saved together".
type saver struct {
	ex    Executor
	slots chan struct{} // its capacity is how many saves may run at once
	wg    sync.WaitGroup

	mu  sync.Mutex
	err error // the first
}

const savesAtOnce = 16

// save returns an earlier error, or begins to save the state after an event.
func (s *saver) save(ctx context.Context, key SnapshotKey, snapshot Snapshot, e *RawEvent) error {
	if WithinTx(ctx) {
		s.note(e, s.ex.SaveSnapshot(ctx, key, snapshot))
		return s.failed()
	}
	s.slots <- struct{}{}
	if err := s.failed(); err != nil {
		return err
	}
	s.wg.Go(func() {
		s.note(e, s.ex.SaveSnapshot(ctx, key, snapshot))
		<-s.slots
	})
	return nil
}

func (s *saver) note(e *RawEvent, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.err == nil {
		s.err = storeFailed(e, err)
	}
}

func (s *saver) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// wait returns when no save is running any more.
func (s *saver) wait() error {
	s.wg.Wait()
	return s.failed()
}

// byAggregate groups events of one type by aggregate, in the order of their first
// events.
func byAggregate(events []RawEvent) (groups [][]*RawEvent) {
	of := make(map[string]int, len(events))
	for i := range events {
		e := &events[i]
		n, ok := of[e.AggregateID]
		if !ok {
			n = len(groups)
			of[e.AggregateID], groups = n, append(groups, nil)
		}
		groups[n] = append(groups[n], e)
	}
	return groups
}

// keepOne applies an aggregate's events to its snapshot.
func (p *Projection[V]) keepOne(ctx context.Context, ex Executor, events []*RawEvent, saves *saver) error {
	id, last := events[0].AggregateID, events[len(events)-1]
	key, err := p.snapshotKey(id, nil)
	if err != nil {
		return err
	}
	l := p.empty(id)
	after, err := p.kept(ctx, ex, key, l, last)
	switch {
	case err != nil:
		return storeFailed(last, err)
	case l.Version >= last.Version:
		return nil
	}
	at, err := p.advance(p.data.into(ctx), ex, key, after, l, events)
	var failed *applyError
	switch {
	case errors.Is(err, ErrDeleted):
		if err := ex.RemoveSnapshots(ctx, []SnapshotKey{key}); err != nil {
			return storeFailed(last, err)
		}
		return nil
	case errors.As(err, &failed):
		return blame(events, l.Version+1, failed.err)
	case err != nil:
		return storeFailed(last, err)
	}
	s, err := encodeSnapshot(key, l, at)
	if err != nil {
		return &eventError{last.ID, Permanent(err)}
	}
	return saves.save(ctx, key, s, last)
}

// kept loads the snapshot, and removes one that does not match the store's events.
func (p *Projection[V]) kept(ctx context.Context, ex Executor, key SnapshotKey, l *Loaded[V], last *RawEvent) (after cursor.Value, err error) {
	after, err = loadSnapshot(ctx, ex, key, l, nil)
	if err != nil || after == "" {
		return "", err
	}
	strange, err := strange(ex, after, l.Version, last)
	if err != nil || !strange {
		return after, err
	}
	*l = *p.empty(l.ID)
	return "", ex.RemoveSnapshots(ctx, []SnapshotKey{key})
}

// strange reports whether the cursor and the version of a snapshot contradict an
// event of its aggregate, as after a restore of the store. Where one position is
// not a place, it finds only cursors of other stores.
func strange(ex Executor, after cursor.Value, version uint64, e *RawEvent) (bool, error) {
	at, err := ex.CursorAt(e.Position)
	if errors.Is(err, errors.ErrUnsupported) {
		at, err = after, nil
	}
	if err != nil {
		return false, err
	}
	a, b := after, at
	if version >= e.Version {
		a, b = at, after
	}
	first, err := ex.Earlier(a, b)
	if errors.Is(err, cursor.ErrInvalid) {
		return true, nil
	}
	return first != a, err
}

// advance applies events to a state, and also missing ones between them. It returns
// the cursor of the last. A panic becomes an applyError.
func (p *Projection[V]) advance(ctx context.Context, ex Executor, key SnapshotKey, after cursor.Value, l *Loaded[V], events []*RawEvent) (at cursor.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &applyError{fmt.Errorf("evento: handler panicked: %v\n%s", r, debug.Stack())}
		}
	}()
	last := events[len(events)-1]
	for len(events) > 0 && events[0].Version <= l.Version {
		events = events[1:]
	}
	at, err = ex.CursorAt(last.Position)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return "", err
	}
	if err == nil && uint64(len(events)) == last.Version-l.Version {
		for _, e := range events {
			if err := p.applyEvent(ctx, l, e); err != nil {
				return "", &applyError{err}
			}
		}
		return at, nil
	}
	_, at, err = p.catchUp(ctx, ex, Query{Filters: []Filter{ByID(p.aggregateType, l.ID)}}, key, after, l, loadOptions{version: &last.Version})
	if err == nil && l.Version < last.Version { // from a replica that is behind
		err = fmt.Errorf("%w: version %d of %s %s, which the store has shown before", ErrNotFound, last.Version, p.aggregateType, shorten(l.ID))
	}
	return at, err
}

// blame returns the failure of the event that could not be applied, found by its
// version. If it is not among the events, it was dropped before; then the first of
// them fails, as none can be handled without it.
func blame(events []*RawEvent, version uint64, err error) error {
	if errors.Is(err, ErrDecode) || errors.Is(err, ErrUnhandledEvent) {
		err = Permanent(err)
	}
	for _, e := range events {
		if e.Version == version {
			return &eventError{e.ID, err}
		}
	}
	return &eventError{events[0].ID, err}
}
