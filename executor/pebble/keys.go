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
	snapshotKey  = 's' // projection, revision, variant, type, id → snapshot
)

const (
	positionLen = 8
	revisionLen = 8
)

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
	b[len(b)-1]++ // the zero byte after a name, or a letter
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
