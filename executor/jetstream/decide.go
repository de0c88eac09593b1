// The rules by which the messages of the log are decided. They are a function of the messages
// alone: every client, whenever it reads them, finds the same events at the same positions.
// A change of them is a new format.

package jetstream

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/pebble"
	"github.com/evento-go/evento/internal/decided"
	"github.com/evento-go/evento/internal/store"
)

// forgotten is how long after its last message a session is unknown, by the time of the log.
const forgotten = 24 * time.Hour

// decider decides the messages in their order, and stores what they did. One goroutine uses
// it.
//
// Messages of one round are stored together, with the place up to which they were decided:
// after a crash the index is as it was between two messages.
type decider struct {
	index    *pebble.Index
	sessions map[uint64]*session
	place    place
	checks   [1 << 12]place // places of the last messages, by their sequence
	old      uint64         // the log was up to there when the client began
	recent   recent

	// Of the round.
	batch    decided.Batch
	position uint64
	latest   int64
	heads    map[evento.AggregateKey]decided.Head
	records  map[evento.RecordKey]evento.Record
	headers  []store.Header // of the appends, as far as they were needed
	changed  map[uint64]bool

	// decidedOwn gets the outcomes of a group, when the round is stored.
	decidedOwn func(session, counter uint64, outcomes []outcome)
	later      []func()
}

// place is a place in the log.
type place struct {
	sequence uint64
	hash     uint64 // of all that was decided up to there
	crc      uint32 // of the message there
	at       int64  // the latest time up to there, in microseconds since 1970
}

// session is how far a client's session is.
type session struct {
	counter uint64 // of the last group that was decided
	seen    int64  // when its last message was, by the time of places
	open    uint64 // the group of which there are parts
	parts   [][]byte
}

// outcome is what a proposal did.
type outcome struct {
	receipts []evento.Receipt
	err      error
}

// Entries of the index.
const (
	placeEntry   = "a" // the place of the last message
	sessionEntry = "s" // and a session
	partEntry    = "p" // and a session, a counter and a number
)

// newDecider goes on where an index is.
func newDecider(x *pebble.Index, own func(session, counter uint64, outcomes []outcome)) (*decider, error) {
	d := &decider{index: x, decidedOwn: own}
	if err := d.load(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *decider) load() error {
	d.sessions, d.place = map[uint64]*session{}, place{}
	v, err := d.index.Entry([]byte(placeEntry))
	if err != nil {
		return err
	}
	if len(v) == 28 {
		d.place = place{binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint32(v[16:]), int64(binary.BigEndian.Uint64(v[20:]))}
	}
	d.checks[d.place.sequence%uint64(len(d.checks))] = d.place
	err = d.index.Entries([]byte(sessionEntry), func(key, value []byte) error {
		d.sessions[binary.BigEndian.Uint64(key[1:])] = &session{counter: binary.BigEndian.Uint64(value), seen: int64(binary.BigEndian.Uint64(value[8:]))}
		return nil
	})
	if err == nil {
		err = d.index.Entries([]byte(partEntry), func(key, value []byte) error {
			if s := d.sessions[binary.BigEndian.Uint64(key[1:])]; s != nil {
				s.open = binary.BigEndian.Uint64(key[9:])
				s.parts = append(s.parts, append([]byte(nil), value...))
			}
			return nil
		})
	}
	d.begin()
	d.recent = recent{from: d.position, middle: d.position}
	return err
}

// begin begins a round.
func (d *decider) begin() {
	d.batch, d.headers, d.later = decided.Batch{}, nil, nil
	d.position, d.latest = d.index.Last()
	d.heads, d.records, d.changed = map[evento.AggregateKey]decided.Head{}, map[evento.RecordKey]evento.Record{}, map[uint64]bool{}
}

// store stores the round.
func (d *decider) store() error {
	for key, r := range d.records {
		r.RecordKey = key
		d.batch.Records = append(d.batch.Records, r)
	}
	for id := range d.changed {
		s := d.sessions[id]
		value := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.counter), uint64(s.seen))
		d.batch.Keys = append(d.batch.Keys, decided.Entry{Key: sessionKey(id), Value: value})
	}
	at := binary.BigEndian.AppendUint64(nil, d.place.sequence)
	at = binary.BigEndian.AppendUint64(at, d.place.hash)
	at = binary.BigEndian.AppendUint32(at, d.place.crc)
	at = binary.BigEndian.AppendUint64(at, uint64(d.place.at))
	d.batch.Keys = append(d.batch.Keys, decided.Entry{Key: []byte(placeEntry), Value: at})
	if err := d.index.Apply(&d.batch); err != nil {
		return err
	}
	for _, tell := range d.later {
		tell()
	}
	d.begin()
	return nil
}

