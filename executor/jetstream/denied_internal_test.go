package jetstream

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/testserver"
)

// What the server forbids is known at once, not when an answer is overdue: that takes an hour here. A
// handler of errors that the program has is called as well.
func TestForbiddenAtOnce(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{`accounts { A { jetstream: enabled, users: [
		{ user: inbox, password: secret, permissions: { subscribe: { deny: "_INBOX.>" } } }
		{ user: info, password: secret, permissions: { publish: { deny: "$JS.API.STREAM.INFO.a" } } }
	] } }`}}).URL()
	for user, subject := range map[string]string{"inbox": `Subscription to "_INBOX.`, "info": `Publish to "$JS.API.STREAM.INFO.a"`} {
		told := make(chan error, 16)
		o := Options{Name: "a", Logger: slog.New(slog.DiscardHandler), Connect: []nats.Option{
			nats.UserInfo(user, "secret"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { told <- err }),
		}}
		err := connected(t.Context(), url, &o, func(ex *Executor) error {
			ex.timeout = time.Hour
			_, first := ex.info(t.Context(), "a")
			if first == nil || !strings.Contains(first.Error(), subject) {
				t.Errorf("%s: %v, want %q in it", user, first, subject)
			}
			_, again := ex.info(t.Context(), "a")
			return again
		})
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), subject) {
			t.Errorf("%s again: %v, want %q in it", user, err, subject)
		}
		if err := <-told; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: the handler of the program is told %v", user, err)
		}
	}
}

// A commit of a client of which the server has refused all that it ever sent is not stored. If an answer to
// something is missing, it may be that of the commit.
func TestForbiddenCommit(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1, Lines: []string{`accounts { A { jetstream: enabled, users: [
		{ user: all, password: secret }
		{ user: reader, password: secret, permissions: { publish: { deny: "evento.*.log" } } }
	] } }`}}).URL()
	as := func(user string) *Options {
		return &Options{Name: "a", Replicas: 1, AllowUnsafe: true, Logger: slog.New(slog.DiscardHandler), Connect: []nats.Option{nats.UserInfo(user, "secret")}}
	}
	all, err := Open(t.Context(), url, as("all"))
	if err != nil {
		t.Fatal(err)
	}
	if err := all.Close(); err != nil {
		t.Fatal(err)
	}
	ex, err := Open(t.Context(), url, as("reader"))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 3 << 20} { // one message, and several
		_, err = ex.sender.propose(t.Context(), &proposal{write: &evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "x", Events: []evento.NewEvent{
			{ID: evento.NewID(), Name: "n", Codec: "json", Data: make([]byte, size)},
		}}}}})
		if !errors.Is(err, evento.ErrReadOnly) || !errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, evento.ErrOutcomeUnknown) {
			t.Errorf("a commit of %d bytes: %v, want ErrReadOnly", size, err)
		}
	}
	ex.sender.published++ // one was lost on the way
	_, err = ex.sender.propose(t.Context(), &proposal{write: &evento.Write{}})
	if !errors.Is(err, evento.ErrOutcomeUnknown) || !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("a further one: %v, want ErrOutcomeUnknown", err)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}
