// Events that could not be handled, and those of their aggregates behind them.

package evento

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/idle"
)

// parkedKind is that of the records of parked events. Their parts are the
// events' positions, with as many digits as any, and their ids.
const parkedKind = "parked"

// Parked is an event that a subscription with AcceptFailure has put aside: its
// retries ran out, or an earlier event of its aggregate is parked, and order
// is to hold. [Control] lists them, has them handled again, and drops them.
type Parked struct {
	// Part names it among those of the subscription.
	Part          string        `json:"-"`
	ID            ID            `json:"event_id"`
	Position      uint64        `json:"position"`
	AggregateType AggregateType `json:"aggregate_type"`
	AggregateID   string        `json:"aggregate_id"`
	Version       uint64        `json:"version"`
	Name          string        `json:"name"`
	// Error is what the handler said the last time; "" of an event that only
	// waits behind another.
	Error string `json:"error,omitempty"`
	// Attempts counts how often it was tried.
	Attempts int       `json:"attempts"`
	ParkedAt time.Time `json:"parked_at"`
	// Retry says that it is to be handled again: "one", or "all" for those
	// behind it too.
	Retry string `json:"retry,omitempty"`
	// After is a cursor from which the event is the next of its aggregate.
	After cursor.Value `json:"after"`

	revision uint64
}

const (
	retryOne = "one"
	retryAll = "all"
)

type aggregateKey struct {
	t  AggregateType
	id string
}

func (p *Parked) aggregate() aggregateKey { return aggregateKey{p.AggregateType, p.AggregateID} }

func (p *Parked) change(key string) Change {
	return Change{RecordKey: RecordKey{parkedKind, key, p.Part}, Revision: p.revision, Value: encodeState(p)}
}

// listParked calls fn with each parked event of a subscription, in order.
func listParked(ctx context.Context, ex Executor, key string, fn func(Parked) error) error {
	for q := (RecordQuery{Kind: parkedKind, Key: key}); ; {
		page, err := ex.Records(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			p := Parked{Part: r.Part, revision: r.Revision}
			if err := decodeState(r, &p); err != nil {
				return err
			}
			if err := fn(p); err != nil {
				return err
			}
			q.After = r.RecordKey
		}
		if !page.More {
			return nil
		}
	}
}

// parkedAggregates are those of which a worker's partition has events parked.
type parkedAggregates struct {
	loaded bool
	counts map[aggregateKey]int
}

// has reports whether events of e's aggregate are parked.
func (p *parkedAggregates) has(ctx context.Context, w *worker, e *RawEvent) (bool, error) {
	if !p.loaded {
		p.counts = map[aggregateKey]int{}
		err := listParked(ctx, w.ex, w.key, func(parked Parked) error {
			p.counts[parked.aggregate()]++
			return nil
		})
		if err != nil {
			return false, err
		}
		p.loaded = true
	}
	return len(p.counts) > 0 && p.counts[aggregateKey{e.AggregateType, e.AggregateID}] > 0, nil
}

// park puts an event aside and moves the cursor behind it, as one change.
func (w *worker) park(ctx context.Context, edge *cursor.Edge[RawEvent], reason error, attempts int) error {
	e := &edge.Node
	p := Parked{
		Part: fmt.Sprintf("%020d-%s", e.Position, e.ID),
		ID:   e.ID, Position: e.Position,
		AggregateType: e.AggregateType, AggregateID: e.AggregateID, Version: e.Version, Name: e.Name,
		Attempts: attempts, ParkedAt: time.Now().UTC(), After: w.at,
	}
	if reason != nil {
		p.Error = cut(reason.Error())
	}
	behind := func(s *claimState) { s.Cursor, s.Position = edge.Cursor, e.Position }
	err := w.claim.swap(ctx, Swap{Changes: []Change{p.change(w.key)}}, behind)
	if errors.Is(err, ErrSwapped) { // after a reset: it is parked already
		err = w.claim.swap(ctx, Swap{}, behind)
	}
	if err != nil {
		w.unsure = edge.Cursor
		return err
	}
	w.parked.counts[p.aggregate()]++
	w.passed(edge)
	w.noteStored(ctx)
	return nil
}

