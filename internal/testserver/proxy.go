package testserver

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy passes the connections that it takes on to a server, as a network that can fail. It is
// safe for concurrent use.
type Proxy struct {
	target   string
	pass     Pass
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	state   proxyState
	changed chan struct{} // closed when the state changes
	conns   map[net.Conn]bool
}

// Pass copies what one side of a connection sends, until it fails.
type Pass func(toServer bool, to io.Writer, from io.Reader) error

type proxyState int

const (
	passing proxyState = iota
	stalled
	cut
)

// NewProxy starts a proxy on a loopback port, which the end of the test ends. A nil pass
// copies all.
func NewProxy(t testing.TB, target string, pass Pass) *Proxy {
	t.Helper()
	if pass == nil {
		pass = func(_ bool, to io.Writer, from io.Reader) error {
			_, err := io.Copy(to, from)
			return err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, pass: pass, listener: listener, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Address is where the proxy takes connections.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Cut closes all connections, and takes none until Heal.
func (p *Proxy) Cut() {
	p.set(cut)
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// Stall passes nothing on until Heal: what was sent meanwhile comes then.
func (p *Proxy) Stall() { p.set(stalled) }

// Heal undoes Cut and Stall.
func (p *Proxy) Heal() { p.set(passing) }

func (p *Proxy) set(s proxyState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.connect(client) })
	}
}

// connect passes one connection on.
func (p *Proxy) connect(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if !p.add(client, server) {
		return
	}
	defer p.remove(client, server)
	ended := make(chan struct{}, 2)
	for _, toServer := range []bool{true, false} {
		to, from := client, server
		if toServer {
			to, from = server, client
		}
		go func() {
			_ = p.pass(toServer, to, &stallable{from, p}) // a connection that ends
			ended <- struct{}{}
		}()
	}
	<-ended
	_, _ = client.Close(), server.Close()
	<-ended
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.conns[conn] = true
	}
	return p.state != cut
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.conns, conn)
	}
}

var errCut = errors.New("the network is cut")

// await waits while the proxy is stalled.
func (p *Proxy) await() error {
	for {
		p.mu.Lock()
		state, changed := p.state, p.changed
		p.mu.Unlock()
		switch state {
		case passing:
			return nil
		case cut:
			return errCut
		}
		<-changed
	}
}

// stallable reads from a side of a connection.
type stallable struct {
	net.Conn
	p *Proxy
}

func (s *stallable) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	return n, errors.Join(s.p.await(), err)
}