// take decides a message, which is the next one. After an error the client must not go on.
// errBroken: it was damaged on the way, or is so in the log, see [decider.pass].
func (d *decider) take(sequence uint64, at time.Time, data []byte) error {
	m, err := parseMessage(data)
	switch {
	case err == errForeign: //nolint:errorlint // it is never wrapped
		d.pass(sequence, at)
		return nil
	case err != nil:
		return fmt.Errorf("the message at %d: %w", sequence, err)
	}
	if err := d.agree(sequence, &m); err != nil {
		return err
	}
	now, sum := at.UnixMicro(), summing(d.place.hash, sequence, m.crc)
	if body := d.group(sequence, &m, max(now, d.place.at)); body != nil {
		outcomes, err := d.proposals(body, now)
		if err != nil {
			return err
		}
		for i := range outcomes {
			sum.add(&outcomes[i])
		}
		d.later = append(d.later, func() { d.decidedOwn(m.session, m.counter, outcomes) })
	}
	d.reach(place{sequence, sum.hash(), m.crc, max(now, d.place.at)})
	return nil
}

// pass decides a message that is no client's: it means nothing.
func (d *decider) pass(sequence uint64, at time.Time) {
	d.reach(place{sequence, summing(d.place.hash, sequence, 0).hash(), 0, max(at.UnixMicro(), d.place.at)})
}

func (d *decider) reach(p place) {
	d.place = p
	d.checks[p.sequence%uint64(len(d.checks))] = p
}

// agree returns an error if the sender has decided otherwise than this client. Of messages that
// were there before the client began it is not asked: whoever was wrong has ended since.
func (d *decider) agree(sequence uint64, m *message) error {
	own := d.checks[m.base%uint64(len(d.checks))]
	if sequence <= d.old || own.sequence != m.base || own.hash == m.check {
		return nil
	}
	return fmt.Errorf("%w: the clients of this store have decided differently what its log up to message %d did: "+
		"one of them has a damaged index, or a fault; open the store again, and make the indexes of those anew that differ", evento.ErrDamaged, m.base)
}

// group returns the body of the group that a message completes; nil: it does not, or the
// group is void.
func (d *decider) group(sequence uint64, m *message, now int64) []byte {
	if s := d.sessions[m.session]; s != nil && s.silent(now) {
		d.forget(m.session, s)
	}
	s := d.sessions[m.session]
	switch {
	case s == nil && m.counter != 1:
		d.later = append(d.later, func() { d.decidedOwn(m.session, m.counter, nil) })
		return nil
	case s != nil && m.counter <= s.counter, m.part >= m.parts, m.base >= sequence:
		return nil // a base that is not before it is one of a log that was taken back
	case s == nil:
		for id, other := range d.sessions { // no message has to come of them
			if other.silent(now) {
				d.forget(id, other)
			}
		}
		s = &session{}
		d.sessions[m.session] = s
	}
	s.seen = now
	d.changed[m.session] = true
	if m.counter != s.open {
		d.close(m.session, s)
		s.open = m.counter
	}
	switch {
	case int(m.part) != len(s.parts):
		return nil
	case m.part+1 < m.parts:
		s.parts = append(s.parts, m.body)
		d.batch.Keys = append(d.batch.Keys, decided.Entry{Key: partKey(m.session, m.counter, m.part), Value: append([]byte{}, m.body...)})
		return nil
	}
	body := m.body
	if len(s.parts) > 0 {
		body = nil
		for _, part := range append(s.parts, m.body) {
			body = append(body, part...)
		}
	}
	d.close(m.session, s)
	s.counter = m.counter
	return body
}

// silent reports whether a session is to be forgotten.
func (s *session) silent(now int64) bool { return now-s.seen > forgotten.Microseconds() }

// forget forgets a session.
func (d *decider) forget(id uint64, s *session) {
	d.close(id, s)
	delete(d.sessions, id)
	delete(d.changed, id)
	d.batch.Keys = append(d.batch.Keys, decided.Entry{Key: sessionKey(id)})
}

// close forgets the parts of a session.
func (d *decider) close(id uint64, s *session) {
	for i := range s.parts {
		d.batch.Keys = append(d.batch.Keys, decided.Entry{Key: partKey(id, s.open, uint32(i))})
	}
	s.parts = nil
}

func sessionKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte(sessionEntry), id) }

