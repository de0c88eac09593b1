// Taking over events of another store.

package pebble

import (
	"context"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

var _ evento.Importer = (*Executor)(nil)

// Import implements [evento.Importer].
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	return store.Import(ctx, store.Importing{Positions: ex.positions, Read: ex.Read, Append: ex.takeOver}, events)
}

// takeOver appends events that follow the last one.
func (ex *Executor) takeOver(ctx context.Context, events []evento.RawEvent) error {
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	// An append for each event. The events say what their aggregates are like, so
	// that everything but positions, versions and times is ready.
	p := &pending{ex: ex, appends: store.Appends(events), heads: make([]seen, len(events))}
	for i := range events {
		p.heads[i].head = head{version: events[i].Version - 1, routing: events[i].RoutingKey}
	}
	if err := p.encode(); err != nil {
		return failure(err)
	}
	if err := ex.disk.room(p.batch.Len()); err != nil {
		return err
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	behind, err := p.applyImport(events)
	ex.unlock()
	if behind > 0 {
		// Events are compared, and conflicts told, only with what is durable.
		if err := ex.shown(ctx, behind); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return ex.finish(p.batch, events[len(events)-1].Position)
}

// applyImport is the part under the order. When it refuses the events, it also returns
// the last position that it looked at.
func (p *pending) applyImport(events []evento.RawEvent) (behind uint64, err error) {
	ex := p.ex
	applied := ex.applied.Load()
	if err := (store.Head{Position: applied, RecordedAt: ex.latest}).Check(events); err != nil {
		return applied, err
	}
	for _, a := range store.Aggregates(events) {
		h, err := ex.look(a.AggregateKey)
		if err != nil {
			return 0, failure(err)
		}
		if err := a.Check(h.version, h.routing == a.RoutingKey); err != nil {
			return applied, err
		}
	}
	for i := range events {
		e := &events[i]
		p.events[i].place(e.Position, e.Version, e.Timestamp.UnixMicro())
	}
	if err := ex.apply(p.batch); err != nil {
		return 0, err
	}
	end := &events[len(events)-1]
	ex.applied.Store(end.Position)
	ex.latest = end.Timestamp.UnixMicro()
	for i := range events {
		e := &events[i]
		ex.heads.put(e.Aggregate(), head{version: e.Version, position: e.Position, routing: e.RoutingKey})
	}
	return 0, nil
}
