// Values that are read and written under single keys: what records and snapshots share.

package pebble

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	lsm "github.com/cockroachdb/pebble/v2"
)

// state has the keys that are being written. Pebble shows a batch before it is synced,
// so readers of such a key get the value from here that it had before.
type state struct {
	mu      sync.RWMutex
	pending map[string]durable
}

// durable is the value on the disk of a key that is being written.
type durable struct {
	value []byte        // nil: nothing
	done  chan struct{} // closed when it is written
}

// load returns the durable value of a key; nil when there is none.
func (ex *Executor) load(key []byte) ([]byte, error) {
	ex.state.mu.RLock()
	defer ex.state.mu.RUnlock()
	if d, ok := ex.state.pending[string(key)]; ok {
		return d.value, nil
	}
	v, err := ex.get(key)
	return v, failure(err)
}

// lockKeys makes the caller the only one that writes some keys, all different, and
// returns their values.
func (ex *Executor) lockKeys(ctx context.Context, keys [][]byte) ([][]byte, error) {
	for {
		ex.state.mu.Lock()
		done := ex.state.taken(keys)
		if done == nil {
			break
		}
		ex.state.mu.Unlock()
		if err := ex.gate.Failed(); err != nil {
			return nil, err // the keys stay taken
		}
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer ex.state.mu.Unlock()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		var err error
		if values[i], err = ex.get(key); err != nil {
			return nil, failure(err)
		}
	}
	done := make(chan struct{})
	for i, key := range keys {
		ex.state.pending[string(key)] = durable{values[i], done}
	}
	return values, nil
}

// taken returns a channel that is closed when a write of one of the keys ends; nil when
// none is being written.
func (s *state) taken(keys [][]byte) <-chan struct{} {
	for _, key := range keys {
		if d, ok := s.pending[string(key)]; ok {
			return d.done
		}
	}
	return nil
}

// unlockKeys lets others read and write the keys that were locked together.
func (ex *Executor) unlockKeys(keys [][]byte) {
	ex.state.mu.Lock()
	defer ex.state.mu.Unlock()
	close(ex.state.pending[string(keys[0])].done)
	if ex.gate.Failed() != nil {
		return // what Pebble shows may not be on the disk
	}
	for _, key := range keys {
		delete(ex.state.pending, string(key))
	}
}

// change writes some keys, all different, durably and together. Fill is given their
// values, nil where there is none, and a batch to write to, with room for so many
// bytes of values; when it writes nothing, they stay.
func (ex *Executor) change(ctx context.Context, keys [][]byte, size int, fill func(b *lsm.Batch, old [][]byte) error) error {
	old, err := ex.lockKeys(ctx, keys)
	if err != nil {
		return err
	}
	defer ex.unlockKeys(keys)
	size += batchHeader
	for _, key := range keys {
		size += recordLengths + len(key)
	}
	b := ex.db.NewBatchWithSize(size)
	if err := fill(b, old); err != nil || b.Empty() {
		return err
	}
	if err := ex.disk.room(b.Len()); err != nil {
		return err
	}
	if err := ex.lock(ctx); err != nil {
		return err
	}
	err = ex.apply(b)
	ex.unlock()
	if err != nil {
		return err
	}
	return ex.finish(b, 0)
}

// written is a key that is being written, with its value before.
type written struct {
	key   string
	value []byte // nil: there was none
}

// list calls each for the keys in a range, in order, with their durable values of one
// moment, until it returns false. The bytes are valid during the call.
func (ex *Executor) list(ctx context.Context, from, to []byte, each func(key, value []byte) (more bool, err error)) (err error) {
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	ex.state.mu.RLock()
	before := ex.state.between(from, to)
	it, err := ex.db.NewIter(&lsm.IterOptions{LowerBound: from, UpperBound: to})
	ex.state.mu.RUnlock()
	if err != nil {
		return failure(err)
	}
	defer func() { err = failure(closeAfter(it, err)) }() // where the iterator stopped for an error, this tells it
	// Both are in the order of keys. For a key that is in both, the value before
	// counts.
	for stored := it.First(); stored || len(before) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var key, value []byte
		earlier := len(before) > 0 && (!stored || before[0].key <= string(it.Key()))
		if earlier {
			key, value = []byte(before[0].key), before[0].value
			before = before[1:]
		} else {
			key = it.Key()
			if value, err = it.ValueAndErr(); err != nil {
				return err
			}
		}
		if !earlier || value != nil {
			if more, err := each(key, value); err != nil || !more {
				return err
			}
		}
		if stored && bytes.Equal(key, it.Key()) {
			stored = it.Next()
		}
	}
	return nil
}

// between returns the keys in a range that are being written, in order. The caller
// holds the lock.
func (s *state) between(from, to []byte) []written {
	var ws []written
	for key, d := range s.pending {
		if string(from) <= key && key < string(to) {
			ws = append(ws, written{key, d.value})
		}
	}
	slices.SortFunc(ws, func(a, b written) int { return cmp.Compare(a.key, b.key) })
	return ws
}

// later is the later of two keys.
func later(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return b
	}
	return a
}