func partKey(session, counter uint64, part uint32) []byte {
	key := binary.BigEndian.AppendUint64([]byte(partEntry), session)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(key, counter), part)
}

// proposals decides the proposals of a group.
func (d *decider) proposals(body []byte, now int64) ([]outcome, error) {
	outcomes := []outcome{} // of an empty group: none, and it is decided
	list := decoder{b: body}
	for len(list.b) > 0 {
		p, err := decodeProposal(list.bytes())
		var o outcome
		switch {
		case list.err != nil:
			return append(outcomes, outcome{err: list.err}), nil //nolint:nilerr // that is its outcome
		case err != nil: // it is so for every client
			o = outcome{err: err}
		default:
			if o, err = d.one(p, now); err != nil {
				return nil, err
			}
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// one decides a proposal. The error is one of the index.
func (d *decider) one(p *proposal, now int64) (o outcome, err error) {
	switch {
	case p.write != nil:
		return d.write(p, now)
	case p.swap != nil:
		o.err, err = d.swap(p.swap, now, d.place.sequence+1)
		return o, err
	case p.moves != nil:
		return o, d.moves(p.moves)
	}
	return d.imports(p.imports)
}

func (d *decider) write(p *proposal, now int64) (o outcome, err error) {
	w := p.write
	if w.Retry || d.late(p) {
		if o.receipts, err = d.find(p); err != nil || o.receipts != nil {
			return o, err
		}
	}
	heads := make([]decided.Head, len(w.Appends))
	for i := range w.Appends {
		a := &w.Appends[i]
		if heads[i], err = d.head(a.Aggregate()); err != nil {
			return o, err
		}
		if a.AnyVersion || a.Expected == heads[i].Version {
			continue
		}
		if !w.Retry {
			if o.receipts, err = d.find(p); err != nil || o.receipts != nil {
				return o, err
			}
		}
		o.err = &evento.ConflictError{AggregateType: a.AggregateType, AggregateID: a.AggregateID, Expected: a.Expected, Actual: heads[i].Version}
		return o, nil
	}
	if len(p.places) > 0 {
		if o.err = d.index.Excluded(p.places, d.others()); o.err != nil {
			return o, onlyRefusal(o.err)
		}
	}
	if w.Swap != nil {
		if o.err, err = d.swap(w.Swap, now, 0); o.err != nil || err != nil {
			return o, err
		}
	}
	at := max(now, d.latest)
	for i := range w.Appends {
		o.receipts = append(o.receipts, d.accept(&w.Appends[i], heads[i], at))
	}
	return o, nil
}

// late reports whether a first attempt may come behind a later one, which another client or
// session has made. One that expects a version finds a conflict then.
func (d *decider) late(p *proposal) bool {
	for i := range p.write.Appends {
		if a := &p.write.Appends[i]; !a.AnyVersion || !d.recent.may(a.Events[0].ID, p.behind) {
			return false
		}
	}
	return true
}

// onlyRefusal returns errors that are not about the write.
func onlyRefusal(err error) error {
	if store.IsRefusal(err) {
		return nil
	}
	return err
}

// accept adds an append to the round.
func (d *decider) accept(a *evento.Append, h decided.Head, at int64) evento.Receipt {
	one := decided.Append{Append: a, Head: h, First: d.position + 1, RecordedAt: at}
	d.batch.Appends = append(d.batch.Appends, one)
	d.recent.add(a.Events[0].ID, d.position)
	d.heads[a.Aggregate()] = one.After()
	d.position, d.latest = one.Last(), at
	return one.Receipt()
}

// head is where an aggregate is, with what the round has added.
func (d *decider) head(a evento.AggregateKey) (decided.Head, error) {
	if h, ok := d.heads[a]; ok {
		return h, nil
	}
	return d.index.HeadNow(a)
}

// others are the events of the round, for conditions.
func (d *decider) others() []store.Header {
	at := uint64(0)
	if n := len(d.headers); n > 0 {
		at = d.headers[n-1].Position
	}
	for i := range d.batch.Appends {
		if a := &d.batch.Appends[i]; a.First > at {
			d.headers = append(d.headers, pebble.Headers(a)...)
		}
	}
	return d.headers
}

// find returns the receipts of a write that was made before; nil: it was not.
func (d *decider) find(p *proposal) ([]evento.Receipt, error) {
	receipts, found, err := d.index.Find(context.Background(), p.write, p.behind)
	if err != nil || found {
		return receipts, err
	}
	receipts = receipts[:0]
	for i := range p.write.Appends {
		a := &p.write.Appends[i]
		for j := range d.batch.Appends {
			if one := &d.batch.Appends[j]; one.AggregateType == a.AggregateType && one.AggregateID == a.AggregateID && sameEvents(one.Events, a.Events) {
				receipts = append(receipts, one.Receipt())
			}
		}
	}
	if len(receipts) == len(p.write.Appends) {
		return receipts, nil
	}
	return nil, nil
}

func sameEvents(a, b []evento.NewEvent) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].ID != b[i].ID {
			return false
		}
	}
	return true
}

