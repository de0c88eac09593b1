// Events that could not be handled, and those of their aggregates behind them.

package evento

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evento-go/evento/cursor"
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

func (p *parkedAggregates) add(k aggregateKey, n int) {
	if p.counts[k] += n; p.counts[k] <= 0 {
		delete(p.counts, k)
	}
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
	now := time.Now()
	err := w.claim.swap(ctx, Swap{Changes: []Change{p.change(w.key)}}, func(s *claimState) { s.Cursor, s.Position = edge.Cursor, e.Position })
	if errors.Is(err, ErrSwapped) { // after a reset: it is parked already
		err = w.claim.swap(ctx, Swap{}, func(s *claimState) { s.Cursor, s.Position = edge.Cursor, e.Position })
		p.Part = ""
	}
	if err != nil {
		return err
	}
	if p.Part != "" {
		w.parked.add(p.aggregate(), 1)
	}
	w.passed(edge)
	w.stored, w.storedAt, w.handled = w.at, now, false
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
	all := map[aggregateKey]bool{}
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
		k := p.aggregate()
		if done[k] {
			continue
		}
		if p.Retry == "" && !all[k] {
			done[k] = true // those behind it wait for it
			continue
		}
		all[k] = all[k] || p.Retry == retryAll
		handled, err := w.retryOne(ctx, p)
		if err != nil {
			return err
		}
		done[k] = !handled
		if w.mustStop() {
			return errStopping
		}
	}
	w.retry = requests
	return nil
}

// retryOne handles one parked event, and reports whether it was handled.
func (w *worker) retryOne(ctx context.Context, p *Parked) (handled bool, err error) {
	remove := Swap{Changes: []Change{{RecordKey: RecordKey{parkedKind, w.key, p.Part}, Revision: p.revision, Remove: true}}}
	e, failure := w.readParked(ctx, p)
	var h handle
	if failure == nil {
		h, failure = w.handlerOf(e)
	}
	var next *claimed
	switch {
	case failure != nil:
	case h == nil: // skipped by now
		next, err = w.claim.swapIn(ctx, remove, func(*claimState) {})
	case w.transactor != nil:
		err = w.transactor.InTx(ctx, func(tx context.Context) error {
			if failure = w.call(w.handlerContext(tx), h, e); failure != nil {
				return failure
			}
			var err error
			next, err = w.claim.swapIn(tx, remove, func(*claimState) {})
			return err
		})
		if failure != nil {
			err = nil
		}
	default:
		if failure = w.call(w.handlerContext(ctx), h, e); failure == nil {
			next, err = w.claim.swapIn(ctx, remove, func(*claimState) {})
		}
	}
	if err != nil || ctx.Err() != nil {
		return false, errors.Join(err, ctx.Err())
	}
	if failure == nil {
		w.claim.adopt(next)
		return true, nil
	}
	w.logger.WarnContext(ctx, "evento: a parked event failed again", "event", p.ID.String(), "aggregate", p.AggregateID, "position", p.Position, "error", failure)
	p.Error, p.Retry = cut(failure.Error()), ""
	p.Attempts++
	return false, w.claim.swap(ctx, Swap{Changes: []Change{p.change(w.key)}}, func(*claimState) {})
}

// readParked reads a parked event.
func (w *worker) readParked(ctx context.Context, p *Parked) (*RawEvent, error) {
	q := Query{Filters: []Filter{{AggregateType: p.AggregateType, AggregateID: p.AggregateID, Name: p.Name}}}
	page, err := w.ex.Read(ctx, q, cursor.Onward(1, p.After))
	if err != nil {
		return nil, err
	}
	if len(page.Edges) == 0 || page.Edges[0].Node.ID != p.ID {
		return nil, fmt.Errorf("%w: event %s", ErrNotFound, p.ID)
	}
	return &page.Edges[0].Node, nil
}
