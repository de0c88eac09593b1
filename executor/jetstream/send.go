// Sending proposals: all that wait go into one group, and one group is under way.

package jetstream

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/appendqueue"
	"github.com/evento-go/evento/internal/store"
)

// sender publishes groups of proposals until it is known what they did. The same bytes are
// published again and again while there is no answer: all copies but the first that arrives
// are void. So it needs nothing of the server but the order of the log.
//
// Flushes of the queue, which never run at the same time, use the fields below it; mu guards
// what the follower uses too.
type sender struct {
	*connection
	follower *follower
	queue    *appendqueue.Queue[*request]

	session, counter uint64
	acks             chan *nats.Msg
	inbox            string
	sub              *nats.Subscription

	published uint64        // messages, ever
	denied    atomic.Uint64 // of these, by the server
	denial    chan error    // the last error of it
	unwatch   func()

	mu      sync.Mutex
	current *group
}

// request is a proposal that waits, and then its outcome.
type request struct {
	body    []byte // empty: there is none, see pass
	outcome outcome
}

const (
	groupBytes = 128 << 10 // of a group of several proposals
	groupCount = 1024
	partBytes  = 512 << 10 // the most in one message
	inFlight   = 8         // parts that are published without an answer
)

func newSender(c *connection, f *follower) (*sender, error) {
	s := &sender{connection: c, follower: f, acks: make(chan *nats.Msg, 1<<10), inbox: c.nc.NewInbox()}
	s.denial = make(chan error, 1)
	s.unwatch = c.denials.watch(c.names.propose, func(err error, inbox bool) {
		if inbox {
			return // the message may be stored
		}
		s.denied.Add(1)
		select {
		case s.denial <- err:
		default: // there is one
		}
	})
	s.renew()
	s.queue = appendqueue.New(appendqueue.Options{
		MaxCount: groupCount, MaxBytes: groupBytes, Closed: evento.ErrClosed, Unknown: evento.ErrOutcomeUnknown, Panicked: evento.ErrOutcomeUnknown,
	}, s.flush)
	var err error
	s.sub, err = c.nc.ChanSubscribe(s.inbox+".>", s.acks)
	return s, err
}

// renew begins a session.
func (s *sender) renew() {
	id := randomID()
	s.session, s.counter = binary.BigEndian.Uint64(id[:]), 0
}

func (s *sender) close() {
	s.queue.Close()
	s.unwatch()
	_ = s.sub.Unsubscribe()
}

// propose sends a proposal, and returns what it did.
func (s *sender) propose(ctx context.Context, p *proposal) (outcome, error) {
	body, err := encodeProposal(p)
	if err != nil {
		return outcome{}, err
	}
	r := &request{body: body}
	if err := s.queue.Do(ctx, r, len(body)); err != nil {
		return outcome{}, err
	}
	return r.outcome, r.outcome.err
}

// pass returns when a message of this client's is applied that was sent after the call began, and
// so everything that was committed before. A group of proposals that is sent anyhow is such a message.
func (s *sender) pass(ctx context.Context) error { return s.queue.Do(ctx, &request{}, 0) }

// flush sends the proposals that wait.
func (s *sender) flush(_ context.Context, take func() (context.Context, []*appendqueue.Call[*request])) {
	ctx, calls := take()
	calls = appendqueue.Hold(calls)
	if len(calls) == 0 {
		return
	}
	var body []byte
	proposals := 0
	for _, c := range calls {
		if len(c.Request.body) > 0 {
			body = binary.AppendUvarint(body, uint64(len(c.Request.body)))
			body = append(body, c.Request.body...)
			proposals++
		}
	}
	outcomes, err := s.settle(ctx, body)
	if err == nil && len(outcomes) != proposals {
		err = fmt.Errorf("%w: a group of %d proposals has %d outcomes", evento.ErrOutcomeUnknown, proposals, len(outcomes))
	}
	for _, c := range calls {
		if err == nil && len(c.Request.body) > 0 {
			c.Request.outcome, outcomes = outcomes[0], outcomes[1:]
		}
		c.Finish(err)
	}
}

