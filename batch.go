// Handlers that take several events at once.

package evento

import (
	"context"

	"github.com/evento-go/evento/cursor"
)

type handleBatch struct {
	call func(context.Context, codecs, []RawEvent) error
}

// HandleBatch makes a handler that is given events with payload D that follow
// each other, as many as a chunk has: for a read model that is written in bulk.
// They count as handled when it returns nil. When it fails until the retries
// run out, they are handed over one by one, so that the one that fails is found.
func HandleBatch[D Payload](fn func(context.Context, []Event[D]) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	var h SubscriptionHandler
	if h.kinds, h.err = kindsFor[D](); h.err != nil {
		return h
	}
	decode := decoder[D]()
	h.batch = &handleBatch{func(ctx context.Context, codecs codecs, raws []RawEvent) error {
		events := make([]Event[D], len(raws))
		for i := range raws {
			var err error
			if events[i], err = decode(codecs, &raws[i]); err != nil {
				return Permanent(err)
			}
		}
		return fn(ctx, events)
	}}
	return h.oneByOne()
}

// HandleAllBatch is HandleBatch for every event of a type of aggregate,
// undecoded.
func HandleAllBatch(t AggregateType, fn func(context.Context, []RawEvent) error) SubscriptionHandler {
	if fn == nil {
		return SubscriptionHandler{err: errNilFunc}
	}
	h := SubscriptionHandler{kinds: []eventKind{{aggregateType: t}}}
	if h.err = checkName("aggregate type", string(t)); h.err != nil {
		return h
	}
	h.batch = &handleBatch{func(ctx context.Context, _ codecs, raws []RawEvent) error { return fn(ctx, raws) }}
	return h.oneByOne()
}

// oneByOne makes a handler of one event of one of batches.
func (h SubscriptionHandler) oneByOne() SubscriptionHandler {
	batch := h.batch
	h.handle = func(ctx context.Context, codecs codecs, e *RawEvent) error {
		return batch.call(ctx, codecs, []RawEvent{*e})
	}
	return h
}

// batchOf finds the handler of batches for an event; nil: it has none.
func (w *worker) batchOf(e *RawEvent) *handleBatch {
	if len(w.batches) == 0 {
		return nil
	}
	kind := eventKind{e.AggregateType, e.Name}
	if b := w.batches[kind]; b != nil {
		return b
	}
	return w.batches[eventKind{aggregateType: kind.aggregateType}]
}

// takes collects the events at the beginning of edges that a handler of batches
// takes at once, and how many edges that are: those of other partitions are
// passed over.
func (w *worker) takes(batch *handleBatch, edges []cursor.Edge[RawEvent]) (events []RawEvent, n int) {
	for ; n < len(edges); n++ {
		e := &edges[n].Node
		switch {
		case !w.mine(e):
			continue
		case w.batchOf(e) != batch,
			w.parked.counts[aggregateKey{e.AggregateType, e.AggregateID}] > 0:
			return events, n
		}
		events = append(events, *e)
	}
	return events, n
}

func (w *worker) callBatch(ctx context.Context, batch *handleBatch, events []RawEvent) error {
	call := func(ctx context.Context) error {
		return guard(func() error { return batch.call(ctx, w.codecs, events) })
	}
	if w.hooks.Handle == nil {
		return call(ctx)
	}
	return w.hooks.Handle(ctx, w.key, events, call)
}

// handleBatch is handle for a handler of batches. It returns how many edges
// were handled; none when they are to be handled one by one.
func (w *worker) handleBatch(ctx, hctx context.Context, batch *handleBatch, edges []cursor.Edge[RawEvent]) (int, error) {
	events, n := w.takes(batch, edges)
	attempts, err := w.attempt(ctx, &events[0], func() error { return w.callBatch(hctx, batch, events) })
	switch {
	case err == nil:
		w.passed(&edges[n-1])
		return n, nil
	case attempts == 0:
		return 0, err
	case len(events) == 1:
		return 1, w.giveUp(ctx, &edges[0], err, attempts)
	}
	w.alone = events[len(events)-1].Position
	return 0, nil
}
