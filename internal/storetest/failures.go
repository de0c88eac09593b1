package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// FailAtTheEnd tests transactional subscriptions: when a transaction cannot be committed
// because of what its handler did in it, the handler's event has failed. In the
// transaction of its context, work does what can be committed; doom does what cannot, and
// returns nil.
func FailAtTheEnd(t *testing.T, ex evento.Transactor, work, doom func(tx context.Context) error) {
	t.Helper()
	var ids []evento.ID
	for i := range 6 {
		r, err := evento.Create().Event(chore{Doomed: i == 2}).Commit(t.Context(), ex)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, eventAt(t, ex, r.Position).ID)
	}
	for _, chunk := range []int{1, 300} {
		for _, park := range []bool{false, true} {
			key := fmt.Sprintf("chunks of %d, parked %t", chunk, park)
			calls := map[evento.ID]int{}
			b := evento.NewSubscription(key).Transactional().ChunkSize(chunk).Retry(2).Logger(slog.New(slog.DiscardHandler)).
				Handler(evento.Handle(func(ctx context.Context, e evento.Event[chore]) error {
					calls[e.ID]++
					if e.Data.Doomed {
						return doom(ctx)
					}
					return work(ctx)
				}))
			if park {
				b.AcceptFailure()
			}
			err := b.Execute(t.Context(), ex)
			s, statusErr := evento.ControlOf(ex, key).Status(t.Context())
			if statusErr != nil {
				t.Fatal(statusErr)
			}
			var h *evento.HandlerError
			switch {
			case !park && (!errors.As(err, &h) || h.Event.ID != ids[2] || h.Attempts != 3 || s.Behind != 4 || s.Partitions[0].Error == ""):
				t.Errorf("%s: Execute: %v, want a HandlerError of the third event after 3 attempts; status %+v", key, err, s)
			case park && (err != nil || s.Parked != 1 || s.Behind != 0):
				t.Errorf("%s: Execute: %v, status %+v, want one event parked and nothing behind", key, err, s)
			}
			if calls[ids[2]] > 10 {
				t.Errorf("%s: the doomed event was handled %d times", key, calls[ids[2]])
			}
			if park {
				parkedIs(t, ex, key, ids[2])
			}
		}
	}
}

func parkedIs(t *testing.T, ex evento.Executor, key string, id evento.ID) {
	t.Helper()
	var got []evento.ID
	for p, err := range evento.ControlOf(ex, key).Parked(t.Context(), evento.AllParked()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.ID)
	}
	if !slices.Equal(got, []evento.ID{id}) {
		t.Errorf("%s: parked %v, want %s", key, got, id)
	}
}

func eventAt(t *testing.T, ex evento.Executor, position uint64) evento.RawEvent {
	t.Helper()
	before, err := ex.CursorAt(position - 1)
	if err != nil {
		t.Fatal(err)
	}
	page, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(1, before))
	if err != nil || len(page.Edges) == 0 {
		t.Fatalf("there is no event at position %d: %v", position, err)
	}
	return page.Edges[0].Node
}

// chore is the event of these tests.
type chore struct{ Doomed bool }

func (chore) AggregateType() evento.AggregateType { return "storetest/Chore" }
func (chore) EventName() string                   { return "Due" }
