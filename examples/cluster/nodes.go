// A cluster of NATS: three servers on this machine, each a process.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// node is a server of a cluster.
type node struct {
	name, dir    string
	program      string
	port, routes int
	process      *os.Process   // nil: it does not run
	ended        chan struct{} // closed when the process has
}

// cluster is three of them.
type cluster [3]*node

// newCluster starts servers with their data in a folder, and returns when they take
// connections.
func newCluster(ctx context.Context, dir, program string) (_ cluster, err error) {
	if program == "" {
		if program, err = build(ctx, dir); err != nil {
			return cluster{}, err
		}
	}
	var c cluster
	var routes []string
	for i := range c {
		name := fmt.Sprintf("n%d", i+1)
		c[i] = &node{name: name, dir: filepath.Join(dir, name), program: program}
		if c[i].port, err = freePort(); err != nil {
			return c, err
		}
		if c[i].routes, err = freePort(); err != nil {
			return c, err
		}
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", c[i].routes))
	}
	for _, n := range c {
		if err := n.configure(strings.Join(routes, ", ")); err != nil {
			return c, err
		}
	}
	for _, n := range c {
		if err := n.start(ctx); err != nil {
			return c, errors.Join(err, c.stop())
		}
	}
	return c, nil
}

// build makes the server's program from its Go module, which is in the repository of evento, and no
// part of evento's own: so no user of evento has to have it. It needs a checkout.
func build(ctx context.Context, dir string) (string, error) {
	const remedy = "run the example in a checkout of evento, or give it a server with -server PATH"
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/evento-go/evento").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("finding the module of evento: %w\n%s%s", err, out, remedy)
	}
	program := filepath.Join(dir, "nats-server")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/nats-io/nats-server/v2")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(out)), "internal", "testserver", "natsserver")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the server of NATS: %w\n%s%s", err, said, remedy)
	}
	return program, nil
}

// configure writes the configuration. sync_interval is what makes an acknowledgement a promise:
// without it, servers that lose their power together lose what they have acknowledged.
func (n *node) configure(routes string) error {
	text := fmt.Sprintf(`server_name: %s
listen: 127.0.0.1:%d
jetstream { store_dir: %q, sync_interval: always }
cluster { name: bank, listen: 127.0.0.1:%d, routes: [%s] }
`, n.name, n.port, filepath.Join(n.dir, "data"), n.routes, routes)
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.dir, "nats.conf"), []byte(text), 0o600)
}

func (n *node) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

// start starts the server, and returns when it takes connections.
func (n *node) start(ctx context.Context) error {
	said, err := os.OpenFile(filepath.Join(n.dir, "nats.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer said.Close() //nolint:errcheck // the server has its own
	cmd := exec.Command(n.program, "-c", filepath.Join(n.dir, "nats.conf"))
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	n.process, n.ended = cmd.Process, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed, or says why it ends
	}()
	if err := n.await(ctx); err != nil {
		text, _ := os.ReadFile(said.Name())
		return fmt.Errorf("server %s takes no connections: %w\n%s", n.name, err, text)
	}
	return nil
}

// await waits until the server takes connections.
func (n *node) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(n.url(), "nats://"))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-n.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		}
	}
}

// kill ends the server in the middle of what it does.
func (n *node) kill() error {
	if n.process == nil {
		return nil
	}
	err := n.process.Kill()
	<-n.ended
	n.process = nil
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

func (c cluster) stop() (err error) {
	for _, n := range c {
		err = errors.Join(err, n.kill())
	}
	return err
}

// url is that of all servers.
func (c cluster) url() string {
	var urls []string
	for _, n := range c {
		urls = append(urls, n.url())
	}
	return strings.Join(urls, ",")
}

// leader is the server that leads the log of a store.
func (c cluster) leader(ctx context.Context, nc *nats.Conn, store string) (*node, error) {
	for {
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		m, err := nc.RequestWithContext(bounded, "$JS.API.STREAM.INFO."+store, nil)
		cancel()
		var info struct {
			Cluster struct {
				Leader string `json:"leader"`
			} `json:"cluster"`
		}
		if err == nil {
			err = json.Unmarshal(m.Data, &info)
		}
		for _, n := range c {
			if err == nil && n.name == info.Cluster.Leader {
				return n, nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// freePort finds a port of the loopback, below those that systems use for connections.
func freePort() (port int, err error) {
	for range 100 {
		port = 20000 + rand.IntN(12000)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}
