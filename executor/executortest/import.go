// Taking over events of another store.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

// testImport is about executors that are an [evento.Importer], of which one made
// of others may say that it is none.
func testImport(t *testing.T, c Config) {
	im, ok := c.open(t).(evento.Importer)
	if !ok || errors.Is(im.Import(t.Context(), nil), errors.ErrUnsupported) {
		return
	}
	c.run(t, "Exact", importExact)
	c.run(t, "Refused", importRefused)
	c.run(t, "OtherEvents", importOtherEvents)
	c.run(t, "Again", importAgain)
	c.run(t, "Half", importHalf)
	c.run(t, "GoesOn", importGoesOn)
	c.run(t, "LaterTime", importLaterTime)
	c.run(t, "OlderThanRecords", importOlderThanRecords)
	c.run(t, "Wakes", importWakes)
	c.run(t, "BytesAreCopied", importBytesAreCopied)
	c.run(t, "Most", importMost)
	c.run(t, "Ends", importEnds)
	c.run(t, "Together", importTogether)
	c.run(t, "BesideWrites", importBesideWrites)
	if c.Transactor {
		c.run(t, "InTx", importInTx)
	}
	if c.Share != nil {
		c.run(t, "Shared", importShared)
	}
	if c.Reopen != nil {
		c.run(t, "Reopened", importReopened)
	}
}

// tryImport imports as one.
func tryImport(ctx context.Context, ex evento.Executor, events ...evento.RawEvent) error {
	im, ok := ex.(evento.Importer)
	if !ok {
		return fmt.Errorf("%T is no Importer", ex)
	}
	if err := im.Import(ctx, events); err != nil {
		return fmt.Errorf("Import(%s): %w", showEvents(events), err)
	}
	return nil
}

// take is tryImport of what must succeed.
func take(ctx context.Context, t testing.TB, ex evento.Executor, events ...evento.RawEvent) {
	t.Helper()
	must(t, tryImport(ctx, ex, events...))
}

func showEvents(events []evento.RawEvent) string {
	if len(events) == 0 {
		return "no events"
	}
	first, end := &events[0], &events[len(events)-1]
	return fmt.Sprintf("%d events from position %d, version %d of %.40q, to %d, version %d of %.40q",
		len(events), first.Position, first.Version, first.AggregateID, end.Position, end.Version, end.AggregateID)
}

// wantExactly compares a query's events with what they are to be, place and
// time included.
func wantExactly(ctx context.Context, t testing.TB, ex evento.Executor, q evento.Query, want []evento.RawEvent) []edge {
	t.Helper()
	got := readAll(ctx, t, ex, q)
	for i := range min(len(got), len(want)) {
		if diff := differ(got[i].Node, want[i]); diff != "" {
			t.Fatalf("reading %s, event %d of %d: %s", showQuery(q), i+1, len(want), diff)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("reading %s: got %d events %s, want %d", showQuery(q), len(got), showEdges(got), len(want))
	}
	return got
}

// foreign is events as another store gave them out, long ago: of several
// aggregates in turns, with everything that an event can have.
func foreign(n int) []evento.RawEvent {
	var events []evento.RawEvent
	versions := map[string]uint64{}
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_012_000, time.UTC)
	ids := []string{"one", "ONE", "one ", "żółw 🐢", strings.Repeat("x", evento.MaxName), "a/b?c=d&e%20"}
	for i := range n {
		id := ids[(7*i+i/5)%len(ids)]
		versions[id]++
		at = at.Add(time.Duration(i%3) * time.Microsecond) // some at the same time
		e := evento.RawEvent{
			ID: evento.NewID(), Position: uint64(i + 1), AggregateType: thing, AggregateID: id, Version: versions[id],
			Name: []string{"Made", "made", "Zmieniono ✓"}[i%3], Codec: []string{"cbor", "json", "raw"}[i%3], Timestamp: at,
		}
		if len(id)%2 == 0 {
			e.AggregateType, e.RoutingKey = other, "key of "+id
		}
		switch i % 5 {
		case 0:
			e.Data = []byte{}
		case 1:
			e.Data = []byte("\x00\xff\n\"\\ bytes that are no text")
			e.Metadata = evento.Metadata{
				ID: "request <1> & more", RequestedBy: "somebody", RequestedAs: "żółw\n\ttwo lines", CorrelationID: e.ID.String(), CausationID: "\u2028",
				Values: map[string]string{"empty": "", "key": "value", "ключ": "\"quoted\" \\ \U0001F422"},
			}
		default:
			e.Data = fmt.Appendf(nil, "payload %d", i)
			e.Metadata.Values = map[string]string{"n": fmt.Sprint(i)}
		}
		events = append(events, e)
	}
	if n > 10 {
		events[7].Data = slices.Repeat([]byte{0, 1, 2, 3, 254, 255}, 1<<17)
	}
	return events
}

