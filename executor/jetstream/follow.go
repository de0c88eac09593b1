// Following the log: its messages in order, each once, whatever the server delivers.

package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// follower applies the messages of the log.
//
// The server republishes each message when it is committed. That is fast, and may lose
// some: what is missing is then got by its sequence, from any server that has it. So a
// message is only ever late. A consumer of the server's would be the usual way; after
// servers were killed, it has delivered messages up to 49 s late.
//
// A server that is halted, or behind a network that drops everything, may be asked and never
// answer. What is republished is applied meanwhile, and another is asked after a while.
//
// One goroutine, that of run, uses the decider, and what is above applied. applied is shared,
// and only rises.
type follower struct {
	mark
	decider  *decider
	live     chan *nats.Msg // what is republished
	sub      *nats.Subscription
	ahead    *nats.Msg     // what was republished and cannot be applied yet
	fetch    *fetch        // what is got; nil: nothing
	patience time.Duration // with who does not answer
	until    uint64        // the last message that is applied; 0: all

	at atomic.Pointer[place] // the place of applied
}

const (
	// roundBytes is about how much is stored together.
	roundBytes    = 2 << 20
	batchMessages = 10_000
	batchBytes    = 8 << 20
	// firstPatience is how long the first answer may take, at first.
	firstPatience = 500 * time.Millisecond
)

func newFollower(c *connection, d *decider) (*follower, error) {
	f := &follower{mark: newMark(c), decider: d, live: make(chan *nats.Msg, liveMost), patience: firstPatience}
	f.show()
	sub, err := c.nc.ChanSubscribe(c.names.pub, f.live)
	if err != nil {
		return nil, err
	}
	f.sub = sub
	// Republished messages are taken from here on; those before are got.
	return f, c.subscribed(c.names.pub, sub)
}

