package postgres_test

import (
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy passes connections on to the server, and cuts or freezes them when a
// test says.
type proxy struct {
	url    string // the server's, through the proxy
	target string
	cuts   atomic.Int64
	sent   atomic.Int64 // bytes of the server's

	mu    sync.Mutex
	conns map[net.Conn]bool
	gate  chan struct{} // closed: bytes pass
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: u.Host, conns: map[net.Conn]bool{}, gate: make(chan struct{})}
	close(p.gate)
	u.Host = l.Addr().String()
	p.url = u.String()
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { p.pass(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.thaw()
		p.cut() // those that were on their way
		passing.Wait()
	})
	return p
}

// pass connects in with the server until one of the two ends.
func (p *proxy) pass(in net.Conn) {
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		_ = in.Close()
		return
	}
	p.mu.Lock()
	p.conns[in], p.conns[out] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			buffer := make([]byte, 32<<10)
			for {
				n, err := pair[0].Read(buffer)
				p.mu.Lock()
				gate := p.gate
				p.mu.Unlock()
				<-gate
				if pair[0] == out {
					p.sent.Add(int64(n))
				}
				if _, e := pair[1].Write(buffer[:n]); err != nil || e != nil {
					break
				}
			}
			_, _ = pair[0].Close(), pair[1].Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, in)
	delete(p.conns, out)
}

// cut breaks all connections; new ones are passed on.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.cuts.Add(int64(len(p.conns)))
}

// freeze keeps connections, and passes nothing on until thaw; new ones are
// accepted, and get no answer.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}
