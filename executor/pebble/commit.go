// How batches reach the disk, and when they count.

package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// format is the version of what keys.go and event.go describe.
const format = 1

// lastPosition is after every event.
const lastPosition = math.MaxUint64

// recover makes the store, or finds out where it is, and makes sure that everything in
// it is on the disk before it is shown.
func (ex *Executor) recover() error {
	meta, err := ex.get(ex.keys.meta())
	if err != nil {
		return err
	}
	known := meta != nil
	if !known {
		id := evento.NewID()
		if ex.opts.identity != nil {
			id = *ex.opts.identity
		}
		meta = append(binary.BigEndian.AppendUint32(nil, format), id[:]...)
	}
	switch {
	case len(meta) >= 4 && binary.BigEndian.Uint32(meta) > format:
		return fmt.Errorf("%w: it has format %d, the library knows up to %d", evento.ErrNewerStore, binary.BigEndian.Uint32(meta), format)
	case len(meta) != 4+len(evento.ID{}):
		return fmt.Errorf("%w: the store's description is cut short", evento.ErrInvalid)
	}
	if id := ex.opts.identity; id != nil && *id != [16]byte(meta[4:]) {
		return fmt.Errorf("%w: it is the index of another store", evento.ErrInvalid)
	}
	ex.positions = cursor.NewPositions([16]byte(meta[4:]))
	// Writing it again syncs the log, with whatever an executor before this
	// one left in the memory of a database that stayed open. A read-only database
	// has read everything from the disk.
	b := ex.db.NewBatch()
	if err = b.Set(ex.keys.meta(), meta, nil); err == nil {
		err = ex.apply(b)
	}
	if err == nil {
		err = ex.finish(b, 0)
	}
	if err != nil && (!known || !errors.Is(err, lsm.ErrReadOnly)) {
		return err
	}
	return ex.last(ex.keys.events(), func(key []byte, v stored) error {
		if v.position() != positionOf(key) {
			return fmt.Errorf("%w: the last event says that it is at position %d, its key %d", evento.ErrInvalid, v.position(), positionOf(key))
		}
		if err := store.CheckHead(v.position()); err != nil {
			return err
		}
		ex.latest = v.recordedAt()
		ex.applied.Store(v.position())
		ex.visible.Store(v.position())
		return nil
	})
}

// get returns a copy of a value, nil when there is none.
func (ex *Executor) get(key []byte) ([]byte, error) { return get(ex.db, key) }

func get(db lsm.Reader, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, lsm.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append([]byte{}, v...), closer.Close()
}

// lock takes the order, unless the context ends before or the executor closes
// itself.
func (ex *Executor) lock(ctx context.Context) error {
	select {
	case ex.order <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := cmp.Or(ctx.Err(), ex.gate.Failed())
	if err != nil {
		ex.unlock()
	}
	return err
}

func (ex *Executor) unlock() { <-ex.order }

// apply gives a batch to Pebble, under the order. After an error that matches
// evento.ErrOutcomeUnknown the executor has closed itself; after any other, nothing was
// stored.
func (ex *Executor) apply(b *lsm.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil { // Pebble panics when its log is broken
			err = ex.unknown(fmt.Errorf("panic: %v", p))
		}
	}()
	if err := ex.db.ApplyNoSyncWait(b, lsm.Sync); err != nil {
		return failure(err)
	}
	// When the logger does not end the process, Pebble returns from a failure as
	// if nothing had happened, and never syncs the batch.
	if err := ex.gate.Failed(); err != nil {
		return ex.unknown(err)
	}
	return nil
}

// finish waits until an applied batch is on the disk, and then shows readers the events
// up to a position; 0: the batch has none. Batches are synced in the order in which they
// were applied, so everything before is on the disk too.
//
// It does not give up when a context ends. For that, another goroutine would have to
// wait, and hand on the outcome, in every commit: with 32 writers, a commit took a third
// more of the processors' time. And while the disk of a process does not answer, little
// else goes on in it.
func (ex *Executor) finish(b *lsm.Batch, position uint64) error {
	err := b.SyncWait()
	if err == nil {
		err = ex.gate.Failed() // the disk did not tell Pebble
	}
	if err != nil {
		return ex.unknown(err)
	}
	if position > 0 {
		store.Raise(&ex.visible, position)
		ex.changed.Notify()
	}
	_ = b.Close() // its memory goes to the next batch, and nothing else happens
	return nil
}

// unknown closes the executor and says so to a call under way.
func (ex *Executor) unknown(err error) error {
	ex.fail(err)
	return store.Errorf("%w: %w", evento.ErrOutcomeUnknown, err)
}

// shown waits until a position that was given is durable.
func (ex *Executor) shown(ctx context.Context, position uint64) error {
	for {
		changed := ex.changed.Wait()
		if ex.visible.Load() >= position {
			return nil
		}
		if err := ex.gate.Failed(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
