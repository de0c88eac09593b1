// Deadlines: facts that come true at a time, unless they are cleared before.

package evento

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Deadline sets a deadline of the aggregate, with the commit: when it is due,
// [RunDeadlines] commits the payload to the aggregate, whatever version it is at then,
// unless [CommitBuilder.ClearDeadline] has cleared it before. A payload is of the
// aggregate's type, and of at most about 40 KiB.
//
// The name is unique in the aggregate: setting it again moves the deadline, and gives it the
// new payload. The time is one of the store's clock, in microseconds; one that has passed
// is due at once. Whether the fact still matters, whoever handles it decides:
// the aggregate may have changed meanwhile.
//
// The event has the correlation id of the commit, whose last event is its cause. If the
// records of a deadline that is set cannot be read, the commit fails with [ErrDamaged].
//
//	evento.Aggregate(orderID).Event(Placed{…}).Deadline("payment", time.Now().Add(time.Hour), Overdue{})
func (b *CommitBuilder) Deadline(name string, at time.Time, p Payload) *CommitBuilder {
	return b.deadline(deadlineChange{name: name, at: at, payload: p})
}

// ClearDeadline clears a deadline of the aggregate, with the commit. One that is not set,
// or has come true already, counts as cleared. If two commits with AnyVersion set a deadline
// and clear it at the same time, it may stay.
func (b *CommitBuilder) ClearDeadline(name string) *CommitBuilder {
	return b.deadline(deadlineChange{name: name, clear: true})
}

// deadline replaces what was asked before for a deadline of the same name.
func (b *CommitBuilder) deadline(c deadlineChange) *CommitBuilder {
	c.late = b.tried
	b.deadlines = append(slices.DeleteFunc(b.deadlines, func(o deadlineChange) bool { return o.name == c.name }), c)
	return b
}

// deadlineChange is what a commit does to a deadline.
type deadlineChange struct {
	name    string
	clear   bool
	at      time.Time
	payload Payload
	late    bool // it was added after the first attempt

	// Set at each attempt, unless it is cleared.
	key RecordKey // of the record in the order of time
	due dueDeadline
}

// A deadline has two records. The own record finds it by its aggregate and name, and says
// which one is set. The due record has the fact, and comes in the order of time; it is
// made, and removed, and never changed: a deadline that is set again gets another one.
//
// What commits in a decision is one write in the end, so a record may be at another
// revision than its changes say. A due record is at 1 in any case; of the own one
// whoever needs the revision reads it.
const (
	deadlineKind = "deadline" // hash of the aggregate, name → ownDeadline
	dueKind      = "due"      // time, hash of aggregate, name and cause → dueDeadline
)

// dueFormat is the time as the key of a record: such keys sort as their times do.
const dueFormat = "2006-01-02T15:04:05.000000Z"

// ownDeadline is the record of an aggregate's deadline: the key of the other one.
type ownDeadline struct {
	Due  string `json:"due"`
	Part string `json:"part"`
}

// dueDeadline is the record of a deadline in the order of time.
type dueDeadline struct {
	Type AggregateType `json:"type"`
	ID   string        `json:"id"`
	Name string        `json:"name"`
	// Revision is the one that the own record probably has.
	Revision uint64   `json:"revision"`
	Event    string   `json:"event"`
	Codec    string   `json:"codec"`
	Data     []byte   `json:"data"`
	Tags     []string `json:"tags,omitempty"`
	Metadata Metadata `json:"metadata"`
}

func (d *dueDeadline) aggregate() AggregateKey { return AggregateKey{d.Type, d.ID} }

// key is that of the record of a deadline that is due at a time.
func (d *dueDeadline) key(at string) RecordKey {
	return RecordKey{dueKind, at, HashIDs(string(d.Type), d.ID, d.Name, d.Metadata.CausationID)}
}

// append is the commit of the event.
func (d *dueDeadline) append() Append {
	return Append{
		AggregateType: d.Type, AggregateID: d.ID, AnyVersion: true, Metadata: d.Metadata,
		Events: []NewEvent{{ID: NewID(), Name: d.Event, Codec: d.Codec, Data: d.Data, Tags: d.Tags}},
	}
}

