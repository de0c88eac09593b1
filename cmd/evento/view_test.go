package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"

	"github.com/evento-go/evento"
)

// JSON for programs has none either: somebody may look at it in a terminal.
func TestJSONIsSafeToPrint(t *testing.T) {
	t.Parallel()
	want := eventView{AggregateID: "\u202ec1", Name: "é<b>", Payload: json.RawMessage("{\"note\":\"\u009b31m\u2028\x7f\"}")}
	var b bytes.Buffer
	out := &output{w: bufio.NewWriter(&b), json: true}
	if err := errors.Join(out.line(want), out.flush()); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.ContainsFunc(strings.TrimSuffix(text, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.HasSuffix(text, "}\n") || !strings.Contains(text, "é<b>") {
		t.Errorf("line() wrote %q", text)
	}
	var got eventView
	var note struct{ Note string }
	if err := errors.Join(json.Unmarshal(b.Bytes(), &got), json.Unmarshal(got.Payload, &note)); err != nil || got.AggregateID != want.AggregateID || note.Note != "\u009b31m\u2028\x7f" {
		t.Errorf("%s means %+v and %q, %v", b.String(), got, note.Note, err)
	}
}

// hugePayloads are nearly as large as an event may have them, and stand for more.
func hugePayloads() []evento.NewEvent {
	const n = evento.MaxPayload - 64
	head := func(major byte, n int) []byte {
		return []byte{major<<5 | 26, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	}
	number := append(append([]byte{0xc2}, head(2, n)...), bytes.Repeat([]byte{0x9f}, n)...)
	maps := append(bytes.Repeat([]byte{0x81}, 60), 0x84) // four lists of empty maps, deep
	for range 4 {
		maps = append(append(maps, head(4, n/4-10)...), bytes.Repeat([]byte{0xa0}, n/4-10)...)
	}
	list := []byte("[" + strings.Repeat("{},", n/3-1) + "{}]")
	return []evento.NewEvent{{Codec: "cbor", Data: number}, {Codec: "cbor", Data: maps}, {Codec: "json", Data: list}}
}

// Events with huge payloads are listed without being decoded, and shown in part. It is not
// parallel, so that what is allocated meanwhile is its own.
func TestListingHugePayloads(t *testing.T) {
	store := "sqlite:" + filepath.Join(t.TempDir(), "huge.db")
	huge := hugePayloads()
	err := onNewStore(t.Context(), store, func(ex evento.Executor) error {
		for i, e := range huge {
			e.ID, e.Name = evento.NewID(), fmt.Sprint("Huge", i)
			if err := commit(t.Context(), ex, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args      []string
		most      int // bytes of output
		cut       int // events that are cut
		megabytes uint64
	}{
		{[]string{"events", "list"}, 2000, 0, 300},
		{[]string{"events", "tail", "--count", "1"}, 2000, 0, 300},
		{[]string{"events", "list", "--payload"}, 1 << 20, 1, 400},
		{[]string{"events", "list", "--payload", "--after", "1"}, 1 << 20, 1, 400},
		{[]string{"aggregate", "shop/Order", "bad"}, 1 << 20, 3, 900},
		{[]string{"events", "show", "1"}, 4 << 20, 1, 400},
		{[]string{"events", "show", "2"}, 4 << 20, 1, 700},
		{[]string{"events", "show", "3"}, 4 << 20, 1, 400},
		{[]string{"events", "show", "2", "-o", "json"}, 32 << 20, 0, 900},
		{[]string{"doctor"}, 2000, 0, 900},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(tt.args, "--store", store), nil, &out, &errs); code != exitOK {
			t.Errorf("evento %q: exit code %d: %s", tt.args, code, errs.String())
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > tt.megabytes {
			t.Errorf("evento %q allocated %d MB, want at most %d", tt.args, got, tt.megabytes)
		}
		if out.Len() > tt.most || strings.Count(out.String(), "cut, the payload has 16,") != tt.cut {
			t.Errorf("evento %q printed %d bytes, want at most %d and %d payloads that are cut: %.200q", tt.args, out.Len(), tt.most, tt.cut, out.String())
		}
	}
}