// swap decides changes of records. The first error is why they are not made. What is new is
// born in this message, and goes on in the stream of records, if it is not 0.
func (d *decider) swap(s *evento.Swap, now int64, born uint64) (refused, err error) {
	for i := range s.Changes {
		c := &s.Changes[i]
		r, err := d.record(c.RecordKey)
		if err != nil {
			return nil, err
		}
		home, _, err := splitBorn(r.Value)
		switch {
		case err != nil && r.Revision > 0:
			return nil, err
		case r.Revision > 0 && home > 0 && c.Revision > 0: // its revision is another by now
			return errAgain, nil
		case r.Revision != c.Revision:
			return swapped(c, r.Revision), nil
		}
	}
	for i := range s.Changes {
		c := &s.Changes[i]
		home := born
		if c.Revision > 0 {
			home = 0
		}
		r := evento.Record{RecordKey: c.RecordKey, Revision: c.Revision + 1, ChangedAt: time.UnixMicro(now).UTC(), Value: bornValue(home, c.Value)}
		if c.Remove {
			r = evento.Record{RecordKey: c.RecordKey}
		}
		d.records[c.RecordKey] = r
	}
	d.batch.Wake = d.batch.Wake || s.Wake
	return nil, nil
}

// moves takes over records that have left the stream of records, unless that was done.
func (d *decider) moves(moves []move) error {
	for _, m := range moves {
		r, err := d.record(m.RecordKey)
		if err != nil {
			return err
		}
		if r.Revision == 0 {
			continue
		}
		home, _, err := splitBorn(r.Value)
		if err != nil {
			return err
		}
		if home > 0 && home == m.born {
			r = m.Record
			r.Value = bornValue(0, m.Value)
			d.records[m.RecordKey] = r
		}
	}
	return nil
}

func swapped(c *evento.Change, at uint64) error {
	return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
}

// record is a record with what the round has changed; revision 0: there is none.
func (d *decider) record(key evento.RecordKey) (evento.Record, error) {
	if r, ok := d.records[key]; ok {
		return r, nil
	}
	r, err := d.index.Record(key)
	if r == nil || err != nil {
		return evento.Record{}, err
	}
	return *r, nil
}

// imports decides events of another store.
func (d *decider) imports(events []evento.RawEvent) (o outcome, err error) {
	if len(events) == 0 {
		return o, nil
	}
	if o.err = (store.Head{Position: d.position, RecordedAt: d.latest}).Check(events); o.err != nil {
		return o, nil //nolint:nilerr // that is its outcome
	}
	for _, a := range store.Aggregates(events) {
		h, err := d.head(a.AggregateKey)
		if err != nil {
			return o, err
		}
		if o.err = a.Check(h.Version, h.RoutingKey == a.RoutingKey); o.err != nil {
			return o, nil //nolint:nilerr // that is its outcome
		}
	}
	appends := store.Appends(events)
	for i := range appends {
		h := decided.Head{Version: events[i].Version - 1, RoutingKey: events[i].RoutingKey}
		d.accept(&appends[i], h, events[i].Timestamp.UnixMicro())
	}
	return o, nil
}

// sum makes the hash of what was decided.
type sum struct{ b []byte }

func summing(before, sequence uint64, crc uint32) *sum {
	s := &sum{make([]byte, 0, 64)}
	s.b = binary.BigEndian.AppendUint64(s.b, before)
	s.b = binary.BigEndian.AppendUint64(s.b, sequence)
	s.b = binary.BigEndian.AppendUint32(s.b, crc)
	return s
}

// add adds an outcome: refused, or where the events are.
func (s *sum) add(o *outcome) {
	if o.err != nil {
		s.b = append(s.b, 0)
		return
	}
	s.b = append(s.b, 1)
	for i := range o.receipts {
		s.b = binary.AppendUvarint(s.b, o.receipts[i].Position)
		s.b = binary.AppendUvarint(s.b, o.receipts[i].Version)
	}
}

func (s *sum) hash() uint64 {
	h := fnv.New64a()
	_, _ = h.Write(s.b)
	return h.Sum64()
}
