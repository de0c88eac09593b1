package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

func TestGateOpen(t *testing.T) {
	t.Parallel()
	var g store.Gate
	if err := g.Enter(t.Context()); err != nil {
		t.Fatalf("Enter = %v", err)
	}
	g.Leave()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Enter(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Enter with a context that has ended = %v", err)
	}
	if err := g.Failed(); err != nil || g.Closed() {
		t.Errorf("Failed = %v, Closed = %t", err, g.Closed())
	}
}

func TestGateFail(t *testing.T) {
	t.Parallel()
	var g store.Gate
	first := store.Errorf("the first cause: %w", evento.ErrFull)
	g.Fail(first)
	g.Fail(errors.New("another"))
	for name, err := range map[string]error{"Check": g.Check(t.Context()), "Enter": g.Enter(t.Context()), "Failed": g.Failed()} {
		if !errors.Is(err, evento.ErrClosed) || !errors.Is(err, first) {
			t.Errorf("%s after Fail = %v, want ErrClosed and the first cause", name, err)
		}
		const want = "evento: executor closed: open it again: the first cause: no space left for the store"
		if err.Error() != want {
			t.Errorf("%s after Fail says %q, want %q", name, err, want)
		}
	}
}

// Close waits for those who have entered and lets nobody else in, and a second
// Close waits for the first.
func TestGateClose(t *testing.T) {
	t.Parallel()
	type inside struct{}
	g := store.Gate{Inside: func(ctx context.Context) bool { return ctx.Value(inside{}) != nil }}
	failure := errors.New("of shutting")
	if err := g.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	shutting, left, closed := make(chan struct{}), false, false
	var all sync.WaitGroup
	all.Go(func() {
		err := g.Close(func() error {
			close(shutting)
			g.Wait()
			if !left {
				t.Error("Wait returned before the call had left")
			}
			closed = true
			return failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("Close = %v, want %v", err, failure)
		}
	})
	<-shutting
	all.Go(func() {
		if err := g.Close(func() error { panic("a second time") }); err != nil || !closed {
			t.Errorf("the second Close = %v, closed %t, want nil once it is closed", err, closed)
		}
	})
	for _, enter := range []func(context.Context) error{g.Enter, g.Check} {
		if err := enter(t.Context()); !errors.Is(err, evento.ErrClosed) {
			t.Errorf("while it closes a call got %v, want ErrClosed", err)
		}
	}
	if !g.Closed() {
		t.Error("while it closes, Closed = false")
	}
	within := context.WithValue(t.Context(), inside{}, true)
	if err := g.Check(within); err != nil {
		t.Errorf("Check inside of a transaction = %v", err)
	}
	left = true
	g.Leave()
	all.Wait()
}

// However calls and Close meet, none is under way when Wait returns.
func TestGateConcurrent(t *testing.T) {
	t.Parallel()
	var g store.Gate
	var all sync.WaitGroup
	counts := [8]int{} // written by calls: the race detector sees to it that none is under way when they are read
	for i := range counts {
		all.Go(func() {
			for g.Enter(context.Background()) == nil {
				counts[i]++
				g.Leave()
			}
		})
	}
	_ = g.Close(func() error {
		g.Wait()
		for i := range counts {
			counts[i] = 0
		}
		return nil
	})
	all.Wait()
}
