package main

import (
	"errors"
	"testing"

	"github.com/evento-go/evento"
	v1 "github.com/evento-go/evento/examples/evolution/v1"
	v2 "github.com/evento-go/evento/examples/evolution/v2"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/story"
)

func TestStory(t *testing.T) {
	t.Parallel()
	story.Test(t, run)
}

// What is retired is not stored any more, and what cannot be upcast is an error that names
// the event.
func TestRefused(t *testing.T) {
	t.Parallel()
	ctx, ex := t.Context(), memory.New(nil)
	if _, err := evento.Create().Event(v2.Completed{Cents: 1}).Commit(ctx, ex); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("committing a retired event: %v, want ErrInvalid", err)
	}
	odd, err := evento.Create().Event(v1.Addressed{Address: "Springfield"}).Commit(ctx, ex)
	if err != nil {
		t.Fatal(err)
	}
	var decode *evento.DecodeError
	if _, err := v2.Orders.Load(ctx, ex, odd.AggregateID); !errors.As(err, &decode) || decode.AggregateID != odd.AggregateID {
		t.Errorf("an address without a town: %v, want an error that names its event", err)
	}
}

// Of a rewritten event the first part is the event, in all but its payload.
func TestRewrite(t *testing.T) {
	t.Parallel()
	ctx, from, to := t.Context(), memory.New(nil), memory.New(nil)
	completed, err := evento.Create().Event(v1.Completed{Cents: 7}).RequestedBy("ada").RoutingKey("eu").Commit(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	if err := rewrite(ctx, from, to); err != nil {
		t.Fatal(err)
	}
	was, is := stored(t, from), stored(t, to)
	if len(is) != 2 || is[0].ID != was[0].ID || is[1].ID == was[0].ID {
		t.Fatalf("of %+v were made %+v", was, is)
	}
	for i, e := range is {
		if e.AggregateID != completed.AggregateID || e.RoutingKey != "eu" || e.Metadata.RequestedBy != "ada" || !e.Timestamp.Equal(was[0].Timestamp) || e.Version != uint64(i+1) {
			t.Errorf("part %d is %+v", i, e)
		}
	}
}

func stored(t *testing.T, ex evento.Executor) (events []evento.RawEvent) {
	t.Helper()
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}