// settle proposes a group until it is decided.
func (s *sender) settle(ctx context.Context, body []byte) ([]outcome, error) {
	for {
		s.counter++
		g := s.groupOf(body)
		s.mu.Lock()
		s.current = g
		s.mu.Unlock()
		outcomes, err := g.send(ctx)
		if !errors.Is(err, errForgotten) {
			return outcomes, err
		}
		s.renew()
	}
}

// errForgotten: the log does not know the session any more. Nothing of the group was stored,
// nor can be.
var errForgotten = errors.New("jetstream: the session is forgotten")

// decided takes what the follower has found of a group; nil: its session is forgotten.
func (s *sender) decided(session, counter uint64, outcomes []outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.current
	if g == nil || g.session != session || g.counter != counter || len(g.done) > 0 {
		return
	}
	g.done <- outcomes
}

// group is a group that is sent.
type group struct {
	*sender
	session, counter uint64
	parts            [][]byte // messages
	done             chan []outcome

	base uint64 // what was applied when it was made

	first    int  // the first part that is not acknowledged
	sent     int  // the parts before are published
	attempt  int  // how often it began again
	refusals int  // since another copy was sent
	acked    bool // all are, and the last is at last
	last     uint64
}

// groupOf makes the messages of a group.
func (s *sender) groupOf(body []byte) *group {
	g := &group{sender: s, session: s.session, counter: s.counter, done: make(chan []outcome, 1)}
	at := s.follower.at.Load()
	g.base = at.sequence
	most := min(partBytes, int(s.nc.MaxPayload()/2))
	parts := max(1, (len(body)+most-1)/most)
	for i := range parts {
		piece := body[i*most : min(len(body), (i+1)*most)]
		m := message{session: g.session, counter: g.counter, part: uint32(i), parts: uint32(parts), base: at.sequence, check: at.hash}
		b := append(make([]byte, headerLen, headerLen+len(piece)), piece...)
		m.seal(b)
		g.parts = append(g.parts, b)
	}
	return g
}

// send publishes the group until it is decided, or all who wait for it have given up.
func (g *group) send(ctx context.Context) ([]outcome, error) {
	timer := time.NewTimer(g.patience())
	defer timer.Stop()
	g.publish()
	for {
		moved := g.follower.moved.Wait()
		select {
		case outcomes := <-g.done:
			if outcomes == nil {
				return nil, errForgotten
			}
			return outcomes, nil
		default:
		}
		if g.acked && g.follower.applied.Load() >= g.last { // a part of it was lost
			g.again(timer)
		}
		select {
		case <-moved:
		case m := <-g.acks:
			if err := g.answered(m, timer); err != nil {
				return nil, err
			}
		case err := <-g.denial:
			if g.denied.Load() == g.published { // all that this client has ever sent
				return nil, store.Errorf("%w: jetstream: %w", evento.ErrReadOnly, err)
			}
		case <-timer.C:
			if err := g.hopeless(); err != nil {
				return nil, err
			}
			if g.acked { // it may not have been republished
				g.follower.hurry()
				timer.Reset(late)
				continue
			}
			g.unheard()
			g.sent = g.first
			g.attempt++
			g.publish()
			timer.Reset(g.patience())
		case <-g.closing:
			return nil, fmt.Errorf("%w: the executor was closed before the servers have answered", evento.ErrOutcomeUnknown)
		case <-g.failed:
			return nil, store.Errorf("%w: %w", evento.ErrOutcomeUnknown, g.gate.Failed())
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the servers have not answered", evento.ErrOutcomeUnknown)
		}
	}
}

// again makes the group be published from its beginning after a while.
func (g *group) again(timer *time.Timer) {
	g.first, g.sent, g.acked = 0, len(g.parts), false
	timer.Reset(again)
}

