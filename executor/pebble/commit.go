// How batches reach the disk, and when they count.

package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// format is the version of what keys.go and event.go describe.
const format = 1

// lastPosition is after every event.
const lastPosition = math.MaxUint64

// recover finds out what the store holds, or makes it, and sees to it that all
// of that is on the disk before it is shown.
func (ex *Executor) recover() error {
	id := [16]byte(evento.NewID())
	meta, err := ex.get(ex.keys.meta())
	switch {
	case err != nil:
		return err
	case meta == nil:
		meta = append(binary.BigEndian.AppendUint32(nil, format), id[:]...)
	case len(meta) < 4:
		return fmt.Errorf("%w: the store's description is cut short", evento.ErrInvalid)
	case binary.BigEndian.Uint32(meta) > format:
		return fmt.Errorf("%w: it has format %d, the library knows up to %d", evento.ErrNewerStore, binary.BigEndian.Uint32(meta), format)
	case len(meta) != 4+len(id):
		return fmt.Errorf("%w: the store's description is cut short", evento.ErrInvalid)
	}
	ex.positions = cursor.NewPositions([16]byte(meta[4:]))
	// Writing it again syncs the log, with whatever an executor before this
	// one left in the memory of a database that stayed open.
	b := ex.db.NewBatch()
	defer func() { _ = b.Close() }() // it was synced, or its memory is all there is to it
	if err := b.Set(ex.keys.meta(), meta, nil); err != nil {
		return err
	}
	switch err := ex.sync(b); {
	case errors.Is(err, lsm.ErrReadOnly) && ex.known():
		// Everything there was read from the disk.
	case err != nil:
		return err
	}
	it, err := ex.iterate(ex.keys.events(), 1, lastPosition)
	if err != nil {
		return err
	}
	if it.Last() {
		v, err := valueOf(it)
		if err != nil {
			return closeAfter(it, err)
		}
		if v.position() != positionOf(it.Key()) {
			return closeAfter(it, fmt.Errorf("%w: the last event says that it is at position %d, its key %d", evento.ErrInvalid, v.position(), positionOf(it.Key())))
		}
		ex.latest = v.recordedAt()
		ex.applied.Store(v.position())
		ex.visible.Store(v.position())
	}
	return closeAfter(it, nil)
}

// clock is the time for the next events, in microseconds since 1970. It never
// falls. The caller has the order.
func (ex *Executor) clock() int64 {
	ex.latest = max(ex.latest, ex.opts.Clock().UnixMicro())
	return ex.latest
}

// known reports whether the store is there.
func (ex *Executor) known() bool {
	meta, err := ex.get(ex.keys.meta())
	return err == nil && meta != nil
}

// get returns a copy of a value, nil when there is none.
func (ex *Executor) get(key []byte) ([]byte, error) {
	v, closer, err := ex.db.Get(key)
	if errors.Is(err, lsm.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]byte{}, v...), closer.Close()
}

// sync applies a batch and waits for the disk.
func (ex *Executor) sync(b *lsm.Batch) error {
	if err := ex.apply(b); err != nil {
		return err
	}
	return ex.wait(b)
}

// lock takes the order, unless the context ends before or the executor closes
// itself.
func (ex *Executor) lock(ctx context.Context) error {
	select {
	case ex.order <- struct{}{}:
	default:
		select {
		case ex.order <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := ctx.Err()
	if err == nil {
		err = ex.failed()
	}
	if err != nil {
		ex.unlock()
	}
	return err
}

func (ex *Executor) unlock() { <-ex.order }

// apply hands a batch to Pebble, under the order. Of its errors, those that
// match evento.ErrOutcomeUnknown closed the executor; of others nothing was
// stored.
func (ex *Executor) apply(b *lsm.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil { // so Pebble says that its log is broken
			err = ex.unknown(fmt.Errorf("panic: %v", p))
		}
	}()
	if err := ex.db.ApplyNoSyncWait(b, lsm.Sync); err != nil {
		return classify(err)
	}
	// A logger that does not end the process lets Pebble return from a
	// failure as if nothing was; the batch is never synced then.
	if err := ex.failed(); err != nil {
		return ex.unknown(err)
	}
	return nil
}

// wait returns when an applied batch, and with it all that was applied before,
// is on the disk.
func (ex *Executor) wait(b *lsm.Batch) error {
	if err := b.SyncWait(); err != nil {
		return ex.unknown(err)
	}
	if err := ex.failed(); err != nil { // the disk did not tell Pebble
		return ex.unknown(err)
	}
	return nil
}

// unknown closes the executor and says so to a call under way.
func (ex *Executor) unknown(err error) error {
	ex.fail(err)
	return fmt.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
}

// show moves the visible mark to a durable position. Batches are synced in the
// order in which they were applied, so all before are durable, too.
func (ex *Executor) show(position uint64) {
	for {
		v := ex.visible.Load()
		if v >= position {
			break // a later one was faster
		}
		if ex.visible.CompareAndSwap(v, position) {
			break
		}
	}
	ex.changed.Notify()
}

// shown waits until a position that was given is durable.
func (ex *Executor) shown(ctx context.Context, position uint64) error {
	for {
		changed := ex.changed.Wait()
		if ex.visible.Load() >= position {
			return nil
		}
		if err := ex.failed(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
