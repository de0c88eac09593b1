// Executors on which commits wait, until all of them are stored as one write.

package evento

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento/cursor"
)

// staged is an executor on which commits and changes of records wait. What waits can be
// read: in what is read onward to the end, and among the records. One goroutine uses it,
// but for pages that are read ahead.
//
// Why: docs/decisions.md, "What waits is one write".
type staged struct {
	Executor
	what string // for errors
	// early: Write returns a conflict of versions that it can see. A decision finds it when
	// it is stored, and runs again.
	early bool
	feed  Feed

	mu       sync.Mutex
	ended    bool
	unless   []guard
	looked   []Filter // of all that was read
	seen     map[AggregateKey]*aggregateSeen
	appends  []Append      // one for each aggregate
	receipts []stagedEvent // by commit and aggregate
	events   []RawEvent    // that wait
	given    []Condition   // of the writes
	records  []stagedRecord
	// recordsRead: changes may be based on what was read, which another run reads anew.
	recordsRead bool
	wake        bool
	retry       bool
}

func newStaged(ex Executor, what string) *staged {
	return &staged{Executor: ex, what: what, seen: map[AggregateKey]*aggregateSeen{}}
}

// guard is a condition of what was read.
type guard struct {
	Condition
	// Of the query for all events of one aggregate, version is how many there are.
	aggregate *AggregateKey
	version   uint64
}

// aggregateSeen is where an aggregate is, with what the decision adds.
type aggregateSeen struct {
	version    uint64
	routingKey string
	no         int // its append, from 1; 0: none
}

// stagedEvent is the last event that a commit adds to an aggregate.
type stagedEvent struct {
	Receipt
	append int
	events int // of the append, up to this one
}

// stagedRecord is a change of a record that waits, as one change of what is stored.
type stagedRecord struct {
	Change
	at time.Time
}

// revision is the one that the record has with the change; 0: it is gone.
func (r *stagedRecord) revision() uint64 {
	if r.Remove {
		return 0
	}
	return r.Revision + 1
}

// mark returns a function that takes back what is committed from now on. What is read
// stays: the function outside may know of it.
func (d *staged) mark() (restore func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	appends, receipts, events, given := slices.Clone(d.appends), len(d.receipts), len(d.events), len(d.given)
	records, retry, wake := slices.Clone(d.records), d.retry, d.wake
	seen := make(map[AggregateKey]*aggregateSeen, len(d.seen))
	for a, s := range d.seen {
		here := *s
		seen[a] = &here
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.appends, d.receipts, d.events, d.seen = appends, d.receipts[:receipts], d.events[:events], seen
		d.given, d.records, d.retry, d.wake = d.given[:given], records, retry, wake
	}
}

// inStaging runs a function with an executor on which its commits wait, and stores them.
// An error of the function ends it, with nothing stored.
func inStaging(ctx context.Context, ex Executor, fn func(ctx context.Context, ex Executor) error) error {
	d := newStaged(ex, "transaction")
	d.early = true
	w, err := d.run(ctx, func(ctx context.Context) error { return fn(ctx, d) })
	if err != nil {
		return err
	}
	_, err = d.store(ctx, w)
	return err
}

// run runs a function, and returns what has waited at its end as one write. Afterwards
// commits are refused, also when it panics.
func (d *staged) run(ctx context.Context, fn func(ctx context.Context) error) (w Write, err error) {
	defer func() { w = d.end() }()
	return w, fn(ctx)
}

// end refuses further commits, and returns what waits as one write.
func (d *staged) end() Write {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	w := Write{Appends: d.appends, Unless: d.conditions(), Retry: d.retry}
	if len(d.records) > 0 {
		w.Swap = &Swap{Wake: d.wake}
		for _, r := range d.records {
			w.Swap.Changes = append(w.Swap.Changes, r.Change)
		}
	}
	return w
}

// store stores what has waited.
func (d *staged) store(ctx context.Context, w Write) ([]Receipt, error) {
	if len(w.Appends) == 0 {
		if w.Swap == nil {
			return nil, nil
		}
		return nil, d.Executor.Swap(ctx, *w.Swap)
	}
	return writeResolved(ctx, d.Executor, w)
}

// stored are the receipts of the commits, of those of the write. Nothing comes between the
// events of an append.
func (d *staged) stored(of []Receipt) []Receipt {
	if of == nil {
		return nil
	}
	receipts := make([]Receipt, len(d.receipts))
	for i, s := range d.receipts {
		behind := uint64(len(d.appends[s.append].Events) - s.events)
		receipts[i] = of[s.append]
		receipts[i].Version -= behind
		if receipts[i].Position > 0 { // else it is in a transaction
			receipts[i].Position -= behind
		}
	}
	return receipts
}

// conditions are the guards without those that the version of an append is, and those of
// the writes.
func (d *staged) conditions() (left []Condition) {
	for _, g := range d.unless {
		if g.aggregate != nil {
			if s := d.seen[*g.aggregate]; s != nil && s.no > 0 {
				if a := &d.appends[s.no-1]; !a.AnyVersion && a.Expected == g.version {
					continue
				}
			}
		}
		left = append(left, g.Condition)
	}
	return append(left, d.given...)
}