func ownDeadlineKey(a AggregateKey, name string) RecordKey {
	return RecordKey{deadlineKind, HashIDs(string(a.Type), a.ID), name}
}

// check refuses a deadline that could not come true.
func (c *deadlineChange) check(t AggregateType, id string) error {
	what := c.of(AggregateKey{t, id})
	if err := checkName("name", c.name); err != nil {
		return wrap(err, "%s", what)
	}
	if c.late {
		return fmt.Errorf("%w commit: %s was set or cleared after the builder was committed", ErrInvalid, what)
	}
	if c.clear {
		return nil
	}
	if year := c.at.UTC().Year(); year < 1970 || year > 9999 {
		return fmt.Errorf("%w time of %s: %s, it has to be in the years 1970 to 9999", ErrInvalid, what, c.at.UTC().Format(time.RFC3339))
	}
	kind, err := kindOf(c.payload)
	switch {
	case err != nil:
		return wrap(err, "%s", what)
	case kind.aggregateType != t:
		return fmt.Errorf("%w payload of %s: %s is of another type of aggregate", ErrInvalid, what, kind)
	}
	if _, ok := c.payload.(Retired); ok {
		return fmt.Errorf("%w payload of %s: %s is retired", ErrInvalid, what, kind)
	}
	return nil
}

// of names the deadline, for errors.
func (c *deadlineChange) of(a AggregateKey) string {
	return fmt.Sprintf("deadline %s of %s %s", shorten(c.name), a.Type, shorten(a.ID))
}

// encode makes what is stored of a deadline that is set, and refuses what a store would
// refuse when it is due.
func (c *deadlineChange) encode(ctx context.Context, b *CommitBuilder) error {
	if c.clear {
		return nil
	}
	kind, err := kindOf(c.payload)
	if err != nil {
		return err
	}
	codec := b.codecOr()
	data, err := encodePayload(codec, c.payload)
	if err != nil {
		return wrap(err, "encoding %s of %s", kind, c.of(b.aggregate()))
	}
	cause := b.events[len(b.events)-1].ID.String()
	c.due = dueDeadline{
		Type: b.aggregateType, ID: b.id, Name: c.name, Event: kind.name, Codec: codec.Name(), Data: data, Tags: tagsOf(c.payload),
		Metadata: Metadata{CausationID: cause, CorrelationID: cmp.Or(b.metadata.causedBy(ctx).CorrelationID, cause)},
	}
	c.key = c.due.key(c.at.UTC().Format(dueFormat))
	if err := (Write{Appends: []Append{c.due.append()}}).Check(); err != nil {
		return wrap(err, "%s", c.of(b.aggregate()))
	}
	return nil
}

func (b *CommitBuilder) aggregate() AggregateKey { return AggregateKey{b.aggregateType, b.id} }

// ownDeadlines are the own records of an aggregate's deadlines, by name.
func ownDeadlines(ctx context.Context, ex Executor, a AggregateKey) (map[string]Record, error) {
	own := map[string]Record{}
	for r, err := range records(ctx, ex, RecordQuery{Kind: deadlineKind, Key: ownDeadlineKey(a, "").Key}) {
		if err != nil {
			return nil, err
		}
		own[r.Part] = r.Record
	}
	return own, nil
}

// readOwn reads an own record: the key of the due one.
func readOwn(r *Record, a AggregateKey) (RecordKey, error) {
	var own ownDeadline
	err := json.Unmarshal(r.Value, &own)
	if err == nil {
		if _, ok := parseDue(own.Due); !ok || own.Part == "" {
			err = errors.New("it names no other record")
		}
	}
	if err != nil {
		return RecordKey{}, fmt.Errorf("%w record of deadline %s of %s %s: %w", ErrDamaged, shorten(r.Part), a.Type, shorten(a.ID), err)
	}
	return RecordKey{dueKind, own.Due, own.Part}, nil
}

