// What a store of events can do, and what is written to it.

package evento

import (
	"context"
	"fmt"

	"github.com/evento-go/evento/cursor"
)

// Executor is a store of events, snapshots and subscription cursors. The
// packages under executor implement it; so can yours: the promises are
// written at each method, and executor/executortest holds an implementation
// to them.
//
// The promises that span methods:
//
//   - One total order. Every event has a position, unique and rising in the
//     order of commits. Whoever reads a position can already read every lower
//     one: nothing ever appears below a place that somebody has read.
//   - All or nothing. The events of a Write are stored together or not at
//     all. Versions of an aggregate are 1..n without gaps, in position order.
//   - Durable before acknowledged, durable before visible.
//   - Bytes come back unchanged; names and ids are compared bytewise.
//   - A context that ends makes a call return soon, with the context's error,
//     and a Write that returns it has stored nothing.
//   - After Close, every method that returns errors returns [ErrClosed].
//
// All methods are safe for concurrent use.
type Executor interface {
	// Write stores the appends of w as one, and returns a receipt for each
	// append, in order. It calls w.Check first.
	//
	// When an aggregate is not where its append expects it, Write stores
	// nothing and returns a *[ConflictError] for the first such append,
	// unless the events stored above the expected version are, id by id,
	// those of the append: then the write was made before, and its first
	// receipts are returned. With w.Retry that is looked for in any case, at
	// whatever version.
	//
	// A new aggregate takes the append's routing key; an existing one keeps
	// its own. Timestamps are given by the store and never fall along the
	// positions.
	//
	// Errors: [ErrConflict], [ErrOutcomeUnknown], [ErrClosed], [ErrFull],
	// [ErrReadOnly], those of w.Check, and the store's own, which mean that
	// nothing was stored.
	Write(ctx context.Context, w Write) ([]Receipt, error)

	// Read returns a page of the events that match q, in position order. It
	// calls q.Check and args.Check first. A cursor of another store gives an
	// error that matches [cursor.ErrForeign], one beyond the head
	// [cursor.ErrBeyondHead], any other text [cursor.ErrMalformed]; all of
	// them are [cursor.ErrInvalid].
	//
	// A page has the number of events that were asked for, if there are that
	// many, or fewer but at least one when they hold more than [PageBytes]
	// of payload. An empty forward page moves EndCursor to the last position
	// examined (the head), so that one who polls examines nothing twice.
	Read(ctx context.Context, q Query, args cursor.Args) (*cursor.Page[RawEvent], error)

	// Changed returns a channel that is closed when events may have been
	// committed, by anybody, after the call, or when the executor closes. It
	// only wakes: it may be late for commits of other processes, and early.
	// Ask first, then read, then wait.
	Changed() <-chan struct{}

	// CursorAt returns the cursor of a position, whether it was reached yet or
	// not; of 0 it is "". Where the events of one cursor have positions in
	// several stores, as in executor/group, the error matches
	// [errors.ErrUnsupported]: a position says nothing there, a cursor does.
	CursorAt(position uint64) (cursor.Value, error)
	// Earlier compares two places: it returns the one that comes before the
	// other, or at the same place a. Where neither does, since each is further
	// in one of several stores, it returns the last place that comes before
	// both. So a is at or before b exactly when Earlier(a, b) returns a. Nothing
	// is asked of the storage. Errors: those of Read for a cursor, but for
	// [cursor.ErrBeyondHead].
	Earlier(a, b cursor.Value) (cursor.Value, error)

	// Feed returns what those share who follow the store through this executor,
	// see [Follow]. An executor has one field of this type and returns its
	// address, always the same and also after Close; it has nothing else to do
	// with it. One that embeds another executor shares that one's, unless it
	// changes what Read returns: then it has its own.
	Feed() *Feed

	// Records lists records in the order of their keys, compared bytewise, and
	// tells the time of the store's clock. It calls q.Check first.
	Records(ctx context.Context, q RecordQuery) (*RecordPage, error)
	// Swap changes records, all of them or none: none, with an error that
	// matches [ErrSwapped], when one is not at the revision that the change
	// expects. It calls s.Check first. Records are durable like events; what
	// Swap returned is what Records shows from then on.
	//
	// After any other error the change may have been made or not, or be made yet
	// when ctx ended: the next Swap of the same records waits for it and tells.
	Swap(ctx context.Context, s Swap) error

	// Snapshot returns the snapshot stored under key, or [ErrNotFound].
	Snapshot(ctx context.Context, key SnapshotKey) (Snapshot, error)
	// SaveSnapshot stores a snapshot under key, unless the one there is
	// further along: has a higher version, or the same and a higher position.
	SaveSnapshot(ctx context.Context, key SnapshotKey, s Snapshot) error
	// Snapshots lists stored snapshots in the order of [SnapshotKey.Compare].
	// It calls q.Check first. A page of states may have fewer than were asked
	// for, but at least one, when they hold more than [PageBytes].
	Snapshots(ctx context.Context, q SnapshotQuery) (*SnapshotPage, error)
	// RemoveSnapshots removes the snapshots with these keys, at most
	// [MaxRecords] of them; those that are not there count as removed. After an
	// error some may be gone.
	RemoveSnapshots(ctx context.Context, keys []SnapshotKey) error

	// Close waits for the calls under way, releases what the executor holds,
	// and closes the channels of Changed. Closing again does nothing.
	Close() error
}

