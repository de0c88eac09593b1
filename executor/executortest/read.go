// Reading, and comparing what was read.

package executortest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

type (
	edge = cursor.Edge[evento.RawEvent]
	page = cursor.Page[evento.RawEvent]
)

// filtered is the query of the events that one of the filters matches.
func filtered(filters ...evento.Filter) evento.Query { return evento.Query{Filters: filters} }

// read is one page, which must be readable.
func read(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, args cursor.Args) *page {
	t.Helper()
	p, err := ex.Read(ctx, q, args)
	switch {
	case err != nil:
		t.Fatalf("Read(%s, %s): %v", showQuery(q), showArgs(args), err)
	case p == nil:
		t.Fatalf("Read(%s, %s): no page and no error", showQuery(q), showArgs(args))
	case len(p.Edges) > args.Limit():
		t.Fatalf("Read(%s, %s): got %d events", showQuery(q), showArgs(args), len(p.Edges))
	case len(p.Edges) == 0 && p.PageInfo.HasNextPage && !args.IsBackward():
		t.Fatalf("Read(%s, %s): got an empty page that says there are more", showQuery(q), showArgs(args))
	}
	return p
}

// readAll is every event of a query.
func readAll(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query) []edge {
	t.Helper()
	var edges []edge
	for at := cursor.Value(""); ; {
		p := read(ctx, t, ex, q, cursor.Onward(1000, at))
		edges = append(edges, p.Edges...)
		if !p.PageInfo.HasNextPage {
			return edges
		}
		at = p.PageInfo.EndCursor
	}
}

// last is the cursor of the store's last event.
func last(ctx context.Context, t testing.TB, ex evento.Executor) cursor.Value {
	t.Helper()
	return read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).PageInfo.EndCursor
}

// wantLog compares the whole store with what was read of it, or of another
// executor on it, before.
func wantLog(ctx context.Context, t testing.TB, ex evento.Executor, want []edge) {
	t.Helper()
	sameEdges(t, "the whole store", readAll(ctx, t, ex, evento.Query{}), want)
}

// same compares two lists, item by item. Differ says how two items differ, and
// "" when they do not.
func same[T, U any](t testing.TB, what string, got []T, want []U, differ func(got T, want U) string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if diff := differ(got[i], want[i]); diff != "" {
			t.Fatalf("%s, number %d of %d: %s", what, i+1, len(want), diff)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: got %d, want %d", what, len(got), len(want))
	}
}

// sameEdges compares events with their places and cursors.
func sameEdges(t testing.TB, what string, got, want []edge) {
	t.Helper()
	same(t, what, got, want, func(got, want edge) string {
		diff := differ(got.Node, want.Node)
		if got.Cursor != want.Cursor {
			diff += fmt.Sprintf(" got the cursor %q, want %q", got.Cursor, want.Cursor)
		}
		return diff
	})
}

// wantExactly compares a query's events with what they are to be, place and
// time included.
func wantExactly(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, want []evento.RawEvent) []edge {
	t.Helper()
	got := readAll(ctx, t, ex, q)
	same(t, "reading "+showQuery(q), got, want, func(got edge, want evento.RawEvent) string { return differ(got.Node, want) })
	return got
}

// wantEvents is wantExactly but for the place and the time that the store gave
// the events.
func wantEvents(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, want []evento.RawEvent) []edge {
	t.Helper()
	got := readAll(ctx, t, ex, q)
	same(t, "reading "+showQuery(q), got, want, func(got edge, want evento.RawEvent) string {
		want.Position, want.Timestamp = got.Node.Position, got.Node.Timestamp
		return differ(got.Node, want)
	})
	return got
}

// differ says in which fields two events differ; "" when in none.
func differ(got, want evento.RawEvent) string {
	var diffs []string
	field := func(name string, same bool, got, want any) {
		if !same {
			diffs = append(diffs, fmt.Sprintf("%s: got %.200v, want %.200v", name, got, want))
		}
	}
	text := func(name, got, want string) {
		if got != want {
			diffs = append(diffs, fmt.Sprintf("%s: got %.200q, want %.200q", name, got, want))
		}
	}
	field("ID", got.ID == want.ID, got.ID, want.ID)
	field("Position", got.Position == want.Position, got.Position, want.Position)
	text("AggregateType", string(got.AggregateType), string(want.AggregateType))
	text("AggregateID", got.AggregateID, want.AggregateID)
	field("Version", got.Version == want.Version, got.Version, want.Version)
	text("Name", got.Name, want.Name)
	text("RoutingKey", got.RoutingKey, want.RoutingKey)
	field("Tags", slices.Equal(got.Tags, want.Tags), got.Tags, want.Tags)
	text("Codec", got.Codec, want.Codec)
	field(fmt.Sprintf("Data of %d and %d bytes", len(got.Data), len(want.Data)), bytes.Equal(got.Data, want.Data), got.Data, want.Data)
	field("Metadata", sameMetadata(got.Metadata, want.Metadata), got.Metadata, want.Metadata)
	field("Timestamp", got.Timestamp.Equal(want.Timestamp), got.Timestamp, want.Timestamp)
	return strings.Join(diffs, "; ")
}

