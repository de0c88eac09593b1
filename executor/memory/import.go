package memory

import (
	"bytes"
	"context"
	"slices"

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
	if err := ex.lock(ctx); err != nil {
		return err
	}
	defer ex.mu.Unlock()
	head := store.Head{Position: uint64(len(ex.log))}
	if n := len(ex.log); n > 0 {
		head.RecordedAt = ex.log[n-1].Timestamp.UnixMicro()
	}
	if err := head.Check(events); err != nil {
		return err
	}
	for _, a := range store.Aggregates(events) {
		places := ex.aggregates[a.AggregateKey]
		if err := a.Check(uint64(len(places)), len(places) > 0 && ex.log[places[0]].RoutingKey == a.RoutingKey); err != nil {
			return err
		}
	}
	for _, e := range events {
		e.Data, e.Tags, e.Metadata, e.Timestamp = bytes.Clone(e.Data), slices.Clone(e.Tags), e.Metadata.Clone(), e.Timestamp.UTC()
		key := e.Aggregate()
		ex.aggregates[key] = append(ex.aggregates[key], len(ex.log))
		ex.log = append(ex.log, e)
		if e.Timestamp.After(ex.latest) {
			ex.latest = e.Timestamp
		}
	}
	ex.changed.Notify()
	return nil
}
