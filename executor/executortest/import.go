// Taking over events of another store.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
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
	if n >= 50 {
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
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, want))
	for _, q := range []evento.Query{
		filtered(evento.ByType(other)),
		filtered(evento.ByID(thing, "one")),
		filtered(evento.Filter{AggregateType: thing, Name: "made"}),
		{RoutingKey: "key of one "},
		{Unrouted: true},
	} {
		matching := slices.DeleteFunc(slices.Clone(want), func(e evento.RawEvent) bool { return !q.Matches(e) })
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
	const half = 15
	all := foreign(2 * half)
	next := all[half:]
	take(ctx, t, ex, all[:half]...)
	for _, tt := range refusedImports(t, all[:half], next) {
		refuseImport(ctx, t, ex, tt.name, tt.want, tt.events...)
	}
	wrong := clones(next[:1])
	wrong[0].Version += 2
	want := evento.ConflictError{AggregateType: wrong[0].AggregateType, AggregateID: wrong[0].AggregateID, Expected: wrong[0].Version - 1, Actual: wrong[0].Version - 3}
	wantConflict(t, tryImport(ctx, ex, wrong...), want, "two versions left out")
	take(ctx, t, ex, next...)
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
}

// refusedImport is what must be refused with an error that matches want.
type refusedImport struct {
	name   string
	want   error
	events []evento.RawEvent
}

// refusedImports are wrong where the events next would be right, behind what is
// stored.
func refusedImports(t testing.TB, stored, next []evento.RawEvent) []refusedImport {
	t.Helper()
	again := slices.IndexFunc(next[1:], func(e evento.RawEvent) bool { // the first one's aggregate
		return e.AggregateID == next[0].AggregateID && e.AggregateType == next[0].AggregateType
	}) + 1
	keyed := slices.IndexFunc(next, func(e evento.RawEvent) bool { return e.RoutingKey != "" && e.Version > 1 })
	if again == 0 || keyed < 0 {
		t.Fatal("the events have not what is to be bent")
	}
	bent := func(i int, bend func(e *evento.RawEvent)) []evento.RawEvent {
		es := clones(next)
		bend(&es[i])
		return es
	}
	backward, moved, otherKey, noKeys := clones(next), clones(stored), clones(next), clones(next)
	slices.Reverse(backward)
	for i := range next {
		moved[i].Position, moved[i].Timestamp = next[i].Position, next[i].Timestamp
		if next[i].AggregateID == next[keyed].AggregateID {
			otherKey[i].RoutingKey = "another"
		}
		noKeys[i].RoutingKey = ""
	}
	before := func(e evento.RawEvent) time.Time { return e.Timestamp.Add(-time.Microsecond) }
	return []refusedImport{
		{"a gap before", evento.ErrInvalid, next[1:]},
		{"a gap within", evento.ErrInvalid, slices.Delete(clones(next), 3, 4)},
		{"an event twice", evento.ErrInvalid, slices.Insert(clones(next), 3, next[3])},
		{"in another order", evento.ErrInvalid, backward},
		{"position 0", evento.ErrInvalid, bent(0, func(e *evento.RawEvent) { e.Position = 0 })[:1]},
		{"version 0", evento.ErrInvalid, bent(5, func(e *evento.RawEvent) { e.Version = 0 })},
		{"an id twice", evento.ErrInvalid, bent(9, func(e *evento.RawEvent) { e.ID = next[0].ID })},
		{"events of the store at new positions", evento.ErrConflict, moved},
		{"a version left out", evento.ErrConflict, bent(0, func(e *evento.RawEvent) { e.Version++ })[:1]},
		{"a version left out within", evento.ErrInvalid, bent(again, func(e *evento.RawEvent) { e.Version++ })},
		{"an aggregate that begins in the middle", evento.ErrConflict, bent(14, func(e *evento.RawEvent) { e.AggregateID, e.Version = "new", 2 })},
		{"a timestamp that falls behind the store's", evento.ErrInvalid, bent(0, func(e *evento.RawEvent) { e.Timestamp = before(stored[len(stored)-1]) })},
		{"a timestamp that falls", evento.ErrInvalid, bent(7, func(e *evento.RawEvent) { e.Timestamp = before(next[6]) })},
		{"a timestamp of nanoseconds", evento.ErrInvalid, bent(14, func(e *evento.RawEvent) { e.Timestamp = e.Timestamp.Add(1) })},
		{"no timestamp", evento.ErrInvalid, bent(0, func(e *evento.RawEvent) { e.Timestamp = time.Time{} })},
		{"another routing key than the store's", evento.ErrInvalid, otherKey},
		{"no routing key where the store has one", evento.ErrInvalid, noKeys},
		{"another routing key within", evento.ErrInvalid, bent(again, func(e *evento.RawEvent) { e.RoutingKey = "another" })},
		{"a name that cannot be stored", evento.ErrInvalid, bent(14, func(e *evento.RawEvent) { e.Name = "a\x00b" })},
		{"an aggregate id too long", evento.ErrInvalid, bent(14, func(e *evento.RawEvent) { e.AggregateID = strings.Repeat("x", evento.MaxName+1) })},
		{"a payload too large", evento.ErrTooLarge, bent(14, func(e *evento.RawEvent) { e.Data = make([]byte, evento.MaxPayload+1) })},
		{"metadata that cannot be stored", evento.ErrInvalid, bent(14, func(e *evento.RawEvent) { e.Metadata.RequestedBy = "\xff" })},
	}
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
	for _, part := range [][]evento.RawEvent{all, all, all[20:30], all[49:]} {
		take(ctx, t, ex, part...)
	}
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
	keyed := all[slices.IndexFunc(all, func(e evento.RawEvent) bool { return e.RoutingKey != "" })]
	a := routed("later", toAny(keyed.AggregateID, "Later", "Later"))
	a.AggregateType = keyed.AggregateType
	r := commit(ctx, t, ex, a, to("new", 0, "Later"))
	if want := (evento.Receipt{AggregateID: a.AggregateID, Version: versionOf(all, a.AggregateType, a.AggregateID) + 2, Position: 22}); r[0] != want {
		t.Errorf("a commit after an import: got the receipt %+v, want %+v", r[0], want)
	}
	conflict(ctx, t, ex, write(to("one", 100, "Later")), conflictAt("one", 100, versionOf(all, thing, "one")))
	log := soundLog(ctx, t, c, ex)
	if now := log[20].Node.Timestamp; now.Before(all[19].Timestamp.AddDate(1, 0, 0)) {
		t.Errorf("a commit after an import has the time %s, want that of the clock", now)
	}
	// An import behind it, at the time of the last event.
	more := log[len(log)-1].Node
	more.ID, more.Data = evento.NewID(), []byte("more")
	more.Position++
	more.Version++
	take(ctx, t, ex, more)
	early := more
	early.ID, early.Timestamp = evento.NewID(), more.Timestamp.Add(-time.Microsecond)
	early.Position++
	early.Version++
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
	swap(ctx, t, ex, set(recordKey("key", ""), 0, "value"))
	all := foreign(20)
	take(ctx, t, ex, all[:10]...)
	swap(ctx, t, ex, set(recordKey("key", ""), 1, "value"))
	take(ctx, t, ex, all[10:]...)
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
}