// clones are copies that can be changed.
func clones(events []evento.RawEvent) []evento.RawEvent {
	events = slices.Clone(events)
	for i := range events {
		events[i].Data, events[i].Metadata = slices.Clone(events[i].Data), events[i].Metadata.Clone()
	}
	return events
}

func importExact(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	want := foreign(100)
	take(ctx, t, ex)
	for _, part := range [][]evento.RawEvent{want[:1], want[1:50], want[50:]} {
		take(ctx, t, ex, part...)
	}
	log := wantExactly(ctx, t, ex, evento.Query{}, want)
	checkLog(t, c, log)
	for _, q := range []evento.Query{
		filtered(evento.ByType(other)),
		filtered(evento.ByID(thing, "one")),
		filtered(evento.Filter{AggregateType: thing, Name: "made"}),
		{RoutingKey: "key of one "},
		{Unrouted: true},
	} {
		var matching []evento.RawEvent
		for _, e := range want {
			if q.Matches(e) {
				matching = append(matching, e)
			}
		}
		if len(matching) == 0 {
			t.Fatalf("no event matches %s", showQuery(q))
		}
		wantExactly(ctx, t, ex, q, matching)
	}
}

// refuseImport is an import that must fail and leave the store as it was.
func refuseImport(ctx context.Context, t testing.TB, ex evento.Executor, what string, want error, events ...evento.RawEvent) {
	t.Helper()
	before := readAll(ctx, t, ex, evento.Query{})
	wantError(t, tryImport(ctx, ex, events...), want, "%s: Import(%s)", what, showEvents(events))
	wantLog(ctx, t, ex, before)
}

