// Parking: events that have failed and the later ones of their aggregates, and how
// they are retried, listed and dropped.

package evento

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/evento-go/evento/cursor"
)

// parkedKind is the kind of the records of parked events. Their part is the event's
// position, zero-padded, and its id.
const parkedKind = "parked"

// parkedPage is how many parked events are read at once: most readers want the first
// ones, and each may have an error of some length.
const parkedPage = 100

// Parked is an event that a subscription with AcceptFailure has put aside, because
// it has failed after all retries, or because an earlier event of its aggregate is
// parked and the order must be kept. [Control] lists, retries and drops parked
// events.
type Parked struct {
	// Part identifies it among the subscription's parked events.
	Part          string        `json:"part"`
	ID            ID            `json:"id"`
	Position      uint64        `json:"position"`
	AggregateType AggregateType `json:"aggregateType"`
	AggregateID   string        `json:"aggregateId"`
	Version       uint64        `json:"version"`
	Name          string        `json:"name"`
	// Error is the handler's last error; "" for an event that only waits for an
	// earlier one.
	Error string `json:"error,omitempty"`
	// Attempts counts how often it was attempted.
	Attempts int       `json:"attempts"`
	ParkedAt time.Time `json:"parkedAt"`
	// Retry says that it must be retried: "one", or "all" for the later ones of its
	// aggregate too.
	Retry string `json:"retry,omitempty"`
	// After is a cursor after which the event is the next of its aggregate.
	After cursor.Value `json:"after"`

	revision uint64
}

const (
	retryOne = "one"
	retryAll = "all"
)

func (p *Parked) aggregate() AggregateKey { return AggregateKey{p.AggregateType, p.AggregateID} }

// storedParked is a parked event as it is in its record.
type storedParked struct {
	Part          string        `json:"-"`
	ID            ID            `json:"event_id"`
	Position      uint64        `json:"position"`
	AggregateType AggregateType `json:"aggregate_type"`
	AggregateID   string        `json:"aggregate_id"`
	Version       uint64        `json:"version"`
	Name          string        `json:"name"`
	Error         string        `json:"error,omitempty"`
	Attempts      int           `json:"attempts"`
	ParkedAt      time.Time     `json:"parked_at"`
	Retry         string        `json:"retry,omitempty"`
	After         cursor.Value  `json:"after"`

	revision uint64
}

func (p *storedParked) check() error {
	if p.Attempts < 0 || p.Retry != "" && p.Retry != retryOne && p.Retry != retryAll {
		return fmt.Errorf("attempts: %d, retry: %q", p.Attempts, p.Retry)
	}
	return Query{Filters: []Filter{ByID(p.AggregateType, p.AggregateID)}}.Check()
}

func (p *Parked) change(n subscriptionName) Change {
	return Change{RecordKey: RecordKey{parkedKind, n.key, n.prefix + p.Part}, Revision: p.revision, Value: encodeState((*storedParked)(p))}
}

