package transfer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/examine"
	"github.com/evento-go/evento/internal/transfer"
)

// damaged is a store of which some events were changed.
type damaged struct {
	evento.Executor
	change func(*evento.RawEvent)
}

func (d *damaged) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	page, err := d.Executor.Read(ctx, q, args)
	if err == nil {
		for i := range page.Edges {
			d.change(&page.Edges[i].Node)
		}
	}
	return page, err
}

// What no import takes is not exported: the error names the event and what is wrong with it.
func TestExportRefuses(t *testing.T) {
	t.Parallel()
	sound := many(t, 3000)
	for name, tt := range map[string]struct {
		change func(e *evento.RawEvent)
		want   string
	}{
		"no UTF-8 in an id":         {func(e *evento.RawEvent) { e.AggregateID = "a\xff" }, "aggregate id"},
		"no UTF-8 in a type":        {func(e *evento.RawEvent) { e.AggregateType = "\xff" }, "aggregate type"},
		"no UTF-8 in a name":        {func(e *evento.RawEvent) { e.Name = "\xff" }, "event name"},
		"no UTF-8 in a routing key": {func(e *evento.RawEvent) { e.RoutingKey = "\xff" }, "routing key"},
		"no UTF-8 in a codec":       {func(e *evento.RawEvent) { e.Codec = "\xff" }, "codec name"},
		"no UTF-8 in a tag":         {func(e *evento.RawEvent) { e.Tags = []string{"\xff"} }, "tag"},
		"no UTF-8 in metadata":      {func(e *evento.RawEvent) { e.Metadata.RequestedBy = "\xff" }, "requested-by"},
		"no UTF-8 in a value":       {func(e *evento.RawEvent) { e.Metadata.Values = map[string]string{"a": "\xff"} }, "metadata value"},
		"a NUL in metadata":         {func(e *evento.RawEvent) { e.Metadata.ID = "\x00" }, "NUL"},
		"an empty name":             {func(e *evento.RawEvent) { e.Name = "" }, "event name: empty"},
		"too many tags":             {func(e *evento.RawEvent) { e.Tags = make([]string, 17) }, "tags: 17"},
		"too much metadata":         {func(e *evento.RawEvent) { e.Metadata.ID = strings.Repeat("x", evento.MaxMetadata+1) }, "metadata of"},
		"too much data":             {func(e *evento.RawEvent) { e.Data = make([]byte, evento.MaxPayload+1) }, "payload of"},
		"version 0":                 {func(e *evento.RawEvent) { e.Version = 0 }, "version: 0"},
		"another version":           {func(e *evento.RawEvent) { e.Version = 7 }, "version 7 stands where version 3 is expected"},
		"another aggregate":         {func(e *evento.RawEvent) { e.AggregateID = "new" }, "version 3 stands where version 1 is expected"},
		"a position left out":       {func(e *evento.RawEvent) { e.Position++ }, "there is no event at position 2501 before it; --gaps"},
		"a position again":          {func(e *evento.RawEvent) { e.Position-- }, "it comes behind position 2500"},
		"an earlier time":           {func(e *evento.RawEvent) { e.Timestamp = time.UnixMicro(0) }, "earlier than the event before it"},
		"a time in nanoseconds":     {func(e *evento.RawEvent) { e.Timestamp = e.Timestamp.Add(1) }, "whole microseconds"},
		"a time before 1970":        {func(e *evento.RawEvent) { e.Timestamp = time.Unix(-1, 0) }, "timestamp"},
		"another routing key":       {func(e *evento.RawEvent) { e.RoutingKey = "eu" }, "routing key"},
		"the id of another event":   {func(e *evento.RawEvent) { e.ID = first(t, sound) }, "as the event at position 1 has"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ex := &damaged{sound, func(e *evento.RawEvent) {
				if e.Position == 2501 {
					tt.change(e)
				}
			}}
			_, err := transfer.Export(t.Context(), ex, io.Discard, transfer.ExportOptions{})
			if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "event at position 250") || strings.Count(err.Error(), "evento:") != 1 {
				t.Errorf("Export() = %v, want %v, the position and %q", err, evento.ErrInvalid, tt.want)
			}
		})
	}
}

func first(t *testing.T, ex evento.Executor) evento.ID {
	t.Helper()
	page, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(1, ""))
	if err != nil {
		t.Fatal(err)
	}
	return page.Edges[0].Node.ID
}