func importRefused(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(30)
	const half = 15
	take(ctx, t, ex, all[:half]...)
	next := all[half:]
	// sameID is the last of the next events that is of the first's aggregate.
	again := slices.IndexFunc(next[1:], func(e evento.RawEvent) bool {
		return e.AggregateID == next[0].AggregateID && e.AggregateType == next[0].AggregateType
	}) + 1
	routed := slices.IndexFunc(next, func(e evento.RawEvent) bool { return e.RoutingKey != "" && e.Version > 1 })
	if again == 0 || routed < 0 {
		t.Fatal("the events have not what is to be bent")
	}
	for _, tt := range []struct {
		name string
		want error
		bend func(es []evento.RawEvent) []evento.RawEvent
	}{
		{"a gap before", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { return es[1:] }},
		{"a gap within", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { return slices.Delete(es, 3, 4) }},
		{"an event twice", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { return slices.Insert(es, 3, es[3]) }},
		{"in another order", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { slices.Reverse(es); return es }},
		{"position 0", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { es[0].Position = 0; return es[:1] }},
		{"version 0", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { es[5].Version = 0; return es }},
		{"an id twice", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { es[9].ID = es[0].ID; return es }},
		{"events of the store at new positions", evento.ErrConflict, func([]evento.RawEvent) []evento.RawEvent {
			es := clones(all[:half])
			for i := range es {
				es[i].Position, es[i].Timestamp = next[i].Position, next[i].Timestamp
			}
			return es
		}},
		{"a version left out", evento.ErrConflict, func(es []evento.RawEvent) []evento.RawEvent { es[0].Version++; return es[:1] }},
		{"a version left out within", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { es[again].Version++; return es }},
		{"an aggregate that begins in the middle", evento.ErrConflict, func(es []evento.RawEvent) []evento.RawEvent {
			es[14].AggregateID = "new"
			es[14].Version = 2
			return es
		}},
		{"a timestamp that falls behind the store's", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent {
			es[0].Timestamp = all[half-1].Timestamp.Add(-time.Microsecond)
			return es
		}},
		{"a timestamp that falls", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent {
			es[7].Timestamp = es[6].Timestamp.Add(-time.Microsecond)
			return es
		}},
		{"a timestamp of nanoseconds", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent {
			es[14].Timestamp = es[14].Timestamp.Add(1)
			return es
		}},
		{"no timestamp", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { es[0].Timestamp = time.Time{}; return es }},
		{"another routing key than the store's", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent {
			for i := range es {
				if es[i].AggregateID == es[routed].AggregateID {
					es[i].RoutingKey = "another"
				}
			}
			return es
		}},
		{"no routing key where the store has one", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent {
			for i := range es {
				es[i].RoutingKey = ""
			}
			return es
		}},
		{"another routing key within", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { es[again].RoutingKey = "another"; return es }},
		{"a name that cannot be stored", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent { es[14].Name = "a\x00b"; return es }},
		{"an aggregate id too long", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent {
			es[14].AggregateID = strings.Repeat("x", evento.MaxName+1)
			return es
		}},
		{"a payload too large", evento.ErrTooLarge, func(es []evento.RawEvent) []evento.RawEvent {
			es[14].Data = make([]byte, evento.MaxPayload+1)
			return es
		}},
		{"metadata that cannot be stored", evento.ErrInvalid, func(es []evento.RawEvent) []evento.RawEvent {
			es[14].Metadata.RequestedBy = "\xff"
			return es
		}},
	} {
		refuseImport(ctx, t, ex, tt.name, tt.want, tt.bend(clones(next))...)
	}
	var got *evento.ConflictError
	wrong := clones(next[:1])
	wrong[0].Version += 2
	want := evento.ConflictError{AggregateType: wrong[0].AggregateType, AggregateID: wrong[0].AggregateID, Expected: wrong[0].Version - 1, Actual: wrong[0].Version - 3}
	if err := tryImport(ctx, ex, wrong...); !errors.As(err, &got) || *got != want {
		t.Errorf("got %v, want %+v", err, want)
	}
	take(ctx, t, ex, next...)
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
}

// Events at positions of the store are those of the store, in every field.
func importOtherEvents(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := foreign(20)
	const half = 10
	take(ctx, t, ex, all[:half]...)
	for name, bend := range map[string]func(e *evento.RawEvent){
		"id":             func(e *evento.RawEvent) { e.ID = evento.NewID() },
		"aggregate type": func(e *evento.RawEvent) { e.AggregateType += "2" },
		"aggregate id":   func(e *evento.RawEvent) { e.AggregateID = "another" },
		"version":        func(e *evento.RawEvent) { e.Version = 100 },
		"name":           func(e *evento.RawEvent) { e.Name = "Another" },
		"routing key":    func(e *evento.RawEvent) { e.RoutingKey += "2" },
		"codec":          func(e *evento.RawEvent) { e.Codec = "another" },
		"data":           func(e *evento.RawEvent) { e.Data = append(e.Data, 0) },
		"metadata":       func(e *evento.RawEvent) { e.Metadata.CausationID += "2" },
		"value":          func(e *evento.RawEvent) { e.Metadata.Values = map[string]string{"another": ""} },
		"timestamp":      func(e *evento.RawEvent) { e.Timestamp = e.Timestamp.Add(time.Microsecond) },
	} {
		one := clones(all[half-1 : half])
		bend(&one[0])
		refuseImport(ctx, t, ex, "another "+name, evento.ErrInvalid, one...)
		// Also with new events behind it, which are sound.
		if one[0].Version == all[half-1].Version && one[0].Timestamp.Equal(all[half-1].Timestamp) && one[0].AggregateID == all[half-1].AggregateID && one[0].RoutingKey == all[half-1].RoutingKey {
			refuseImport(ctx, t, ex, "another "+name+" and new events", evento.ErrInvalid, append(one, all[half:]...)...)
		}
	}
	take(ctx, t, ex, all[half:]...)
	wantExactly(ctx, t, ex, evento.Query{}, all)
}

