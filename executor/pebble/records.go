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
	if err := ex.begin(ctx); err != nil {
		return err
	}
	defer ex.end()
	if err := ex.swap(ctx, s.Changes); err != nil {
		return err
	}
	if s.Wake {
		ex.changed.Notify()
	}
	return nil
}

func (ex *Executor) swap(ctx context.Context, changes []evento.Change) error {
	keys := make([][]byte, len(changes))
	for i := range changes {
		keys[i] = ex.keys.record(changes[i].RecordKey)
	}
	old, err := ex.lockKeys(ctx, keys...)
	if err != nil {
		return err
	}
	defer ex.unlockKeys(keys...)
	for i := range changes {
		at, err := revisionOf(keys[i], old[i])
		if err != nil {
			return err
		}
		if c := &changes[i]; at != c.Revision {
			return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
		}
	}
	b, err := ex.swapBatch(changes, keys)
	if err != nil {
		return fmt.Errorf("evento: pebble: %w", err)
	}
	return ex.store(ctx, b)
}

// swapBatch makes a batch of changes.
func (ex *Executor) swapBatch(changes []evento.Change, keys [][]byte) (*lsm.Batch, error) {
	size := batchHeader
	for i := range changes {
		size += recordLengths + len(keys[i]) + recordHeader + len(changes[i].Value)
	}
	b, now := ex.db.NewBatchWithSize(size), uint64(ex.opts.Clock().UnixMicro())
	for i := range changes {
		c := &changes[i]
		if c.Remove {
			if err := b.Delete(keys[i], nil); err != nil {
				return nil, err
			}
			continue
		}
		op := b.SetDeferred(len(keys[i]), recordHeader+len(c.Value))
		copy(op.Key, keys[i])
		binary.BigEndian.PutUint64(op.Value, c.Revision+1)
		binary.BigEndian.PutUint64(op.Value[recordHeader-timeLen:], now)
		copy(op.Value[recordHeader:], c.Value)
		if err := op.Finish(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Records implements [evento.Executor].
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.begin(ctx); err != nil {
		return nil, err
	}
	defer ex.end()
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

// record is what a key and its value say. It copies them.
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
