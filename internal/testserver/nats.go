//go:build unix

package testserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// NATSCluster is a cluster of servers of NATS of one test, or of those of a package, each a
// process.
type NATSCluster struct {
	Nodes []*NATSNode
	links [][]Link // by who connects and to whom; nil: the nodes connect directly
}

// NATSNode is a server of a cluster.
type NATSNode struct {
	t            testing.TB
	name, dir    string
	host         string
	within       func(*exec.Cmd) *exec.Cmd // nil: it runs as it is
	port, routes int
	server       *process
}

// NATSOptions are lines of the configuration of each server, beside those that make the
// cluster.
type NATSOptions struct {
	Nodes int // 0: 3
	Lines []string
	// Store is the folder of a server's data, by its index. nil: temporary folders.
	Store func(node int) string
	// Links makes a network that can fail, for Part and Between: proxies on loopback
	// ports, or with EVENTO_NAMESPACES=1 network namespaces, which need the superuser and
	// iproute2.
	Links bool
}

// NATS starts a cluster of servers that sync what they acknowledge, on loopback ports and with
// their data in temporary folders, and returns when it takes calls.
func NATS(t testing.TB, o NATSOptions) *NATSCluster {
	t.Helper()
	had.Add(1)
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	c := &NATSCluster{}
	for i := range o.Nodes {
		c.Nodes = append(c.Nodes, &NATSNode{t: t, name: fmt.Sprintf("n%d", i+1), dir: temporary(t), host: "127.0.0.1", port: freePort(t), routes: freePort(t)})
	}
	switch {
	case o.Links && os.Getenv("EVENTO_NAMESPACES") != "":
		c.separate(t)
	case o.Links:
		c.link(t)
	}
	for i, n := range c.Nodes {
		data := filepath.Join(n.dir, "data")
		if o.Store != nil {
			data = o.Store(i)
			give(t, data)
		}
		lines := append([]string{
			"server_name: " + n.name, fmt.Sprintf("listen: %s", n.Address()),
			fmt.Sprintf("jetstream { store_dir: %q, sync_interval: always, max_mem: 64MB, max_file: 20GB }", data),
		}, o.Lines...)
		if o.Nodes > 1 {
			lines = append(lines, c.routes(i))
		}
		text := strings.Join(lines, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(n.dir, "nats.conf"), []byte(text), 0o644); err != nil { // the server runs as another user
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes {
		n.Start()
	}
	return c
}

// link makes the proxies between the servers.
func (c *NATSCluster) link(t testing.TB) {
	t.Helper()
	for i := range c.Nodes {
		c.links = append(c.links, make([]Link, len(c.Nodes)))
		for j, to := range c.Nodes {
			if i != j {
				c.links[i][j] = NewProxy(t, fmt.Sprintf("127.0.0.1:%d", to.routes), nil)
			}
		}
	}
}

// separate puts each server into a network namespace.
func (c *NATSCluster) separate(t testing.TB) {
	t.Helper()
	s := newSpaces(t, len(c.Nodes))
	for i, n := range c.Nodes {
		n.host, n.within = s.host(i), func(cmd *exec.Cmd) *exec.Cmd { return s.within(i, cmd) }
		c.links = append(c.links, make([]Link, len(c.Nodes)))
		for j := range c.Nodes {
			if i != j {
				c.links[i][j] = &route{s, i, j}
			}
		}
	}
}

// routes is the configuration of a server's connections to the others.
func (c *NATSCluster) routes(node int) string {
	var urls []string
	further := ""
	for j, to := range c.Nodes {
		if j == node {
			continue
		}
		address := fmt.Sprintf("%s:%d", to.host, to.routes)
		if c.links != nil {
			if proxy, ok := c.links[node][j].(*Proxy); ok { // others would tell each other of ways around them
				address, further = proxy.Address(), `, no_advertise: true, advertise: "127.0.0.1:1"`
			}
		}
		urls = append(urls, "nats://"+address)
	}
	n := c.Nodes[node]
	return fmt.Sprintf("cluster { name: evento, listen: %s:%d, routes: [%s]%s }", n.host, n.routes, strings.Join(urls, ", "), further)
}

// Part does something with each link between one of these servers and one of the others.
func (c *NATSCluster) Part(do func(Link), nodes ...int) {
	for i := range c.links {
		for j, link := range c.links[i] {
			if i != j && slices.Contains(nodes, i) != slices.Contains(nodes, j) {
				do(link)
			}
		}
	}
}

// Between does something with each link between two servers.
func (c *NATSCluster) Between(do func(Link), a, b int) {
	do(c.links[a][b])
	do(c.links[b][a])
}

// URL is that of all servers.
func (c *NATSCluster) URL() string {
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, n.URL())
	}
	return strings.Join(urls, ",")
}

// Name is what the servers call it.
func (n *NATSNode) Name() string { return n.name }

// URL is the server's.
func (n *NATSNode) URL() string { return "nats://" + n.Address() }

// Address is where the server takes connections of clients.
func (n *NATSNode) Address() string { return fmt.Sprintf("%s:%d", n.host, n.port) }

// Start starts the server, and returns when it takes connections.
func (n *NATSNode) Start() {
	n.t.Helper()
	cmd := command(n.dir, natsServer(n.t), "-c", filepath.Join(n.dir, "nats.conf"))
	if n.within != nil {
		cmd = n.within(cmd)
	}
	n.server = start(n.t, cmd, os.Kill, func(string) error {
		conn, err := net.DialTimeout("tcp", n.Address(), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// Kill ends the server by SIGKILL, in the middle of what it does.
func (n *NATSNode) Kill() { n.server.end(os.Kill) }

// Freeze halts the server, until Thaw.
func (n *NATSNode) Freeze() { n.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (n *NATSNode) Thaw() { n.signal(syscall.SIGCONT) }

func (n *NATSNode) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.server.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// Said is what the server has printed.
func (n *NATSNode) Said() string { return n.server.text() }

var buildNATS = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/evento-go/evento").Output()
	if err != nil {
		return "", err
	}
	// In one place, which each process that runs tests replaces.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("evento-nats-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil { // the server runs as another user
		return "", err
	}
	program := filepath.Join(dir, "nats-server")
	made := fmt.Sprintf("%s-%d", program, os.Getpid())
	build := exec.Command("go", "build", "-o", made, "github.com/nats-io/nats-server/v2")
	build.Dir = filepath.Join(strings.TrimSpace(string(out)), "internal", "testserver", "natsserver")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, said)
	}
	return program, os.Rename(made, program)
})

// natsServer returns the server's program, which is built once from its Go module.
func natsServer(t testing.TB) string {
	t.Helper()
	program, err := buildNATS()
	if err != nil {
		t.Fatalf("building the server of NATS: %v", err)
	}
	return program
}
