// What tools ask of a store: what is under its keys, whatever that is.

package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/examine"
	"github.com/evento-go/evento/internal/store"
)

// Inspector reads a store for tools such as evento doctor. It is safe for concurrent use.
type Inspector struct {
	db   lsm.Reader
	keys keys
}

// Inspect is [Open] for tools: it changes nothing. No executor may have the directory open.
// nil options are the defaults.
//
// Errors: those of Open.
func Inspect(dir string, opts *Options) (*Inspector, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	o.ReadOnly = true
	if err := checkDirectory(o.FS, dir, true); err != nil {
		return nil, store.Errorf("pebble: inspect %s: %w", dir, explain(err))
	}
	db, err := lsm.Open(dir, o.database(&disk{FS: o.FS, dir: dir, minFree: o.MinFree, logger: o.Logger}))
	if err != nil {
		return nil, store.Errorf("pebble: inspect %s: %w", dir, explain(err))
	}
	return &Inspector{db, keys{prefix: o.Prefix}}, nil
}

// InspectorOf is [Inspect] for a store that an executor has open. It is not to be closed.
func InspectorOf(ex *Executor) *Inspector { return &Inspector{ex.db, ex.keys} }

// Close closes the database.
func (in *Inspector) Close() error { return in.db.Close() }

// Events calls each for every event from a position on, in the order of their keys. It needs
// the memory of one event.
func (in *Inspector) Events(ctx context.Context, from uint64, each func(*examine.Event) error) error {
	beginning := in.keys.events()
	return in.scan(ctx, at(beginning, from), end(beginning), func(key, value []byte) error {
		return each(in.event(key, value))
	})
}

// Last returns the position in the key of the n-th event from the end; 0: there are fewer. It is
// not known if that is none.
func (in *Inspector) Last(_ context.Context, n int) (position uint64, known bool, err error) {
	it, err := in.db.NewIter(&lsm.IterOptions{LowerBound: in.keys.events(), UpperBound: end(in.keys.events())})
	if err != nil {
		return 0, false, err
	}
	known = true
	for ok := it.Last(); ok; ok = it.Prev() {
		if known = len(it.Key()) == len(in.keys.events())+positionLen; !known {
			break
		}
		if n--; n == 0 {
			position = positionOf(it.Key())
			known = position > 0
			break
		}
	}
	return position, known, closeAfter(it, nil)
}

// scan calls each for the keys in a range, whose bytes are valid during the call.
func (in *Inspector) scan(ctx context.Context, from, to []byte, each func(key, value []byte) error) (err error) {
	it, err := in.db.NewIter(&lsm.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() { err = closeAfter(it, err) }() // where the iterator stopped for an error, this tells it
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("at the key %q: %w", it.Key(), err)
		}
		if err := each(it.Key(), value); err != nil {
			return err
		}
		if n++; n%contextEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// event reads the event under a key.
func (in *Inspector) event(key, value []byte) *examine.Event {
	e := &examine.Event{}
	if len(key) != len(in.keys.events())+positionLen {
		e.Add(examine.Position, "its key, %q, has no position", key)
	} else {
		e.Position = positionOf(key)
	}
	v := stored(value)
	if err := v.check(); err != nil {
		e.Add(examine.Data, "%s", examine.Plain(err, ""))
		for _, part := range []examine.Part{
			examine.ID, examine.Type, examine.Aggregate, examine.Version, examine.Name, examine.RoutingKey,
			examine.Tags, examine.Timestamp, examine.Codec, examine.Metadata,
		} {
			e.Unknown(part)
		}
		return e
	}
	if v.position() != e.Position && !e.Lacks(examine.Position) {
		e.Add(examine.Position, "it says that it is at position %d", v.position())
	}
	e.ID, e.Version, e.Timestamp = v.id(), v.version(), time.UnixMicro(v.recordedAt()).UTC()
	p := v.parts()
	e.AggregateType, e.AggregateID, e.Name = evento.AggregateType(p.aggregateType), string(p.aggregateID), string(p.name)
	e.RoutingKey, e.Codec, e.Data = string(p.routing), string(p.codec), p.data
	if len(p.metadata) == 0 {
		return e
	}
	d, err := decodeMetadata(p.metadata, e.Position)
	if err == nil {
		var again []byte
		if again, err = encodeMetadata(&d.Metadata, d.Tags); err == nil && !bytes.Equal(again, p.metadata) {
			err = errors.New("it is not what the library writes")
		}
	}
	if err != nil {
		e.Add(examine.Metadata, "its metadata of %d bytes cannot be read: %s", len(p.metadata), err)
		e.Unknown(examine.Tags)
		return e
	}
	e.Metadata, e.Tags = d.Metadata, d.Tags
	return e
}

// Records calls each for every record of a kind, or of all kinds for "", in the order of their
// keys. It needs the memory of one.
func (in *Inspector) Records(ctx context.Context, kind string, each func(*examine.Record) error) error {
	beginning := in.keys.begin(recordKey)
	if kind != "" {
		beginning = in.keys.records(kind, "")
	}
	return in.scan(ctx, beginning, end(beginning), func(key, value []byte) error { return each(in.record(key, value)) })
}

// Record returns the record with a key; nil: there is none, or it is damaged.
func (in *Inspector) Record(_ context.Context, key evento.RecordKey) (*examine.Record, error) {
	at := in.keys.record(key)
	value, err := get(in.db, at)
	if err != nil || value == nil {
		return nil, err
	}
	if r := in.record(at, value); len(r.Faults) == 0 {
		return r, nil
	}
	return nil, nil
}

func (in *Inspector) record(key, value []byte) *examine.Record {
	r := &examine.Record{}
	var ok bool
	if r.RecordKey, ok = in.keys.recordKey(key); !ok {
		r.Add("key", "the key %q is no record's", key)
	}
	if len(value) < recordHeader {
		r.Add("value", "its value of %d bytes is cut short", len(value))
		r.Unknown("revision")
		return r
	}
	r.Revision = binary.BigEndian.Uint64(value)
	r.ChangedAt = time.UnixMicro(int64(binary.BigEndian.Uint64(value[recordHeader-timeLen:]))).UTC()
	r.Value = bytes.Clone(value[recordHeader:])
	return r
}

// Now returns the time by the store's clock, which is this machine's.
func (in *Inspector) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// Snapshots calls each for every snapshot, in the order of their keys. It needs the memory of
// one.
func (in *Inspector) Snapshots(ctx context.Context, each func(*examine.Snapshot) error) error {
	beginning := in.keys.snapshots("")
	return in.scan(ctx, beginning, end(beginning), func(key, value []byte) error {
		one := &examine.Snapshot{}
		var ok bool
		if one.SnapshotKey, ok = in.keys.snapshotKey(key); !ok {
			one.Add("key", "the key %q is no snapshot's", key)
		}
		s, err := snapshotOf(key, value)
		if err != nil {
			one.Add("value", "its value of %d bytes is cut short", len(value))
			for _, part := range []examine.Part{examine.Version, examine.Position, "cursor", "state"} {
				one.Unknown(part)
			}
		}
		one.Snapshot, one.Size = s, len(s.Data)
		return each(one)
	})
}
