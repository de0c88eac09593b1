// What one write adds.

package executortest

import (
	"context"
	"slices"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testAppend(t *testing.T, c Config) {
	c.run(t, "Empty", appendEmpty)
	c.run(t, "First", appendFirst)
	c.run(t, "Versions", appendVersions)
	c.run(t, "AnyVersion", appendAnyVersion)
	c.run(t, "TypesApart", appendTypesApart)
	c.run(t, "SeveralAggregates", appendSeveralAggregates)
	c.run(t, "Mixed", appendMixed)
	c.run(t, "BytesAreCopied", appendBytesAreCopied)
	c.run(t, "Refused", appendRefused)
	c.run(t, "MostEvents", appendMostEvents)
	if c.Share != nil {
		c.run(t, "Shared", appendShared)
	}
}

func appendEmpty(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	wantLog(ctx, t, ex, nil)
}

func appendFirst(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	a := routed("key", to("one", 0, "Made"))
	a.Metadata = evento.Metadata{RequestedBy: "somebody", Values: map[string]string{"a": "b"}}
	got := commit(ctx, t, ex, a)
	log := wantEvents(ctx, t, ex, evento.Query{}, raws(a, 1, "key"))
	checkLog(t, c, log)
	if want := (evento.Receipt{AggregateID: "one", Version: 1, Position: log[0].Node.Position}); got[0] != want {
		t.Errorf("got the receipt %+v, want %+v", got[0], want)
	}
}

func appendVersions(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	var want []evento.RawEvent
	for _, n := range []int{1, 3, 1, 10, 2} {
		a := to("one", uint64(len(want)), many(n, "Happened")...)
		want = append(want, raws(a, uint64(len(want))+1, "")...)
		receipts := commit(ctx, t, ex, a)
		log := wantEvents(ctx, t, ex, evento.Query{}, want)
		checkLog(t, c, log)
		checkStored(t, byID(log), write(a), receipts)
	}
}

func appendAnyVersion(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	first, second, third := toAny("one", "A", "B"), toAny("one", "C"), to("one", 3, "D")
	for i, a := range []evento.Append{first, second, third} {
		r := commit(ctx, t, ex, a)
		if want := []uint64{2, 3, 4}[i]; r[0].Version != want {
			t.Errorf("append %d: got the receipt %+v, want version %d", i+1, r[0], want)
		}
	}
	want := slices.Concat(raws(first, 1, ""), raws(second, 3, ""), raws(third, 4, ""))
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, want))
}

// An id belongs to its type.
func appendTypesApart(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	a, b := to("one", 0, "Made"), to("one", 0, "Made")
	b.AggregateType = other
	commit(ctx, t, ex, a)
	if r := commit(ctx, t, ex, b); r[0].Version != 1 {
		t.Errorf("got the receipt %+v, want version 1 of another aggregate", r[0])
	}
	wantEvents(ctx, t, ex, filtered(evento.ByID(thing, "one")), raws(a, 1, ""))
	wantEvents(ctx, t, ex, filtered(evento.ByID(other, "one")), raws(b, 1, ""))
	soundLog(ctx, t, c, ex)
}

// The appends' events are stored in the order of the appends.
func appendSeveralAggregates(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	first := to("b", 0, "Made")
	commit(ctx, t, ex, first)
	w := write(to("c", 0, "C1", "C2"), to("b", 1, "B2"), toAny("a", "A1", "A2", "A3"), toAny("d", "D1"))
	receipts := commit(ctx, t, ex, w.Appends...)
	log := wantEvents(ctx, t, ex, evento.Query{}, slices.Concat(
		raws(first, 1, ""), raws(w.Appends[0], 1, ""), raws(w.Appends[1], 2, ""), raws(w.Appends[2], 1, ""), raws(w.Appends[3], 1, "")))
	checkLog(t, c, log)
	checkStored(t, byID(log), w, receipts)
}

// What the caller gave stays the caller's, and what a reader got the reader's.
// Events of one append have each their own name and codec, also where an executor stores once
// what neighbours have in common.
func appendMixed(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	mixed := func(id string) evento.Append {
		a := to(id, 0, "Made", "Made", "Changed", "Changed", "Made")
		for i, codec := range []string{"cbor", "json", "json", "own", "cbor"} {
			a.Events[i].Codec = codec
		}
		return a
	}
	one, two, three := mixed("one"), mixed("two"), mixed("three")
	commit(ctx, t, ex, one)
	commit(ctx, t, ex, two, three)
	checkLog(t, c, wantEvents(ctx, t, ex, evento.Query{}, slices.Concat(raws(one, 1, ""), raws(two, 1, ""), raws(three, 1, ""))))
}

func appendBytesAreCopied(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	a := to("one", 0, "Made", "Changed")
	a.Metadata.Values = map[string]string{"key": "value"}
	want := clones(raws(a, 1, ""))
	commit(ctx, t, ex, a)

	clear(a.Events[0].Data)
	a.Metadata.Values["key"] = "other"
	a.Events[1].Name = "Other"
	scribbled := read(ctx, t, ex, evento.Query{}, cursor.Forward(10, ""))
	for _, e := range scribbled.Edges {
		clear(e.Node.Data)
		_ = append(e.Node.Data, "more than there was"...)
		e.Node.Metadata.Values["key"] = "another"
	}
	wantEvents(ctx, t, ex, evento.Query{}, want)
}

// refused are writes that Write.Check does not let through.
func appendRefused(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	commit(ctx, t, ex, to("one", 0, "Made"))
	both := toAny("two", "Made")
	both.Expected = 1
	for _, tt := range []struct {
		name  string
		write evento.Write
		want  error
	}{
		{"no appends", write(), evento.ErrNoEvents},
		{"an append without events", write(to("two", 0, "Made"), to("three", 0)), evento.ErrNoEvents},
		{"an aggregate twice", write(to("two", 0, "Made"), to("two", 1, "Changed")), evento.ErrInvalid},
		{"expected and any version", write(both), evento.ErrInvalid},
		{"a version too high", write(to("two", 1<<63, "Made")), evento.ErrInvalid},
		{"too many events", write(to("two", 0, many(evento.MaxCommitEvents, "Made")...), to("three", 0, "Made")), evento.ErrTooLarge},
	} {
		t.Log(tt.name)
		refuse(ctx, t, ex, tt.write, tt.want)
	}
	commit(ctx, t, ex, to("one", 1, "Changed"))
}

// The largest commit, and the largest page.
func appendMostEvents(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const half = evento.MaxCommitEvents / 2
	w := write(to("one", 0, many(half, "Made")...), to("two", 0, many(half, "Made")...))
	receipts := commit(ctx, t, ex, w.Appends...)
	p := read(ctx, t, ex, evento.Query{}, cursor.Onward(cursor.MaxPage, ""))
	checkLog(t, c, p.Edges)
	checkStored(t, byID(p.Edges), w, receipts)
	if p.PageInfo.HasNextPage {
		t.Errorf("got a next page after all %d events", len(p.Edges))
	}
}

// Two executors on one store are as one.
func appendShared(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	exs := c.all(t, ex)
	var want []evento.RawEvent
	for i := range uint64(10) {
		writer, reader := exs[i%2], exs[1-i%2]
		a := to("one", i, "Happened")
		want = append(want, raws(a, i+1, "")...)
		commit(ctx, t, writer, a)
		conflict(ctx, t, reader, write(to("one", i, "Late")), conflictAt("one", i, i+1))
		checkLog(t, c, wantEvents(ctx, t, reader, evento.Query{}, want))
	}
}
