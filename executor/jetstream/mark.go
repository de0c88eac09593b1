// How far a stream is applied, and waiting for it.

package jetstream

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// mark is how far one goroutine has applied a stream. The others wait for it, and make it ask
// for what was not republished. It is safe for concurrent use.
type mark struct {
	*connection
	applied atomic.Uint64
	moved   store.Signal  // applied has risen
	behind  chan struct{} // there may be messages that were not republished
}

const (
	// liveMost is how many messages may wait to be applied. The client of NATS drops
	// what is more, and they are got by their sequence.
	liveMost = 1 << 11
	// late is how long a message that is known to be there may take to be republished,
	// before it is asked for.
	late = 40 * time.Millisecond
)

func newMark(c *connection) mark { return mark{connection: c, behind: make(chan struct{}, 1)} }

// hurry makes the goroutine ask for what was not republished.
func (m *mark) hurry() {
	select {
	case m.behind <- struct{}{}:
	default:
	}
}

// await waits until the stream is applied up to a sequence.
func (m *mark) await(ctx context.Context, sequence uint64) error {
	if m.applied.Load() >= sequence {
		return nil
	}
	timer := time.NewTimer(late)
	defer timer.Stop()
	for {
		moved := m.moved.Wait()
		if m.applied.Load() >= sequence {
			return nil
		}
		if err := m.gate.Failed(); err != nil {
			return err
		}
		select {
		case <-moved:
		case <-timer.C:
			m.hurry()
			timer.Reset(late)
		case <-m.closing:
			return evento.ErrClosed
		case <-m.failed:
			return m.gate.Failed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
