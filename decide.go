// Decisions: what a function has read still holds when what it commits is stored.

package evento

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/evento-go/evento/cursor"
)

// Decide runs fn, and stores everything that it commits to d as one write, if no event was
// added since that fn would have read by d. Otherwise it runs fn again, on the present, until the
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
// part never changes. What fn reads by another executor is not guarded, nor are records
// that it reads and does not change. Two reads may show two moments: then the decision runs
// again, unless fn returns an error. d is fn's alone, until it returns, for one goroutine
// at a time.
//
// Commits to d wait until fn returns nil; then all of them are stored at once, or none.
// Until then fn can read them by d, in Load, Update, Events and HasEvent, at position 0,
// and their receipts have Position 0. An aggregate that is committed to several times gets
// the routing key of the first, and all have to have the same metadata. Changes of
// records, such as deadlines, wait in the same way, and need an event beside them. d has no
// InTx.
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
// Errors: those of fn, unchanged, with nothing stored; those of [CommitAll], but a conflict
// only if it is about an aggregate that fn has not read by d; [ErrInvalid] for commits that
// cannot be one write; [errors.ErrUnsupported] where the executor cannot judge conditions, see
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
		d := &decision{staged: newStaged(ex, "decision"), read: map[string]int{}}
		w, err := d.run(ctx, func(ctx context.Context) error { return fn(ctx, d) })
		if err == nil && len(w.Appends) == 0 && w.Swap != nil && len(w.Unless) > 0 {
			err = fmt.Errorf("%w decision: it changes records and commits no event; records alone cannot depend on what was read", ErrInvalid)
		}
		if err != nil || len(w.Appends) == 0 && w.Swap == nil {
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

// decision is the executor that one run of a decision's function gets.
type decision struct {
	*staged
	read map[string]int // by query, its condition
	all  bool           // everything was read
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

// aboutWrite are the keys of the turns for what a decision is about.
func aboutWrite(w Write) (keys []string) {
	for i := range w.Appends {
		keys = append(keys, turnOf(w.Appends[i].Aggregate()))
	}
	for i := range w.Unless {
		keys = append(keys, w.Unless[i].Query.text())
	}
	if w.Swap != nil {
		keys = append(keys, turnOfRecord(w.Swap.Changes[0].RecordKey))
	}
	return keys
}

// about is the key of the turns for what a conflict is about; "": it is no conflict of
// something that was read, which another run would meet again.
func (d *decision) about(w Write, err error) string {
	if errors.Is(err, ErrSwapped) && w.Swap != nil && d.recordsRead {
		return turnOfRecord(w.Swap.Changes[0].RecordKey)
	}
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
		return (f.AggregateType == "" || f.AggregateType == a.Type) && (f.AggregateID == "" || f.AggregateID == a.ID)
	}) {
		return ""
	}
	return turnOf(a)
}

// text is the same for queries that are the same.
func (q Query) text() string {
	parts := []string{q.RoutingKey, fmt.Sprint(q.Unrouted)}
	for _, f := range q.Filters {
		parts = append(parts, string(f.AggregateType), f.AggregateID, f.Name, strings.Join(slices.Sorted(slices.Values(f.Tags)), "\n"))
	}
	return HashIDs(parts...)
}

// turnOf is the key of the turns for an aggregate.
func turnOf(a AggregateKey) string { return Query{Filters: []Filter{ByID(a.Type, a.ID)}}.text() }

// turnOfRecord is that for a record.
func turnOfRecord(k RecordKey) string { return HashIDs("record", k.Kind, k.Key, k.Part) }

// Read implements [Executor].
func (d *decision) Read(ctx context.Context, q Query, args cursor.Args) (*cursor.Page[RawEvent], error) {
	page, err := d.Executor.Read(ctx, q, args)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looked = append(d.looked, q.clone().Filters...)
	d.all = d.all || len(q.Filters) == 0
	if page.PageInfo.HasNextPage {
		return page, nil // it never changes
	}
	if err := d.guard(q, args, page); err != nil {
		return nil, err
	}
	d.overlay(page, q, args)
	return page, nil
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
	g := guard{Condition: Condition{Query: q.clone(), After: after}}
	if len(q.Filters) == 1 && q.Filters[0].AggregateID != "" && q.Filters[0].Name == "" && len(q.Filters[0].Tags) == 0 && q.RoutingKey == "" && !q.Unrouted {
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
