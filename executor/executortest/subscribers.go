// Who owns a subscription's key, and how far it got.

package executortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

func testSubscribers(t *testing.T, c Config) {
	c.run(t, "Unknown", subscribersUnknown)
	c.run(t, "TakeOver", subscribersTakeOver)
	c.run(t, "Opaque", subscribersOpaque)
	c.run(t, "KeysApart", subscribersKeysApart)
	c.run(t, "Fenced", subscribersFenced)
	if c.Share != nil {
		c.run(t, "Shared", func(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
			takeOver(ctx, t, ex, c.share(t, ex))
		})
	}
}

func upsert(ctx context.Context, t *testing.T, ex evento.Executor, key string, worker evento.ID, want cursor.Value) {
	t.Helper()
	if got, err := ex.UpsertSubscriber(ctx, key, worker); err != nil || got != want {
		t.Fatalf("UpsertSubscriber(%q, %s): got %q, %v, want %q", key, worker, got, err, want)
	}
}

func acknowledge(ctx context.Context, t *testing.T, ex evento.Executor, key string, worker evento.ID, at cursor.Value) {
	t.Helper()
	if err := ex.Acknowledge(ctx, key, worker, at); err != nil {
		t.Fatalf("Acknowledge(%q, %s, %q): %v", key, worker, at, err)
	}
}

func wantSubscriber(ctx context.Context, t *testing.T, ex evento.Executor, key string, want cursor.Value) {
	t.Helper()
	if got, err := ex.SubscriberCursor(ctx, key); err != nil || got != want {
		t.Fatalf("SubscriberCursor(%q): got %q, %v, want %q", key, got, err, want)
	}
}

func wantRunning(ctx context.Context, t *testing.T, ex evento.Executor, key string, worker evento.ID, want bool) {
	t.Helper()
	if got, err := ex.SubscriberRunning(ctx, key, worker); err != nil || got != want {
		t.Fatalf("SubscriberRunning(%q, %s): got %t, %v, want %t", key, worker, got, err, want)
	}
}

// wantTakenOver acknowledges for a worker that does not own the key.
func wantTakenOver(ctx context.Context, t *testing.T, ex evento.Executor, key string, worker evento.ID, at cursor.Value) {
	t.Helper()
	if err := ex.Acknowledge(ctx, key, worker, at); !errors.Is(err, evento.ErrTakenOver) {
		t.Fatalf("Acknowledge(%q, %s, %q) by another than the owner: got %v, want the error %q", key, worker, at, err, evento.ErrTakenOver)
	}
}

func subscribersUnknown(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	upsert(ctx, t, ex, "another", evento.NewID(), "")
	worker := evento.NewID()
	wantRunning(ctx, t, ex, "new", worker, false)
	wantTakenOver(ctx, t, ex, "new", worker, "somewhere")
	if got, err := ex.SubscriberCursor(ctx, "new"); !errors.Is(err, evento.ErrNotFound) {
		t.Errorf("SubscriberCursor of a key that was never upserted: got %q, %v, want the error %q", got, err, evento.ErrNotFound)
	}
	upsert(ctx, t, ex, "new", worker, "")
	wantSubscriber(ctx, t, ex, "new", "")
	wantRunning(ctx, t, ex, "new", worker, true)
}

func subscribersTakeOver(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	takeOver(ctx, t, ex, ex)
}

// takeOver is an old worker on one executor and a new one on another.
func takeOver(ctx context.Context, t *testing.T, older, newer evento.Executor) {
	t.Helper()
	m := fill(ctx, t, older, 6)
	first, second := evento.NewID(), evento.NewID()

	upsert(ctx, t, older, "key", first, "")
	acknowledge(ctx, t, older, "key", first, m[1].Cursor)
	wantSubscriber(ctx, t, newer, "key", m[1].Cursor)

	upsert(ctx, t, newer, "key", second, m[1].Cursor)
	wantRunning(ctx, t, older, "key", first, false)
	wantRunning(ctx, t, older, "key", second, true)
	wantTakenOver(ctx, t, older, "key", first, m[3].Cursor)
	wantSubscriber(ctx, t, newer, "key", m[1].Cursor)
	acknowledge(ctx, t, newer, "key", second, m[2].Cursor)
	wantTakenOver(ctx, t, older, "key", first, m[2].Cursor) // where it already is, too
	wantSubscriber(ctx, t, older, "key", m[2].Cursor)

	// The same worker again keeps its place; the first may come back.
	upsert(ctx, t, newer, "key", second, m[2].Cursor)
	upsert(ctx, t, older, "key", first, m[2].Cursor)
	wantRunning(ctx, t, newer, "key", second, false)
	wantTakenOver(ctx, t, newer, "key", second, m[4].Cursor)
	acknowledge(ctx, t, older, "key", first, m[0].Cursor) // back is a place like any
	wantSubscriber(ctx, t, newer, "key", m[0].Cursor)
}

// What is acknowledged is stored as it is.
func subscribersOpaque(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	worker := evento.NewID()
	upsert(ctx, t, ex, "key", worker, "")
	foreign := fill(ctx, t, c.open(t), 1)[0].Cursor
	for _, at := range []cursor.Value{"x", "X", "x ", "not a cursor at all", foreign, "", "007", "1e3", "NULL", "'", "~-._", cursor.Value(strings.Repeat("z", 300))} {
		acknowledge(ctx, t, ex, "key", worker, at)
		wantSubscriber(ctx, t, ex, "key", at)
		upsert(ctx, t, ex, "key", worker, at)
	}
}

func subscribersKeysApart(ctx context.Context, t *testing.T, _ Config, ex evento.Executor) {
	names := hostileNames()
	workers := make([]evento.ID, len(names))
	for i, key := range names {
		workers[i] = evento.NewID()
		upsert(ctx, t, ex, key, workers[i], "")
		acknowledge(ctx, t, ex, key, workers[i], cursor.Value(fmt.Sprint(i)))
	}
	for i, key := range names {
		wantSubscriber(ctx, t, ex, key, cursor.Value(fmt.Sprint(i)))
		wantRunning(ctx, t, ex, key, workers[i], true)
		wantRunning(ctx, t, ex, key, workers[(i+1)%len(workers)], false)
	}
}

// Of workers that took the key at once, one owns it: only its cursor is stored.
func subscribersFenced(ctx context.Context, t *testing.T, c Config, ex evento.Executor) {
	const workers, rounds = 4, 8
	exs := []evento.Executor{ex}
	if c.Share != nil {
		exs = append(exs, c.share(t, ex))
	}
	for round := range rounds {
		ids := make([]evento.ID, workers)
		together(t, workers, func(i int) error {
			ids[i] = evento.NewID()
			_, err := exs[i%len(exs)].UpsertSubscriber(ctx, "key", ids[i])
			return err
		})
		stored := make([]bool, workers)
		place := func(i int) cursor.Value { return cursor.Value(fmt.Sprint("place ", round, " of ", i)) }
		together(t, workers, func(i int) error {
			err := exs[i%len(exs)].Acknowledge(ctx, "key", ids[i], place(i))
			if stored[i] = err == nil; errors.Is(err, evento.ErrTakenOver) {
				return nil
			}
			return err
		})
		owner := slices.Index(stored, true)
		if owner < 0 || slices.Contains(stored[owner+1:], true) {
			t.Fatalf("round %d: Acknowledge succeeded for the workers %v, want it for one", round+1, stored)
		}
		wantSubscriber(ctx, t, ex, "key", place(owner))
		for i, id := range ids {
			wantRunning(ctx, t, ex, "key", id, i == owner)
		}
	}
}
