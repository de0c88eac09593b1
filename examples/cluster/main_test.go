package main

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/story"
)

// varies is a number behind a ~, with a unit of time if it has one.
var varies = regexp.MustCompile(`~\d[\d.]*(?:[mµ]?s|m[\d.]+s)?`)

func TestStory(t *testing.T) {
	t.Parallel()
	story.Test(t, func(ctx context.Context, out io.Writer) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		var said strings.Builder
		err := run(ctx, "", &said)
		_, writeErr := io.WriteString(out, varies.ReplaceAllString(said.String(), "~N"))
		if err == nil {
			err = writeErr
		}
		return err
	})
}

// What would be a fault of the store is found.
func TestCheckTold(t *testing.T) {
	t.Parallel()
	type told = map[uint64]evento.Receipt
	for name, change := range map[string]func(events []evento.RawEvent, told told) []evento.RawEvent{
		"":                   func(events []evento.RawEvent, _ told) []evento.RawEvent { return events },
		"event 22 is at":     func(events []evento.RawEvent, _ told) []evento.RawEvent { return append(events[:21], events[22:]...) },
		"there are 23":       func(events []evento.RawEvent, _ told) []evento.RawEvent { return events[:23] },
		"24 is there twice":  func(events []evento.RawEvent, _ told) []evento.RawEvent { events[23].ID = events[3].ID; return events },
		"24 is version 7":    func(events []evento.RawEvent, _ told) []evento.RawEvent { events[23].Version = 7; return events },
		"23 is version 3 of": func(events []evento.RawEvent, told told) []evento.RawEvent { delete(told, 23); return events },
	} {
		var events []evento.RawEvent
		acknowledged := told{}
		for i := range uint64(accounts + 4) {
			e := evento.RawEvent{Position: i + 1, ID: evento.NewID(), AggregateID: number(int(i % accounts)), Version: 1 + i/accounts}
			if i == 22 {
				e.Version = 3
			}
			events = append(events, e)
			if i >= accounts {
				acknowledged[e.Position] = evento.Receipt{Position: e.Position, AggregateID: e.AggregateID, Version: e.Version}
			}
		}
		err := checkTold(change(events, acknowledged), acknowledged)
		if (err == nil) != (name == "") || err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Outside of a checkout there is no server to build; the error says what to do.
func TestBuildOutside(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("GOWORK", "off")
	if _, err := build(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "in a checkout of evento, or give it a server with -server PATH") {
		t.Errorf("build() = %v", err)
	}
}
