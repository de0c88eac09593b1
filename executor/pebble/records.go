// Records.

package pebble

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
)

// A record's value is its revision and the time of its last change, 8 bytes
// each, and the value.
const (
	timeLen      = 8
	recordHeader = 8 + timeLen
)

// revisionOf reads a value; nil, which is none, has revision 0.
func revisionOf(key, v []byte) (uint64, error) {
	switch {
	case v == nil:
		return 0, nil
	case len(v) < recordHeader:
		return 0, fmt.Errorf("%w: the record at %q is cut short", evento.ErrDecode, key)
	}
	return binary.BigEndian.Uint64(v), nil
}

// Swap implements [evento.Executor].
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return err
	}
	defer ex.gate.Leave()
	r := ex.recordsOf(&s)
	err := ex.change(ctx, r.keys, r.size, func(b *lsm.Batch, old [][]byte) error {
		r.see(old)
		if r.stale != nil {
			return r.stale
		}
		return r.write(b)
	})
	if err == nil && s.Wake {
		ex.changed.Notify()
	}
	return err
}

// records are changes of records with their keys, all of which are locked when the
// records are seen.
type records struct {
	changes []evento.Change
	keys    [][]byte
	size    int // of the values in a batch
	now     uint64
	stale   error // why they cannot be made
}

func (ex *Executor) recordsOf(s *evento.Swap) records {
	r := records{changes: s.Changes, keys: make([][]byte, len(s.Changes)), now: uint64(ex.opts.Clock().UnixMicro())}
	for i := range s.Changes {
		r.keys[i] = ex.keys.record(s.Changes[i].RecordKey)
		r.size += recordHeader + len(s.Changes[i].Value)
	}
	return r
}

// room is how much of a batch the changes take.
func (r *records) room() int {
	n := r.size
	for _, key := range r.keys {
		n += recordLengths + len(key)
	}
	return n
}

// lockRecords locks the records that a write changes, and sees them. Without an error
// the caller unlocks their keys.
func (ex *Executor) lockRecords(ctx context.Context, s *evento.Swap) (records, error) {
	r := ex.recordsOf(s)
	old, err := ex.lockKeys(ctx, r.keys)
	if err == nil {
		r.see(old)
	}
	return r, err
}

// see compares the values under the keys with the revisions that the changes expect.
func (r *records) see(old [][]byte) {
	for i := range r.changes {
		c := &r.changes[i]
		at, err := revisionOf(r.keys[i], old[i])
		if err == nil && at != c.Revision {
			err = fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
		}
		if err != nil {
			r.stale = err
			return
		}
	}
}

// write writes the changes to a batch, if they can be made.
func (r *records) write(b *lsm.Batch) error {
	if r.stale != nil {
		return nil //nolint:nilerr // the commit says so, when nothing else is in its way
	}
	for i := range r.changes {
		c, key := &r.changes[i], r.keys[i]
		if c.Remove {
			if err := b.Delete(key, nil); err != nil {
				return failure(err)
			}
			continue
		}
		op := b.SetDeferred(len(key), recordHeader+len(c.Value))
		copy(op.Key, key)
		binary.BigEndian.PutUint64(op.Value, c.Revision+1)
		binary.BigEndian.PutUint64(op.Value[recordHeader-timeLen:], r.now)
		copy(op.Value[recordHeader:], c.Value)
		if err := op.Finish(); err != nil {
			return failure(err)
		}
	}
	return nil
}

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	from := ex.keys.records(q.Kind, q.Key)
	to := end(from)
	if q.After != (evento.RecordKey{}) {
		from = later(from, append(ex.keys.record(q.After), 0))
	}
	page, most := &evento.RecordPage{}, cmp.Or(q.Limit, evento.MaxRecords)
	err := ex.list(ctx, from, to, func(key, value []byte) (more bool, err error) {
		if len(page.Records) == most {
			page.More = true
			return false, nil
		}
		r, err := ex.record(key, value)
		page.Records = append(page.Records, r)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	page.Now = time.UnixMicro(ex.opts.Clock().UnixMicro()).UTC()
	return page, nil
}

// record makes a record of copies of a key and its value.
func (ex *Executor) record(key, value []byte) (r evento.Record, err error) {
	var ok bool
	if r.RecordKey, ok = ex.keys.recordKey(key); !ok {
		return r, fmt.Errorf("%w: the key %q is no record's", evento.ErrDecode, key)
	}
	if r.Revision, err = revisionOf(key, value); err != nil {
		return r, err
	}
	r.ChangedAt = time.UnixMicro(int64(binary.BigEndian.Uint64(value[recordHeader-timeLen:]))).UTC()
	r.Value = bytes.Clone(value[recordHeader:])
	return r, nil
}