func importWakes(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := foreign(10)
	for i := range all {
		changed := ex.Changed()
		take(ctx, t, ex, all[i])
		await(ctx, t, changed, "an import")
		if got := read(ctx, t, ex, evento.Query{}, cursor.Backward(1, "")).Edges[0].Node.Position; got != all[i].Position {
			t.Fatalf("after waking the last position is %d, want %d", got, all[i].Position)
		}
	}
}

// What the caller gave stays the caller's.
func importBytesAreCopied(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	want := foreign(20)
	given := clones(want)
	take(ctx, t, ex, given...)
	for i := range given {
		clear(given[i].Data)
		clear(given[i].Metadata.Values)
		given[i].Name = "Other"
	}
	wantExactly(ctx, t, ex, evento.Query{}, want)
}

// The most events of one call.
func importMost(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := foreign(evento.MaxCommitEvents + 1)
	refuseImport(ctx, t, ex, "too many events", evento.ErrTooLarge, all...)
	take(ctx, t, ex, all[:evento.MaxCommitEvents]...)
	take(ctx, t, ex, all[1:]...)
	wantExactly(ctx, t, ex, evento.Query{}, all)
}

// An import that is not wanted any more, or comes too late, stores nothing.
func importEnds(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	all := foreign(20)
	take(ctx, t, ex, all[:10]...)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	wantError(t, tryImport(ended, ex, all...), context.Canceled, "with a context that has ended")
	wantExactly(ctx, t, ex, evento.Query{}, all[:10])
	must(t, ex.Close())
	wantError(t, tryImport(ctx, ex, all...), evento.ErrClosed, "after Close")
}