// parked ranges over the parked events of the subscription, in order. At most one
// error is yielded, and it is last.
func (n subscriptionName) parked(ctx context.Context, ex Executor) iter.Seq2[Parked, error] {
	return func(yield func(Parked, error) bool) {
		for r, err := range n.records(ctx, ex, parkedKind, parkedPage) {
			p := Parked{Part: r.rest, revision: r.Revision}
			if err == nil {
				err = decodeState(r.Record, (*storedParked)(&p))
			}
			if err != nil {
				yield(Parked{}, err)
				return
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// parkedAggregates are the aggregates that have parked events.
type parkedAggregates struct {
	loaded bool
	counts map[AggregateKey]int
}

// isParked reports whether events of e's aggregate are parked.
func (w *worker) isParked(ctx context.Context, e *RawEvent) (bool, error) {
	p := &w.parked
	if !p.loaded {
		p.counts = map[AggregateKey]int{}
		for parked, err := range w.name.parked(ctx, w.ex) {
			if err != nil {
				return false, err
			}
			p.counts[parked.aggregate()]++
		}
		p.loaded = true
	}
	return len(p.counts) > 0 && p.counts[e.Aggregate()] > 0, nil
}

// park parks an event and moves the cursor behind it, atomically.
func (w *worker) park(ctx context.Context, edge *cursor.Edge[RawEvent], reason error, attempts int) error {
	e := &edge.Node
	p := Parked{
		Part: fmt.Sprintf("%020d-%s", e.Position, e.ID),
		ID:   e.ID, Position: e.Position,
		AggregateType: e.AggregateType, AggregateID: e.AggregateID, Version: e.Version, Name: e.Name,
		Attempts: attempts, ParkedAt: time.Now().UTC(), After: w.progress.at,
	}
	if reason != nil {
		p.Error = cut(reason.Error())
	}
	behind := func(s *partitionState) error {
		s.Error, s.ErrorEvent = "", ""
		return w.progress.writeWith(edge, s, 0)
	}
	err := w.lease.swap(ctx, Swap{Changes: []Change{p.change(w.name)}}, behind)
	if errors.Is(err, ErrSwapped) && !w.progress.stale(w.lease.state()) { // after a reset: it was parked before
		err = w.lease.swap(ctx, Swap{}, behind)
	}
	if err != nil {
		w.progress.doubt(edge.Cursor)
		return err
	}
	w.parked.counts[p.aggregate()]++
	w.progress.advance(edge)
	w.noteStored(ctx)
	return nil
}

// parkedRetry belongs to a unit that retries a parked event.
type parkedRetry struct {
	parked *Parked
	done   Swap // removes the event's record, and requests the retry of the next one
}

// retryParked retries parked events, when that was requested.
func (w *worker) retryParked(ctx context.Context) error {
	w.parked.loaded = false // some may have been dropped
	var list []Parked
	for p, err := range w.name.parked(ctx, w.ex) {
		if err != nil {
			return err
		}
		if w.mine(&RawEvent{AggregateType: p.AggregateType, AggregateID: p.AggregateID}) {
			list = append(list, p)
		}
	}
	waits := map[AggregateKey]bool{} // behind an event that was not handled
	for i := range list {
		p := &list[i]
		if p.Retry == "" || waits[p.aggregate()] {
			waits[p.aggregate()] = true
			continue
		}
		if w.mustStop() {
			return errStopping
		}
		if err := w.keep(ctx, w.lease.clock()); err != nil {
			return err
		}
		handled, err := w.retryOne(ctx, p, nextOf(list[i:]))
		if err != nil {
			return err
		}
		waits[p.aggregate()] = !handled
	}
	return nil
}

// nextOf returns the event to retry after the first of the list; nil: none.
func nextOf(list []Parked) *Parked {
	p := &list[0]
	n := slices.IndexFunc(list[1:], func(other Parked) bool { return other.aggregate() == p.aggregate() })
	if p.Retry != retryAll || n < 0 {
		return nil
	}
	return &list[1+n]
}

// retryOne retries one parked event, and reports whether it was handled. If so, it
// also requests the retry of next, unless that is nil.
func (w *worker) retryOne(ctx context.Context, p, next *Parked) (handled bool, err error) {
	remove := p.change(w.name)
	remove.Value, remove.Remove = nil, true
	u := unit{retry: &parkedRetry{parked: p, done: Swap{Changes: []Change{remove}}}}
	if next != nil && next.Retry != retryAll {
		next.Retry = retryAll
		u.retry.done.Changes = append(u.retry.done.Changes, next.change(w.name))
		next.revision++
	}
	var failed *failure
	u.edges, err = w.readParked(ctx, p)
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, cursor.ErrInvalid):
		failed = &failure{err: err}
	case err != nil:
		return false, err
	default:
		if failed, err = w.attempt(ctx, u); err != nil || failed == nil {
			return err == nil, err
		}
	}
	w.logger.WarnContext(ctx, "evento: a parked event failed again", "event", p.ID.String(), "aggregate", p.AggregateID, "position", p.Position, "error", failed.err)
	p.Error, p.Retry = cut(failed.err.Error()), ""
	p.Attempts++
	return false, w.lease.swap(ctx, Swap{Changes: []Change{p.change(w.name)}}, keepState)
}

// readParked reads a parked event.
func (w *worker) readParked(ctx context.Context, p *Parked) ([]cursor.Edge[RawEvent], error) {
	q := Query{Filters: []Filter{{AggregateType: p.AggregateType, AggregateID: p.AggregateID, Name: p.Name}}}
	page, err := w.ex.Read(ctx, q, cursor.Onward(1, p.After))
	if err == nil && (len(page.Edges) == 0 || page.Edges[0].Node.ID != p.ID) {
		err = fmt.Errorf("%w: event %s", ErrNotFound, p.ID)
	}
	if err != nil {
		return nil, err
	}
	return page.Edges, nil
}

// ParkedFilter chooses parked events: [AllParked], [ParkedOf] or [ParkedEvent].
type ParkedFilter struct {
	aggregate AggregateKey
	id        ID
	one       bool
}

// AllParked selects all parked events.
func AllParked() ParkedFilter { return ParkedFilter{} }

// ParkedOf selects the parked events of an aggregate.
func ParkedOf(t AggregateType, id string) ParkedFilter {
	return ParkedFilter{aggregate: AggregateKey{t, id}}
}

// ParkedEvent selects one event.
func ParkedEvent(id ID) ParkedFilter { return ParkedFilter{id: id, one: true} }

func (f ParkedFilter) matches(p *Parked) bool {
	switch {
	case f.one:
		return p.ID == f.id
	case f.aggregate != AggregateKey{}:
		return p.aggregate() == f.aggregate
	}
	return true
}

// Parked ranges over the parked events in order.
func (c *Control) Parked(ctx context.Context, f ParkedFilter) iter.Seq2[Parked, error] {
	return func(yield func(Parked, error) bool) {
		if _, err := c.state(ctx); err != nil {
			yield(Parked{}, err)
			return
		}
		for p, err := range c.name.parked(ctx, c.ex) {
			if (err != nil || f.matches(&p)) && !yield(p, err) {
				return
			}
		}
	}
}

// RetryParked asks the workers to handle parked events again: those of an aggregate
// in order until one fails, or one event, which must be the first of its aggregate.
// It returns when the request is stored, not when it is done.
//
// Errors: [ErrNotFound] if the selected aggregate or event has nothing parked;
// [ErrInvalid] for one event that is not its aggregate's first.
func (c *Control) RetryParked(ctx context.Context, f ParkedFilter) error {
	seen := map[AggregateKey]*Parked{}
	return c.changeParked(ctx, "RetryParked", f, func(p *Parked) (Change, error) {
		first := seen[p.aggregate()]
		if first == nil {
			seen[p.aggregate()] = p
		}
		switch {
		case !f.matches(p):
			return Change{}, nil
		case !f.one && first != nil:
			return Change{}, nil // it is retried after the first
		case first != nil:
			return Change{}, fmt.Errorf("%w event: %s waits behind %s of the same aggregate", ErrInvalid, p.ID, first.ID)
		}
		p.Retry = retryAll
		if f.one {
			p.Retry = retryOne
		}
		return p.change(c.name), nil
	})
}

// DropParked removes parked events without handling them. [ErrNotFound] if the
// selected aggregate or event has nothing parked.
func (c *Control) DropParked(ctx context.Context, f ParkedFilter) error {
	return c.changeParked(ctx, "DropParked", f, func(p *Parked) (Change, error) {
		if !f.matches(p) {
			return Change{}, nil
		}
		ch := p.change(c.name)
		ch.Value, ch.Remove = nil, true
		return ch, nil
	})
}

// changeParked changes parked events, and then notifies the workers.
func (c *Control) changeParked(ctx context.Context, what string, f ParkedFilter, change func(*Parked) (Change, error)) error {
	if _, err := c.state(ctx); err != nil {
		return err
	}
	var changes []Change
	for p, err := range c.name.parked(ctx, c.ex) {
		if err != nil {
			return err
		}
		ch, err := change(&p)
		if err != nil {
			return err
		}
		if ch.Kind != "" {
			changes = append(changes, ch)
		}
	}
	if len(changes) == 0 {
		if f == AllParked() {
			return nil
		}
		return fmt.Errorf("%w: parked event of subscription %s", ErrNotFound, c.name)
	}
	for len(changes) > 0 {
		n := min(len(changes), MaxSwap)
		// If a worker has changed one meanwhile, that one needs no change.
		if err := c.ex.Swap(ctx, Swap{Changes: changes[:n]}); errors.Is(err, ErrSwapped) {
			for i := range changes[:n] {
				if err := c.ex.Swap(ctx, Swap{Changes: changes[i : i+1]}); err != nil && !errors.Is(err, ErrSwapped) {
					return err
				}
			}
		} else if err != nil {
			return err
		}
		changes = changes[n:]
	}
	return c.request(ctx, what)
}

// request notifies the workers that parked events were changed.
func (c *Control) request(ctx context.Context, what string) error {
	return c.change(ctx, what, func(s *partitionState) error { s.Retry++; return nil })
}