// Read implements [Executor].
func (d *staged) Read(ctx context.Context, q Query, args cursor.Args) (*cursor.Page[RawEvent], error) {
	page, err := d.Executor.Read(ctx, q, args)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.overlay(page, q, args)
	return page, nil
}

// overlay adds the events that wait to a page that has come to the end.
func (d *staged) overlay(page *cursor.Page[RawEvent], q Query, args cursor.Args) {
	if page.PageInfo.HasNextPage || !args.IsOnward() {
		return
	}
	for i := range d.events {
		if q.Matches(d.events[i]) {
			e := d.events[i]
			e.Data, e.Tags, e.Metadata = bytes.Clone(e.Data), slices.Clone(e.Tags), e.Metadata.Clone() // the reader may write to them
			page.Edges = append(page.Edges, cursor.Edge[RawEvent]{Node: e})
		}
	}
}

// see notes where an aggregate is, of its last event.
func (d *staged) see(e *RawEvent) {
	s := d.seen[e.Aggregate()]
	if s == nil {
		s = &aggregateSeen{}
		d.seen[e.Aggregate()] = s
	}
	if s.no == 0 && e.Version > s.version {
		s.version, s.routingKey = e.Version, e.RoutingKey
	}
}

// Write implements [Executor]. What it stores waits for the end.
func (d *staged) Write(ctx context.Context, w Write) ([]Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	for i := range w.Appends {
		if err := d.find(ctx, &w.Appends[i]); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil, fmt.Errorf("%w commit: the %s has ended", ErrInvalid, d.what)
	}
	if receipts := d.earlier(w); receipts != nil {
		return receipts, nil
	}
	for i := range w.Appends {
		if err := d.check(&w.Appends[i], w.Retry); err != nil {
			return nil, err
		}
	}
	if w.Swap != nil {
		if err := d.swap(*w.Swap); err != nil {
			return nil, err
		}
	}
	for _, c := range w.Unless {
		d.given = append(d.given, Condition{Query: c.Query.clone(), After: c.After})
	}
	d.retry = d.retry || w.Retry
	receipts := make([]Receipt, len(w.Appends))
	for i := range w.Appends {
		receipts[i] = d.stage(&w.Appends[i])
	}
	return receipts, nil
}

// find finds where an aggregate is, unless that is known. It is no reading of the function's.
func (d *staged) find(ctx context.Context, a *Append) error {
	d.mu.Lock()
	s := d.seen[a.Aggregate()]
	known := s != nil && (s.no > 0 || !d.early) // else it may be further by now
	d.mu.Unlock()
	if known || !d.early && !a.AnyVersion && a.Expected == 0 {
		return nil
	}
	q := Query{Filters: []Filter{ByID(a.AggregateType, a.AggregateID)}}
	last, err := d.Executor.Read(ctx, q, cursor.Backward(1, ""))
	if err == nil { // those that wait in a transaction, or in another staging
		var page *cursor.Page[RawEvent]
		if page, err = d.Executor.Read(ctx, q, cursor.Onward(cursor.MaxPage, last.PageInfo.EndCursor)); err == nil {
			last.Edges = append(last.Edges, page.Edges...)
		}
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range last.Edges {
		d.see(&last.Edges[i].Node)
	}
	if d.seen[a.Aggregate()] == nil {
		d.seen[a.Aggregate()] = &aggregateSeen{}
	}
	if a.AnyVersion { // its receipt tells the function
		d.looked = append(d.looked, q.Filters...)
	}
	return nil
}

// check refuses an append that cannot be part of the write.
func (d *staged) check(a *Append, retry bool) error {
	s := d.seen[a.Aggregate()]
	if s == nil || s.no == 0 && !d.early {
		return nil // its version is judged with the write
	}
	if !a.AnyVersion && a.Expected != s.version && (s.no > 0 || !retry) {
		return &ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: s.version}
	}
	if s.no == 0 {
		return nil
	}
	if !reflect.DeepEqual(a.Metadata, d.appends[s.no-1].Metadata) {
		return fmt.Errorf("%w commit: %s %s is committed to with other metadata before, and a %s is one commit", ErrInvalid, a.AggregateType, shorten(a.AggregateID), d.what)
	}
	return nil
}

// earlier returns the receipts of a write that waits here already; nil: it does not.
func (d *staged) earlier(w Write) []Receipt {
	if !w.Retry {
		return nil
	}
	receipts := make([]Receipt, len(w.Appends))
	for i := range w.Appends {
		a := &w.Appends[i]
		at := slices.IndexFunc(d.events, func(e RawEvent) bool { return e.ID == a.Events[len(a.Events)-1].ID })
		if at < 0 {
			return nil
		}
		receipts[i] = Receipt{AggregateID: a.AggregateID, Version: d.events[at].Version}
	}
	return receipts
}

