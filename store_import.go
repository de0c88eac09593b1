// Importing the events of another store unchanged.

package evento

import (
	"context"
	"fmt"
	"time"
)

// Importer is an [Executor] that can import events of another store unchanged, to
// move a store to another database or to restore a backup. All executors of this
// library are Importers. [Executor.Write] stores new facts; Import repeats recorded
// ones.
type Importer interface {
	Executor
	// Import appends events exactly as they are given: their ids, positions,
	// versions, timestamps, metadata, routing keys, codecs and bytes. It calls
	// [CheckImport] first.
	//
	// The first event's position is the one after the store's last event, or one
	// that the store has already. In the second case Import compares the events
	// that the store has with the given ones; if they are the same, it appends the
	// rest. So the same events may be imported again, and an interrupted import
	// continues where it was. Each aggregate's versions must continue its stored
	// ones, with its stored routing key. Timestamps must not decrease; events
	// written later have no earlier timestamp.
	//
	// Import is all or nothing, and durable when it returns. Readers and Changed
	// treat it like any commit. It cannot be part of a transaction of [Transactor]:
	// there it is refused.
	//
	// A store with an index of event ids refuses an id that it has already. The
	// others check the versions alone, which keeps any event from being stored
	// twice.
	//
	// Errors: a *[ConflictError] for an aggregate at another version; [ErrInvalid]
	// for events that do not follow the store's last one or differ from the stored
	// ones at their positions; [ErrOutcomeUnknown], after which importing the same
	// events again finds out the outcome; those of CheckImport; [ErrClosed],
	// [ErrFull], [ErrReadOnly], and the store's own, after which nothing was
	// stored.
	//
	// Why: docs/decisions.md, "Import: compared, not remembered".
	Import(ctx context.Context, events []RawEvent) error
}

// CheckImport returns an error for events that no store imports together: because
// one cannot be returned unchanged, because they are not consecutive, or because
// they exceed the limits of a commit ([MaxCommitEvents], [MaxCommit]). No events
// are no error. Importers call it first.
func CheckImport(events []RawEvent) error {
	if len(events) > MaxCommitEvents {
		return fmt.Errorf("%w: an import of %d events, at most %d are allowed at once", ErrTooLarge, len(events), MaxCommitEvents)
	}
	if len(events) == 1 { // often, and there is nothing to compare it with
		if _, err := events[0].check(); err != nil {
			return wrap(err, "event at position %d", events[0].Position)
		}
		return nil
	}
	last := make(map[AggregateKey]*RawEvent, len(events))
	ids := make(map[ID]uint64, len(events))
	size := 0
	for i := range events {
		e := &events[i]
		n, err := e.check()
		if err != nil {
			return wrap(err, "event at position %d", e.Position)
		}
		if size += n; size > MaxCommit {
			return fmt.Errorf("%w: an import of more than %d bytes of payload at once", ErrTooLarge, MaxCommit)
		}
		if i > 0 {
			if err := e.follows(&events[i-1]); err != nil {
				return err
			}
		}
		key := e.Aggregate()
		if before := last[key]; before != nil {
			switch {
			case e.Version != before.Version+1:
				return fmt.Errorf("%w import: version %d of %s %s at position %d comes after version %d at position %d", ErrInvalid,
					e.Version, e.AggregateType, shorten(e.AggregateID), e.Position, before.Version, before.Position)
			case e.RoutingKey != before.RoutingKey:
				return fmt.Errorf("%w import: %s %s has the routing key %s at position %d and %s at position %d", ErrInvalid,
					e.AggregateType, shorten(e.AggregateID), shorten(before.RoutingKey), before.Position, shorten(e.RoutingKey), e.Position)
			}
		}
		last[key] = e
		if p, twice := ids[e.ID]; twice {
			return fmt.Errorf("%w import: positions %d and %d have the same event id %s", ErrInvalid, p, e.Position, e.ID)
		}
		ids[e.ID] = e.Position
	}
	return nil
}

// follows checks that e may come directly after another event.
func (e *RawEvent) follows(before *RawEvent) error {
	if e.Position != before.Position+1 {
		return fmt.Errorf("%w import: position %d comes after %d: positions have to follow each other", ErrInvalid, e.Position, before.Position)
	}
	if e.Timestamp.Before(before.Timestamp) {
		return fmt.Errorf("%w import: the timestamp %s of position %d is before %s of position %d", ErrInvalid,
			e.Timestamp.Format(time.RFC3339Nano), e.Position, before.Timestamp.Format(time.RFC3339Nano), before.Position)
	}
	return nil
}

// check checks a stored event by itself, and returns its number of payload bytes.
func (e *RawEvent) check() (int, error) {
	if e.Position == 0 || e.Position > maxVersion {
		return 0, fmt.Errorf("%w position: %d", ErrInvalid, e.Position)
	}
	if e.Version == 0 || e.Version > maxVersion {
		return 0, fmt.Errorf("%w version: %d of %s %s", ErrInvalid, e.Version, e.AggregateType, shorten(e.AggregateID))
	}
	// The range that every store can hold and JSON can express.
	if us := e.Timestamp.UnixMicro(); us < 0 || e.Timestamp.UTC().Year() > 9999 || !e.Timestamp.Equal(time.UnixMicro(us)) {
		return 0, fmt.Errorf("%w timestamp: %s, it has to be in whole microseconds of the years 1970 to 9999", ErrInvalid, e.Timestamp)
	}
	a := Append{
		AggregateType: e.AggregateType, AggregateID: e.AggregateID, RoutingKey: e.RoutingKey, Metadata: e.Metadata,
		Events: []NewEvent{{ID: e.ID, Name: e.Name, Codec: e.Codec, Data: e.Data, Tags: e.Tags}},
	}
	return a.check()
}
