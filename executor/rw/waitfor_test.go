package rw_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/rw"
)

// WaitFor through a replica that does not show yet what another process has
// committed waits until the subscription has handled that.
func TestWaitForOfWhatIsNotShown(t *testing.T) {
	t.Parallel()
	p := newPrimary()
	replica := p.replica(0)
	ex := rw.New(replica, p)
	defer func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := evento.NewSubscription("s").Handler(evento.HandleEvery(func(context.Context, evento.RawEvent) error { return nil }))
	if err := b.Execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r, err := evento.Create().Event(remark{}).Commit(t.Context(), p) // by another process
	if err != nil {
		t.Fatal(err)
	}
	early, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := evento.WaitFor(early, ex, "s", r.Position); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitFor before the replica shows the event: %v, want it to wait", err)
	}
	replica.show(1)
	early, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := evento.WaitFor(early, ex, "s", r.Position); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitFor before the subscription has handled the event: %v, want it to wait", err)
	}
	if err := b.Execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := evento.WaitFor(t.Context(), ex, "s", r.Position); err != nil {
		t.Errorf("WaitFor of what was handled: %v", err)
	}
}

type remark struct{}

func (remark) AggregateType() evento.AggregateType { return "rw/Note" }
func (remark) EventName() string                   { return "Noted" }
