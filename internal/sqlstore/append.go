// Appending writes one by one, in a transaction in which nobody else appends: each
// is accepted, refused, or was stored before.

package sqlstore

import (
	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// Place is where an aggregate is in the tables. The zero Place is that of one
// without events.
type Place struct {
	Key     int64 // what the tables know it by, where they number aggregates
	Version int64
	Routing int64 // 0: none
}

// Appender is a transaction in which nobody else appends.
type Appender interface {
	// Place is where an aggregate is, with what the transaction has added.
	Place(a evento.AggregateKey) (Place, error)
	// Append adds events above a place, which it moves, and returns the position of
	// the last. The metadata begins with that of its first event.
	Append(a *evento.Append, at *Place, metadata Metadata) (position int64, err error)
	// VersionOf is the version at which the aggregate of the operation's append i
	// has the event with an id.
	VersionOf(op *Op, i int, id *evento.ID) (version int64, found bool, err error)
	// PositionOf is the position of that event, if it has this version.
	PositionOf(op *Op, i int, version int64, id *evento.ID) (position int64, found bool, err error)
	// Tail is what conditions are judged against.
	Tail() *Tail
}

// Op is one caller's write, and what became of it.
type Op struct {
	Write      evento.Write
	Conditions store.Conditions // those of the write, for a flush
	Metadata   Metadata
	Places     []Place // by append, where the aggregates are
	Refusal    error   // which changed nothing
	Earlier    bool    // it was stored before
	Receipts   []evento.Receipt
	// Swap changes the records of an accepted write, or refuses it. nil: it has none, or
	// is part of a transaction that changes them.
	Swap func() (refusal, err error)

	place [1]Place // room for the usual write
}

// OpOf returns the operation of a checked write.
func OpOf(w evento.Write) Op { return Op{Write: w, Metadata: MetadataOf(w.Appends)} }

// Size is about how many bytes its rows have, each of them so many beside data and
// metadata.
func (op *Op) Size(row int) (size int) {
	events := 0
	for i := range op.Write.Appends {
		for j := range op.Write.Appends[i].Events {
			m := op.Metadata.Of(events)
			size += len(op.Write.Appends[i].Events[j].Data) + len(m.Text) + row*(1+len(m.Tags))
			events++
		}
	}
	return size
}

// Apply judges the write and, when it is accepted, adds its events. An error means
// that the transaction has failed; a refusal is in the operation.
func (op *Op) Apply(tx Appender) (err error) {
	op.Receipts, op.Refusal, op.Earlier = nil, nil, false
	appends := op.Write.Appends
	if op.Places = op.place[:]; len(appends) > 1 {
		op.Places = make([]Place, len(appends))
	}
	for i := range appends {
		if op.Places[i], err = tx.Place(appends[i].Aggregate()); err != nil {
			return err
		}
	}
	if accepted, err := op.judge(tx); err != nil || !accepted {
		return err
	}
	op.Receipts = make([]evento.Receipt, len(appends))
	metadata := op.Metadata
	for i := range appends {
		at := &op.Places[i]
		position, err := tx.Append(&appends[i], at, metadata)
		if err != nil {
			return err
		}
		metadata = metadata.Behind(len(appends[i].Events))
		op.Receipts[i] = evento.Receipt{AggregateID: appends[i].AggregateID, Version: uint64(at.Version), Position: uint64(position)}
	}
	return nil
}

// judge reports whether the write is to be added.
func (op *Op) judge(tx Appender) (accepted bool, err error) {
	if op.Write.Retry {
		if err := op.findEarlier(tx); err != nil || op.Earlier {
			return false, err
		}
	}
	for i := range op.Write.Appends {
		a := &op.Write.Appends[i]
		if a.AnyVersion || a.Expected == uint64(op.Places[i].Version) {
			continue
		}
		if err := op.findEarlier(tx); err == nil && !op.Earlier {
			op.Refusal = op.conflict(i, uint64(op.Places[i].Version))
		} else if err != nil {
			return false, err
		}
		return false, nil
	}
	if len(op.Write.Unless) > 0 {
		op.Refusal, err = tx.Tail().judge(op)
	}
	if op.Swap != nil && op.Refusal == nil && err == nil {
		op.Refusal, err = op.Swap()
	}
	return op.Refusal == nil && err == nil, err
}

// conflict says that the aggregate of append i is at another version.
func (op *Op) conflict(i int, actual uint64) *evento.ConflictError {
	a := &op.Write.Appends[i]
	return &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: actual}
}

