// Decisions: what a function has read still holds when what it commits is stored.

package evento

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/evento-go/evento/cursor"
)

// Decide runs fn, and stores everything that it commits to d as one write, if nothing that
// fn has read by d has changed since. Otherwise it runs fn again, on the present, until the
// context ends. So a rule may be about any number of aggregates, and about what does not
// exist yet:
//
//	_, err := evento.Decide(ctx, store, func(ctx context.Context, d evento.Executor) error {
//		concert, err := concerts.Load(ctx, d, concertID)
//		if err != nil {
//			return err
//		}
//		if concert.State.Free == 0 {
//			return ErrSoldOut
//		}
//		if _, err := concert.Aggregate().Event(Reserved{Order: orderID}).Commit(ctx, d); err != nil {
//			return err
//		}
//		_, err = evento.Aggregate(orderID).Event(Placed{Concert: concertID}).Commit(ctx, d)
//		return err
//	})
//
// Everything that reads events by d counts: Load, Update, HasEvent, [Events], and Read.
// What was read to its end must not have got more events; of what was read in part, the
// part never changes. What fn reads by another executor is not guarded. d is fn's alone,
// until it returns, for one goroutine at a time.
//
// Commits to d wait until fn returns nil; then all of them are stored at once, or none.
// Until then fn can read them by d, in Load, Update, Events and HasEvent, at position 0,
// and their receipts have Position 0. An aggregate that is committed to several times gets
// the routing key of the first, and all have to have the same metadata. d changes no
// records, and [Transactor] is none of its methods.
//
// After a conflict, and while others wait already, the decision waits for its turn among
// those that have conflicted over the same in this process. In a transaction, as within
// [Transactor].InTx, fn runs once, its commits become part of the transaction, and a
// conflict is found at its end. Decide within fn by d is part of the same decision; when its
// function fails, what that has committed is left out.
//
// The receipts are in the order of the commits to d, one for each aggregate of each. If fn
// has committed nothing there are none, and nothing is checked.
//
// Errors: those of fn, unchanged, with nothing stored; those of [CommitAll], of conflicts
// those about an aggregate that fn has not read by d; [ErrInvalid] for commits that cannot
// be one write; [errors.ErrUnsupported] where the executor cannot judge conditions, see
// [Executor].
func Decide(ctx context.Context, ex Executor, fn func(ctx context.Context, d Executor) error) ([]Receipt, error) {
	if fn == nil {
		return nil, fmt.Errorf("%w decision: the function is nil", ErrInvalid)
	}
	if d, ok := ex.(*decision); ok {
		return d.join(ctx, fn)
	}
	turns := &ex.Feed().turns
	turn := turns.of(ctx, "")
	defer func() { turn.leave() }()
	for conflict := false; ; {
		if err := turn.wait(ctx, conflict); err != nil {
			return nil, err
		}
		d := &decision{Executor: ex, read: map[string]int{}, seen: map[AggregateKey]*aggregateSeen{}}
		w, err := d.run(ctx, fn)
		if err != nil || len(w.Appends) == 0 {
			return nil, err
		}
		about := turns.lineFor(aboutWrite(w), turn)
		if conflict = about == ""; conflict { // nobody waits before it
			var stored []Receipt
			stored, err = d.store(ctx, w)
			if about = d.about(w, err); about == "" || WithinTx(ctx) {
				return d.stored(stored), err
			}
		}
		if about != turn.key {
			turn.leave()
			turn = turns.of(ctx, about)
		}
	}
}