// readDueOf reads the due record with a key; its revision is 0 when there is none.
func readDueOf(ctx context.Context, ex Executor, key RecordKey) (r readRecord, err error) {
	before := RecordKey{key.Kind, key.Key, key.Part[:len(key.Part)-1]}
	for r, err := range records(ctx, ex, RecordQuery{Kind: key.Kind, Key: key.Key, After: before, Limit: 1}) {
		if err != nil || r.RecordKey == key {
			return r, err
		}
		if r.Compare(key) > 0 {
			break
		}
	}
	return readRecord{}, nil
}

// deadlineChanges are the changes of records by which builders set and clear their
// deadlines, as the records are now; nil: there are none. With exact they are those of
// records that somebody else has changed or removed, too.
func deadlineChanges(ctx context.Context, ex Executor, builders []*CommitBuilder, exact bool) (changes []Change, err error) {
	for _, b := range builders {
		if len(b.deadlines) == 0 {
			continue
		}
		a := b.aggregate()
		own, err := ownDeadlines(ctx, ex, a)
		if err != nil {
			return nil, err
		}
		for i := range b.deadlines {
			c := &b.deadlines[i]
			if changes, err = c.change(changes, a, own[c.name]); err != nil {
				return nil, err
			}
		}
	}
	if exact {
		if changes, err = exactly(ctx, ex, changes); err != nil {
			return nil, err
		}
	}
	if len(changes) > MaxSwap {
		return nil, fmt.Errorf("%w commit: its deadlines change %d records, at most %d are allowed: two for each that is set or cleared, three for each that is moved", ErrTooLarge, len(changes), MaxSwap)
	}
	return changes, nil
}

// exactly gives the changes that remove due records the revisions that these have, without
// those of which there is none.
func exactly(ctx context.Context, ex Executor, changes []Change) (exact []Change, err error) {
	for _, c := range changes {
		if c.Kind == dueKind && c.Remove {
			r, err := readDueOf(ctx, ex, c.RecordKey)
			if err != nil {
				return nil, err
			}
			if c.Revision = r.Revision; c.Revision == 0 {
				continue
			}
		}
		exact = append(exact, c)
	}
	return exact, nil
}

// change adds the changes of one deadline, whose own record is given; it has revision 0
// when the deadline is not set.
func (c *deadlineChange) change(changes []Change, a AggregateKey, own Record) ([]Change, error) {
	var was RecordKey
	if own.Revision > 0 {
		var err error
		if was, err = readOwn(&own, a); err != nil {
			return nil, err
		}
		if was == c.key {
			return changes, nil // an earlier attempt has set it
		}
		changes = append(changes, Change{RecordKey: was, Revision: 1, Remove: true})
	}
	if c.clear {
		if own.Revision > 0 {
			changes = append(changes, Change{RecordKey: ownDeadlineKey(a, c.name), Revision: own.Revision, Remove: true})
		}
		return changes, nil
	}
	c.due.Revision = own.Revision + 1
	due, err := json.Marshal(c.due)
	if err != nil {
		return nil, err
	}
	if len(due) > MaxRecord {
		return nil, fmt.Errorf("%w: %s takes %d bytes with its payload, at most %d are allowed", ErrTooLarge, c.of(a), len(due), MaxRecord)
	}
	named, err := json.Marshal(ownDeadline{c.key.Key, c.key.Part})
	if err != nil {
		return nil, err
	}
	return append(changes,
		Change{RecordKey: ownDeadlineKey(a, c.name), Revision: own.Revision, Value: named},
		Change{RecordKey: c.key, Value: due}), nil
}

// mostLooks is how often a commit looks at records that others seem to have changed, and
// that are as they were.
const mostLooks = 8

