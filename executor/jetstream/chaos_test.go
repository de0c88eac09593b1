// A network that loses, doubles, delays and reorders what a client and a server say to each
// other, message by message.

package jetstream_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento/internal/testserver"
)

// frame is a protocol line of NATS, with its payload if it has one.
// (https://docs.nats.io/reference/reference-protocols/nats-protocol)
type frame struct {
	fields  []string // of the line, without the sizes
	payload []byte   // headers and data
	headers int      // the length of the headers
	raw     []byte
}

func readFrame(r *bufio.Reader) (*frame, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	f := &frame{fields: strings.Fields(string(line)), raw: line}
	sizes := map[string]int{"PUB": 1, "MSG": 1, "HPUB": 2, "HMSG": 2}[f.op()]
	if sizes == 0 {
		return f, nil
	}
	size, err := strconv.Atoi(f.fields[len(f.fields)-1])
	if err != nil {
		return nil, err
	}
	if sizes == 2 {
		if f.headers, err = strconv.Atoi(f.fields[len(f.fields)-2]); err != nil {
			return nil, err
		}
	}
	f.fields = f.fields[:len(f.fields)-sizes]
	f.payload = make([]byte, size+2)
	_, err = io.ReadFull(r, f.payload)
	f.raw = append(f.raw, f.payload...)
	f.payload = f.payload[:size]
	return f, err
}

func (f *frame) op() string {
	if len(f.fields) == 0 {
		return ""
	}
	return strings.ToUpper(f.fields[0])
}

// kind is what a frame is for a store.
func (f *frame) kind() string {
	switch op := f.op(); {
	case op == "PUB" && strings.HasSuffix(f.fields[1], ".log"):
		return "proposal"
	case op == "PUB" && strings.HasPrefix(f.fields[1], "$JS.API.DIRECT.GET."):
		return "get"
	case op != "MSG" && op != "HMSG":
		return ""
	case strings.HasSuffix(f.fields[1], ".pub"):
		return "republished"
	case bytes.Contains(f.payload[:f.headers], []byte("Nats-Sequence: ")):
		return "got"
	case bytes.Contains(f.payload, []byte(`stream_info_response`)):
		return "info"
	case bytes.HasPrefix(f.payload, []byte(`{"stream":`)) && bytes.Contains(f.payload, []byte(`"seq":`)):
		return "ack"
	}
	return ""
}

// status is an answer instead of another: without data, and with a status.
func (f *frame) status(text string) []byte {
	headers := "NATS/1.0 " + text + "\r\n\r\n"
	return fmt.Appendf(nil, "HMSG %s %d %d\r\n%s\r\n", strings.Join(f.fields[1:], " "), len(headers), len(headers), headers)
}

// fault is what happens to a frame, and how often of a thousand.
type fault struct {
	kind, what string
	often      int
}

var faults = []fault{
	{"republished", "lost", 100}, {"republished", "doubled", 100}, {"republished", "late", 100},
	{"get", "lost", 20}, {"get", "doubled", 50}, {"get", "late", 20},
	{"got", "lost", 30}, {"got", "doubled", 50}, {"got", "late", 50}, {"got", "404 Message Not Found", 50}, {"got", "cut short", 50},
	{"ack", "lost", 100}, {"ack", "doubled", 100}, {"ack", "late", 100}, {"ack", "503", 100},
	{"info", "lost", 2}, {"info", "late", 20}, {"info", "503", 50},
	{"proposal", "lost", 20}, {"proposal", "doubled", 150}, {"proposal", "late", 30},
}

// chaos is a network with these faults.
type chaos struct {
	mu   sync.Mutex
	rand *rand.Rand
	off  bool
	done map[string]int
}

func newChaos(seed uint64) *chaos {
	return &chaos{rand: rand.New(rand.NewPCG(seed, 3)), done: map[string]int{}}
}

// end ends the faults.
func (c *chaos) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = true
}

// choose returns what is to happen to a frame, and for how many others it waits if it is late.
func (c *chaos) choose(kind string) (what string, wait int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.rand.IntN(1000)
	for _, f := range faults {
		if f.kind != kind || c.off {
			continue
		}
		if n -= f.often; n < 0 {
			c.done[kind+" "+f.what]++
			return f.what, 1 + c.rand.IntN(20)
		}
	}
	return "", 0
}

// pass is a testserver.Pass.
func (c *chaos) pass(_ bool, to io.Writer, from io.Reader) error {
	type late struct {
		frame []byte
		wait  int
	}
	var waiting []late
	r := bufio.NewReader(from)
	for {
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		what, wait := c.choose(f.kind())
		out := f.raw
		switch what {
		case "":
		case "lost":
			out = nil
		case "doubled":
			out = slices.Concat(f.raw, f.raw)
		case "late":
			out, waiting = nil, append(waiting, late{f.raw, wait})
		case "cut short":
			i := bytes.Index(out, []byte("Nats-Num-Pending: "))
			for i += len("Nats-Num-Pending: "); out[i] != '\r'; i++ {
				out[i] = '0'
			}
		default:
			out = f.status(what)
		}
		for i := 0; i < len(waiting); i++ {
			if waiting[i].wait--; waiting[i].wait < 0 {
				out = append(out, waiting[i].frame...)
				waiting = slices.Delete(waiting, i, i+1)
				i--
			}
		}
		if _, err := to.Write(out); err != nil {
			return err
		}
	}
}

// report logs what happened, and fails the test if a fault never did.
func (c *chaos) report(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(c.done)) {
		t.Logf("%s: %d", what, c.done[what])
	}
}

// behind returns the URL of a proxy before each node, and the proxies.
func behind(t *testing.T, cluster *testserver.NATSCluster, pass testserver.Pass) (url string, proxies []*testserver.Proxy) {
	t.Helper()
	var urls []string
	for _, n := range cluster.Nodes {
		p := testserver.NewProxy(t, n.Address(), pass)
		proxies = append(proxies, p)
		urls = append(urls, "nats://"+p.Address())
	}
	return strings.Join(urls, ","), proxies
}

// onlyThese keeps a client from servers that the others tell of.
var onlyThese = []nats.Option{nats.IgnoreDiscoveredServers()}
