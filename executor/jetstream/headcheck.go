// How far the log is.

package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
)

// headCheck asks the leader of the stream how far the log is. Callers that come while it is
// asked share the next answer: an answer is as fresh as its question, so each caller gets one
// whose question was sent after the call began. It is safe for concurrent use.
type headCheck struct {
	*connection
	stream  string
	applied func() uint64   // the last message of it that was applied
	least   int64           // the bytes that a message takes in it at least; 0: messages are removed from it
	trust   trust           // used by the goroutine that asks
	ctx     context.Context //nolint:containedctx // of the executor
	end     context.CancelFunc

	mu      sync.Mutex
	next    *question
	running bool
	idle    sync.WaitGroup
}

// question has an answer when done is closed.
type question struct {
	done chan struct{}
	head head
	err  error
}

// head is where the log is, and the time of the server that said so. It is sure if that server
// still led when it answered: else there may be more.
type head struct {
	sequence uint64
	now      time.Time
	sure     bool
}

func newHeadCheck(c *connection, stream string, applied func() uint64) *headCheck {
	ctx, end := context.WithCancel(context.Background())
	return &headCheck{connection: c, stream: stream, applied: applied, ctx: ctx, end: end}
}

func (h *headCheck) close() {
	h.end()
	h.idle.Wait()
}

// get returns where the log is at some moment during the call, or later.
func (h *headCheck) get(ctx context.Context) (head, error) {
	if err := ctx.Err(); err != nil {
		return head{}, err
	}
	q := h.join()
	select {
	case <-q.done:
		return q.head, q.err
	case <-h.closing:
		return head{}, evento.ErrClosed
	case <-h.failed:
		return head{}, h.gate.Failed()
	case <-ctx.Done():
		return head{}, ctx.Err()
	}
}

func (h *headCheck) join() *question {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil {
		h.next = &question{done: make(chan struct{})}
		if !h.running {
			h.running = true
			h.idle.Go(h.run)
		}
	}
	return h.next
}

// run asks until nobody wants to know.
func (h *headCheck) run() {
	for {
		h.mu.Lock()
		q := h.next
		h.next = nil
		h.running = q != nil
		h.mu.Unlock()
		if q == nil {
			return
		}
		q.head, q.err = h.ask(h.ctx)
		close(q.done)
	}
}

// again is how long after an answer that cannot be trusted the next is asked for.
const again = 20 * time.Millisecond

// streamInfo is what is looked at of the server's answer to STREAM.INFO.
type streamInfo struct {
	Config streamConfig `json:"config"`
	State  struct {
		Last     uint64 `json:"last_seq"`
		Messages int    `json:"messages"`
		Bytes    int64  `json:"bytes"`
	} `json:"state"`
	Cluster struct {
		Leader   string `json:"leader"`
		Replicas []Peer `json:"replicas"`
	} `json:"cluster"`
	Created time.Time `json:"created"`
	Now     time.Time `json:"ts"`
}

// info asks what a stream is like, also while it has no leader.
func (c *connection) info(ctx context.Context, stream string) (info streamInfo, err error) {
	err = c.persist(ctx, func() error { return c.ask(ctx, "STREAM.INFO."+stream, nil, &info) })
	return info, err
}

// lately is how long ago a leader has heard of the others that has a majority.
const lately = 3 * time.Second

// current reports whether the answer is that of a leader that has heard of a majority lately.
// One that was halted or cut off goes on to answer for a while after another was elected, with an
// old head. Of those that are left, trust tells.
func (i *streamInfo) current() bool {
	if i.Config.Replicas <= 1 {
		return true
	}
	heard := 1
	for _, r := range i.Cluster.Replicas {
		if r.Active > 0 && r.Active < lately && !r.Offline { // 0: it has perhaps never heard of it
			heard++
		}
	}
	return i.Cluster.Leader != "" && heard > i.Config.Replicas/2
}

// wrongHead is for how long a stream may be behind what was applied of it: a leader that was
// halted may say so for a moment.
const wrongHead = 30 * time.Second

func (h *headCheck) ask(ctx context.Context) (head, error) {
	var behind time.Time // since when
	for {
		var info streamInfo
		applied := h.applied()
		err := h.connection.ask(ctx, "STREAM.INFO."+h.stream, nil, &info)
		sure := false
		if err == nil && info.State.Last >= applied {
			sure = h.trust.take(&info, time.Now()) || h.full(&info)
		} else {
			h.trust.doubt()
		}
		switch {
		case ctx.Err() != nil:
			return head{}, ctx.Err()
		case err == nil && info.current() && info.State.Last >= applied:
			h.heard()
			return head{info.State.Last, info.Now.UTC(), sure}, nil
		case err == nil && info.current() && !behind.IsZero() && time.Since(behind) > wrongHead:
			return head{}, fmt.Errorf("%w: stream %s ends at message %d, and message %d was read of it: was it restored? Open the store again",
				evento.ErrDamaged, h.stream, info.State.Last, applied)
		case err == nil && info.current() && behind.IsZero():
			behind = time.Now()
		case isCode(err, noStream):
			return head{}, err
		case h.nc.IsClosed():
			return head{}, err
		}
		if err != nil || !info.current() {
			h.unheard()
		}
		if err := pause(ctx, again); err != nil {
			return head{}, err
		}
	}
}

// full reports whether no message fits behind those that a leader has. So there are no further
// ones, also if it does not lead any more, unless max_bytes was raised in this moment.
func (h *headCheck) full(i *streamInfo) bool {
	return h.least > 0 && i.Config.MaxBytes > 0 && i.State.Bytes+h.least > i.Config.MaxBytes
}

// noRoom is for how long a read goes on that cannot make sure as no message is stored.
const noRoom = 2 * trustAfter

// surely is get, and makes sure of an answer that is not trusted: by a message, whose sequence makeSure
// returns, or 0 when all that is before it is applied.
func (h *headCheck) surely(ctx context.Context, makeSure func(context.Context) (uint64, error)) (head, error) {
	for began := time.Now(); ; {
		at, err := h.get(ctx)
		if err == nil && !at.sure {
			var sequence uint64
			sequence, err = makeSure(ctx)
			at.sequence = max(at.sequence, sequence)
		}
		// Others may have used the room that was there, or the leader comes to be trusted.
		if !errors.Is(err, evento.ErrFull) || time.Since(began) > noRoom {
			return at, err
		}
		if err := pause(ctx, again); err != nil {
			return at, err
		}
	}
}

// fresh waits until all is applied that was in the log when the call began.
func (ex *Executor) fresh(ctx context.Context) (head, error) {
	h, err := ex.head.surely(ctx, func(ctx context.Context) (uint64, error) { return 0, ex.makeSure(ctx) })
	if err != nil {
		return h, err
	}
	return h, ex.follower.await(ctx, h.sequence)
}

// makeSure is for an answer that is not trusted: all that was committed before is in front of a
// message that is sent now, and what a majority stores is the log. Who may not send any takes the
// leader's word.
func (ex *Executor) makeSure(ctx context.Context) error {
	if ex.mute.Load() {
		return nil
	}
	passed := make(chan error, 1)
	go func() { passed <- ex.sender.pass(ctx) }() // it returns a while after ctx has ended
	var err error
	select {
	case err = <-passed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && (errors.Is(err, nats.ErrPermissionViolation) || ex.forbidden(ex.names.propose) != nil) {
		ex.mute.Store(true)
		err = nil
	}
	switch {
	case err == nil, ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, evento.ErrOutcomeUnknown): // of nothing
		return cmp.Or(ex.gate.Failed(), evento.ErrClosed)
	}
	return err
}