// writeWith stores a write with the changes of its builders' deadlines. When others change
// them meanwhile it looks again.
func writeWith(ctx context.Context, ex Executor, w Write, builders []*CommitBuilder) ([]Receipt, error) {
	for _, b := range builders {
		for i := range b.deadlines {
			if err := b.deadlines[i].check(b.aggregateType, b.id); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	for _, b := range builders {
		for i := range b.deadlines {
			if err := b.deadlines[i].encode(ctx, b); err != nil {
				return nil, err
			}
		}
	}
	var before []Change
	for same := 0; ; {
		changes, err := deadlineChanges(ctx, ex, builders, same > 0)
		if err != nil {
			return nil, err
		}
		if w.Swap = nil; len(changes) > 0 {
			w.Swap = &Swap{Changes: changes}
		}
		for _, b := range builders {
			b.tried = true
		}
		receipts, err := ex.Write(ctx, w)
		if !errors.Is(err, ErrSwapped) {
			return receipts, err
		}
		if !slices.EqualFunc(changes, before, sameChange) {
			before, same = changes, min(same, 1)
			continue
		}
		if same++; same == mostLooks {
			return nil, fmt.Errorf("%w records of deadlines: %s", ErrDamaged, bare(err))
		}
		if err := pause(ctx, backoff(same), nil, nil); err != nil { // others may be writing still
			return nil, err
		}
	}
}

func sameChange(a, b Change) bool { return a.RecordKey == b.RecordKey && a.Revision == b.Revision }

// Deadline is one that is set. In JSON, Late is in nanoseconds.
type Deadline struct {
	AggregateType AggregateType `json:"aggregateType"`
	AggregateID   string        `json:"aggregateId"`
	// Name is unique in the aggregate.
	Name string `json:"name"`
	// At is when it is due, by the store's clock: UTC, in microseconds.
	At time.Time `json:"at"`
	// Late is how long it has been due, by the store's clock; 0: it is not due yet.
	Late time.Duration `json:"lateNanoseconds"`
	// Event is the name of the event that it will be.
	Event string `json:"event"`
}

// Deadlines ranges over the deadlines that are set, in the order of time; with aggregates,
// over theirs. At most one error is yielded, and it is last: [ErrDamaged] for a record that
// cannot be read, or one of [Executor].Records. Deadlines that are set or cleared meanwhile
// may be missing, or be there.
func Deadlines(ctx context.Context, ex Executor, of ...AggregateKey) iter.Seq2[Deadline, error] {
	return func(yield func(Deadline, error) bool) {
		all := records(ctx, ex, RecordQuery{Kind: dueKind, Limit: dueAtOnce})
		if len(of) > 0 {
			all = dueOf(ctx, ex, of)
		}
		for r, err := range all {
			if err != nil {
				yield(Deadline{}, err)
				return
			}
			d, at, err := readDue(&r.Record)
			if err != nil {
				yield(Deadline{}, err)
				return
			}
			if !yield(Deadline{d.Type, d.ID, d.Name, at, max(0, r.now.Sub(at)), d.Event}, nil) {
				return
			}
		}
	}
}

// dueOf ranges over the due records of some aggregates, in their order.
func dueOf(ctx context.Context, ex Executor, of []AggregateKey) iter.Seq2[readRecord, error] {
	return func(yield func(readRecord, error) bool) {
		keys, err := dueKeys(ctx, ex, of)
		if err != nil {
			yield(readRecord{}, err)
			return
		}
		for _, key := range keys {
			r, err := readDueOf(ctx, ex, key)
			if err == nil && r.Revision == 0 {
				continue // it was cleared or moved
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// dueKeys are the keys of the due records of some aggregates, in order.
func dueKeys(ctx context.Context, ex Executor, of []AggregateKey) (keys []RecordKey, err error) {
	for _, a := range of {
		own, err := ownDeadlines(ctx, ex, a)
		if err != nil {
			return nil, err
		}
		for _, r := range own {
			key, err := readOwn(&r, a)
			if err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, RecordKey.Compare)
	return slices.Compact(keys), nil // an aggregate may be there twice
}

// readDue reads the due record of a deadline.
func readDue(r *Record) (d dueDeadline, at time.Time, err error) {
	at, ok := parseDue(r.Key)
	if ok {
		err = json.Unmarshal(r.Value, &d)
	}
	if err == nil && (!ok || d.key(r.Key) != r.RecordKey) {
		err = errors.New("it is of another deadline")
	}
	if err != nil {
		return d, at, fmt.Errorf("%w record of a deadline that is due at %s: %w", ErrDamaged, shorten(r.Key), err)
	}
	return d, at, nil
}

// parseDue reads the time of a due record's key.
func parseDue(key string) (at time.Time, ok bool) {
	at, err := time.Parse(dueFormat, key)
	return at, err == nil
}
