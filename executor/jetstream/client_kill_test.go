package jetstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// writerVariable makes this program a client that writes: its value is a URL, the name of a
// store, a directory, and a name.
const writerVariable = "EVENTO_JETSTREAM_WRITER"

func TestMain(m *testing.M) {
	if text := os.Getenv(writerVariable); text != "" {
		if err := writeForEver(strings.Fields(text)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	testserver.Run(m)
}

// writeForEver prints a line for each event that is acknowledged.
func writeForEver(args []string) error {
	url, name, dir, writer := args[0], args[1], args[2], args[3]
	ctx := context.Background()
	ex, err := jetstream.Open(ctx, url, &jetstream.Options{Name: name, Dir: dir, CacheSize: 1 << 20, Replicas: 1, AllowUnsafe: true, Logger: quiet()})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	failed := make(chan error, 4)
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				w := evento.Write{Appends: []evento.Append{
					{AggregateType: thing, AggregateID: fmt.Sprintf("%s-%d", writer, i), AnyVersion: true, Events: someEvents(1+n%3, n)},
					{AggregateType: thing, AggregateID: "shared", AnyVersion: true, Events: someEvents(1, n)},
				}}
				receipts, err := ex.Write(ctx, w)
				if err != nil {
					failed <- err
					return
				}
				text := ""
				for j, r := range receipts {
					events := w.Appends[j].Events
					text += fmt.Sprintf("%s %d %d %s\n", events[len(events)-1].ID, r.Position, r.Version, r.AggregateID)
				}
				_, _ = os.Stdout.WriteString(text)
			}
		})
	}
	err = <-failed
	return errors.Join(err, ex.Close())
}

// Clients are killed while they write, and begin again with the index that they had: nothing
// that was acknowledged is lost, a commit is there whole or not at all, and the index has what
// the log says. EVENTO_JETSTREAM_CLIENT_KILLS is how many.
func TestKilledClients(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{Nodes: 1}).URL()
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	open(t, url, alone("clients", "")) // makes the store
	r := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	acked := map[string]string{} // by event
	for n := range many(t, "EVENTO_JETSTREAM_CLIENT_KILLS", 6) {
		dir := dirs[n%len(dirs)]
		for line := range killedAfter(t, 1+r.IntN(300), strings.Join([]string{url, "clients", dir, filepath.Base(dir)}, " ")) {
			id, rest, _ := strings.Cut(line, " ")
			acked[id] = rest
		}
	}
	var all [][]evento.RawEvent
	for _, dir := range append(dirs, "") {
		all = append(all, allEvents(t, open(t, url, alone("clients", dir))))
	}
	for i, events := range all {
		found := 0
		for j, e := range events {
			if !sameEvent(e, all[0][j]) || e.Position != uint64(j+1) {
				t.Fatalf("client %d has another event at position %d", i, j+1)
			}
			if want, ok := acked[e.ID.String()]; ok {
				found++
				if got := fmt.Sprintf("%d %d %s", e.Position, e.Version, e.AggregateID); got != want {
					t.Errorf("an event is %s, and its writer was told %s", got, want)
				}
			}
		}
		if len(events) != len(all[0]) || found != len(acked) {
			t.Errorf("client %d has %d events, another %d; it has %d of %d that were acknowledged", i, len(events), len(all[0]), found, len(acked))
		}
	}
	t.Logf("%d acknowledged appends, %d events", len(acked), len(all[0]))
}

// killedAfter runs a writer, kills it after some lines, and yields all whole lines.
func killedAfter(t *testing.T, lines int, args string) func(yield func(string) bool) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), writerVariable+"="+args)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func(yield func(string) bool) {
		defer func() { _ = cmd.Wait() }() // it was killed
		in := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := in.ReadString('\n')
			if err != nil {
				if n < lines {
					t.Errorf("the writer ended after %d lines", n)
				}
				return
			}
			if n == lines {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
			if !yield(strings.TrimSuffix(line, "\n")) {
				return
			}
		}
	}
}
