package jetstream_test

import (
	"testing"

	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// A store is opened while a server of the cluster is not there yet: it is made when it comes.
func TestOpenWhileServersStart(t *testing.T) {
	t.Parallel()
	cluster := testserver.NATS(t, testserver.NATSOptions{})
	last := cluster.Nodes[2]
	last.Kill()
	opened := make(chan error, 1)
	go func() {
		ex, err := jetstream.Open(t.Context(), cluster.URL(), &jetstream.Options{Name: "early", Connect: onlyThese, Logger: quiet()})
		if err == nil {
			err = ex.Close()
		}
		opened <- err
	}()
	last.Start()
	if err := <-opened; err != nil {
		t.Errorf("Open() = %v", err)
	}
}
