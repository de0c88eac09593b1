// Command cluster is an example of a store on a cluster of NATS, of which nodes are killed
// while two clients write.
//
//	go run ./examples/cluster                three servers on this machine, in a folder that is removed
//	go run ./examples/cluster -server PATH   with this program of the server
//
// Without -server the server is built from its Go module, in a checkout of evento; the first time
// that takes a minute or two, and prints nothing meanwhile. The story itself takes half a minute. An
// interrupt ends the servers and removes the folder, which takes some seconds. nodes.go has the cluster, bank.go the application, tellers.go those who use it, and
// check.go what is looked at in the end. Where there is a ~, numbers differ from run to run. It
// prints:
//
//	Three nodes of NATS are started, and two clients open a bank of 20 accounts.
//
//	8 tellers at each client transfer money, and nodes are killed.
//	  The leader is killed. 200 transfers later, which took ~N, it is started again.
//	  One of the nodes is killed. 200 transfers later, which took ~N, it is started again.
//	  The leader is killed. 200 transfers later, which took ~N, it is started again.
//
//	What is there now:
//	  ~N transfers were acknowledged. Each is there once, at the positions that its teller was told.
//	  Both clients have the same ~N events, and a third that begins anew has them too.
//	  The subscription has handled every transfer.
//	  The slowest transfer took ~N.
//	  The accounts have 20000.00 together, as at the beginning.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
)

func main() {
	server := flag.String("server", "", "the `path` of a nats-server")
	flag.Parse()
	slog.SetLogLoggerLevel(slog.LevelWarn)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *server, os.Stdout)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, server string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		return err
	}
	return errors.Join(inFolder(ctx, dir, server, out), os.RemoveAll(dir))
}

func inFolder(ctx context.Context, dir, server string, out io.Writer) (err error) {
	nodes, err := newCluster(ctx, dir, server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.stop()) }()
	var clients []evento.Executor
	for i := range 2 {
		client, err := openStore(ctx, nodes, filepath.Join(dir, fmt.Sprintf("index-%d", i+1)))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, client.Close()) }()
		clients = append(clients, client)
	}
	return tellStory(ctx, nodes, clients, out)
}

const storeName = "bank"

// openStore opens the store on the cluster; "" as index: in memory.
func openStore(ctx context.Context, nodes cluster, index string) (evento.Executor, error) {
	return jetstream.Open(ctx, nodes.url(), &jetstream.Options{Name: storeName, Dir: index})
}

func tellStory(ctx context.Context, nodes cluster, clients []evento.Executor, out io.Writer) error {
	fmt.Fprintf(out, "Three nodes of NATS are started, and two clients open a bank of %d accounts.\n", accounts)
	if err := openAccounts(ctx, clients[0]); err != nil {
		return err
	}
	handled := &received{}
	for _, client := range clients { // one of them works, the other stands by
		running, err := handled.subscription().Start(ctx, client)
		if err != nil {
			return err
		}
		defer func() { _ = running.Shutdown(context.WithoutCancel(ctx)) }()
	}

	const each = 8
	fmt.Fprintf(out, "\n%d tellers at each client transfer money, and nodes are killed.\n", each)
	t := startTellers(ctx, clients, each)
	err := killSome(ctx, nodes, t, out)
	if err := cmp.Or(t.end(), err); err != nil {
		return err
	}

	fmt.Fprintln(out, "\nWhat is there now:")
	fresh, err := openStore(ctx, nodes, "")
	if err != nil {
		return err
	}
	return errors.Join(check(ctx, t, handled, clients, fresh, out), fresh.Close())
}

// killSome kills nodes, and starts each again when the others have gone on without it.
func killSome(ctx context.Context, nodes cluster, t *tellers, out io.Writer) error {
	nc, err := nats.Connect(nodes.url(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer nc.Close()
	const further = 200
	for _, which := range []string{"The leader", "One of the nodes", "The leader"} {
		if _, err := t.await(ctx, further); err != nil {
			return err
		}
		victim := nodes[rand.IntN(len(nodes))]
		if which == "The leader" {
			if victim, err = nodes.leader(ctx, nc, storeName); err != nil {
				return err
			}
		}
		if err := victim.kill(); err != nil {
			return err
		}
		took, err := t.await(ctx, further)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s is killed. %d transfers later, which took ~%s, it is started again.\n", which, further, took.Round(time.Millisecond))
		if err := victim.start(ctx); err != nil {
			return err
		}
	}
	_, err = t.await(ctx, further)
	return err
}
