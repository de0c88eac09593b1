// How an event is stored.

package pebble

import (
	"encoding/binary"
	"fmt"

	"github.com/evento-go/evento"
)

// An event's value has fields of fixed length first, so that the position,
// version and time, which are known last, are filled in where they stand:
//
//	position, version, recorded at (microseconds): 8 bytes each, big-endian
//	id: 16 bytes
//	the lengths of type, aggregate id, name, routing key, codec: a byte each
//	the length of the metadata: 4 bytes
//	type, aggregate id, name, routing key, codec, metadata (CBOR), data
const (
	offVersion    = 8
	offRecordedAt = 16
	offID         = 24
	offLengths    = 40
	offMetadata   = 45
	headerLen     = 49
)

// stored is an event's value.
type stored []byte

func (v stored) check() error {
	if len(v) >= headerLen {
		n := headerLen + int(binary.BigEndian.Uint32(v[offMetadata:]))
		for _, l := range v[offLengths:offMetadata] {
			n += int(l)
		}
		if n <= len(v) {
			return nil
		}
	}
	return fmt.Errorf("%w: an event's value of %d bytes is cut short", evento.ErrDecode, len(v))
}

func (v stored) position() uint64   { return binary.BigEndian.Uint64(v) }
func (v stored) version() uint64    { return binary.BigEndian.Uint64(v[offVersion:]) }
func (v stored) recordedAt() int64  { return int64(binary.BigEndian.Uint64(v[offRecordedAt:])) }
func (v stored) id() (id evento.ID) { copy(id[:], v[offID:]); return id }

// place fills in what is known last.
func (v stored) place(position, version uint64, recordedAt int64) {
	binary.BigEndian.PutUint64(v, position)
	binary.BigEndian.PutUint64(v[offVersion:], version)
	binary.BigEndian.PutUint64(v[offRecordedAt:], uint64(recordedAt))
}

// parts are the fields of variable length, in the store's memory.
type parts struct {
	aggregateType, aggregateID, name, routing, codec, metadata, data []byte
}

// parts splits a checked value.
func (v stored) parts() (p parts) {
	rest := v[headerLen:]
	for i, field := range []*[]byte{&p.aggregateType, &p.aggregateID, &p.name, &p.routing, &p.codec} {
		n := int(v[offLengths+i])
		*field, rest = rest[:n:n], rest[n:]
	}
	n := binary.BigEndian.Uint32(v[offMetadata:])
	p.metadata, p.data = rest[:n:n], rest[n:]
	return p
}

func storedLen(a *evento.Append, e *evento.NewEvent, routing string, metadata []byte) int {
	return headerLen + len(a.AggregateType) + len(a.AggregateID) + len(e.Name) + len(routing) + len(e.Codec) + len(metadata) + len(e.Data)
}

// put writes all but what place does; v has the length of storedLen.
func (v stored) put(a *evento.Append, e *evento.NewEvent, routing string, metadata []byte) {
	copy(v[offID:], e.ID[:])
	binary.BigEndian.PutUint32(v[offMetadata:], uint32(len(metadata)))
	rest := v[headerLen:]
	for i, field := range [...]string{string(a.AggregateType), a.AggregateID, e.Name, routing, e.Codec} {
		v[offLengths+i] = byte(len(field))
		rest = rest[copy(rest, field):]
	}
	rest = rest[copy(rest, metadata):]
	copy(rest, e.Data)
}

func encodeMetadata(m evento.Metadata) ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	b, err := evento.CBOR().Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("evento: pebble: encoding metadata: %w", err)
	}
	return b, nil
}

func decodeMetadata(b []byte, position uint64) (m evento.Metadata, err error) {
	if err := evento.CBOR().Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: metadata of the event at position %d: %w", evento.ErrDecode, position, err)
	}
	return m, nil
}

// place fills in an event's place everywhere in its batch.
func (e *event) place(position, version uint64, recordedAt int64) {
	for _, v := range e.values {
		v.place(position, version, recordedAt)
	}
	for _, k := range e.keys {
		if k != nil {
			binary.BigEndian.PutUint64(k, position)
		}
	}
}
