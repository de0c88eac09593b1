// Proposals: what a client asks of the log, and how it is encoded in the body of a group.

package jetstream

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// proposal is one of these: a write, a swap, an import, or records that move to the log.
type proposal struct {
	write  *evento.Write // its Unless is in places
	places []store.Place
	// behind is the position up to which the sender has looked for an earlier attempt.
	behind  uint64
	swap    *evento.Swap
	imports []evento.RawEvent
	moves   []move
}

// move is a record that has left the stream of records, as it was there.
type move struct {
	evento.Record
	born uint64
}

// Kinds of proposals.
const (
	proposesWrite byte = iota + 1
	proposesSwap
	proposesImport
	proposesMove
)

// Flags.
const (
	flagRetry byte = 1 << iota
	flagSwap
	flagAnyVersion
	flagUnrouted
	flagRemove
	flagWake
	flagMoved
)

// encoder appends to a body.
type encoder struct{ b []byte }

func (e *encoder) uint(n uint64)     { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) byte(c byte)       { e.b = append(e.b, c) }
func (e *encoder) text(s string)     { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) bytes(b []byte)    { e.uint(uint64(len(b))); e.b = append(e.b, b...) }
func (e *encoder) time(t time.Time)  { e.uint(uint64(t.UnixMicro())) }
func (e *encoder) texts(ss []string) { each(e, ss, func(s string) { e.text(s) }) }

func each[T any](e *encoder, list []T, one func(T)) {
	e.uint(uint64(len(list)))
	for _, v := range list {
		one(v)
	}
}

type bit struct {
	value byte
	set   bool
}

// flags makes a byte of bits.
func flags(bits ...bit) (f byte) {
	for _, b := range bits {
		if b.set {
			f |= b.value
		}
	}
	return f
}

// encodeProposal encodes a proposal, which is checked.
func encodeProposal(p *proposal) ([]byte, error) {
	e := &encoder{b: make([]byte, 0, p.size())}
	switch {
	case p.write != nil:
		e.byte(proposesWrite)
		if err := e.write(p); err != nil {
			return nil, err
		}
	case p.swap != nil:
		e.byte(proposesSwap)
		e.swap(p.swap)
	case p.moves != nil:
		e.byte(proposesMove)
		each(e, p.moves, e.move)
	default:
		e.byte(proposesImport)
		e.uint(uint64(len(p.imports)))
		for i := range p.imports {
			if err := e.event(&p.imports[i]); err != nil {
				return nil, err
			}
		}
	}
	return e.b, nil
}

// size is about how many bytes the proposal takes.
func (p *proposal) size() int {
	n := 64
	if p.write != nil {
		for i := range p.write.Appends {
			n += 128
			for j := range p.write.Appends[i].Events {
				n += 64 + len(p.write.Appends[i].Events[j].Data)
			}
		}
	}
	for i := range p.imports {
		n += 256 + len(p.imports[i].Data)
	}
	return n
}

func (e *encoder) write(p *proposal) error {
	w := p.write
	e.byte(flags(bit{flagRetry, w.Retry}, bit{flagSwap, w.Swap != nil}))
	e.uint(p.behind)
	e.uint(uint64(len(w.Appends)))
	for i := range w.Appends {
		a := &w.Appends[i]
		e.byte(flags(bit{flagAnyVersion, a.AnyVersion}))
		e.text(string(a.AggregateType))
		e.text(a.AggregateID)
		e.uint(a.Expected)
		e.text(a.RoutingKey)
		if err := e.metadata(&a.Metadata); err != nil {
			return err
		}
		each(e, a.Events, func(n evento.NewEvent) {
			e.b = append(e.b, n.ID[:]...)
			e.text(n.Name)
			e.text(n.Codec)
			e.texts(n.Tags)
			e.bytes(n.Data)
		})
	}
	each(e, p.places, func(c store.Place) {
		e.byte(flags(bit{flagUnrouted, c.Query.Unrouted}))
		e.text(c.Query.RoutingKey)
		each(e, c.Query.Filters, func(f evento.Filter) {
			e.text(string(f.AggregateType))
			e.text(f.AggregateID)
			e.text(f.Name)
			e.texts(f.Tags)
		})
		e.uint(c.After)
	})
	if w.Swap != nil {
		e.swap(w.Swap)
	}
	return nil
}

func (e *encoder) metadata(m *evento.Metadata) error {
	if m.IsZero() {
		e.uint(0)
		return nil
	}
	b, err := evento.CBOR().Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding metadata: %w", err)
	}
	e.bytes(b)
	return nil
}

func (e *encoder) swap(s *evento.Swap) {
	e.byte(flags(bit{flagWake, s.Wake}))
	each(e, s.Changes, func(c evento.Change) {
		e.byte(flags(bit{flagRemove, c.Remove}))
		e.key(c.RecordKey)
		e.uint(c.Revision)
		e.bytes(c.Value)
	})
}

func (e *encoder) key(k evento.RecordKey) {
	e.text(k.Kind)
	e.text(k.Key)
	e.text(k.Part)
}

func (e *encoder) move(m move) {
	e.key(m.RecordKey)
	e.uint(m.born)
	e.uint(m.Revision)
	e.time(m.ChangedAt)
	e.bytes(m.Value)
}

