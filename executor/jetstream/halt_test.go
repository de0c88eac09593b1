package jetstream_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// The leader is halted, then the node that a client is connected to, then two nodes at once:
// who reads and writes meanwhile and afterwards is answered with no less than others were
// before. EVENTO_JETSTREAM_LEADER_HALTS is how often all that is done.
func TestHaltedLeader(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{})
	ex := open(t, cluster.URL(), &jetstream.Options{
		Name: "leader", Dir: filepath.Join(t.TempDir(), "index"), Connect: append(onlyThese, nats.DontRandomize()), Logger: quiet(),
	})
	var clients []evento.Executor
	for _, n := range cluster.Nodes {
		clients = append(clients, openOn(t, n.URL(), "leader", ""))
	}
	l := startLoad(t, ex, "any", 4)
	r := startReaders(t, l, clients...)
	for i := range many(t, "EVENTO_JETSTREAM_LEADER_HALTS", 1) {
		l.progress(20)
		node := leader(t, cluster, "leader")
		cluster.Nodes[node].Freeze()
		timed(t, "the leader is halted, a majority goes on", func() { writes(t, clients[(node+1)%3], "major", i) })
		cluster.Nodes[node].Thaw()
		timed(t, "afterwards", func() {
			l.progress(20)
			writes(t, clients[node], "halted", i)
		})

		cluster.Nodes[i%3].Freeze()
		timed(t, "a node is halted to which a client was connected", func() { l.progress(200) })
		cluster.Nodes[i%3].Thaw()

		node = leader(t, cluster, "leader")
		second := (node + 1) % 3
		cluster.Nodes[node].Freeze()
		cluster.Nodes[second].Freeze()
		w := one("lonely", 0)
		w.Appends[0].AnyVersion = true
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := clients[(node+2)%3].Write(ctx, w); !errors.Is(err, evento.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a majority: Write() = %v", err)
		}
		cancel()
		cluster.Nodes[second].Thaw()
		cluster.Nodes[node].Thaw()
		timed(t, "two were halted, afterwards", func() {
			l.progress(20)
			w.Retry = true
			if _, err := clients[node].Write(t.Context(), w); err != nil {
				t.Errorf("Write() = %v", err)
			}
		})
		l.others += 41
	}
	r.end()
	t.Logf("%d reads", r.reads.Load())
	l.end()
	l.checkAll(clients...)
}
