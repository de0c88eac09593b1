package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/postgres"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/story"
	"github.com/evento-go/evento/internal/testserver"
)

func TestStory(t *testing.T) {
	t.Parallel()
	story.Test(t, func(ctx context.Context, out io.Writer) error { return run(ctx, "", out) })
}

func TestStoryOnPostgres(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	story.Test(t, func(ctx context.Context, out io.Writer) error { return run(ctx, url, out) })
}

// Whatever a move was broken off at, it goes on, and in the end everything is there.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	moveInPieces(t, memory.New(nil))
}

func TestBrokenOffOnPostgres(t *testing.T) {
	t.Parallel()
	to, err := postgres.Open(t.Context(), testserver.PostgresDatabase(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	moveInPieces(t, to)
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
}

func moveInPieces(t *testing.T, to evento.Importer) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	from, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "club.db"), nil)
	must(err)
	defer func() { must(from.Close()) }()
	due := time.Now().Add(-time.Minute)
	for i := range 250 { // ten at once, so that there are three pages
		var ten []*evento.CommitBuilder
		for j := range 10 {
			ten = append(ten, evento.Aggregate(fmt.Sprintf("%d-%d", i, j)).Event(Joined{Name: "Ada"}))
		}
		_, err := evento.CommitAll(ctx, from, ten...)
		must(err)
	}
	_, err = join(ctx, from, "Ada", due.Add(time.Hour))
	must(err)
	_, err = evento.Aggregate("Ada").AnyVersion().Event(Joined{Name: "Ada"}).Deadline("trial", due, TrialEnded{}).Commit(ctx, from)
	must(err)
	must(welcome(func(string) {}).Execute(ctx, from))

	breaking := &breaking{Importer: to}
	for breaking.left = 0; ; breaking.left++ {
		breaking.used = 0
		places, err := move(ctx, from, breaking)
		if errors.Is(err, errBroken) {
			continue
		}
		must(err)
		if place := places[evento.SubscriptionName{Key: "welcome"}]; place != 2502 {
			t.Errorf("the subscription is at %d, want 2502", place)
		}
		break
	}
	if breaking.left < 4 {
		t.Errorf("it was broken off %d times only", breaking.left)
	}
	if diff := cmp.Diff(eventsOf(t, from), eventsOf(t, to), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the events differ:\n%s", diff)
	}
	var out strings.Builder
	must(trialEnds(ctx, to, &out))
	if got := out.String(); got != "  Ada's trial has ended, as was set in the old store.\n" {
		t.Errorf("what became of the deadline, which was moved before: %s", got)
	}
}

func eventsOf(t *testing.T, ex evento.Executor) (events []evento.RawEvent) {
	t.Helper()
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

var errBroken = errors.New("broken off")

// breaking is a store that fails after some changes.
type breaking struct {
	evento.Importer
	left, used int
}

func (b *breaking) fails() bool {
	b.used++
	return b.used > b.left
}

func (b *breaking) Import(ctx context.Context, events []evento.RawEvent) error {
	if b.fails() {
		return errBroken
	}
	return b.Importer.Import(ctx, events)
}

func (b *breaking) Swap(ctx context.Context, s evento.Swap) error {
	if b.fails() {
		return errBroken
	}
	return b.Importer.Swap(ctx, s)
}

// What would be lost is refused.
func TestRefused(t *testing.T) {
	t.Parallel()
	ctx, from, to := t.Context(), memory.New(nil), memory.New(nil)
	refused := func(why string) {
		t.Helper()
		if _, err := move(ctx, from, to); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("move: %v, want %q in it", err, why)
		}
	}
	running, err := welcome(func(string) {}).Start(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	refused("is running")
	if err := running.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for _, ex := range []evento.Executor{from, to} {
		if _, err := join(ctx, ex, "Ada", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	refused("position 1") // the other store has an event of its own there
}
