// Records.

package pebble

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
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
	old, err := ex.own(ctx, keys...)
	if err != nil {
		return err
	}
	defer ex.disown(keys...)
	for i := range changes {
		at, err := revisionOf(keys[i], old[i])
		if err != nil {
			return err
		}
		if c := &changes[i]; at != c.Revision {
			return fmt.Errorf("%w: %s %q %q is at revision %d, not %d", evento.ErrSwapped, c.Kind, c.Key, c.Part, at, c.Revision)
		}
	}
	b, times, err := ex.swapBatch(changes, keys)
	if err != nil {
		return fmt.Errorf("evento: pebble: %w", err)
	}
	return ex.store(ctx, b, func() {
		now := uint64(ex.clock())
		for _, at := range times {
			binary.BigEndian.PutUint64(at, now)
		}
	})
}

// swapBatch makes a batch of changes, where the time is missing in several
// places. It is made large enough at once, as its memory must not move.
func (ex *Executor) swapBatch(changes []evento.Change, keys [][]byte) (b *lsm.Batch, times [][]byte, err error) {
	swapped := ex.keys.swapped()
	size := batchHeader + recordLengths + len(swapped) + timeLen
	for i := range changes {
		size += recordLengths + len(keys[i]) + recordHeader + len(changes[i].Value)
	}
	b = ex.db.NewBatchWithSize(size)
	for i := range changes {
		c := &changes[i]
		if c.Remove {
			if err := b.Delete(keys[i], nil); err != nil {
				return nil, nil, err
			}
			continue
		}
		op := b.SetDeferred(len(keys[i]), recordHeader+len(c.Value))
		copy(op.Key, keys[i])
		binary.BigEndian.PutUint64(op.Value, c.Revision+1)
		times = append(times, op.Value[recordHeader-timeLen:recordHeader])
		copy(op.Value[recordHeader:], c.Value)
	}
	op := b.SetDeferred(len(swapped), timeLen)
	copy(op.Key, swapped)
	times = append(times, op.Value)
	if b.Len() > size {
		return nil, nil, errors.New("a batch outgrew its size")
	}
	return b, times, nil
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
	to := bytes.Clone(from)
	to[len(to)-1] = 1 // it was the zero byte that ends a name
	if q.After != (evento.RecordKey{}) {
		after := append(ex.keys.record(q.After), 0)
		if bytes.Compare(after, from) > 0 {
			from = after
		}
	}
	page := &evento.RecordPage{}
	if bytes.Compare(from, to) < 0 {
		if err := ex.records(ctx, page, from, to, cmp.Or(q.Limit, evento.MaxRecords)); err != nil {
			return nil, err
		}
	}
	page.Now = time.UnixMicro(ex.clock()).UTC()
	return page, nil
}

// written is a record of which a change is under way, as it was before.
type written struct {
	key   string
	value []byte // nil: there was none
}

// records adds the records between two keys to a page, as they were at one
// moment.
func (ex *Executor) records(ctx context.Context, page *evento.RecordPage, from, to []byte, most int) (err error) {
	ex.state.mu.RLock()
	before := ex.state.between(from, to)
	it, err := ex.db.NewIter(&lsm.IterOptions{LowerBound: from, UpperBound: to})
	ex.state.mu.RUnlock()
	if err != nil {
		return fmt.Errorf("evento: pebble: %w", classify(err))
	}
	defer func() {
		if closing := it.Close(); closing != nil {
			err = errors.Join(err, fmt.Errorf("evento: pebble: %w", classify(closing)))
		}
	}()
	// Both are in the order of keys; of a key that both have, it is the value
	// before that counts.
	stored := it.First()
	for {
		var key, value []byte
		switch {
		case len(before) == 0 && !stored:
			return nil // or what the iterator says when it is closed
		case len(before) > 0 && (!stored || before[0].key <= string(it.Key())):
			key, value = []byte(before[0].key), before[0].value
			if stored && before[0].key == string(it.Key()) {
				stored = it.Next()
			}
			before = before[1:]
			if value == nil {
				continue
			}
		default:
			key = bytes.Clone(it.Key())
			if value, err = it.ValueAndErr(); err != nil {
				return fmt.Errorf("evento: pebble: %w", classify(err))
			}
			value = bytes.Clone(value)
			stored = it.Next()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(page.Records) == most {
			page.More = true
			return nil
		}
		r, err := ex.record(key, value)
		if err != nil {
			return err
		}
		page.Records = append(page.Records, r)
	}
}

// between returns what is being written between two keys, in their order. The
// caller holds the lock.
func (s *state) between(from, to []byte) []written {
	var ws []written
	for key, d := range s.pending {
		if string(from) <= key && key < string(to) {
			ws = append(ws, written{key, bytes.Clone(d.value)})
		}
	}
	slices.SortFunc(ws, func(a, b written) int { return cmp.Compare(a.key, b.key) })
	return ws
}

// record is what a key and its value say. It keeps the value.
func (ex *Executor) record(key, value []byte) (r evento.Record, err error) {
	var ok bool
	if r.RecordKey, ok = ex.keys.recordKey(key); !ok {
		return r, fmt.Errorf("%w: the key %q is no record's", evento.ErrDecode, key)
	}
	if r.Revision, err = revisionOf(key, value); err != nil {
		return r, err
	}
	r.ChangedAt = time.UnixMicro(int64(binary.BigEndian.Uint64(value[recordHeader-timeLen:]))).UTC()
	r.Value = value[recordHeader:]
	return r, nil
}
