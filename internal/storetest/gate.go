package storetest

import (
	"context"
	"net"
	"sync/atomic"
)

// Gate is a dialer that can be closed.
type Gate struct {
	net.Dialer
	closed  atomic.Bool
	opened  chan struct{}
	Waiting chan struct{} // gets a value for each connection that the closed gate keeps waiting
	asked   atomic.Int64
}

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{opened: make(chan struct{}), Waiting: make(chan struct{}, 100)} }

// Close keeps connections waiting until Open.
func (g *Gate) Close() { g.closed.Store(true) }

// Open lets all connections through, those that wait too. It is called once.
func (g *Gate) Open() { close(g.opened) }

// Asked is how many connections were asked for.
func (g *Gate) Asked() int { return int(g.asked.Load()) }

// DialContext makes a connection when the gate is open.
func (g *Gate) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	g.asked.Add(1)
	if g.closed.Load() {
		g.Waiting <- struct{}{}
		select {
		case <-g.opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g.Dialer.DialContext(ctx, network, addr)
}