// findEarlier looks for the whole write in the store, by the ids of its events.
func (op *Op) findEarlier(tx Appender) error {
	receipts := make([]evento.Receipt, len(op.Write.Appends))
	for i := range op.Write.Appends {
		a := &op.Write.Appends[i]
		first := int64(a.Expected) + 1
		if a.AnyVersion || op.Write.Retry {
			v, found, err := tx.VersionOf(op, i, &a.Events[0].ID)
			if err != nil || !found {
				return err
			}
			first = v
		}
		for n := range a.Events {
			position, found, err := tx.PositionOf(op, i, first+int64(n), &a.Events[n].ID)
			if err != nil || !found {
				return err
			}
			receipts[i] = evento.Receipt{AggregateID: a.AggregateID, Version: uint64(first) + uint64(n), Position: uint64(position)}
		}
	}
	op.Receipts, op.Earlier = receipts, true
	return nil
}

// ApplyAll applies the writes of a caller's transaction in their order, all of
// which have to be accepted. It reports whether all of them were stored before:
// then nothing was added.
func ApplyAll[O any](ops []O, apply func(O) (*Op, error)) (earlier bool, err error) {
	var again error // an earlier attempt's beside something new
	found := 0
	for _, o := range ops {
		op, err := apply(o)
		if err != nil {
			return false, err
		}
		if op.Refusal != nil {
			return false, op.Refusal
		}
		if op.Earlier {
			found++
			again = op.conflict(0, op.Receipts[0].Version)
		}
	}
	if again != nil && found < len(ops) {
		return false, again
	}
	return again != nil, nil
}

// Importer is an Appender that takes over events of another store.
type Importer interface {
	Appender
	// RoutingID finds a routing key, or makes it.
	RoutingID(key string) (int64, error)
	// SetTime sets the timestamp of what is appended next, in microseconds since
	// 1970.
	SetTime(at int64)
}

// ImportOf returns the operation that takes over events: one append for each.
func ImportOf(events []evento.RawEvent) Op { return OpOf(evento.Write{Appends: store.Appends(events)}) }

// Import is Apply for what ImportOf has made of checked events, which have to follow
// the head. It looks at all that could be refused before it adds anything.
func (op *Op) Import(tx Importer, head store.Head, events []evento.RawEvent) error {
	if op.Refusal = head.Check(events); op.Refusal != nil {
		return nil //nolint:nilerr // it is refused, the transaction goes on
	}
	places := map[evento.AggregateKey]*Place{}
	for _, a := range store.Aggregates(events) {
		at, err := tx.Place(a.AggregateKey)
		if err != nil {
			return err
		}
		var routing int64
		if at.Version > 0 && a.RoutingKey != "" {
			if routing, err = tx.RoutingID(a.RoutingKey); err != nil {
				return err
			}
		}
		if op.Refusal = a.Check(uint64(at.Version), at.Routing == routing); op.Refusal != nil {
			return nil //nolint:nilerr // it is refused, the transaction goes on
		}
		places[a.AggregateKey] = &at
	}
	for i := range events {
		tx.SetTime(events[i].Timestamp.UnixMicro())
		if _, err := tx.Append(&op.Write.Appends[i], places[events[i].Aggregate()], op.Metadata.Behind(i)); err != nil {
			return err
		}
	}
	return nil
}
