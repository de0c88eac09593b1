// What the server forbids.

package jetstream

import (
	"context"
	"errors"
	"regexp"
	"sync"

	"github.com/nats-io/nats.go"
)

// denials hands on what the server forbids to who uses the subject. The server says it beside the
// answers, and not of which message. It is safe for concurrent use. A nil denials never learns anything.
type denials struct {
	mu      sync.Mutex
	waiting map[*waiting]struct{}
	prefix  string // of inboxes
	inbox   error  // no answers can arrive; until the connection is made again
}

// waiting is who uses a subject.
type waiting struct {
	subject string
	denied  func(err error, inbox bool)
}

func newDenials() *denials { return &denials{waiting: map[*waiting]struct{}{}} }

// listen makes the connection say what is forbidden, besides the handlers that its options have.
func (d *denials) listen(o *nats.Options) error {
	failed, lost := o.AsyncErrorCB, o.DisconnectedErrCB
	d.prefix = inboxPrefix(o)
	o.AsyncErrorCB = func(nc *nats.Conn, sub *nats.Subscription, err error) {
		d.note(err)
		if failed != nil {
			failed(nc, sub, err)
		}
	}
	o.DisconnectedErrCB = func(nc *nats.Conn, err error) {
		d.mu.Lock()
		d.inbox = nil
		d.mu.Unlock()
		switch {
		case lost != nil:
			lost(nc, err)
		case o.DisconnectedCB != nil:
			o.DisconnectedCB(nc)
		}
	}
	return nil
}

// inboxPrefix is what the subjects of inboxes begin with.
func inboxPrefix(o *nats.Options) string {
	if o.InboxPrefix != "" {
		return o.InboxPrefix + "."
	}
	return nats.InboxPrefix
}

var violation = regexp.MustCompile(`(Publish|Subscription) to "(\S+)"`)

// deniedSubject returns the subject that an error is about; "": none.
func deniedSubject(err error, prefix string) (subject string, inbox bool) {
	if err == nil || !errors.Is(err, nats.ErrPermissionViolation) {
		return "", false
	}
	parts := violation.FindStringSubmatch(err.Error())
	if parts == nil {
		return "", false
	}
	return parts[2], parts[1] == "Subscription" && len(parts[2]) > len(prefix) && parts[2][:len(prefix)] == prefix
}

func (d *denials) note(err error) {
	subject, inbox := deniedSubject(err, d.prefix)
	if subject == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if inbox {
		d.inbox = err
	}
	for w := range d.waiting {
		if inbox || w.subject == subject {
			w.denied(err, inbox)
		}
	}
}

// watch calls denied, which must not block, for each message to a subject that is forbidden, and when
// inboxes are, in which answers arrive. It does so until end is called.
func (d *denials) watch(subject string, denied func(err error, inbox bool)) (end func()) {
	if d == nil {
		return func() {}
	}
	w := &waiting{subject, denied}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inbox != nil {
		denied(d.inbox, true)
	}
	d.waiting[w] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, w)
	}
}

// request waits for an answer, for a time. It ends at once when the server forbids the subject, or to
// receive answers.
func (c *connection) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	timed, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	bounded, deny := context.WithCancelCause(timed)
	defer deny(nil)
	defer c.denials.watch(m.Subject, func(err error, _ bool) { deny(err) })()
	answer, err := c.nc.RequestMsgWithContext(bounded, m)
	if err == nil {
		return answer, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if cause := context.Cause(bounded); errors.Is(cause, nats.ErrPermissionViolation) {
		return nil, cause
	}
	if denied := c.forbidden(m.Subject); denied != nil {
		return nil, denied
	}
	return nil, err
}

// forbidden returns the error of a client that may not use a subject, or receive answers, as far as
// the connection knows: it keeps the last error alone. nil: it may.
func (c *connection) forbidden(subject string) error {
	err := c.nc.LastError()
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	if denied, inbox := deniedSubject(err, inboxPrefix(&c.nc.Opts)); denied != "" && (inbox || denied == subject) {
		return err
	}
	return nil
}
