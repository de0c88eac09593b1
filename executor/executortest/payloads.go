// Payloads and metadata come back as they were, and times as they were given.

package executortest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testPayloads(t *testing.T, c Config) {
	c.run(t, "Bytes", payloadsBytes)
	c.run(t, "Largest", payloadsLargest)
	c.run(t, "TooLarge", payloadsTooLarge)
	c.run(t, "Metadata", payloadsMetadata)
	c.run(t, "MetadataRefused", payloadsMetadataRefused)
}

func payloadsBytes(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	every, random := everyByte(), make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random) // never fails
	payloads := [][]byte{
		nil, {}, {0}, {0, 0, 0}, {'\''}, {0xff}, []byte("a\x00b"), []byte("\\x00"), []byte(`{"json": true}`), []byte("text ü 😀"),
		every, bytes.Repeat(every, 100), make([]byte, 70_000), random,
	}
	payloads = slices.AppendSeq(payloads, slices.Chunk(every, 1))
	a := to("one", 0, many(len(payloads), "Made")...)
	for i, data := range payloads {
		a.Events[i].Data = data
	}
	commit(ctx, t, ex, a)
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, raws(a, 1, "")))
}

func payloadsLargest(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	a := to("one", 0, "Small", "Large", "Small")
	large := make([]byte, evento.MaxPayload)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(large) // never fails
	a.Events[1].Data = large
	commit(ctx, t, ex, a)
	wantEvents(ctx, t, ex, evento.Query{}, raws(a, 1, ""))
	p := read(ctx, t, ex, evento.Query{}, cursor.Backward(1, ""))
	if len(p.Edges) != 1 || p.Edges[0].Node.Version != 3 || !p.PageInfo.HasPreviousPage {
		t.Errorf("Backward(1) past a large event: got %d events, %+v", len(p.Edges), p.PageInfo)
	}
}

func payloadsTooLarge(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("one", 0, "Made"))
	over := make([]byte, evento.MaxPayload+1)
	a := to("two", 0, "Small", "Large")
	a.Events[1].Data = over
	refuse(ctx, t, ex, write(a), evento.ErrTooLarge)

	const events = evento.MaxCommit/evento.MaxPayload + 1
	w := write(to("two", 0, many(events-1, "Large")...), to("three", 0, "Small"))
	for i := range w.Appends[0].Events {
		w.Appends[0].Events[i].Data = over[:evento.MaxPayload]
	}
	refuse(ctx, t, ex, w, evento.ErrTooLarge) // as "three" is over
	commit(ctx, t, ex, to("one", 1, "Changed"))
}

func payloadsMetadata(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	text := "ä 😀 \"quoted\" 'too' \\ line\nbreak\ttab \x01 \u0085 \ufffd \u2028 <&> %s ${x} "
	values := map[string]string{}
	for _, name := range hostileNames() {
		values[name] = name
	}
	var appends []evento.Append
	var want []evento.RawEvent
	for i, m := range []evento.Metadata{
		{},
		{Values: map[string]string{}},
		{ID: "id"}, {RequestedBy: "by"}, {RequestedAs: "as"}, {CorrelationID: "correlation"}, {CausationID: "causation"},
		{Values: map[string]string{"key": ""}},
		{Values: map[string]string{"id": "a", "values": "b", "requestedBy": "c"}},
		{ID: text, RequestedBy: text + "1", RequestedAs: text + "2", CorrelationID: text + "3", CausationID: text + "4", Values: map[string]string{"key": text}},
		{Values: values},
		{Values: map[string]string{"key": strings.Repeat("ü", (evento.MaxMetadata-3)/2)}},
	} {
		a := to(strings.Repeat("x", i+1), 0, "Made", "Changed")
		a.Metadata = m
		appends = append(appends, a)
		want = append(want, raws(a, 1, "")...)
	}
	commit(ctx, t, ex, appends...)
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
}

func payloadsMetadataRefused(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("one", 0, "Made"))
	refused := func(want error, metadata ...evento.Metadata) {
		t.Helper()
		for _, m := range metadata {
			a := to("two", 0, "Made")
			a.Metadata = m
			t.Logf("metadata %.200v", m)
			refuse(ctx, t, ex, write(to("three", 0, "Made"), a), want)
		}
	}
	refused(evento.ErrInvalid,
		evento.Metadata{ID: "a\x00b"},
		evento.Metadata{RequestedBy: "\xff"},
		evento.Metadata{RequestedAs: "\xff"},
		evento.Metadata{CorrelationID: "\x00"},
		evento.Metadata{CausationID: "\xc3"},
		evento.Metadata{Values: map[string]string{"": "a"}},
		evento.Metadata{Values: map[string]string{"a\nb": "a"}},
		evento.Metadata{Values: map[string]string{"key": "\x00"}},
		evento.Metadata{Values: map[string]string{"key": "\xff"}})
	refused(evento.ErrTooLarge,
		evento.Metadata{Values: map[string]string{"key": strings.Repeat("x", evento.MaxMetadata)}},
		evento.Metadata{ID: strings.Repeat("x", evento.MaxMetadata/2), CausationID: strings.Repeat("x", evento.MaxMetadata/2+1)})
}

func testTimestamps(t *testing.T, c Config) {
	c.run(t, "NeverFall", timestampsNeverFall)
	c.run(t, "Stay", timestampsStay)
}

// checkLog looks at them: UTC, microseconds, never falling.
func timestampsNeverFall(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex) // whose clocks count too
	together(t, 6, func(t testing.TB, i int) {
		for range 20 {
			commit(ctx, t, exs[i%len(exs)], toAny("one", "A", "B"), toAny("two", "A"))
		}
	})
	soundLog(ctx, t, c, ex)
}

// A time is the same whichever way the event is read.
func timestampsStay(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	m := fill(ctx, t, ex, 20)
	for _, e := range m {
		q := filtered(evento.ByID(e.Node.AggregateType, e.Node.AggregateID))
		m.wantPage(ctx, t, ex, q, cursor.Backward(3, e.Cursor))
	}
	commit(ctx, t, ex, toAny("id 0", "Later"))
	sameEdges(t, "the first events", read(ctx, t, ex, evento.Query{}, cursor.Forward(len(m), "")).Edges, m)
}