// cut shortens an error's text so that a record has room for it.
func cut(text string) string {
	const most = 8 << 10
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}

// retryParked handles parked events again, when somebody has asked for it since
// the last time.
func (w *worker) retryParked(ctx context.Context, requests uint64) error {
	if requests == w.retry {
		return nil
	}
	w.parked.loaded = false // some may have been dropped
	done := map[aggregateKey]bool{}
	var list []Parked
	err := listParked(ctx, w.ex, w.key, func(p Parked) error {
		if w.partitions == 1 || partitionOf(p.AggregateType, p.AggregateID, w.partitions) == w.claim.partition {
			list = append(list, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range list {
		p := &list[i]
		if p.Retry == "" || done[p.aggregate()] {
			done[p.aggregate()] = true // those behind it wait for it
			continue
		}
		var next *Parked
		if p.Retry == retryAll {
			if n := slices.IndexFunc(list[i+1:], func(n Parked) bool { return n.aggregate() == p.aggregate() }); n >= 0 {
				next = &list[i+1+n]
			}
		}
		if w.mustStop() {
			return errStopping
		}
		if err := w.keep(ctx, w.claim.clock()); err != nil {
			return err
		}
		handled, err := w.retryOne(ctx, p, next)
		if err != nil {
			return err
		}
		done[p.aggregate()] = !handled
	}
	w.retry = requests
	return nil
}

// retryOne handles one parked event, and reports whether it was handled; then
// the next, unless it is nil, is to be handled too.
func (w *worker) retryOne(ctx context.Context, p, next *Parked) (handled bool, err error) {
	e, failure, err := w.readParked(ctx, p)
	if err != nil {
		return false, err
	}
	var h handle
	if failure == nil {
		h, failure = w.handlerOf(e)
	}
	done := Swap{Changes: []Change{{RecordKey: RecordKey{parkedKind, w.key, p.Part}, Revision: p.revision, Remove: true}}}
	if next != nil && next.Retry != retryAll {
		next.Retry = retryAll
		done.Changes = append(done.Changes, next.change(w.key))
		next.revision++
	}
	call := func(ctx context.Context) {
		if failure == nil && h != nil { // nil: skipped by now
			failure = w.call(w.handlerContext(ctx), h, e)
		}
	}
	same := func(*claimState) {}
	if w.transactor != nil && failure == nil {
		var at *claimed
		err = w.transactor.InTx(idle.With(ctx, 2*w.lease), func(tx context.Context) (err error) {
			failure = nil
			if call(tx); failure == nil {
				at, err = w.claim.swapOnce(tx, done, same)
			}
			return errors.Join(failure, err)
		})
		switch {
		case err == nil:
			w.claim.adopt(at)
		case failure != nil:
			err = nil
		case errors.Is(err, ErrConflict): // of what the handler committed
			failure, err = err, nil
		default:
			w.unsure = w.at
		}
	} else if call(ctx); failure == nil {
		err = w.claim.swap(ctx, done, same)
	}
	if err != nil || ctx.Err() != nil {
		return false, errors.Join(err, ctx.Err())
	}
	if failure == nil {
		return true, nil
	}
	w.logger.WarnContext(ctx, "evento: a parked event failed again", "event", p.ID.String(), "aggregate", p.AggregateID, "position", p.Position, "error", failure)
	p.Error, p.Retry = cut(failure.Error()), ""
	p.Attempts++
	return false, w.claim.swap(ctx, Swap{Changes: []Change{p.change(w.key)}}, same)
}

// readParked reads a parked event, or says why it is not there any more.
func (w *worker) readParked(ctx context.Context, p *Parked) (e *RawEvent, failure, err error) {
	q := Query{Filters: []Filter{{AggregateType: p.AggregateType, AggregateID: p.AggregateID, Name: p.Name}}}
	page, err := w.ex.Read(ctx, q, cursor.Onward(1, p.After))
	switch {
	case errors.Is(err, cursor.ErrInvalid):
		return nil, err, nil
	case err != nil:
		return nil, nil, err
	case len(page.Edges) == 0 || page.Edges[0].Node.ID != p.ID:
		return nil, fmt.Errorf("%w: event %s", ErrNotFound, p.ID), nil
	}
	return &page.Edges[0].Node, nil, nil
}
