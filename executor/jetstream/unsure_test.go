package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// While a server is missing no leader is trusted. Reads go on all the same: of a log that is full,
// to which no message can be added, and by a client that may add none, also when its contexts are
// short.
func TestReadsWhileAServerIsMissing(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Lines: []string{`accounts { A { jetstream: enabled, users: [
		{ user: all, password: secret }
		{ user: reader, password: secret, permissions: { publish: { deny: ["evento.*.log", "evento.*.rec.*"] } } }
	] } }`}})
	as := func(user string) *jetstream.Options {
		return &jetstream.Options{Name: "a", MaxBytes: 20 << 10, Logger: quiet(), Connect: []nats.Option{nats.UserInfo(user, "secret")}}
	}
	ex := open(t, cluster.URL(), as("all"))
	key := evento.RecordKey{Kind: "kind", Key: "k"}
	if err := ex.Swap(t.Context(), evento.Swap{Changes: []evento.Change{{RecordKey: key, Value: []byte("v")}}}); err != nil {
		t.Fatal(err)
	}
	write(t, ex, "x", 0)
	reader := open(t, cluster.URL(), as("reader"))
	cluster.Nodes[2].Kill()
	write(t, ex, "x", 1)

	tries, count := 0, 0
	for ; tries < 50 && count == 0; tries++ {
		count = readFor(t, reader, 300*time.Millisecond)
	}
	if count != 2 {
		t.Errorf("who may not publish reads %d events in %d times of 300 ms, want 2", count, tries)
	}
	page, err := reader.Records(t.Context(), evento.RecordQuery{Kind: "kind"})
	if err != nil || len(page.Records) != 1 {
		t.Errorf("who may not publish reads the records %v, %v", page, err)
	}

	stored, full := 2, error(nil)
	for n := 0; full == nil && n < 100; n++ {
		w := one(fmt.Sprint(n), 0)
		w.Appends[0].Events[0].Data = make([]byte, 1<<10)
		if _, full = ex.Write(t.Context(), w); full == nil {
			stored++
		}
	}
	says(t, "a full log", full, evento.ErrFull)
	for range 200 { // the messages of reads fill what is left
		if got := len(allEvents(t, ex)); got != stored {
			t.Fatalf("there are %d events, and %d were acknowledged", got, stored)
		}
	}
	if _, err := ex.Records(t.Context(), evento.RecordQuery{Kind: "kind"}); err != nil {
		t.Errorf("Records() = %v", err)
	}
}

// readFor returns how many events are read in a time; 0: it did not suffice.
func readFor(t *testing.T, ex evento.Executor, d time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	page, err := ex.Read(ctx, evento.Query{}, cursor.Backward(10, ""))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return 0
	case err != nil:
		t.Fatalf("Read() = %v", err)
	}
	return len(page.Edges)
}

// What the client of NATS has to say, the Logger gets: nothing is printed.
func TestErrorsOfTheConnection(t *testing.T) {
	t.Parallel()
	url := single(t, `accounts { A { jetstream: enabled, users: [
		{ user: all, password: secret }
		{ user: reader, password: secret, permissions: { publish: { deny: "evento.*.log" } } }
	] } }`)
	o := alone("a", "")
	o.Connect = []nats.Option{nats.UserInfo("all", "secret")}
	write(t, open(t, url, o), "x", 0)
	logs := make(chan string, 64)
	o = alone("a", "")
	o.Connect = []nats.Option{nats.UserInfo("reader", "secret")}
	o.Logger = slog.New(slog.NewTextHandler(lines(logs), nil))
	if _, err := open(t, url, o).Write(t.Context(), one("y", 0)); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Fatalf("Write() = %v", err)
	}
	for line := range logs {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "Permissions Violation") && strings.Contains(line, "evento.a.log") {
			return
		}
	}
}

// lines is a writer of what is logged.
type lines chan<- string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default: // nobody looks any more
	}
	return len(b), nil
}