// sameMetadata takes no values and nil for the same.
func sameMetadata(a, b evento.Metadata) bool {
	return a.ID == b.ID && a.RequestedBy == b.RequestedBy && a.RequestedAs == b.RequestedAs &&
		a.CorrelationID == b.CorrelationID && a.CausationID == b.CausationID && maps.Equal(a.Values, b.Values)
}

// checkLog holds a whole store, as it was read, to what is true of every one.
func checkLog(t testing.TB, c Config, log []edge) {
	t.Helper()
	type aggregate struct {
		t  evento.AggregateType
		id string
	}
	versions, keys := map[aggregate]uint64{}, map[aggregate]string{}
	ids := map[evento.ID]uint64{}
	cursors := map[cursor.Value]uint64{"": 0}
	var before evento.RawEvent
	for _, edge := range log {
		e := edge.Node
		switch {
		case e.Position <= before.Position:
			t.Errorf("position %d comes after %d, want them to rise", e.Position, before.Position)
		case !c.Gaps && e.Position != before.Position+1:
			t.Errorf("position %d comes after %d, want no gaps", e.Position, before.Position)
		}
		if e.Timestamp.Before(before.Timestamp) {
			t.Errorf("position %d has the time %s, and %d before it %s, want it never to fall", e.Position, e.Timestamp, before.Position, before.Timestamp)
		}
		if e.Timestamp.Location() != time.UTC || !e.Timestamp.Equal(e.Timestamp.Truncate(time.Microsecond)) || e.Timestamp.IsZero() {
			t.Errorf("position %d has the time %s, want one in UTC and microseconds", e.Position, e.Timestamp)
		}
		if p, ok := ids[e.ID]; ok {
			t.Errorf("positions %d and %d have the same id %s, want one event", p, e.Position, e.ID)
		}
		ids[e.ID] = e.Position
		if p, ok := cursors[edge.Cursor]; ok {
			t.Errorf("positions %d and %d have the same cursor %q", p, e.Position, edge.Cursor)
		}
		cursors[edge.Cursor] = e.Position
		a := aggregate{e.AggregateType, e.AggregateID}
		if versions[a]++; e.Version != versions[a] {
			t.Errorf("position %d is version %d of %s %q, want %d", e.Position, e.Version, a.t, a.id, versions[a])
		}
		if e.Version == 1 {
			keys[a] = e.RoutingKey
		}
		if e.RoutingKey != keys[a] {
			t.Errorf("position %d has the routing key %q, want %q as the first event of %s %q", e.Position, e.RoutingKey, keys[a], a.t, a.id)
		}
		before = e
	}
	if t.Failed() {
		t.FailNow()
	}
}

// checkStored looks for a write's events in a store, where its receipts say that
// they are.
func checkStored(t testing.TB, there map[evento.ID]evento.RawEvent, w evento.Write, receipts []evento.Receipt) {
	t.Helper()
	for i, a := range w.Appends {
		for j, n := range a.Events {
			e, ok := there[n.ID]
			if !ok {
				t.Errorf("Write(%s) succeeded with %v, but event %d to %q is not there", show(w), receipts, j+1, a.AggregateID)
				continue
			}
			want := e // but for what the append says
			want.AggregateType, want.AggregateID, want.Name = a.AggregateType, a.AggregateID, n.Name
			want.Version = receipts[i].Version - uint64(len(a.Events)-1-j)
			if j == len(a.Events)-1 {
				want.Position = receipts[i].Position
			}
			want.Codec, want.Data, want.Metadata = n.Codec, n.Data, a.Metadata
			if diff := differ(e, want); diff != "" {
				t.Errorf("Write(%s) succeeded with %v, but event %d to %q: %s", show(w), receipts, j+1, a.AggregateID, diff)
			}
		}
	}
}

// checkAbsent looks for events in a store that must not be there.
func checkAbsent(t testing.TB, there map[evento.ID]evento.RawEvent, w evento.Write, why error) {
	t.Helper()
	for _, id := range idsOf(w) {
		if e, ok := there[id]; ok {
			t.Errorf("Write(%s) failed with %q, but position %d holds an event of it", show(w), why, e.Position)
		}
	}
}

func showQuery(q evento.Query) string {
	if len(q.Filters) > 4 {
		return fmt.Sprintf("%d filters such as %+v, routing key %q, unrouted %t", len(q.Filters), q.Filters[0], q.RoutingKey, q.Unrouted)
	}
	return fmt.Sprintf("%+v", q)
}

func showArgs(a cursor.Args) string {
	name := "Forward"
	switch {
	case a.IsBackward():
		name = "Backward"
	case a.IsOnward():
		name = "Onward"
	}
	return fmt.Sprintf("%s(%d, %q)", name, a.Limit(), a.At())
}

// byID is where the events of a store are found by their ids.
func byID(log []edge) map[evento.ID]evento.RawEvent {
	events := map[evento.ID]evento.RawEvent{}
	for _, e := range log {
		events[e.Node.ID] = e.Node
	}
	return events
}
