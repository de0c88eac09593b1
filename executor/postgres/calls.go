package postgres

import (
	"context"
	"sync"

	"github.com/evento-go/evento"
)

// calls counts the calls under way, so that Close can wait for them.
type calls struct {
	mu     sync.Mutex
	open   sync.WaitGroup
	closed bool
}

// begin counts a call, unless the context ended or the executor is closed. The
// caller calls end when the error is nil.
func (c *calls) begin(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, evento.ErrClosed
	}
	c.open.Add(1)
	return c.open.Done, nil
}

// close refuses further calls; it reports whether it did not before.
func (c *calls) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.closed
	c.closed = true
	return first
}

func (c *calls) wait() { c.open.Wait() }
