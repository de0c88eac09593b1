// Taking over events of another store.

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// ErrImportInTx is the error of an import in a caller's transaction: it would keep all
// other commits waiting until the transaction ends.
var ErrImportInTx = fmt.Errorf("%w call: Import within InTx; import before or after it", evento.ErrInvalid)

// Importing is what [Import] needs of a store.
type Importing struct {
	Positions cursor.Positions
	Read      func(context.Context, evento.Query, cursor.Args) (*cursor.Page[evento.RawEvent], error)
	// Append appends checked events, all or none. It returns an error from
	// [Head.Check] when they do not follow the head.
	Append func(ctx context.Context, events []evento.RawEvent) error
}

// Import implements [evento.Importer] on a store.
func Import(ctx context.Context, s Importing, events []evento.RawEvent) error {
	if err := evento.CheckImport(events); err != nil {
		return err
	}
	for len(events) > 0 {
		err := s.Append(ctx, events)
		var at *elsewhere
		if !errors.As(err, &at) {
			return err
		}
		first := events[0].Position
		if first > at.head {
			return fmt.Errorf("%w import: position %d, the store is at %d and goes on with %d", evento.ErrInvalid, first, at.head, at.head+1)
		}
		there := int(min(at.head-first+1, uint64(len(events))))
		if err := s.compare(ctx, events[:there]); err != nil {
			return err
		}
		events = events[there:]
	}
	return nil
}

// compare returns an error unless the events are stored. Events do not change, so it
// needs no transaction.
func (s *Importing) compare(ctx context.Context, events []evento.RawEvent) error {
	for len(events) > 0 {
		page, err := s.Read(ctx, evento.Query{}, cursor.Onward(len(events), s.Positions.Value(events[0].Position-1)))
		if err != nil {
			return err
		}
		if len(page.Edges) == 0 {
			return fmt.Errorf("%w import: position %d was there and is not", evento.ErrInvalid, events[0].Position)
		}
		for i := range page.Edges {
			if fields := differ(&page.Edges[i].Node, &events[i]); fields != "" {
				return fmt.Errorf("%w import: the store has another event at position %d, which differs in %s", evento.ErrInvalid, events[i].Position, fields)
			}
		}
		events = events[len(page.Edges):]
	}
	return nil
}

// differ names the fields in which two events differ; "": none.
func differ(a, b *evento.RawEvent) string {
	var fields []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"position", a.Position == b.Position},
		{"id", a.ID == b.ID},
		{"aggregate type", a.AggregateType == b.AggregateType},
		{"aggregate id", a.AggregateID == b.AggregateID},
		{"version", a.Version == b.Version},
		{"name", a.Name == b.Name},
		{"routing key", a.RoutingKey == b.RoutingKey},
		{"tags", slices.Equal(a.Tags, b.Tags)},
		{"timestamp", a.Timestamp.Equal(b.Timestamp)},
		{"codec", a.Codec == b.Codec},
		{"data", bytes.Equal(a.Data, b.Data)},
		{"metadata", sameMetadata(&a.Metadata, &b.Metadata)},
	} {
		if !f.same {
			fields = append(fields, f.name)
		}
	}
	return strings.Join(fields, ", ")
}

// sameMetadata compares metadata. No values and nil are the same.
func sameMetadata(a, b *evento.Metadata) bool {
	return a.ID == b.ID && a.RequestedBy == b.RequestedBy && a.RequestedAs == b.RequestedAs &&
		a.CorrelationID == b.CorrelationID && a.CausationID == b.CausationID && maps.Equal(a.Values, b.Values)
}

// Head is the last event of a store.
type Head struct {
	Position uint64
	// RecordedAt is the timestamp of the event there, in microseconds since
	// 1970.
	RecordedAt int64
}

// elsewhere is the error of events that do not begin right after the head.
type elsewhere struct{ head uint64 }

func (e *elsewhere) Error() string {
	return fmt.Sprintf("evento: an import that does not begin behind position %d", e.head)
}

// Check returns an error unless the events follow the head.
func (h Head) Check(events []evento.RawEvent) error {
	first := &events[0]
	if first.Position != h.Position+1 {
		return &elsewhere{h.Position}
	}
	if at := first.Timestamp.UnixMicro(); at < h.RecordedAt {
		return fmt.Errorf("%w import: the timestamp of position %d is %d µs before that of the store's last event", evento.ErrInvalid, first.Position, h.RecordedAt-at)
	}
	return nil
}

// ImportedAggregate is an aggregate of imported events, as it has to be before them.
type ImportedAggregate struct {
	evento.AggregateKey
	Version    uint64
	RoutingKey string
	First      int // the index of its first event
}

// Aggregates lists the aggregates of checked events, in the order of their first events.
func Aggregates(events []evento.RawEvent) []ImportedAggregate {
	var list []ImportedAggregate
	seen := make(map[evento.AggregateKey]bool, len(events))
	for i := range events {
		e := &events[i]
		if key := e.Aggregate(); !seen[key] {
			seen[key] = true
			list = append(list, ImportedAggregate{key, e.Version - 1, e.RoutingKey, i})
		}
	}
	return list
}

// Check returns an error unless the aggregate is at its version and, if it has events,
// has its routing key.
func (a *ImportedAggregate) Check(version uint64, sameKey bool) error {
	switch {
	case version != a.Version:
		return &evento.ConflictError{AggregateType: a.Type, AggregateID: a.ID, Expected: a.Version, Actual: version}
	case version > 0 && !sameKey:
		return fmt.Errorf("%w import: %s %q has another routing key in the store than %q", evento.ErrInvalid, a.Type, a.ID, a.RoutingKey)
	}
	return nil
}

// Appends makes an append of each event.
func Appends(events []evento.RawEvent) []evento.Append {
	appends, news := make([]evento.Append, len(events)), make([]evento.NewEvent, len(events))
	for i := range events {
		e := &events[i]
		news[i] = evento.NewEvent{ID: e.ID, Name: e.Name, Codec: e.Codec, Data: e.Data, Tags: e.Tags}
		appends[i] = evento.Append{
			AggregateType: e.AggregateType, AggregateID: e.AggregateID, Expected: e.Version - 1,
			RoutingKey: e.RoutingKey, Metadata: e.Metadata, Events: news[i : i+1 : i+1],
		}
	}
	return appends
}