// decision is the executor that one run of a decision's function gets. One goroutine uses
// it, but for pages that are read ahead.
type decision struct {
	Executor
	feed Feed

	mu       sync.Mutex
	ended    bool
	read     map[string]int // by query, its condition
	unless   []guard
	looked   []Filter // of all that was read
	all      bool     // everything was read
	seen     map[AggregateKey]*aggregateSeen
	appends  []Append      // one for each aggregate
	receipts []stagedEvent // by commit and aggregate
	events   []RawEvent    // that wait
	retry    bool
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

// join runs the function of a decision within this one. When it fails, nothing that it has
// committed stays.
func (d *decision) join(ctx context.Context, fn func(ctx context.Context, d Executor) error) (receipts []Receipt, err error) {
	restore := d.mark()
	returned := false
	defer func() {
		if !returned || err != nil {
			restore()
		}
	}()
	from := len(d.receipts)
	err = fn(ctx, d)
	returned = true
	if err != nil {
		return nil, err
	}
	for _, s := range d.receipts[from:] {
		receipts = append(receipts, s.Receipt)
	}
	return receipts, nil
}

// mark returns a function that takes back what is committed from now on. What is read
// stays: the function outside may know of it.
func (d *decision) mark() (restore func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	appends, receipts, events, retry := slices.Clone(d.appends), len(d.receipts), len(d.events), d.retry
	seen := make(map[AggregateKey]*aggregateSeen, len(d.seen))
	for a, s := range d.seen {
		here := *s
		seen[a] = &here
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.appends, d.receipts, d.events, d.retry, d.seen = appends, d.receipts[:receipts], d.events[:events], retry, seen
	}
}

// run runs the function once, and returns what it has committed.
func (d *decision) run(ctx context.Context, fn func(ctx context.Context, d Executor) error) (Write, error) {
	err := fn(ctx, d)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	return Write{Appends: d.appends, Unless: d.conditions(), Retry: d.retry}, err
}

// store stores what the function has committed.
func (d *decision) store(ctx context.Context, w Write) ([]Receipt, error) {
	return resolved(func() ([]Receipt, error) {
		stored, err := d.Executor.Write(ctx, w)
		w.Retry = true // the next time
		return stored, err
	})
}

// aboutWrite are the keys of the turns for what a decision is about.
func aboutWrite(w Write) (keys []string) {
	for i := range w.Appends {
		keys = append(keys, turnOf(w.Appends[i].Aggregate()))
	}
	for i := range w.Unless {
		keys = append(keys, w.Unless[i].Query.text())
	}
	return keys
}

// about is the key of the turns for what a conflict is about; "": it is no conflict of
// something that was read, which another run would meet again.
func (d *decision) about(w Write, err error) string {
	var over *ConflictError
	if !errors.As(err, &over) {
		return ""
	}
	if over.Condition > 0 {
		q := w.Unless[over.Condition-1].Query.text()
		if _, read := d.read[q]; !read {
			return ""
		}
		return q
	}
	a := AggregateKey{over.AggregateType, over.AggregateID}
	if !d.all && !slices.ContainsFunc(d.looked, func(f Filter) bool {
		return f.AggregateType == a.Type && (f.AggregateID == "" || f.AggregateID == a.ID)
	}) {
		return ""
	}
	return turnOf(a)
}

// stored are the receipts of the commits, of those of the write. Nothing comes between the
// events of an append.
func (d *decision) stored(of []Receipt) []Receipt {
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

// conditions are the guards without those that the version of an append is.
func (d *decision) conditions() (left []Condition) {
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
	return left
}

// text is the same for queries that are the same.
func (q Query) text() string {
	parts := []string{q.RoutingKey, fmt.Sprint(q.Unrouted)}
	for _, f := range q.Filters {
		parts = append(parts, string(f.AggregateType), f.AggregateID, f.Name)
	}
	return HashIDs(parts...)
}

// turnOf is the key of the turns for an aggregate.
func turnOf(a AggregateKey) string { return Query{Filters: []Filter{ByID(a.Type, a.ID)}}.text() }

// Read implements [Executor].
func (d *decision) Read(ctx context.Context, q Query, args cursor.Args) (*cursor.Page[RawEvent], error) {
	page, err := d.Executor.Read(ctx, q, args)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looked = append(d.looked, q.Filters...)
	d.all = d.all || len(q.Filters) == 0
	if page.PageInfo.HasNextPage {
		return page, nil // it never changes
	}
	if err := d.guard(q, args, page); err != nil {
		return nil, err
	}
	if args.IsOnward() {
		for i := range d.events {
			if q.Matches(d.events[i]) {
				e := d.events[i]
				e.Data, e.Metadata = bytes.Clone(e.Data), e.Metadata.Clone() // the reader may write to them
				page.Edges = append(page.Edges, cursor.Edge[RawEvent]{Node: e})
			}
		}
	}
	return page, nil
}

// see notes where an aggregate is, of its last event.
func (d *decision) see(e *RawEvent) {
	s := d.seen[e.Aggregate()]
	if s == nil {
		s = &aggregateSeen{}
		d.seen[e.Aggregate()] = s
	}
	if s.no == 0 && e.Version > s.version {
		s.version, s.routingKey = e.Version, e.RoutingKey
	}
}

// guard adds the condition of a page that has come to the end of a query. Of two of one
// query, the earlier holds the other too.
func (d *decision) guard(q Query, args cursor.Args, page *cursor.Page[RawEvent]) (err error) {
	after := page.PageInfo.EndCursor
	key := q.text()
	if i, known := d.read[key]; known {
		g := &d.unless[i]
		if after, err = d.Earlier(g.After, after); err == nil && after != g.After {
			g.After, g.aggregate = after, nil
		}
		return err
	}
	d.read[key] = len(d.unless)
	g := guard{Condition: Condition{Query: q, After: after}}
	if len(q.Filters) == 1 && q.Filters[0].AggregateID != "" && q.Filters[0].Name == "" && q.RoutingKey == "" && !q.Unrouted {
		switch n := len(page.Edges); {
		case n > 0:
			g.version = page.Edges[n-1].Node.Version
			d.see(&page.Edges[n-1].Node)
		case args.At() != "":
			d.unless = append(d.unless, g)
			return nil
		}
		g.aggregate = &AggregateKey{q.Filters[0].AggregateType, q.Filters[0].AggregateID}
	}
	d.unless = append(d.unless, g)
	return nil
}

// Write implements [Executor]. What it stores waits for the end of the decision.
func (d *decision) Write(ctx context.Context, w Write) ([]Receipt, error) {
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
		return nil, fmt.Errorf("%w commit: the decision has ended", ErrInvalid)
	}
	if receipts := d.earlier(w); receipts != nil {
		return receipts, nil
	}
	for i := range w.Appends {
		if err := d.check(&w.Appends[i]); err != nil {
			return nil, err
		}
	}
	for _, c := range w.Unless {
		d.unless = append(d.unless, guard{Condition: c})
	}
	d.retry = d.retry || w.Retry
	receipts := make([]Receipt, len(w.Appends))
	for i := range w.Appends {
		receipts[i] = d.stage(&w.Appends[i])
	}
	return receipts, nil
}

// find finds where an aggregate is, unless that is known. It is no reading of fn's.
func (d *decision) find(ctx context.Context, a *Append) error {
	d.mu.Lock()
	known := d.seen[a.Aggregate()] != nil
	d.mu.Unlock()
	if known || !a.AnyVersion && a.Expected == 0 {
		return nil
	}
	q := Query{Filters: []Filter{ByID(a.AggregateType, a.AggregateID)}}
	last, err := d.Executor.Read(ctx, q, cursor.Backward(1, ""))
	if err == nil && WithinTx(ctx) { // which may have added some
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
	if a.AnyVersion { // its receipt tells fn
		d.looked = append(d.looked, q.Filters...)
	}
	return nil
}

// check refuses an append that cannot be part of the decision's write.
func (d *decision) check(a *Append) error {
	s := d.seen[a.Aggregate()]
	if s == nil || s.no == 0 {
		return nil // its version is judged with the write
	}
	if !a.AnyVersion && a.Expected != s.version {
		return &ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: s.version}
	}
	if !reflect.DeepEqual(a.Metadata, d.appends[s.no-1].Metadata) {
		return fmt.Errorf("%w commit: %s %s is committed to with other metadata before, and a decision is one commit", ErrInvalid, a.AggregateType, shorten(a.AggregateID))
	}
	return nil
}

// earlier returns the receipts of a write that waits here already; nil: it does not.
func (d *decision) earlier(w Write) []Receipt {
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

// stage adds an append to the decision's write.
func (d *decision) stage(a *Append) Receipt {
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
		e.Data = bytes.Clone(e.Data) // it is the caller's
		s.version++
		to.Events = append(to.Events, e)
		d.events = append(d.events, RawEvent{
			ID: e.ID, AggregateType: a.AggregateType, AggregateID: a.AggregateID, Version: s.version, Name: e.Name,
			RoutingKey: s.routingKey, Codec: e.Codec, Data: e.Data, Metadata: to.Metadata, Timestamp: now,
		})
	}
	r := Receipt{AggregateID: a.AggregateID, Version: s.version}
	d.receipts = append(d.receipts, stagedEvent{r, s.no - 1, len(to.Events)})
	return r
}

// Feed implements [Executor]. Followers of d see what it reads.
func (d *decision) Feed() *Feed { return &d.feed }

// Swap implements [Executor].
func (d *decision) Swap(context.Context, Swap) error {
	return fmt.Errorf("%w call: records are not changed within Decide", ErrInvalid)
}

// RemoveSnapshots implements [Executor]. It keeps them: what the decision knows may come to
// nothing.
func (d *decision) RemoveSnapshots(context.Context, []SnapshotKey) error { return nil }

// Close implements [Executor]. The store stays open.
func (d *decision) Close() error { return nil }
