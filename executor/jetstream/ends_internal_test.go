package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/testserver"
)

// A read whose context ends does not wait for the message by which it makes sure.
func TestReadEndsWhileItMakesSure(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}), make(chan struct{})
	ex := &Executor{connection: &connection{}, sender: &sender{queue: appendqueue.New(
		appendqueue.Options{Patience: 1 << 60, Closed: evento.ErrClosed, Unknown: evento.ErrOutcomeUnknown},
		func(_ context.Context, take func() (context.Context, []*appendqueue.Call[*request])) {
			_, calls := take()
			calls = appendqueue.Hold(calls)
			close(held)
			<-release
			for _, c := range calls {
				c.Finish(nil)
			}
		},
	)}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-held
		cancel()
	}()
	if err := ex.makeSure(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("makeSure() = %v, want the context's error", err)
	}
	close(release)
	ex.sender.queue.Close()
}

// Who waits for a leader is told when the executor is closed, or has failed.
func TestWaitingForALeaderEnds(t *testing.T) {
	t.Parallel()
	silence := func() error { return fmt.Errorf("of the server: %w", context.DeadlineExceeded) }
	closing := &connection{failed: make(chan struct{}), closing: make(chan struct{})}
	close(closing.closing)
	if err := closing.persist(t.Context(), silence); !errors.Is(err, evento.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("closed: %v", err)
	}
	failed := &connection{failed: make(chan struct{}), closing: make(chan struct{})}
	failed.gate.Fail(evento.ErrDamaged)
	close(failed.failed)
	if err := failed.persist(t.Context(), silence); !errors.Is(err, evento.ErrClosed) || !errors.Is(err, evento.ErrDamaged) {
		t.Errorf("failed: %v", err)
	}
}

// What does not open leaves nothing behind on the connection of its caller.
func TestNothingIsLeftOfAFailedNew(t *testing.T) {
	t.Parallel()
	lines := `accounts { A { jetstream: enabled, users: [
		{ user: all, password: secret }
		{ user: pub, password: secret, permissions: { subscribe: { deny: "evento.a.pub" } } }
		{ user: recpub, password: secret, permissions: { subscribe: { deny: "evento.a.recpub.*" } } }
	] } }`
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{lines}}).URL()
	options := &Options{Name: "a", Replicas: 1, AllowUnsafe: true, Logger: slog.New(slog.DiscardHandler)}
	for _, user := range []string{"all", "pub", "recpub"} {
		nc, err := nats.Connect(url, nats.UserInfo(user, "secret"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		if _, err := nc.Request("nobody", nil, 1<<40); !errors.Is(err, nats.ErrNoResponders) { // it subscribes for answers
			t.Fatal(err)
		}
		before := nc.NumSubscriptions()
		ex, err := New(t.Context(), nc, options)
		if (err == nil) != (user == "all") {
			t.Fatalf("%s: New() = %v", user, err)
		}
		if err == nil {
			if err := ex.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := nc.NumSubscriptions(); got != before {
			t.Errorf("%s: %d subscriptions are left, of %d", user, got, before)
		}
	}
}

// A group that a full log refuses is not stored, if no copy was sent before. Of one that was sent
// before it is not known, and it does not keep others waiting for ever.
func TestRefusedGroups(t *testing.T) {
	t.Parallel()
	full := &apiError{ErrCode: storeFailed, Description: "maximum bytes exceeded"}
	first := &group{parts: [][]byte{make([]byte, headerLen+1)}}
	if err := first.refused(full, 0); !errors.Is(err, evento.ErrFull) {
		t.Errorf("the first copy: %v", err)
	}
	if err := first.refused(&apiError{ErrCode: storeFailed, Description: "else"}, 0); err != nil {
		t.Errorf("a failure of the leader's: %v", err)
	}
	late := &group{parts: first.parts, sender: first.sender, attempt: 1}
	if err := late.refused(full, 0); errors.Is(err, evento.ErrFull) {
		t.Errorf("the first copy, when another was sent: %v", err)
	}
	parts := &group{parts: [][]byte{{}, {}, {}}, first: 1}
	if err := parts.refused(&apiError{ErrCode: accountFull, Description: "full"}, 0); !errors.Is(err, evento.ErrFull) {
		t.Errorf("a part of which there is no other copy: %v", err)
	}
	again := &group{parts: first.parts}
	var err error
	for n := 0; n < 100 && err == nil; n++ {
		err = again.refused(full, 1)
	}
	if !errors.Is(err, evento.ErrOutcomeUnknown) || errors.Is(err, evento.ErrFull) || again.refusals < 2 {
		t.Errorf("further copies: %v after %d", err, again.refusals)
	}
	empty := &group{parts: [][]byte{make([]byte, headerLen)}}
	if err := empty.refused(full, 1); !errors.Is(err, evento.ErrFull) {
		t.Errorf("with nothing in it: %v", err)
	}
}

// Who lists snapshots does not wait for another who does, when its context ends or Close waits
// no longer.
func TestListingSnapshotsEnds(t *testing.T) {
	t.Parallel()
	list, c := newSnapshotList(), &connection{closing: make(chan struct{})}
	list.reading <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := list.read(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("its context has ended: %v", err)
	}
	close(c.closing)
	if _, err := list.read(t.Context(), c); !errors.Is(err, evento.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
