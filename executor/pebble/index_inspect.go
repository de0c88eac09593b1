// What tools ask of an index.

package pebble

import (
	"bytes"
	"context"
	"fmt"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
)

// InspectIndex is [Inspect] for the index that [OpenIndex] makes. There must be one in the
// directory.
//
// Errors: those of Open; [evento.ErrInvalid] for a directory of something else.
func InspectIndex(dir string, opts *Options) (*Inspector, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	o.Prefix = indexPrefix
	return Inspect(dir, &o)
}

// Inspect reads an index as it is now: what is applied later is not in it. The Inspector is to
// be closed before the index.
func (x *Index) Inspect() *Inspector { return &Inspector{x.ex.db.NewSnapshot(), x.ex.keys} }

// Copy makes a directory with a copy of the index as it is now, from which another client can
// start. The directory must not exist, and is made with the permissions of the umask.
func (x *Index) Copy(dir string) error {
	if err := x.ex.gate.Enter(context.Background()); err != nil {
		return err
	}
	defer x.ex.gate.Leave()
	return failure(x.ex.db.Checkpoint(dir, lsm.WithFlushedWAL()))
}

// Identity is that of the store.
func (in *Inspector) Identity() (id [16]byte, err error) {
	meta, err := get(in.db, in.keys.meta())
	switch {
	case err != nil:
		return id, failure(err)
	case len(meta) != 4+len(id):
		return id, fmt.Errorf("%w: it has no description of an index", evento.ErrInvalid)
	}
	return [16]byte(meta[4:]), nil
}

// Entry returns a copy of an entry of an index; nil: there is none.
func (in *Inspector) Entry(key []byte) ([]byte, error) {
	v, err := get(in.db, append(in.keys.begin(entryKey), key...))
	return v, failure(err)
}

// Differences calls found for each key that is not in both of two indexes with the same value:
// in, and that which it should be.
func (in *Inspector) Differences(ctx context.Context, want *Inspector, found func(detail string) error) (err error) {
	prefix := []byte(in.keys.prefix)
	should, err := want.db.NewIter(&lsm.IterOptions{LowerBound: prefix, UpperBound: end(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = closeAfter(should, err) }()
	more := should.First()
	missing := func() error {
		err := found(in.what(should.Key()) + " is missing")
		more = should.Next()
		return err
	}
	err = in.scan(ctx, prefix, end(prefix), func(key, value []byte) error {
		for more && bytes.Compare(should.Key(), key) < 0 {
			if err := missing(); err != nil {
				return err
			}
		}
		if !more || !bytes.Equal(should.Key(), key) {
			return found(in.what(key) + " should not be there")
		}
		other, err := should.ValueAndErr()
		if err != nil {
			return err
		}
		same := bytes.Equal(other, value)
		more = should.Next()
		if same {
			return nil
		}
		return found(in.what(key) + " is another")
	})
	for err == nil && more {
		err = missing()
	}
	return err
}

// what is what a key is of.
func (in *Inspector) what(key []byte) string {
	if events := in.keys.events(); len(key) == len(events)+positionLen && bytes.HasPrefix(key, events) {
		return fmt.Sprintf("the event at position %d", positionOf(key))
	}
	if r, ok := in.keys.recordKey(key); ok && bytes.HasPrefix(key, in.keys.begin(recordKey)) {
		return fmt.Sprintf("the record %s %q %q", r.Kind, r.Key, r.Part)
	}
	return fmt.Sprintf("the key %q", key)
}
