// The keys, in whose order the store reads. Every name ends with a zero byte, which
// no name contains: so no key looks like the beginning of another, and the
// order is bytewise. Keys that are read in order of positions end with one.

package pebble

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/evento-go/evento"
)

const (
	metaKey      = 'm' // the format and the store's identity
	eventKey     = 'e' // position → event
	aggregateKey = 'a' // type, id, position → event
	kindKey      = 'k' // type, name, position
	routingKey   = 'r' // routing key, position
	tagKey       = 'g' // tag, position
	recordKey    = 'c' // kind, key, part → record
	snapshotKey  = 's' // projection, revision, variant, type, id → snapshot
)

const (
	positionLen = 8
	revisionLen = 8
)

// keys makes keys that begin with a prefix.
//
// Why: docs/decisions.md, "The aggregate index is by position".
type keys struct{ prefix string }

func (k keys) begin(kind byte, names ...string) []byte {
	n := len(k.prefix) + 1 + positionLen
	for _, name := range names {
		n += len(name) + 1
	}
	b := make([]byte, 0, n)
	b = append(append(b, k.prefix...), kind)
	for _, name := range names {
		b = append(append(b, name...), 0)
	}
	return b
}

func (k keys) meta() []byte   { return k.begin(metaKey) }
func (k keys) events() []byte { return k.begin(eventKey) }

func (k keys) aggregate(t evento.AggregateType, id string) []byte {
	return k.begin(aggregateKey, string(t), id)
}

// kindsOf is what the keys of all kinds of a type begin with.
func (k keys) kindsOf(t evento.AggregateType) []byte { return k.begin(kindKey, string(t)) }

func (k keys) kind(t evento.AggregateType, name string) []byte {
	return k.begin(kindKey, string(t), name)
}

func (k keys) routing(key string) []byte { return k.begin(routingKey, key) }

func (k keys) tag(tag string) []byte { return k.begin(tagKey, tag) }

func (k keys) record(r evento.RecordKey) []byte {
	return k.begin(recordKey, r.Kind, r.Key, r.Part)
}

// records is what the keys of the records of a kind begin with, or of a key of
// it that is not "".
func (k keys) records(kind, key string) []byte {
	if key == "" {
		return k.begin(recordKey, kind)
	}
	return k.begin(recordKey, kind, key)
}

// recordKey is the record that a key under [keys.record] is of.
func (k keys) recordKey(key []byte) (evento.RecordKey, bool) {
	names := bytes.Split(key[len(k.prefix)+1:], []byte{0})
	if len(names) != 4 || len(names[3]) > 0 {
		return evento.RecordKey{}, false
	}
	return evento.RecordKey{Kind: string(names[0]), Key: string(names[1]), Part: string(names[2])}, true
}

// snapshots is what the keys of all snapshots begin with, or of those of a
// projection that is not "".
func (k keys) snapshots(projection string) []byte {
	if projection == "" {
		return k.begin(snapshotKey)
	}
	return k.begin(snapshotKey, projection)
}

// snapshot keys are in the order of evento.SnapshotKey.Compare.
func (k keys) snapshot(s evento.SnapshotKey) []byte {
	n := len(k.prefix) + 1 + revisionLen + len(s.Projection) + len(s.Variant) + len(s.AggregateType) + len(s.AggregateID) + 4
	b := append(append(make([]byte, 0, n), k.prefix...), snapshotKey)
	b = append(append(b, s.Projection...), 0)
	b = binary.BigEndian.AppendUint64(b, s.Revision)
	for _, name := range []string{s.Variant, string(s.AggregateType), s.AggregateID} {
		b = append(append(b, name...), 0)
	}
	return b
}

// snapshotKey is the one that a key under [keys.snapshot] is of.
func (k keys) snapshotKey(key []byte) (s evento.SnapshotKey, ok bool) {
	projection, rest, _ := bytes.Cut(key[len(k.prefix)+1:], []byte{0})
	if len(rest) < revisionLen {
		return s, false
	}
	names := bytes.Split(rest[revisionLen:], []byte{0})
	if len(names) != 4 || len(names[3]) > 0 {
		return s, false
	}
	return evento.SnapshotKey{
		Projection: string(projection), Revision: binary.BigEndian.Uint64(rest),
		Variant: string(names[0]), AggregateType: evento.AggregateType(names[1]), AggregateID: string(names[2]),
	}, true
}

// end is after all keys that begin with a beginning.
func end(beginning []byte) []byte {
	b := bytes.Clone(beginning)
	b[len(b)-1]++ // the zero byte after a name, or the letter of the kind
	return b
}

// at returns the key of a position under a beginning.
func at(beginning []byte, position uint64) []byte {
	b := make([]byte, len(beginning), len(beginning)+positionLen)
	copy(b, beginning)
	return binary.BigEndian.AppendUint64(b, position)
}

// positionOf reads the end of a key.
func positionOf(key []byte) uint64 {
	return binary.BigEndian.Uint64(key[len(key)-positionLen:])
}

// An event's value has fields of fixed length first, so that the position,
// version and time, which are known last, are filled in where they stand:
//
//	position, version, recorded at (microseconds): 8 bytes each, big-endian
//	id: 16 bytes
//	the lengths of type, aggregate id, name, routing key, codec: a byte each
//	the length of the metadata: 4 bytes
//	type, aggregate id, name, routing key, codec, metadata and tags (CBOR), data
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

// place writes the fields that are known last.
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

// described is what an event has beside its payload.
type described struct {
	evento.Metadata
	Tags []string `json:"tags,omitempty"`
}

func encodeMetadata(m *evento.Metadata, tags []string) ([]byte, error) {
	if m.IsZero() && len(tags) == 0 {
		return nil, nil
	}
	b, err := evento.CBOR().Marshal(described{*m, tags})
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	return b, nil
}

func decodeMetadata(b []byte, position uint64) (d described, err error) {
	if err := evento.CBOR().Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("%w: metadata of the event at position %d: %w", evento.ErrDecode, position, err)
	}
	return d, nil
}

// place writes an event's position everywhere in its batch, and its version and time.
func (e *event) place(position, version uint64, recordedAt int64) {
	for _, v := range e.values {
		v.place(position, version, recordedAt)
	}
	for _, k := range e.keys {
		if k != nil {
			binary.BigEndian.PutUint64(k, position)
		}
	}
	for _, k := range e.tags {
		binary.BigEndian.PutUint64(k, position)
	}
}
