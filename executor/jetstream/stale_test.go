package jetstream_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// A server that was cut off from the others for long wants to lead. As soon as it reaches one of
// them again, the two may elect it, though that one has heard of the old leader just before. The
// old one does not learn of it when it is cut off at that moment, and goes on to answer: who reads
// by it is answered with what was committed elsewhere all the same, or not at all.
// EVENTO_JETSTREAM_REPLACED is how often.
func TestReadsByAReplacedLeader(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Links: true})
	var clients []*jetstream.Executor
	for _, n := range cluster.Nodes {
		clients = append(clients, openOn(t, n.URL(), "stale", ""))
	}
	for round := range uint64(many(t, "EVENTO_JETSTREAM_REPLACED", 1)) {
		write(t, clients[0], "x", 2*round)
		old := leader(t, cluster, "stale")
		next, third := (old+1)%3, (old+2)%3
		cluster.Part(testserver.Link.Cut, next)
		nc := connection(t, cluster.Nodes[next].URL())
		leaders(t, nc, func(name string) bool { return name == "" })

		cluster.Between(testserver.Link.Heal, next, third)
		leaders(t, nc, func(name string) bool { return name != "" && name != cluster.Nodes[old].Name() })
		cluster.Between(testserver.Link.Cut, old, third)
		write(t, clients[third], "x", 2*round+1)
		read := make(chan int)
		go func() { read <- countOf(t, clients[old], "x") }()
		cluster.Between(testserver.Link.Heal, next, third)
		select {
		case got := <-read:
			t.Fatalf("round %d: a server that is cut off answers a read with %d events", round+1, got)
		case <-time.After(2 * time.Second):
		}
		cluster.Part(testserver.Link.Heal, old)
		if got, want := <-read, 2*int(round)+2; got != want {
			t.Errorf("round %d: by the old leader there are %d events, want %d", round+1, got, want)
		}
	}
}

// leaders waits until a server names a leader of the log of store stale that fits; "": it knows
// none.
func leaders(t *testing.T, nc *nats.Conn, fits func(name string) bool) {
	t.Helper()
	for t.Context().Err() == nil {
		m, err := nc.Request("$JS.API.STREAM.INFO.stale", nil, time.Second)
		if err != nil {
			continue
		}
		var info struct{ Cluster struct{ Leader string } }
		if err := json.Unmarshal(m.Data, &info); err != nil {
			t.Fatal(err)
		}
		if fits(info.Cluster.Leader) {
			return
		}
	}
}