// stage adds an append to the write.
func (d *staged) stage(a *Append) Receipt {
	key := a.Aggregate()
	s := d.seen[key]
	if s == nil {
		s = &aggregateSeen{}
		d.seen[key] = s
	}
	if s.no == 0 {
		if !a.AnyVersion {
			s.version = a.Expected
		}
		if s.version == 0 {
			s.routingKey = a.RoutingKey
		}
		first := *a
		first.Events, first.Metadata = nil, a.Metadata.Clone()
		d.appends = append(d.appends, first)
		s.no = len(d.appends)
	}
	to := &d.appends[s.no-1]
	if to.AnyVersion && !a.AnyVersion { // the receipts before are relied on
		to.AnyVersion, to.Expected = false, s.version-uint64(len(to.Events))
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, e := range a.Events {
		e.Data, e.Tags = bytes.Clone(e.Data), slices.Clone(e.Tags) // they are the caller's
		s.version++
		to.Events = append(to.Events, e)
		d.events = append(d.events, RawEvent{
			ID: e.ID, AggregateType: a.AggregateType, AggregateID: a.AggregateID, Version: s.version, Name: e.Name,
			RoutingKey: s.routingKey, Tags: e.Tags, Codec: e.Codec, Data: e.Data, Metadata: to.Metadata, Timestamp: now,
		})
	}
	r := Receipt{AggregateID: a.AggregateID, Version: s.version}
	d.receipts = append(d.receipts, stagedEvent{r, s.no - 1, len(to.Events)})
	return r
}

// Swap implements [Executor]. Whether stored records are at their revisions is found at
// the end.
func (d *staged) Swap(_ context.Context, s Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return fmt.Errorf("%w call: the %s has ended", ErrInvalid, d.what)
	}
	return d.swap(s)
}

func (d *staged) swap(s Swap) error {
	for i := range s.Changes {
		c := &s.Changes[i]
		if r := d.record(c.RecordKey); r != nil && r.revision() != c.Revision {
			return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", ErrSwapped, c.Kind, c.Key, c.Part, r.revision(), c.Revision)
		}
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, c := range s.Changes {
		c.Value = bytes.Clone(c.Value)
		r := d.record(c.RecordKey)
		switch {
		case r == nil:
			d.records = append(d.records, stagedRecord{c, now})
		case r.Revision == 0 && c.Remove: // it is as it was
			d.records = slices.DeleteFunc(d.records, func(r stagedRecord) bool { return r.RecordKey == c.RecordKey })
		default:
			r.Value, r.Remove, r.at = c.Value, c.Remove, now
		}
	}
	d.wake = d.wake || s.Wake
	return nil
}

// record is the change of a record that waits; nil: there is none.
func (d *staged) record(key RecordKey) *stagedRecord {
	for i := range d.records {
		if d.records[i].RecordKey == key {
			return &d.records[i]
		}
	}
	return nil
}

// Records implements [Executor].
func (d *staged) Records(ctx context.Context, q RecordQuery) (*RecordPage, error) {
	d.mu.Lock()
	d.recordsRead = true
	d.mu.Unlock()
	for {
		page, err := d.Executor.Records(ctx, q)
		if err != nil {
			return nil, err
		}
		end := d.overlayRecords(page, q)
		if len(page.Records) > 0 || !page.More {
			return page, nil
		}
		q.After = end // all of them are removed here
	}
}

// overlayRecords changes a page to what the records are with the changes that wait. It
// returns where the page has ended before.
func (d *staged) overlayRecords(page *RecordPage, q RecordQuery) (end RecordKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end = q.After
	if n := len(page.Records); n > 0 {
		end = page.Records[n-1].RecordKey
	}
	if len(d.records) == 0 {
		return end
	}
	page.Records = slices.DeleteFunc(page.Records, func(r Record) bool { return d.record(r.RecordKey) != nil })
	for _, r := range d.records {
		here := r.Kind == q.Kind && (q.Key == "" || r.Key == q.Key) && r.Compare(q.After) > 0 && (!page.More || r.Compare(end) <= 0)
		if here && !r.Remove {
			page.Records = append(page.Records, Record{RecordKey: r.RecordKey, Revision: r.revision(), ChangedAt: r.at, Value: bytes.Clone(r.Value)})
		}
	}
	slices.SortFunc(page.Records, func(a, b Record) int { return a.Compare(b.RecordKey) })
	if most := cmp.Or(q.Limit, MaxRecords); len(page.Records) > most {
		page.Records, page.More = page.Records[:most], true
	}
	return end
}

// Feed implements [Executor]. Followers of it see what it reads.
func (d *staged) Feed() *Feed { return &d.feed }

// RemoveSnapshots implements [Executor]. While events wait it keeps them: what is known here
// may come to nothing.
func (d *staged) RemoveSnapshots(ctx context.Context, keys []SnapshotKey) error {
	d.mu.Lock()
	waits := len(d.events) > 0
	d.mu.Unlock()
	if waits {
		return nil
	}
	return d.Executor.RemoveSnapshots(ctx, keys)
}

// Close implements [Executor]. The store stays open.
func (d *staged) Close() error { return nil }
