// The other way: a new store, in which the past is told in the events of today.

package main

import (
	"context"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	v2 "github.com/evento-go/evento/examples/evolution/v2"
)

// rewrite copies all events into an empty store, and makes two of each Completed. Positions and
// versions behind it are other ones then, so all that refers to them begins anew.
func rewrite(ctx context.Context, from evento.Executor, to evento.Importer) error {
	position, versions := uint64(0), map[evento.AggregateKey]uint64{}
	for at, more := cursor.Value(""), true; more; {
		page, err := from.Read(ctx, evento.Query{}, cursor.Onward(1000, at))
		if err != nil {
			return err
		}
		var events []evento.RawEvent
		for _, edge := range page.Edges {
			parts, err := split(edge.Node)
			if err != nil {
				return err
			}
			for _, e := range parts {
				position++
				versions[e.Aggregate()]++
				e.Position, e.Version = position, versions[e.Aggregate()]
				events = append(events, e)
			}
		}
		if err := to.Import(ctx, events); err != nil {
			return err
		}
		at, more = page.PageInfo.EndCursor, page.PageInfo.HasNextPage
	}
	return nil
}

// split makes the events of today of a stored one.
func split(e evento.RawEvent) ([]evento.RawEvent, error) {
	if e.AggregateType != v2.OrderType || e.Name != (v2.Completed{}).EventName() {
		return []evento.RawEvent{e}, nil
	}
	completed, err := evento.Decode[v2.Completed](e)
	if err != nil {
		return nil, err
	}
	delivered, err := replaced(e, v2.Delivered{})
	if err != nil {
		return nil, err
	}
	paid, err := replaced(e, v2.Paid{Cents: completed.Data.Cents})
	paid.ID = evento.NewID() // the other one keeps it
	return []evento.RawEvent{delivered, paid}, err
}

// replaced is an event with another payload.
func replaced(e evento.RawEvent, p evento.Payload) (_ evento.RawEvent, err error) {
	e.Name, e.Codec = p.EventName(), evento.CBOR().Name()
	e.Data, err = evento.CBOR().Marshal(p)
	return e, err
}
