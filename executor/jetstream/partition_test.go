package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/store"
	"github.com/evento-go/evento/internal/testserver"
)

// readers read all the time, each from its own client: nobody is answered with less than
// anybody was before the call began, a writer or a reader.
type readers struct {
	answered atomic.Uint64 // the highest position
	reads    atomic.Int64
	end      func()
}

func startReaders(t *testing.T, l *load, clients ...evento.Executor) *readers {
	r := &readers{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i, ex := range clients {
		wg.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				before := max(r.answered.Load(), l.highest.Load())
				page, err := ex.Read(ctx, evento.Query{}, backward)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("reader %d: %v", i+1, err)
					}
					return
				}
				got := uint64(0)
				for _, e := range page.Edges {
					got = e.Node.Position
				}
				if got < before {
					t.Errorf("reader %d reads up to %d, when %d was answered before", i+1, got, before)
				}
				store.Raise(&r.answered, got)
				r.reads.Add(1)
			}
		})
	}
	r.end = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(r.end)
	return r
}

// leader is the node that leads the log of a store.
func leader(t *testing.T, cluster *testserver.NATSCluster, name string) int {
	t.Helper()
	nc := connection(t, cluster.URL())
	for t.Context().Err() == nil {
		m, err := nc.Request("$JS.API.STREAM.INFO."+name, nil, time.Second)
		if err != nil {
			continue // there is none now
		}
		var info struct{ Cluster struct{ Leader string } }
		if err := json.Unmarshal(m.Data, &info); err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(cluster.Nodes, func(n *testserver.NATSNode) bool { return n.Name() == info.Cluster.Leader }); i >= 0 {
			return i
		}
	}
	return 0
}

// whole waits until the leader of a store's log has heard of all others lately, and they have
// what it has.
func whole(t *testing.T, cluster *testserver.NATSCluster, name string) {
	t.Helper()
	nc := connection(t, cluster.URL())
	defer nc.Close()
	for t.Context().Err() == nil {
		m, err := nc.Request("$JS.API.STREAM.INFO."+name, nil, time.Second)
		if err != nil {
			continue
		}
		var info struct {
			Cluster struct {
				Leader   string
				Replicas []jetstream.Peer
			}
		}
		if err := json.Unmarshal(m.Data, &info); err != nil {
			t.Fatal(err)
		}
		all := info.Cluster.Leader != "" && len(info.Cluster.Replicas) == len(cluster.Nodes)-1
		for _, p := range info.Cluster.Replicas {
			all = all && !p.Offline && p.Lag == 0 && p.Active < 2*time.Second
		}
		if all {
			return
		}
	}
}

// openOn opens a store as a client that knows these nodes alone.
func openOn(t *testing.T, url, name, dir string) *jetstream.Executor {
	t.Helper()
	return open(t, url, &jetstream.Options{Name: name, Dir: dir, CacheSize: 1 << 20, Connect: onlyThese, Logger: quiet()})
}

// timed logs how long what comes after the end of a fault takes. Elections take up to 9 seconds,
// and servers whose connections stall may need longer.
func timed(t *testing.T, what string, do func()) {
	t.Helper()
	began := time.Now()
	do()
	t.Logf("%s: %s", what, time.Since(began).Round(time.Millisecond))
}

// partition parts a node from the others: the leader, or one that follows it.
type partition struct {
	name string
	do   func(testserver.Link)
	next int
}

// Nodes are parted from each other, by connections that are cut or that stall: who can reach
// a majority goes on, and the others do when the fault is over. EVENTO_JETSTREAM_PARTITIONS
// is how many.
func TestPartitions(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Links: true})
	ex := openStore(t, cluster.URL(), "parts", filepath.Join(t.TempDir(), "index"))
	clients := []evento.Executor{ex}
	for _, n := range cluster.Nodes {
		clients = append(clients, openOn(t, n.URL(), "parts", ""))
	}
	l := startLoad(t, ex, "any", 4)
	r := startReaders(t, l, clients...)
	faults := []partition{
		{"the leader is behind links that stall", testserver.Link.Stall, 0},
		{"the leader is cut off", testserver.Link.Cut, 0},
		{"another is cut off", testserver.Link.Cut, 1},
	}
	for i := range many(t, "EVENTO_JETSTREAM_PARTITIONS", len(faults)) {
		fault := faults[i%len(faults)]
		l.progress(20)
		whole(t, cluster, "parts")
		node := (leader(t, cluster, "parts") + fault.next) % 3
		cluster.Part(fault.do, node)
		major := clients[1+(node+1)%3]
		timed(t, fault.name+", a majority goes on", func() { writes(t, major, "major", i) })
		cluster.Part(testserver.Link.Heal, node)
		timed(t, fault.name+", afterwards", func() {
			l.progress(20)
			writes(t, clients[1+node], "minor", i)
		})
		l.others += 40
	}
	cluster.Part(testserver.Link.Cut, 0)
	cluster.Part(testserver.Link.Cut, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	w := one("lonely", 0)
	if _, err := clients[1].Write(ctx, w); !errors.Is(err, evento.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a majority: Write() = %v", err)
	}
	cluster.Part(testserver.Link.Heal, 0)
	cluster.Part(testserver.Link.Heal, 1)
	timed(t, "all were apart, afterwards", func() {
		l.progress(20)
		w.Retry = true
		if _, err := clients[1].Write(t.Context(), w); err != nil {
			t.Error(err)
		}
	})
	r.end()
	t.Logf("%d reads", r.reads.Load())
	l.end()
	l.others++
	l.checkAll(clients[1:]...)
}

const twenty = 20

// writes makes twenty writes one after the other.
func writes(t *testing.T, ex evento.Executor, id string, round int) {
	t.Helper()
	for i := range twenty {
		if _, err := ex.Write(t.Context(), one(id, uint64(round*twenty+i))); err != nil {
			t.Errorf("Write() = %v", err)
			return
		}
	}
}

// A client is connected to a server that is cut off from the others, or to which its own
// connection stalls: it goes on by another server while that lasts.
func TestCutOffServer(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{Links: true})
	url, proxies := behind(t, cluster, nil)
	ex := open(t, url, &jetstream.Options{Name: "moves", Connect: append(onlyThese, nats.DontRandomize()), Logger: quiet()})
	write(t, ex, "x", 0)
	cluster.Part(testserver.Link.Cut, 0)
	timed(t, "a write by a server that is cut off", func() { write(t, ex, "x", 1) })
	cluster.Part(testserver.Link.Heal, 0)
	write(t, ex, "x", 2)
	for _, p := range proxies[1:] {
		p.Stall()
	}
	timed(t, "a read by a connection that stalls", func() {
		if got := countOf(t, ex, "x"); got != 3 {
			t.Errorf("there are %d events, want 3", got)
		}
	})
	for _, p := range proxies[1:] {
		p.Heal()
	}
}
