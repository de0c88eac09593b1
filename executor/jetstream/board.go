// The stream of records: what changes without events, and is kept in its last state alone.

package jetstream

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/evento-go/evento"
)

// A record is born in the log, where it is decided whether there is one already. From then on
// its home is one of two streams:
//
//   - The stream of records keeps the last message of each record: leases, places, and all
//     that changes with time and not with events. Its server compares: a message is stored if
//     it follows on the one that its sender knew.
//   - The log has the records that are changed together with events. Those are decided as events
//     are.
//
// A record moves from the stream of records to the log, and never back: a last message says
// that it has moved, with the state that it had, and a proposal in the log takes that over.
// Whoever finds the first without the second proposes it.

// change is the body of a message of the stream of records.
type change struct {
	id, before [16]byte // of this swap, and of the one that the record was at
	part, of   uint64   // of the messages of a swap
	wake       bool
	moved      bool
	born       uint64 // the message of the log in which the record was born
	log        uint64 // the last message of the log that the sender had applied
	key        evento.RecordKey
	revision   uint64
	at         int64 // of a record that has moved: when it was changed
	value      []byte
}

// A message of the stream of records begins like one of the log: with a mark, the format, and
// a checksum of what is behind it.
const recordMagic = "ER"

func (c *change) encode() []byte {
	e := &encoder{b: append(make([]byte, 0, 128+len(c.value)), recordMagic...)}
	e.byte(format)
	e.b = append(e.b, 0, 0, 0, 0)
	e.b = append(append(e.b, c.id[:]...), c.before[:]...)
	e.uint(c.part)
	e.uint(c.of)
	e.byte(flags(bit{flagWake, c.wake}, bit{flagMoved, c.moved}))
	e.uint(c.born)
	e.uint(c.log)
	e.key(c.key)
	e.uint(c.revision)
	e.uint(uint64(c.at))
	e.bytes(c.value)
	putChecksum(e.b)
	return e.b
}

// decodeChange decodes a message. errForeign: it is none of a client's.
func decodeChange(b []byte) (c change, err error) {
	if len(b) < crcAt+4 || string(b[:len(recordMagic)]) != recordMagic || binary.BigEndian.Uint32(b[crcAt:]) != checksum(b) {
		return c, errForeign
	}
	if f := b[crcAt-1]; f > format {
		return c, fmt.Errorf("%w: the records have format %d, this client knows up to %d", evento.ErrNewerStore, f, format)
	}
	d := &decoder{b: b[crcAt+4:]}
	copy(c.id[:], d.take(16))
	copy(c.before[:], d.take(16))
	c.part, c.of = d.uint(), d.uint()
	f := d.byte()
	c.wake, c.moved = f&flagWake != 0, f&flagMoved != 0
	c.born, c.log = d.uint(), d.uint()
	c.key = d.key()
	c.revision, c.at, c.value = d.uint(), int64(d.uint()), d.bytes()
	if d.err != nil {
		return c, errForeign
	}
	return c, nil
}

// posted is the last message of a record.
type posted struct {
	change
	sequence uint64
}

// recordSubject is the subject of a record.
func (n *names) recordSubject(k evento.RecordKey) string {
	var e encoder
	e.key(k)
	return n.record + e.hash()
}

// board follows the stream of records. The goroutine of run changes it, in steps that are whole
// swaps; mu guards what others read.
type board struct {
	mark
	live chan *nats.Msg
	sub  *nats.Subscription
	wake func()
	head func(context.Context) (head, error) // where the leader says that the stream is

	mu      sync.RWMutex
	posted  map[evento.RecordKey]posted
	waiting []posted // of a swap that is not whole
	last    uint64   // the sequence of the last message

	mute atomic.Bool // it may not publish
}

func newBoard(c *connection, wake func()) (*board, error) {
	b := &board{mark: newMark(c), live: make(chan *nats.Msg, liveMost), wake: wake, posted: map[evento.RecordKey]posted{}}
	sub, err := c.nc.ChanSubscribe(c.names.recordPub+"*", b.live)
	if err != nil {
		return nil, err
	}
	b.sub = sub
	return b, c.subscribed(c.names.recordPub+"*", sub)
}

