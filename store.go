// The interface of a store of events, and what is written to it.

package evento

import (
	"context"
	"fmt"

	"github.com/evento-go/evento/cursor"
)

// Executor is a store of events, snapshots and records, which subscriptions and deadlines keep. The packages
// under executor implement it, and you can implement it too: each method's comment
// states its promises, and executor/executortest tests an implementation against
// them.
//
// The promises that span methods:
//
//   - One total order. Every event has a position, unique and rising in the order
//     of commits. Whoever reads a position can already read every lower one: no
//     event ever appears below a position that somebody has read.
//   - All or nothing. The events of a Write are stored together or not at all.
//     Versions of an aggregate are 1..n without gaps, in position order.
//   - Durable before acknowledged, durable before visible.
//   - Bytes come back unchanged; names and ids are compared bytewise.
//   - When its context ends, a call returns soon with the context's error. A Write
//     that returns it has stored nothing.
//   - After Close, every method that returns errors returns [ErrClosed].
//
// All methods are safe for concurrent use.
type Executor interface {
	// Write stores the appends of w atomically, and returns a receipt for each
	// append, in order. It calls w.Check first.
	//
	// When an aggregate is not at the version that its append expects, Write
	// compares the stored events above that version with the append's, id by id. If
	// they are the same, an earlier attempt has stored this write, and Write
	// returns the receipts of that attempt. If not, it stores nothing and returns a
	// *[ConflictError] for the first such append. With w.Retry, Write looks for an
	// earlier attempt in any case, at any version.
	//
	// Conditions are judged after the versions, by the committer, against everything
	// that is before the write: when an event that matches a condition's query is
	// behind its place, Write stores nothing, and returns a *[ConflictError] for the
	// first such condition. In an InTx, the events of the transaction itself do not
	// count. Conditions' places are cursors of the store, with the errors of Read.
	// When a version does not fit and a condition does not hold either, the conflict
	// may be that of either. An executor for whose events there is no one order
	// refuses conditions with [errors.ErrUnsupported].
	//
	// The records of w.Swap are changed with the events, or neither is stored. When a
	// record is not at the revision that its change expects, Write stores nothing, and
	// its error matches [ErrSwapped]; when a version or a condition does not hold
	// either, the error may be that of any. An earlier attempt has changed the records
	// too: its receipts are returned whatever revisions they are at.
	//
	// A new aggregate gets the append's routing key; an existing one keeps its own.
	// The store sets the timestamps; they never decrease along the positions.
	//
	// Errors: [ErrConflict], [ErrSwapped], [ErrOutcomeUnknown], [ErrClosed], [ErrFull],
	// [ErrReadOnly], those of w.Check, and the store's own. After an error of the
	// store's own, nothing was stored.
	Write(ctx context.Context, w Write) ([]Receipt, error)

	// Read returns a page of the events that match q, in position order. It
	// calls q.Check and args.Check first. A cursor of another store gives an
	// error that matches [cursor.ErrForeign], one beyond the head
	// [cursor.ErrBeyondHead], any other text [cursor.ErrMalformed]; all of
	// them are [cursor.ErrInvalid].
	//
	// A page has as many events as were asked for, if there are that many. It has
	// fewer, but at least one, when they hold more than [PageBytes] of payload. An
	// empty forward page moves EndCursor to the last position examined (the head),
	// so that a caller who polls examines nothing twice.
	//
	// Why: docs/decisions.md, "Reading has no second way in".
	Read(ctx context.Context, q Query, args cursor.Args) (*cursor.Page[RawEvent], error)

	// Changed returns a channel that is closed when anybody may have committed
	// events after the call, or when the executor closes. It is only a signal: it
	// may come late for commits of other processes, and it may come without a
	// commit. Call Changed first, then read, then wait.
	Changed() <-chan struct{}

	// CursorAt returns the cursor of a position, which need not be reached yet; for
	// 0 it returns "". Where a cursor combines positions of several stores, as in
	// executor/group, one position is not a place: the error matches
	// [errors.ErrUnsupported].
	CursorAt(position uint64) (cursor.Value, error)
	// Earlier compares two places and returns the one that comes first; if they are
	// the same, it returns a. If each is further in one of several stores, Earlier
	// returns the last place that comes before both.
	// So a is at or before b exactly when Earlier(a, b) returns a. Earlier does not
	// access the storage. Errors: those of Read for a cursor, except
	// [cursor.ErrBeyondHead].
	//
	// Why: docs/decisions.md, "Places are compared by the executor".
	Earlier(a, b cursor.Value) (cursor.Value, error)

	// Feed returns what all followers of the store share in this executor, see
	// [Follow]. An executor has one field of type Feed and always returns its
	// address, also after Close; it does nothing else with it. An executor that
	// embeds another one shares its feed, unless it changes what Read returns: then
	// it has a feed of its own.
	//
	// Why: docs/decisions.md, "The feed is a field of the executor".
	Feed() *Feed

	// Records lists records in the order of their keys, compared bytewise, and
	// returns the time of the store's clock. It calls q.Check first.
	Records(ctx context.Context, q RecordQuery) (*RecordPage, error)
	// Swap changes all records of s, or none. When a record is not at the revision
	// that its change expects, Swap changes none, and its error matches
	// [ErrSwapped]. It calls s.Check first. Records are durable like events; what
	// Swap has stored, Records returns from then on.
	//
	// After any other error the outcome is unknown; if ctx ended, the change may
	// still be applied. The next Swap of the same records waits for it, and finds
	// out.
	Swap(ctx context.Context, s Swap) error

	// Snapshot returns the snapshot stored under key, or [ErrNotFound]. It calls
	// key.Check first, as SaveSnapshot does.
	Snapshot(ctx context.Context, key SnapshotKey) (Snapshot, error)
	// SaveSnapshot stores a snapshot under key, unless the stored one is newer: it
	// has a higher version, or the same version and a higher position.
	SaveSnapshot(ctx context.Context, key SnapshotKey, s Snapshot) error
	// Snapshots lists stored snapshots in the order of [SnapshotKey.Compare]. It
	// calls q.Check first. A page with states may have fewer than were asked for,
	// but at least one, when they hold more than [PageBytes].
	Snapshots(ctx context.Context, q SnapshotQuery) (*SnapshotPage, error)
	// RemoveSnapshots removes the snapshots with these keys, at most [MaxRecords];
	// missing ones count as removed. After an error some may have been removed.
	RemoveSnapshots(ctx context.Context, keys []SnapshotKey) error

	// Close waits for the calls that are running, releases the executor's
	// resources, and closes the channels of Changed. Closing again does nothing.
	Close() error
}