// A store in which positions are missing is exported when that is asked for, and imported with
// new positions.
func TestExportWithGaps(t *testing.T) {
	t.Parallel()
	ex := &damaged{many(t, 2500), func(e *evento.RawEvent) {
		if e.Position > 1500 {
			e.Position += 1000
		}
	}}
	var out strings.Builder
	if _, err := transfer.Export(t.Context(), ex, &out, transfer.ExportOptions{}); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "there are no events at positions 1501 to 2500 before it") {
		t.Errorf("Export() = %v, want the gap", err)
	}
	text := export(t, ex, transfer.ExportOptions{Gaps: true})
	if _, err := transfer.Import(t.Context(), memory.New(nil), strings.NewReader(text), transfer.ImportOptions{}); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "renumber") || !strings.HasPrefix(err.Error(), "line 1502: ") {
		t.Errorf("Import() = %v, want the gap and the remedy", err)
	}
	take(t, memory.New(nil), text, transfer.ImportOptions{Renumber: true})
}

// Parts of a store have gaps; those of whole aggregates have all versions.
func TestExportOfParts(t *testing.T) {
	t.Parallel()
	sound := memory.New(nil)
	fill(t, sound)
	bank := evento.ByType("bank/Account")
	for _, q := range []evento.Query{
		{Filters: []evento.Filter{bank}}, {RoutingKey: "tenant 1"}, {Unrouted: true}, {Filters: []evento.Filter{evento.ByID("shop/Order", "order-1")}},
		{Filters: []evento.Filter{{AggregateType: "shop/Order", Name: "Paid"}}}, {Filters: []evento.Filter{evento.ByTags("course:go")}},
	} {
		for _, after := range []uint64{0, 40} {
			export(t, sound, transfer.ExportOptions{Query: q, After: after})
		}
	}
	ex := &damaged{sound, func(e *evento.RawEvent) {
		if e.Position == 50 {
			e.Version += 3
		}
	}}
	if _, err := transfer.Export(t.Context(), ex, io.Discard, transfer.ExportOptions{Query: evento.Query{Filters: []evento.Filter{bank}}}); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "event at position 50: version") {
		t.Errorf("Export() = %v, want the version of position 50", err)
	}
}

// A source has the events as they are stored. What is not known of one is not left out.
func TestExportOfASource(t *testing.T) {
	t.Parallel()
	sound := many(t, 2500)
	source := func(change func(*examine.Event)) func(context.Context, uint64, func(*examine.Event) error) error {
		return func(ctx context.Context, from uint64, each func(*examine.Event) error) error {
			for raw, err := range evento.Events(ctx, sound, evento.Query{}) {
				if err != nil {
					return err
				}
				e := &examine.Event{RawEvent: raw}
				if change(e); e.Position < from {
					continue
				}
				if err := each(e); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, after := range []uint64{0, 1, 2499, 2500} {
		same(t, export(t, sound, transfer.ExportOptions{After: after, Source: source(func(*examine.Event) {})}), export(t, sound, transfer.ExportOptions{After: after}))
	}
	for _, part := range []examine.Part{examine.ID, examine.RoutingKey, examine.Tags, examine.Metadata, examine.Data, examine.Codec} {
		for _, say := range []func(e *examine.Event){func(e *examine.Event) { e.Unknown(part) }, func(e *examine.Event) { e.Add(part, "its %s is gone", part) }} {
			opts := transfer.ExportOptions{Source: source(func(e *examine.Event) {
				if e.Position == 2000 {
					say(e)
				}
			})}
			_, err := transfer.Export(t.Context(), sound, io.Discard, opts)
			if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "event at position 2000: its "+string(part)+" is ") {
				t.Errorf("Export() without the %s = %v, want the event", part, err)
			}
		}
	}
}

// With little memory the store is read again, up to where the export ends: what is committed
// meanwhile is none of it.
func TestExportInPasses(t *testing.T) {
	t.Parallel()
	sound := many(t, 2500)
	want := export(t, sound, transfer.ExportOptions{})
	passes := 0
	var out strings.Builder
	opts := transfer.ExportOptions{Memory: 20_000, Source: func(ctx context.Context, _ uint64, each func(*examine.Event) error) error {
		passes++
		for raw, err := range evento.Events(ctx, sound, evento.Query{}) {
			if err != nil {
				return err
			}
			if err := each(&examine.Event{RawEvent: raw}); err != nil {
				return err
			}
		}
		_, err := sound.Write(ctx, evento.Write{Appends: []evento.Append{{AggregateType: "late", AggregateID: "late", AnyVersion: true, Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "raw"}}}}})
		return err
	}}
	if _, err := transfer.Export(t.Context(), sound, &out, opts); err != nil || passes < 3 {
		t.Errorf("Export() = %v in %d passes", err, passes)
	}
	same(t, out.String(), want)
	// A version that is left out is found in whichever pass.
	for id := uint64(0); id < 500; id += 50 {
		ex := &damaged{sound, func(e *evento.RawEvent) {
			if e.Position == 2001+id {
				e.Version++
			}
		}}
		_, err := transfer.Export(t.Context(), ex, io.Discard, transfer.ExportOptions{Memory: 20_000})
		if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "version 4 stands where version 3 is expected") {
			t.Errorf("Export() of a store without a version of account %d = %v, want the version", id, err)
		}
	}
}
