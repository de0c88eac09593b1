// Package rw is an evento executor made of two on one store: events are read
// from one side, such as a replica, and everything else is the other's, the
// primary's.
//
//	ex := rw.New(replica, primary)
//	defer ex.Close()
//
// # What a reader sees
//
// The read side may lag: it shows the store as it was a moment ago. Who uses one
// Executor does not notice. A read waits until the read side shows
// everything that this executor has written, and everything up to a conflict
// that it has met: so a load after a commit shows the commit, and a load after a
// conflict shows the events that it conflicted with. A read also waits for a cursor
// that the read side has not reached yet, such as that of a snapshot or subscription
// which another process has stored. Commits of other processes may be seen late.
// Decisions made without them conflict, and are made again.
//
// When the read side does not get there within a second, events are read from the
// write side, until the read side shows all that was read there. They are read there also
// while the read side fails, as when a replica is gone: it is tried again every second.
//
// In a transaction ([Executor.InTx]) events are read from the write side.
//
// The first read after a commit costs two more small reads, one on each side.
//
// # One store
//
// Both sides have to be of one store, of which the read side shows the events up to some
// position. The first read checks that; two different stores give an error that matches
// [cursor.ErrForeign].
//
// It does not balance the load among several replicas: when they lag differently, one
// read could show less than the one before. Give each process its own replica.
package rw

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Executor is an [evento.Executor] that splits reads from writes. It is safe
// for concurrent use. Records, snapshots and cursors are asked of the write side:
// Records, Swap, Snapshot, SaveSnapshot, Snapshots, RemoveSnapshots, CursorAt and
// Earlier are its own.
//
// Why: docs/decisions.md, "rw waits for the replica, and does not serve stale reads of its own writes".
type Executor struct {
	write
	read    evento.Executor
	same    bool // one executor is both sides
	changed *store.AnySignal
	feed    evento.Feed
	close   func() error

	oneStore atomic.Bool   // both sides were seen to be of one store
	told     atomic.Uint64 // how often this executor has learned something that the read side may not show yet
	late     atomic.Bool   // the read side was waited for in vain

	began     time.Time
	goneUntil atomic.Int64 // since began: the read side has failed, and is left alone until then

	mu      sync.Mutex
	covered uint64       // the value of told for which mark was read
	mark    cursor.Value // up to where the read side has to show events; "": it does
}

// write is embedded, for the methods that are the write side's.
type write = evento.Executor

var (
	_ evento.Transactor = (*Executor)(nil)
	_ evento.Importer   = (*Executor)(nil)
)

// New returns an executor that reads events from read, and writes and keeps
// records and snapshots in write. They may be the same. It owns both from
// then on: Close closes them. A nil makes every method fail with
// [evento.ErrInvalid].
func New(read, write evento.Executor) *Executor {
	ex := &Executor{read: read, write: write, began: time.Now()}
	ex.same = reflect.ValueOf(read).Comparable() && reflect.ValueOf(write).Comparable() && read == write
	ex.close = sync.OnceValue(func() error { return ex.closeSides(read, write) })
	if read == nil || write == nil {
		refusing := store.Refusing(fmt.Errorf("%w rw: a side is nil", evento.ErrInvalid))
		ex.read, ex.write = refusing, refusing
	}
	ex.changed = store.NewAnySignal(ex.write.Changed, ex.read.Changed)
	return ex
}

// Write implements [evento.Executor], on the write side.
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	receipts, err := ex.write.Write(ctx, w)
	if err == nil || errors.Is(err, evento.ErrConflict) || errors.Is(err, evento.ErrOutcomeUnknown) {
		ex.told.Add(1)
	}
	return receipts, err
}

// InTx implements [evento.Transactor], on the write side, from which events are
// read too within the transaction. Without a write side that has transactions
// the error matches [errors.ErrUnsupported], whatever the context.
func (ex *Executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	tx, ok := ex.write.(evento.Transactor)
	if !ok {
		return fmt.Errorf("evento: rw: InTx: %w by the write side, a %T", errors.ErrUnsupported, ex.write)
	}
	began := false
	defer func() {
		if began { // even if it is rolled back, it has read from the write side
			ex.told.Add(1)
		}
	}()
	return tx.InTx(ctx, func(ctx context.Context) error {
		began = true
		return fn(ctx)
	})
}

// Import implements [evento.Importer], on the write side. Without a write side
// that is an Importer the error matches [errors.ErrUnsupported].
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	im, ok := ex.write.(evento.Importer)
	if !ok {
		return fmt.Errorf("evento: rw: Import: %w by the write side, a %T", errors.ErrUnsupported, ex.write)
	}
	// Even if it is refused, its error tells what the write side has.
	defer ex.told.Add(1)
	return im.Import(ctx, events)
}

// Changed implements [evento.Executor]. It wakes when either side does: the
// write side knows first, but a read may show it only later.
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// Close implements [evento.Executor]. It closes both sides.
func (ex *Executor) Close() error { return ex.close() }

func (ex *Executor) closeSides(read, write evento.Executor) error {
	var errs []error
	if read != nil && !ex.same {
		if err := read.Close(); err != nil {
			errs = append(errs, fmt.Errorf("read side: %w", err))
		}
	}
	if write != nil {
		if err := write.Close(); err != nil {
			errs = append(errs, fmt.Errorf("write side: %w", err))
		}
	}
	ex.changed.Close()
	if errs == nil {
		return nil
	}
	return store.Errorf("rw: %w", errors.Join(errs...))
}