// publish publishes parts, as far as there may be some without an answer.
func (g *group) publish() {
	for g.sent < len(g.parts) && g.sent < g.first+inFlight {
		reply := fmt.Sprintf("%s.%d.%d.%d", g.inbox, g.counter, g.sent, g.attempt)
		g.published++
		// While the connection is lost, messages wait in the client, or are refused:
		// the group is published again in any case.
		if err := g.nc.PublishMsg(&nats.Msg{Subject: g.names.propose, Reply: reply, Data: g.parts[g.sent]}); err != nil {
			return
		}
		g.sent++
	}
}

// answered takes an answer to one of the parts.
func (g *group) answered(m *nats.Msg, timer *time.Timer) error {
	part, attempt, ok := g.partOf(m.Subject)
	if !ok || g.acked {
		return nil
	}
	var ack struct {
		Sequence uint64    `json:"seq"`
		Error    *apiError `json:"error"`
	}
	if m.Header.Get("Status") == "503" { // there is no leader
		g.sent = g.first
		timer.Reset(again)
		return nil
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil || ack.Error != nil {
		if err := g.refused(ack.Error, attempt); err != nil {
			return err
		}
		g.sent = g.first
		timer.Reset(10 * again)
		return nil
	}
	if part != g.first {
		return nil
	}
	if ack.Sequence <= g.base {
		err := fmt.Errorf("%w: message %d was acknowledged, and the log was read up to message %d: was stream %s restored?",
			evento.ErrDamaged, ack.Sequence, g.base, g.names.log)
		g.fail(err) // what comes now has numbers of messages that were applied
		return store.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
	}
	g.heard()
	g.first++
	if g.first == len(g.parts) {
		g.acked, g.last = true, ack.Sequence
		timer.Reset(late)
		return nil
	}
	timer.Reset(g.patience())
	g.publish()
	return nil
}

const (
	// soon is how long an answer is waited for before the group is sent again, at first. What
	// was sent while there was no leader is lost, and an election takes up to nine seconds.
	soon = time.Second
	// soonMost is how often that is. Servers that take longer have enough to do.
	soonMost = 10
)

// patience is how long an answer is waited for.
func (g *group) patience() time.Duration {
	if g.attempt < soonMost {
		return min(soon, g.timeout)
	}
	return g.timeout
}

// partOf returns the number of the part that an answer is about, and of the attempt.
func (g *group) partOf(subject string) (part, attempt int, ok bool) {
	tokens := strings.Split(strings.TrimPrefix(subject, g.inbox+"."), ".")
	if len(tokens) != 3 || tokens[0] != strconv.FormatUint(g.counter, 10) {
		return 0, 0, false
	}
	part, err := strconv.Atoi(tokens[1])
	attempt, err2 := strconv.Atoi(tokens[2])
	return part, attempt, err == nil && err2 == nil
}

// refusedMost is how often a group is refused of which a copy was sent before, until it is left.
const refusedMost = 10

// refused returns the error of a group of which the server does not store this copy of a part; nil:
// it may store another. If no other copy was sent, the group cannot become whole.
func (g *group) refused(err *apiError, attempt int) error {
	if err == nil || !err.full() {
		return nil
	}
	if attempt == 0 && g.attempt == 0 || g.empty() {
		return store.Errorf("%w: jetstream: %w", evento.ErrFull, err)
	}
	if g.refusals++; g.refusals < refusedMost { // the other copy may come to be stored
		return nil
	}
	return fmt.Errorf("%w: the servers have not answered, and have no space left for it now: %v", evento.ErrOutcomeUnknown, err) //nolint:errorlint // something may be stored
}

// empty reports whether there is nothing in the group.
func (g *group) empty() bool { return len(g.parts) == 1 && len(g.parts[0]) == headerLen }

// hopeless returns the error of a group that nobody is going to answer.
func (g *group) hopeless() error {
	if err := g.forbidden(g.names.propose); err != nil {
		return store.Errorf("%w: jetstream: %w", evento.ErrOutcomeUnknown, err)
	}
	if g.nc.IsClosed() {
		return fmt.Errorf("%w: the connection is closed", evento.ErrOutcomeUnknown)
	}
	return nil
}
