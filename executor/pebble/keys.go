// The keys, in the order of which the store reads. Every name ends with a zero
// byte, which no name holds, so that no key is taken for another's beginning
// and bytewise order is kept. What is read in order of positions ends with one.

package pebble

import (
	"bytes"
	"encoding/binary"

	"github.com/evento-go/evento"
)

const (
	metaKey      = 'm' // the format and the store's identity
	eventKey     = 'e' // position → event
	aggregateKey = 'a' // type, id, position → event
	kindKey      = 'k' // type, name, position
	routingKey   = 'r' // routing key, position
	recordKey    = 'c' // kind, key, part → record
	swappedKey   = 't' // the time of the last swap
	snapshotKey  = 'p' // the fields of the snapshot's key → snapshot
)

const positionLen = 8

// keys makes keys that begin with a prefix.
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

func (k keys) swapped() []byte { return k.begin(swappedKey) }

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

// snapshot keys are only looked up: lengths tell their fields apart.
func (k keys) snapshot(s evento.SnapshotKey) []byte {
	b := k.begin(snapshotKey)
	for _, field := range []string{s.Projection, s.Variant, string(s.AggregateType), s.AggregateID} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	return binary.BigEndian.AppendUint64(b, s.Revision)
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