// PageBytes is how many bytes of payload a page may hold before it is cut.
//
// Why: docs/decisions.md, "A page is cut at 4 MiB of payload".
const PageBytes = 4 << 20

// Write is one atomic addition to the store. [CommitBuilder] makes it.
type Write struct {
	// Appends has one entry for each aggregate.
	Appends []Append
	// Unless has what must not have happened: the write is stored only if no event
	// that matches one of these queries is behind its place. At most [MaxConditions].
	Unless []Condition
	// Swap has changes of records that are stored with the events, or neither. nil:
	// there are none.
	Swap *Swap
	// Retry says that this write was tried before.
	Retry bool
}

// Condition is that no event which matches Query is behind After.
type Condition struct {
	Query Query
	// After is where the reading ended on which the write is based: the EndCursor of
	// a page of the same store. "": nothing was read, and there must be no such
	// event at all.
	After cursor.Value
}

// MaxConditions is the most conditions that a write may have.
const MaxConditions = 1000

// Append is what a write adds to one aggregate.
type Append struct {
	AggregateType AggregateType
	AggregateID   string
	// Expected is the version that the aggregate must be at; 0: it is new.
	Expected uint64
	// AnyVersion appends at any version; Expected must then be 0.
	AnyVersion bool
	// RoutingKey becomes the aggregate's if this append creates it; "" is none.
	RoutingKey string
	// Metadata is stored with each of the events.
	Metadata Metadata
	Events   []NewEvent
}

// Aggregate returns the key of the aggregate that is appended to.
func (a *Append) Aggregate() AggregateKey { return AggregateKey{a.AggregateType, a.AggregateID} }

// NewEvent is an event that is not stored yet.
type NewEvent struct {
	ID    ID
	Name  string
	Codec string
	Data  []byte
	// Tags are what the event is about besides its aggregate: at most [MaxTags], each a
	// name, and none twice.
	Tags []string
}

// Receipt says where a commit's events were stored.
type Receipt struct {
	AggregateID string `json:"aggregateId"`
	// Version is the aggregate's version after the commit.
	Version uint64 `json:"version"`
	// Position is the position of this aggregate's last event in the commit.
	Position uint64 `json:"position"`
}

// Check returns an error for a write that exceeds a limit, or that some store could
// not return unchanged. Executors call it first.
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
	if len(w.Unless) > MaxConditions {
		return fmt.Errorf("%w commit: %d conditions, at most %d are allowed", ErrTooLarge, len(w.Unless), MaxConditions)
	}
	for i := range w.Unless {
		if err := w.Unless[i].Query.Check(); err != nil {
			return err
		}
	}
	if w.Swap != nil {
		if err := w.Swap.Check(); err != nil {
			return err
		}
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

// check returns the number of bytes of payload.
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
		if err := checkTags(e.Tags); err != nil {
			return 0, wrap(err, "event %s", shorten(e.Name))
		}
		if len(e.Data) > MaxPayload {
			return 0, fmt.Errorf("%w: payload of %s of %d bytes, at most %d are allowed", ErrTooLarge, e.Name, len(e.Data), MaxPayload)
		}
		size += len(e.Data)
	}
	return size, nil
}
