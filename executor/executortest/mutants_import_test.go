package executortest_test

import (
	"context"
	"errors"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// importMutants take over what they should not, or not as it is.
func importMutants() []mutant {
	return []mutant{
		{"an import acknowledged and lost", []string{"Import/Exact", "Import/Wakes", "Import/Most"}, func(b *bent) {
			b.imports = func(context.Context, []evento.RawEvent) error { return nil }
		}},
		{"imported with times of its own", []string{"Import/Exact", "Import/Again"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				for _, e := range events {
					_, err := b.handle.Write(ctx, evento.Write{Appends: []evento.Append{{
						AggregateType: e.AggregateType, AggregateID: e.AggregateID, Expected: e.Version - 1, RoutingKey: e.RoutingKey, Metadata: e.Metadata,
						Events: []evento.NewEvent{{ID: e.ID, Name: e.Name, Codec: e.Codec, Data: e.Data}},
					}}})
					if err != nil {
						return err
					}
				}
				return nil
			}
		}},
		{"imported with positions of its own", []string{"Import/Refused"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				p, err := b.handle.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
				if err != nil || len(p.Edges) == 0 || len(events) == 0 || events[0].Position <= p.Edges[0].Node.Position {
					return errors.Join(err, b.handle.Import(ctx, events))
				}
				events = append([]evento.RawEvent(nil), events...)
				for i := range events {
					events[i].Position = p.Edges[0].Node.Position + uint64(i) + 1
				}
				return b.handle.Import(ctx, events)
			}
		}},
		{"half of an import stored", []string{"Import/Refused"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				for i := range events {
					if err := b.handle.Import(ctx, events[i:i+1]); err != nil {
						return err
					}
				}
				return nil
			}
		}},
		{"an import refused when it was made", []string{"Import/Again", "Import/Half", "Import/Together"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				p, err := b.handle.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
				if err == nil && len(p.Edges) > 0 && len(events) > 0 && events[0].Position <= p.Edges[0].Node.Position {
					return evento.ErrInvalid
				}
				return b.handle.Import(ctx, events)
			}
		}},
		{"other events taken for those stored", []string{"Import/OtherEvents"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				p, err := b.handle.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
				for err == nil && len(p.Edges) > 0 && len(events) > 0 && events[0].Position <= p.Edges[0].Node.Position {
					events = events[1:]
				}
				return b.handle.Import(ctx, events)
			}
		}},
		{"an import that wakes nobody", []string{"Import/Wakes"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				if err := b.begin(); err != nil {
					return err
				}
				defer b.mu.RUnlock()
				return b.store.memory.Import(ctx, events)
			}
		}},
		{"a commit before the time of what was imported", []string{"Import/LaterTime"}, func(b *bent) {
			eachEvent(b, func(e *evento.RawEvent) {
				if e.Name == "After" {
					e.Timestamp = time.Now().UTC().Truncate(time.Microsecond)
				}
			})
		}},
		{"an import in spite of a context that has ended", []string{"Import/Ends"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				return b.handle.Import(context.WithoutCancel(ctx), events)
			}
		}},
		{"routing keys of imported events lost", []string{"Import/Exact"}, func(b *bent) {
			b.imports = func(ctx context.Context, events []evento.RawEvent) error {
				events = append([]evento.RawEvent(nil), events...)
				for i := range events {
					events[i].RoutingKey = ""
				}
				return b.handle.Import(ctx, events)
			}
		}},
	}
}