// Several who import the same do it once.
func importTogether(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	all := foreign(400)
	together(t, 4, func(t testing.TB, i int) {
		for part := range slices.Chunk(all, 10+7*i) {
			take(ctx, t, exs[i%len(exs)], part...)
		}
	})
	checkLog(t, c, wantExactly(ctx, t, ex, evento.Query{}, all))
}

// An import that meets a commit at its positions is refused, as a whole; none
// of both is lost or comes in between.
func importBesideWrites(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const writers, each, size = 3, 20, 5
	var running atomic.Int64
	running.Store(writers)
	var imported [][]evento.RawEvent
	attempts := 0
	concurrently(t, goroutines{writers, func(t testing.TB, i int) {
		defer running.Add(-1)
		for n := range uint64(each) {
			commit(ctx, t, ex, to(fmt.Sprint("writer ", i), n, "Written"), toAny("common", "Written"))
		}
	}}, goroutines{1, func(t testing.TB, _ int) {
		for ; running.Load() > 0 || len(imported) == 0; attempts++ {
			events := behindHead(ctx, t, ex, fmt.Sprint("import ", attempts), size)
			if err := tryImport(ctx, ex, events...); err == nil {
				imported = append(imported, events)
			} else if !errors.Is(err, evento.ErrInvalid) {
				t.Fatal(err)
			}
		}
	}})
	t.Logf("%d of %d imports fitted", len(imported), attempts)
	log := wantStore(ctx, t, c, ex, writers*each*2+len(imported)*size)
	for _, e := range log {
		if e.Node.Name == "Written" && e.Node.Timestamp.Year() < 2002 {
			t.Errorf("position %d was written with the time %s of what was imported before", e.Node.Position, e.Node.Timestamp)
		}
	}
	for _, e := range slices.Concat(imported...) {
		if diff := differ(log[e.Position-1].Node, e); diff != "" {
			t.Fatalf("position %d: %s", e.Position, diff)
		}
	}
}

// behindHead makes new events that fit behind the store's last one, of a clock
// that is ahead.
func behindHead(ctx context.Context, t testing.TB, ex evento.Executor, id string, n int) []evento.RawEvent {
	t.Helper()
	p := read(ctx, t, ex, evento.Query{}, cursor.Backward(1, ""))
	events := foreign(n)
	for i := range events {
		e := &events[i]
		e.AggregateType, e.AggregateID, e.Version, e.RoutingKey = thing, id, uint64(i+1), "import"
		for _, last := range p.Edges {
			e.Position += last.Node.Position
			e.Timestamp = last.Node.Timestamp.Add(time.Second)
		}
	}
	return events
}

// In a transaction it is refused, and is not in the way of the rest.
func importInTx(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	inTxDone(ctx, t, ex, func(tx context.Context) {
		wantError(t, tryImport(tx, ex, foreign(10)...), evento.ErrInvalid, "in a transaction")
		commit(tx, t, ex, to("a", 0, "A"))
	})
	wantStore(ctx, t, c, ex, 1)
}

// Nothing that an executor remembers is wrong after another one's import.
func importShared(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	all := foreign(60)
	read(ctx, t, exs[1], filtered(evento.ByType(thing)), cursor.Forward(10, ""))
	for i := range 6 {
		changed := exs[1-i%2].Changed()
		take(ctx, t, exs[i%2], all[10*i:10*i+10]...)
		await(ctx, t, changed, "another executor's import")
		wantExactly(ctx, t, exs[1], evento.Query{}, all[:10*i+10])
	}
	for i := range 3 {
		commit(ctx, t, exs[i%2], to("one", versionOf(all, thing, "one")+uint64(i), "Later"))
		take(ctx, t, exs[1-i%2], behindHead(ctx, t, exs[i%2], fmt.Sprint("more ", i), 3)...)
	}
	wantStore(ctx, t, c, ex, len(all)+3+9)
}

func importReopened(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	all := foreign(40)
	take(ctx, t, ex, all[:20]...)
	ex = c.reopen(t, ex)
	wantExactly(ctx, t, ex, evento.Query{}, all[:20])
	take(ctx, t, ex, all...)
	ex = c.reopen(t, ex)
	wantExactly(ctx, t, ex, evento.Query{}, all)
	commit(ctx, t, ex, to("one", versionOf(all, thing, "one"), "Later"))
	soundLog(ctx, t, c, ex)
}