func importAgain(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(50)
	take(ctx, t, ex, all...)
	take(ctx, t, ex, all...)
	take(ctx, t, ex, all[20:30]...)
	take(ctx, t, ex, all[49:]...)
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
	// Nil is as good as empty.
	bare := clones(all)
	for i := range bare {
		if len(bare[i].Data) == 0 {
			bare[i].Data = nil
		}
		if bare[i].Metadata.Values == nil {
			bare[i].Metadata.Values = map[string]string{}
		}
	}
	take(ctx, t, ex, bare...)
}

// What was interrupted goes on where it was.
func importHalf(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(60)
	take(ctx, t, ex, all[:20]...)
	take(ctx, t, ex, all[10:40]...)
	take(ctx, t, ex, all...)
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
}

// Commits and imports follow each other.
func importGoesOn(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(20)
	take(ctx, t, ex, all...)
	routed := slices.IndexFunc(all, func(e evento.RawEvent) bool { return e.RoutingKey != "" })
	a := evento.Append{AggregateType: all[routed].AggregateType, AggregateID: all[routed].AggregateID, AnyVersion: true, RoutingKey: "later", Events: []evento.NewEvent{event("Later"), event("Later")}}
	version := uint64(0)
	for _, e := range all {
		if e.AggregateID == a.AggregateID {
			version = e.Version
		}
	}
	r := commit(ctx, t, ex, a, to("new", 0, "Later"))
	if want := (evento.Receipt{AggregateID: a.AggregateID, Version: version + 2, Position: 22}); r[0] != want {
		t.Errorf("a commit after an import: got the receipt %+v, want %+v", r[0], want)
	}
	conflict(ctx, t, ex, write(to("one", 100, "Later")), conflictAt("one", 100, versionOf(all, thing, "one")))
	log := soundLog(ctx, t, c, ex)
	if now := log[20].Node.Timestamp; now.Before(all[19].Timestamp.AddDate(1, 0, 0)) {
		t.Errorf("a commit after an import has the time %s, want that of the clock", now)
	}
	// An import behind it, at the time of the last event.
	end := log[len(log)-1].Node
	more := end
	more.ID, more.Position, more.Version, more.Data = evento.NewID(), end.Position+1, end.Version+1, []byte("more")
	take(ctx, t, ex, more)
	early := more
	early.ID, early.Position, early.Version, early.Timestamp = evento.NewID(), more.Position+1, more.Version+1, more.Timestamp.Add(-time.Microsecond)
	refuseImport(ctx, t, ex, "an event from before a commit", evento.ErrInvalid, early)
	commit(ctx, t, ex, to("new", 2, "Later"))
	soundLog(ctx, t, c, ex)
}

func versionOf(events []evento.RawEvent, t evento.AggregateType, id string) (version uint64) {
	for _, e := range events {
		if e.AggregateType == t && e.AggregateID == id {
			version = e.Version
		}
	}
	return version
}

// Events of another store's clock, which is ahead.
func importLaterTime(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(10)
	late := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Microsecond)
	all[9].Timestamp = late
	take(ctx, t, ex, all...)
	commit(ctx, t, ex, to("new", 0, "After"))
	commit(ctx, t, ex, to("new", 1, "After"))
	log := soundLog(ctx, t, c, ex)
	if got := log[10].Node.Timestamp; got.Before(late) {
		t.Errorf("a commit after an import of %s has the time %s, want it never to fall", late, got)
	}
}

// What subscriptions have kept already is in nobody's way.
func importOlderThanRecords(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	must(t, ex.Swap(ctx, swapOf(set(recordKey("key", ""), 0, "value"))))
	all := foreign(20)
	take(ctx, t, ex, all[:10]...)
	must(t, ex.Swap(ctx, swapOf(set(recordKey("key", ""), 1, "value"))))
	take(ctx, t, ex, all[10:]...)
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
}