// run follows until ctx ends, or it cannot go on.
func (b *board) run(ctx context.Context) error {
	defer func() { _ = b.sub.Unsubscribe() }()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case m := <-b.live:
			err = b.republished(ctx, m)
		case <-b.behind:
			err = b.catchUp(ctx)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (b *board) republished(ctx context.Context, m *nats.Msg) error {
	e, ok := entryOf(m)
	switch {
	case !ok || e.sequence <= b.last:
		return nil
	case e.sequence > b.last+1:
		return b.catchUp(ctx)
	}
	return b.take(e, m.Header.Get("Nats-Subject"))
}

// take takes the next message. It shows a swap when it is whole. What somebody else has published
// means nothing.
func (b *board) take(e entry, subject string) error {
	if subject == b.names.record+passing {
		b.last = e.sequence
		b.show()
		return nil
	}
	c, err := decodeChange(e.data)
	if err == errForeign || err == nil && subject != b.names.recordSubject(c.key) { //nolint:errorlint // it is never wrapped
		b.logger.Warn("evento: a message of somebody else in the stream of records means nothing", "stream", b.names.records, "subject", subject)
		b.last = e.sequence
		b.show()
		return nil
	}
	if err != nil {
		return fmt.Errorf("the record at %d: %w", e.sequence, err)
	}
	if !c.moved {
		c.at = e.at.UnixMicro()
	}
	b.last = e.sequence
	if len(b.waiting) > 0 && b.waiting[0].id != c.id {
		b.show() // the rest of it was replaced by later ones
	}
	b.waiting = append(b.waiting, posted{c, e.sequence})
	if c.part == c.of {
		b.show()
	}
	return nil
}

func (b *board) show() {
	wake := false
	b.mu.Lock()
	for _, p := range b.waiting {
		b.posted[p.key] = p
		wake = wake || p.wake
	}
	b.waiting = nil
	b.mu.Unlock()
	b.applied.Store(b.last)
	b.moved.Notify()
	if wake {
		b.wake()
	}
}

// catchUp gets what is missing from the leader, one message after the other: between them are
// those that were replaced or removed.
func (b *board) catchUp(ctx context.Context) error {
	var info streamInfo
	if err := b.ask(ctx, "STREAM.INFO."+b.names.records, nil, &info); err != nil || !info.current() {
		return b.unlessClosed(err) // it is asked again
	}
	for b.last < info.State.Last {
		m, err := b.message(ctx, b.names.records, following{b.last + 1, b.names.record + "*"})
		switch {
		case err != nil:
			return b.unlessClosed(err)
		case m == nil:
			if info.State.Last, err = b.end(ctx, &info); err != nil {
				return b.unlessClosed(err)
			}
		default:
			if err := b.take(entry{m.Sequence, m.Time, m.Data}, m.Subject); err != nil {
				return err
			}
		}
	}
	if b.applied.Load() < b.last { // the rest of a swap was replaced
		b.show()
	}
	return nil
}

// end is for when there is no further message, though the stream goes on: the last ones were
// removed, or who says so does not lead any more. It returns up to where to ask.
func (b *board) end(ctx context.Context, info *streamInfo) (last uint64, err error) {
	if info.Config.Replicas > 1 && !b.mute.Load() {
		last, err = b.pass(ctx) // a message that is there, behind all others
	}
	if errors.Is(err, evento.ErrFull) { // it was right if it still leads
		var h head
		if h, err = b.head(ctx); err != nil || !h.sure {
			return info.State.Last, cmp.Or(err, errUnsure)
		}
	}
	if last == 0 && err == nil {
		last, b.last = info.State.Last, info.State.Last
		b.show()
	}
	return last, err
}

// errUnsure: nothing says whether who has answered still leads.
var errUnsure = errors.New("jetstream: the leader is not trusted")

// unlessClosed returns an error after which nothing more can be asked.
func (b *board) unlessClosed(err error) error {
	if b.nc.IsClosed() {
		return err
	}
	return nil
}

// get returns the last message of a record.
func (b *board) get(k evento.RecordKey) (posted, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p, ok := b.posted[k]
	return p, ok
}

// of returns the last messages of records, all at one moment: those of a swap are never apart.
func (b *board) of(records []evento.Record) []posted {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]posted, len(records))
	for i := range records {
		all[i] = b.posted[records[i].RecordKey]
	}
	return all
}

// forget forgets a message that the server has no more.
func (b *board) forget(k evento.RecordKey, sequence uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.posted[k].sequence == sequence {
		delete(b.posted, k)
	}
}

// post publishes changes as one swap, each if its record's last message is at a sequence, and
// returns the sequence of the last of them.
func (b *board) post(ctx context.Context, changes []change, after []uint64) (uint64, error) {
	messages := make([]*nats.Msg, len(changes))
	for i := range changes {
		changes[i].part, changes[i].of = uint64(i+1), uint64(len(changes))
		messages[i] = &nats.Msg{Subject: b.names.recordSubject(changes[i].key), Data: changes[i].encode()}
	}
	return b.publishAll(ctx, messages, after)
}

// passing is the end of the subject of messages that mean nothing, and take no room: there is one.
const passing = "pass"

// pass publishes a message that means nothing, and returns its sequence: all that was stored
// before is in front of it. 0: this client may not.
func (b *board) pass(ctx context.Context) (sequence uint64, err error) {
	subject := b.names.record + passing
	err = b.persist(ctx, func() error {
		sequence, err = b.publish(ctx, &nats.Msg{Subject: subject})
		return err
	})
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return sequence, err
	}
	b.mute.Store(true) // it takes the leader's word
	return 0, nil
}

// has reports whether a swap is stored: a record is at it, or was before its last change. It is
// called when the board is fresh.
func (b *board) has(k evento.RecordKey, id [16]byte) bool {
	p, _ := b.get(k)
	return slices.Contains([][16]byte{p.id, p.before}, id)
}

// unchanged reports whether the last messages of records are where they were.
func (b *board) unchanged(changes []change, after []uint64) bool {
	for i := range changes {
		if p, _ := b.get(changes[i].key); p.sequence != after[i] {
			return false
		}
	}
	return true
}

// latest returns the record whose sender had applied most of the log.
func (b *board) latest() (latest posted) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, p := range b.posted {
		if p.log > latest.log {
			latest = p
		}
	}
	return latest
}