// PageBytes is how many bytes of payload a page may hold before it is cut.
const PageBytes = 4 << 20

// Write is one atomic addition to the store. [CommitBuilder] makes it.
type Write struct {
	// Appends has one entry an aggregate.
	Appends []Append
	// Retry says that the same write was tried before.
	Retry bool
}

// Append is what a write adds to one aggregate.
type Append struct {
	AggregateType AggregateType
	AggregateID   string
	// Expected is the version that the aggregate must be at; 0: it is new.
	Expected uint64
	// AnyVersion appends at whatever version; Expected is 0 then.
	AnyVersion bool
	// RoutingKey is the aggregate's if this append creates it; "" is none.
	RoutingKey string
	// Metadata is that of each of the events.
	Metadata Metadata
	Events   []NewEvent
}

// Aggregate is the one that is appended to.
func (a *Append) Aggregate() AggregateKey { return AggregateKey{a.AggregateType, a.AggregateID} }

// NewEvent is an event that has no place yet.
type NewEvent struct {
	ID    ID
	Name  string
	Codec string
	Data  []byte
}

// Receipt says where a commit's events are.
type Receipt struct {
	AggregateID string
	// Version is the aggregate's, after the commit.
	Version uint64
	// Position is that of the commit's last event of this aggregate.
	Position uint64
}

// Check returns an error for a write that some store could not give back
// unchanged, or that is over a limit. Executors call it first.
func (w Write) Check() error {
	if len(w.Appends) == 0 {
		return ErrNoEvents
	}
	events, size := 0, 0
	for i := range w.Appends {
		a := &w.Appends[i]
		n, err := a.check()
		if err != nil {
			return err
		}
		size += n
		events += len(a.Events)
	}
	if events > MaxCommitEvents {
		return fmt.Errorf("%w: a commit of %d events, at most %d are allowed", ErrTooLarge, events, MaxCommitEvents)
	}
	if size > MaxCommit {
		return fmt.Errorf("%w: a commit of %d bytes of payload, at most %d are allowed", ErrTooLarge, size, MaxCommit)
	}
	if len(w.Appends) > 1 {
		seen := make(map[AggregateKey]bool, len(w.Appends))
		for i := range w.Appends {
			a := w.Appends[i].Aggregate()
			if seen[a] {
				return fmt.Errorf("%w commit: %s %s is in it twice", ErrInvalid, a.Type, shorten(a.ID))
			}
			seen[a] = true
		}
	}
	return nil
}

// check returns the bytes of payload.
func (a *Append) check() (int, error) {
	if err := checkName("aggregate type", string(a.AggregateType)); err != nil {
		return 0, err
	}
	if err := checkName("aggregate id", a.AggregateID); err != nil {
		return 0, err
	}
	if a.RoutingKey != "" {
		if err := checkName("routing key", a.RoutingKey); err != nil {
			return 0, err
		}
	}
	if len(a.Events) == 0 {
		return 0, fmt.Errorf("%w: %s %s", ErrNoEvents, a.AggregateType, shorten(a.AggregateID))
	}
	if a.AnyVersion && a.Expected != 0 || a.Expected > maxVersion {
		return 0, fmt.Errorf("%w version: %d expected of %s %s", ErrInvalid, a.Expected, a.AggregateType, shorten(a.AggregateID))
	}
	if err := a.Metadata.check(); err != nil {
		return 0, err
	}
	size := 0
	for i := range a.Events {
		e := &a.Events[i]
		if err := checkName("event name", e.Name); err != nil {
			return 0, err
		}
		if err := checkCodecName(e.Codec); err != nil {
			return 0, err
		}
		if len(e.Data) > MaxPayload {
			return 0, fmt.Errorf("%w: payload of %s of %d bytes, at most %d are allowed", ErrTooLarge, e.Name, len(e.Data), MaxPayload)
		}
		size += len(e.Data)
	}
	return size, nil
}
