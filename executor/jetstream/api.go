// The API of the servers (https://docs.nats.io/reference/reference-protocols/nats_api_reference).

package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// apiError is an error of the server's API.
type apiError struct {
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// Codes of the server's errors, of its ErrorCode constants.
const (
	noMessage         = 10037
	noStream          = 10059
	otherStream       = 10058
	wrongLast         = 10071
	wrongLastConstant = 10164
	tooManyBatches    = 10210
	storeFailed       = 10077
	accountFull       = 10002
	noResources       = 10023
	noStorage         = 10047
	noLimits          = 10120
	noStreamLeader    = 10008
	noPeers           = 10005
	noCluster         = 10074
	maxStreams        = 10027
)

// full reports whether there is no room for a message: in the account, which may also have no limits
// for as many replicas, on the server, or in the stream. The leader checks all three before it proposes the
// message to the others, so that this copy is not stored. Other failures to store are those of the leader
// alone: the others may have stored it.
func (e *apiError) full() bool {
	switch e.ErrCode {
	case accountFull, noLimits, noResources, noStorage:
		return true
	}
	return e.ErrCode == storeFailed && strings.HasPrefix(e.Description, "maximum ")
}

// isCode reports whether an error is one of the server's with one of these codes.
func isCode(err error, codes ...int) bool {
	var api *apiError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrCode)
}

// ask sends a request to the API of the server.
func (c *connection) ask(ctx context.Context, subject string, request, answer any) error {
	data := []byte(nil)
	if request != nil {
		var err error
		if data, err = json.Marshal(request); err != nil {
			return err
		}
	}
	m, err := c.request(ctx, &nats.Msg{Subject: "$JS.API." + subject, Data: data})
	if err != nil {
		return err
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &failed); err != nil {
		return fmt.Errorf("%w: the server's answer to %s: %w", evento.ErrDamaged, subject, err)
	}
	if failed.Error != nil {
		return failed.Error
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(m.Data, answer)
}

// subscribed returns when the server knows of a subscription, and ends one that it refuses.
func (c *connection) subscribed(subject string, sub *nats.Subscription) error {
	err := cmp.Or(c.nc.FlushTimeout(c.timeout), c.forbidden(subject))
	if err != nil {
		_ = sub.Unsubscribe() // the connection is closed
	}
	return err
}

// persist calls again while there is no leader, until ctx ends, or nothing is waited for.
func (c *connection) persist(ctx context.Context, call func() error) error {
	for {
		err := call()
		if ctx.Err() != nil || !unanswered(err) {
			return err
		}
		if over := c.over(err); over != nil {
			return over
		}
		c.unheard()
		if pause(ctx, again) != nil {
			return err
		}
	}
}

// over returns the error of a call that is not answered, and waits no longer; nil: it does.
func (c *connection) over(unanswered error) error {
	select {
	case <-c.failed:
		return c.gate.Failed()
	case <-c.closing:
		return evento.ErrClosed
	default:
	}
	if c.nc.IsClosed() {
		return unanswered
	}
	return nil
}

// unanswered reports whether nobody was there to answer, or the connection was lost meanwhile.
func unanswered(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, nats.ErrConnectionClosed) || isCode(err, noStreamLeader)
}

// leave is for how long no leader answers before another server is tried. An election may take
// longer: then nothing is lost by it.
const leave = 5 * time.Second

// heard notes that a leader has answered.
func (c *connection) heard() { c.silent.Store(0) }

// unheard notes that none has. The server may be cut off from the others, which it does not
// tell, so after a while the connection is made to another.
func (c *connection) unheard() {
	now, since := time.Now().UnixNano(), c.silent.Load()
	if since == 0 {
		c.silent.CompareAndSwap(0, now)
		return
	}
	if c.owned && now-since > int64(leave) && c.silent.CompareAndSwap(since, now) {
		c.logger.Warn("evento: no leader answers by this server, another is tried", "server", c.nc.ConnectedUrlRedacted(), "stream", c.names.log)
		_ = c.nc.ForceReconnect() // it is closed
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// storedMessage is a message of a stream.
type storedMessage struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// message asks the leader of a stream for a message; nil: there is none.
func (c *connection) message(ctx context.Context, stream string, request any) (*storedMessage, error) {
	var answer struct {
		Message storedMessage `json:"message"`
	}
	err := c.persist(ctx, func() error { return c.ask(ctx, "STREAM.MSG.GET."+stream, request, &answer) })
	if isCode(err, noMessage) {
		return nil, nil
	}
	return &answer.Message, err
}

// What message asks for: the last message of a subject, the first from a sequence on, or the one
// there.
type bySubject struct {
	Subject string `json:"last_by_subj"`
}

type bySequence struct {
	Sequence uint64 `json:"seq"`
}

type following struct {
	Sequence uint64 `json:"seq"`
	Subject  string `json:"next_by_subj"`
}

// purge removes the messages of a subject up to a sequence. Later ones may be somebody else's.
func (c *connection) purge(ctx context.Context, stream, subject string, last uint64) error {
	request := struct {
		Subject string `json:"filter"`
		Before  uint64 `json:"seq"`
	}{subject, last + 1}
	return c.ask(ctx, "STREAM.PURGE."+stream, request, nil)
}

// anywhere stands for the sequence of a subject's last message, whatever it is.
const anywhere = math.MaxUint64

// publishAll publishes messages as one, each if the last message of its subject is at a sequence;
// 0: there is none. It returns the sequence of the last one.
func (c *connection) publishAll(ctx context.Context, messages []*nats.Msg, after []uint64) (sequence uint64, err error) {
	id := evento.NewID().String()
	for i, m := range messages {
		m.Header = nats.Header{}
		if after[i] != anywhere {
			m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(after[i], 10))
		}
		if len(messages) > 1 {
			m.Header.Set("Nats-Batch-Id", id)
			m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
			if i == len(messages)-1 {
				m.Header.Set("Nats-Batch-Commit", "1")
			}
		}
		if sequence, err = c.publish(ctx, m); err != nil {
			return 0, err
		}
	}
	return sequence, nil
}

// publish publishes a message and returns its sequence; 0: it waits for the rest of a batch.
func (c *connection) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	answer, err := c.request(ctx, m)
	switch {
	case err != nil:
		return 0, err
	case len(answer.Data) == 0: // within a batch
		return 0, nil
	}
	var ack struct {
		Stream   string    `json:"stream"`
		Sequence uint64    `json:"seq"`
		Error    *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, err
	}
	if ack.Error != nil && ack.Error.full() {
		return 0, store.Errorf("%w: jetstream: stream %s: %w", evento.ErrFull, ack.Stream, ack.Error)
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	return ack.Sequence, nil
}
