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
	keys, size := make([][]byte, len(s.Changes)), 0
	for i := range s.Changes {
		keys[i] = ex.keys.record(s.Changes[i].RecordKey)
		size += recordHeader + len(s.Changes[i].Value)
	}
	err := ex.change(ctx, keys, size, func(b *lsm.Batch, old [][]byte) error {
		now := uint64(ex.opts.Clock().UnixMicro())
		for i := range s.Changes {
			if err := swap(b, &s.Changes[i], now, keys[i], old[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && s.Wake {
		ex.changed.Notify()
	}
	return err
}

// swap writes a change to a batch, if the old value has its revision.
func swap(b *lsm.Batch, c *evento.Change, now uint64, key, old []byte) error {
	at, err := revisionOf(key, old)
	switch {
	case err != nil:
		return err
	case at != c.Revision:
		return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
	case c.Remove:
		return failure(b.Delete(key, nil))
	}
	op := b.SetDeferred(len(key), recordHeader+len(c.Value))
	copy(op.Key, key)
	binary.BigEndian.PutUint64(op.Value, c.Revision+1)
	binary.BigEndian.PutUint64(op.Value[recordHeader-timeLen:], now)
	copy(op.Value[recordHeader:], c.Value)
	return failure(op.Finish())
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