// run follows until ctx ends, or it cannot go on.
func (f *follower) run(ctx context.Context) error {
	defer func() { _ = f.sub.Unsubscribe() }()
	defer f.endFetch()
	if err := f.request(); err != nil {
		return err
	}
	for {
		live := f.live
		if f.ahead != nil {
			live = nil
		}
		answers, overdue := f.fetch.channels()
		var err error
		select {
		case <-ctx.Done():
			return nil
		case m := <-live:
			err = f.republished(ctx, m)
		case m := <-answers:
			err = f.got(ctx, m)
		case <-overdue:
			if f.fetch.sub != nil {
				f.patience = min(2*f.patience, f.timeout)
			}
			f.endFetch()
			if err = f.forbidden(f.names.direct); err == nil {
				err = f.requestIf(f.ahead != nil)
			}
		case <-f.behind:
			err = f.request()
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// entry is a message of the log as it was delivered.
type entry struct {
	sequence uint64
	at       time.Time
	data     []byte
}

// entryOf reads a message that the server republished, or that was got from it.
func entryOf(m *nats.Msg) (e entry, ok bool) {
	sequence, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return e, false
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return e, false
	}
	return entry{sequence, at, m.Data}, true
}

// republished applies a message and those that came behind it.
func (f *follower) republished(ctx context.Context, m *nats.Msg) error {
	last, err := f.round(ctx, m, f.live)
	if err != nil {
		return err
	}
	if e, ok := entryOf(last); ok && e.sequence > f.decider.place.sequence {
		f.ahead = last
		return f.request()
	}
	return nil
}

// got applies a message that was got and those that came behind it.
func (f *follower) got(ctx context.Context, m *nats.Msg) error {
	f.fetch.overdue.Reset(f.timeout)
	f.patience = firstPatience
	before := f.decider.place.sequence
	last, err := f.round(ctx, m, f.fetch.answers)
	if err != nil {
		return err
	}
	f.fetch.useful = f.fetch.useful || f.decider.place.sequence > before
	all := last.Header.Get("Nats-Num-Pending") == "0"
	if e, ok := entryOf(last); ok && e.sequence <= f.decider.place.sequence && !all {
		return nil
	}
	// All, the end of a part, a gap, or an error of the server.
	more := f.fetch.useful && !all
	f.endFetch()
	if !more { // the server lags, or has no more
		f.fetch = &fetch{overdue: time.NewTimer(late)}
	}
	if ahead := f.ahead; ahead != nil {
		f.ahead = nil
		if err := f.republished(ctx, ahead); err != nil {
			return err
		}
	}
	return f.requestIf(more)
}

// round applies a message and those that wait behind it, as long as they are in order. It
// returns the last that it has looked at.
func (f *follower) round(ctx context.Context, m *nats.Msg, more <-chan *nats.Msg) (*nats.Msg, error) {
	size := 0
	for {
		e, ok := entryOf(m)
		next := f.decider.place.sequence + 1
		if ok && e.sequence == next && (f.until == 0 || next <= f.until) {
			if err := f.take(ctx, e); err != nil {
				return m, err
			}
			size += len(e.data)
		}
		if ok && e.sequence <= next && size <= roundBytes {
			select {
			case m = <-more:
				continue
			default:
			}
		}
		if size > 0 {
			return m, f.finish()
		}
		return m, nil
	}
}

// take decides the next message. One whose checksum does not fit is asked for again, of the
// leader. If it has no other, the log has it so, for every client.
func (f *follower) take(ctx context.Context, e entry) error {
	err := f.decider.take(e.sequence, e.at, e.data)
	if !errors.Is(err, errBroken) {
		return err
	}
	m, askErr := f.message(ctx, f.names.log, bySequence{e.sequence})
	if askErr != nil || m == nil {
		return errors.Join(err, askErr)
	}
	if err = f.decider.take(e.sequence, e.at, m.Data); errors.Is(err, errBroken) {
		f.logger.Error("evento: a message of the log is damaged, and means nothing", "stream", f.names.log, "sequence", e.sequence)
		f.decider.pass(e.sequence, e.at)
		err = nil
	}
	return err
}

// finish stores a round and tells those who wait for it.
func (f *follower) finish() error {
	if err := f.decider.store(); err != nil {
		return err
	}
	f.show()
	f.moved.Notify()
	return nil
}

// show says how far the log is applied.
func (f *follower) show() {
	at := f.decider.place
	f.at.Store(&at)
	f.applied.Store(at.sequence)
}

// fetch is messages that are got by their sequence. There may come fewer than there are, or
// none: nothing is to be made of that. Without a subscription it is a pause.
type fetch struct {
	sub     *nats.Subscription
	answers chan *nats.Msg
	overdue *time.Timer
	useful  bool // some of them were applied
}

func (g *fetch) channels() (answers <-chan *nats.Msg, overdue <-chan time.Time) {
	if g == nil {
		return nil, nil
	}
	return g.answers, g.overdue.C
}

func (g *fetch) close() {
	if g != nil {
		g.overdue.Stop()
	}
	if g != nil && g.sub != nil {
		_ = g.sub.Unsubscribe() // the connection is closed
	}
}

// endFetch ends what is got.
func (f *follower) endFetch() {
	f.fetch.close()
	f.fetch = nil
}

// requestIf asks if there is something to be had.
func (f *follower) requestIf(more bool) error {
	if !more {
		return nil
	}
	return f.request()
}

// request asks any server for the messages that come next, unless one is asked already.
func (f *follower) request() error {
	if f.fetch != nil {
		return nil
	}
	g := &fetch{answers: make(chan *nats.Msg, batchMessages+1)}
	request, err := json.Marshal(struct {
		Seq   uint64 `json:"seq"`
		Batch int    `json:"batch"`
		Max   int    `json:"max_bytes"`
	}{f.decider.place.sequence + 1, batchMessages, batchBytes})
	if err != nil {
		return err
	}
	inbox := f.nc.NewRespInbox()
	if g.sub, err = f.nc.ChanSubscribe(inbox, g.answers); err != nil {
		return err
	}
	g.overdue = time.NewTimer(f.patience)
	f.fetch = g
	if err := f.nc.PublishRequest(f.names.direct, inbox, request); err != nil && f.nc.IsClosed() {
		return err
	}
	return nil
}
