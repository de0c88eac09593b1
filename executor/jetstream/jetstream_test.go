package jetstream_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// stores counts the stores of the tests.
var stores atomic.Int64

// opened are the stores of the executors that tests open.
var opened sync.Map

type place struct{ name, dir string }

func openPlace(t testing.TB, url string, p place) evento.Executor {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ex, err := jetstream.Open(ctx, url, &jetstream.Options{Name: p.name, Dir: p.dir, CacheSize: 1 << 20})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	opened.Store(ex, p)
	return ex
}

// contract is for executors on stores of their own, in a cluster.
func contract(url string) executortest.Config {
	at := func(ex evento.Executor) place {
		p, _ := opened.Load(ex)
		return p.(place)
	}
	return executortest.Config{
		Open: func(t testing.TB) evento.Executor {
			p := place{fmt.Sprintf("t%d", stores.Add(1)), filepath.Join(t.TempDir(), "index")}
			ex := openPlace(t, url, p)
			t.Cleanup(func() { remove(t, url, p.name) })
			return ex
		},
		Reopen: func(t testing.TB, ex evento.Executor) evento.Executor {
			p := at(ex)
			if err := ex.Close(); err != nil {
				t.Fatalf("Close() = %v", err)
			}
			return openPlace(t, url, p)
		},
		Share: func(t testing.TB, ex evento.Executor) evento.Executor {
			return openPlace(t, url, place{name: at(ex).name})
		},
	}
}

// remove removes the streams of a store.
func remove(t testing.TB, url, name string) {
	nc, err := nats.Connect(url)
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	for _, stream := range []string{name, name + "-rec", name + "-snap"} {
		if _, err := nc.Request("$JS.API.STREAM.DELETE."+stream, nil, 30*time.Second); err != nil {
			t.Errorf("removing %s: %v", stream, err)
		}
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t, testserver.NATSOptions{}).URL()
	// A server that removes its last stream also removes the folder of all, in which another is
	// being made.
	kept := openPlace(t, url, place{name: "kept"})
	t.Cleanup(func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	executortest.Test(t, contract(url))
}