func (e *encoder) event(r *evento.RawEvent) error {
	e.b = append(e.b, r.ID[:]...)
	e.uint(r.Position)
	e.text(string(r.AggregateType))
	e.text(r.AggregateID)
	e.uint(r.Version)
	e.text(r.Name)
	e.text(r.RoutingKey)
	e.texts(r.Tags)
	e.text(r.Codec)
	e.time(r.Timestamp)
	e.bytes(r.Data)
	return e.metadata(&r.Metadata)
}

// decoder takes from a body. After its first error it returns empty values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: a proposal in the log: %s", evento.ErrDamaged, what)
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail("a number is cut off")
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("it is cut off")
		return nil
	}
	taken := d.b[:n:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bytes() []byte { return d.take(d.uint()) }
func (d *decoder) text() string  { return string(d.bytes()) }

// decodeEach decodes a list, of which each entry takes at least a byte.
func decodeEach[T any](d *decoder, one func() T) []T {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail("a list is cut off")
		return nil
	}
	if n == 0 {
		return nil
	}
	list := make([]T, 0, min(n, 1024))
	for range n {
		if v := one(); d.err == nil {
			list = append(list, v)
			continue
		}
		return nil
	}
	return list
}

func (d *decoder) texts() []string { return decodeEach(d, d.text) }

func (d *decoder) id() (id evento.ID) {
	copy(id[:], d.take(uint64(len(id))))
	return id
}

// decodeProposal decodes a proposal. Its bytes are those of the body.
func decodeProposal(b []byte) (*proposal, error) {
	d, p := &decoder{b: b}, &proposal{}
	switch kind := d.byte(); kind {
	case proposesWrite:
		d.write(p)
	case proposesSwap:
		p.swap = d.swap()
	case proposesImport:
		p.imports = decodeEach(d, d.event)
	case proposesMove:
		p.moves = decodeEach(d, d.move)
	default:
		d.fail(fmt.Sprintf("there is no kind %d", kind))
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("there is more behind it")
	}
	return p, d.err
}

func (d *decoder) write(p *proposal) {
	w := &evento.Write{}
	p.write = w
	f := d.byte()
	w.Retry = f&flagRetry != 0
	p.behind = d.uint()
	w.Appends = decodeEach(d, func() (a evento.Append) {
		a.AnyVersion = d.byte()&flagAnyVersion != 0
		a.AggregateType, a.AggregateID = evento.AggregateType(d.text()), d.text()
		a.Expected, a.RoutingKey, a.Metadata = d.uint(), d.text(), d.metadata()
		a.Events = decodeEach(d, func() evento.NewEvent {
			return evento.NewEvent{ID: d.id(), Name: d.text(), Codec: d.text(), Tags: d.texts(), Data: d.bytes()}
		})
		if len(a.Events) == 0 {
			d.fail("an append without events")
		}
		return a
	})
	if len(w.Appends) == 0 {
		d.fail("a write without appends")
	}
	p.places = decodeEach(d, func() (c store.Place) {
		c.Query.Unrouted = d.byte()&flagUnrouted != 0
		c.Query.RoutingKey = d.text()
		c.Query.Filters = decodeEach(d, func() evento.Filter {
			return evento.Filter{AggregateType: evento.AggregateType(d.text()), AggregateID: d.text(), Name: d.text(), Tags: d.texts()}
		})
		c.After = d.uint()
		return c
	})
	if f&flagSwap != 0 {
		w.Swap = d.swap()
	}
}

func (d *decoder) metadata() (m evento.Metadata) {
	if b := d.bytes(); len(b) > 0 {
		if err := evento.CBOR().Unmarshal(b, &m); err != nil {
			d.fail("metadata: " + err.Error())
		}
	}
	return m
}

func (d *decoder) swap() *evento.Swap {
	s := &evento.Swap{Wake: d.byte()&flagWake != 0}
	s.Changes = decodeEach(d, func() (c evento.Change) {
		c.Remove = d.byte()&flagRemove != 0
		c.RecordKey = d.key()
		c.Revision, c.Value = d.uint(), d.bytes()
		return c
	})
	return s
}

func (d *decoder) time() time.Time {
	at := d.uint()
	if at > math.MaxInt64 {
		d.fail("a time is beyond reason")
	}
	return time.UnixMicro(int64(at)).UTC()
}

func (d *decoder) key() evento.RecordKey {
	return evento.RecordKey{Kind: d.text(), Key: d.text(), Part: d.text()}
}

func (d *decoder) move() (m move) {
	m.RecordKey = d.key()
	m.born, m.Revision, m.ChangedAt, m.Value = d.uint(), d.uint(), d.time(), d.bytes()
	return m
}

func (d *decoder) event() (e evento.RawEvent) {
	e.ID, e.Position = d.id(), d.uint()
	e.AggregateType, e.AggregateID, e.Version = evento.AggregateType(d.text()), d.text(), d.uint()
	e.Name, e.RoutingKey, e.Tags, e.Codec = d.text(), d.text(), d.texts(), d.text()
	e.Timestamp, e.Data, e.Metadata = d.time(), d.bytes(), d.metadata()
	return e
}
