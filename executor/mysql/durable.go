// Nothing is shown to a caller that a crash of the server could take back.

package mysql

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// durable has the position up to which events are known to survive a crash of the
// server. Why: docs/decisions.md, "Shown to a reader only when durable".
type durable struct {
	position atomic.Int64
	mu       sync.Mutex // one barrier at a time
}

// makeDurable returns when events that were read, up to a position, are durable.
// Without a binary log, InnoDB shows a commit to others before it is on disk. But it
// writes its log in order: once a later commit is acknowledged, all that could be seen
// before is on disk too. A caller's transaction does this at its end.
//
// Why: docs/decisions.md, "MySQL: what a transaction reads becomes durable at its end".
func (ex *Executor) makeDurable(ctx context.Context, s *session, position int64) error {
	d := &ex.durable
	if ex.opts.AllowLoss || position <= d.position.Load() {
		return nil
	}
	if ex.server.binlog {
		store.Raise(&d.position, position)
		return nil
	}
	if s.tx != nil {
		s.tx.notDurable = true
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if position <= d.position.Load() {
		return nil
	}
	c, err := s.counter(ctx)
	if err != nil {
		return err
	}
	if err := ex.makeAllDurable(ctx, s); err != nil {
		return err
	}
	store.Raise(&d.position, c.position)
	return nil
}

// makeAllDurable returns when everything that could be read before is durable.
func (ex *Executor) makeAllDurable(ctx context.Context, s *session) error {
	if ex.server.binlog || ex.opts.AllowLoss {
		return nil
	}
	if s.tx != nil {
		s.tx.notDurable = true
		return nil
	}
	err := s.barrier(ctx)
	if isReadOnly(err) {
		return nil // nobody writes here
	}
	return err
}

// durableRecords knows of records that are durable.
type durableRecords struct {
	mu      sync.Mutex
	records store.Cache[evento.RecordKey, state]
}

// state identifies one state of a record: revisions rise, and a record that is made
// again after it was removed has another number in made. The time of a change would
// not do, as the server's clock may be set back.
type state struct{ made, revision int64 }

// makeRecordsDurable is makeDurable for records. Most are as they were seen before.
func (ex *Executor) makeRecordsDurable(ctx context.Context, s *session, states map[evento.RecordKey]state) error {
	if ex.server.binlog || ex.opts.AllowLoss {
		return nil
	}
	if ex.durableRecords.knows(states) {
		return nil
	}
	if err := ex.makeAllDurable(ctx, s); err != nil || s.tx != nil {
		return err
	}
	ex.durableRecords.add(states)
	return nil
}

func (d *durableRecords) knows(states map[evento.RecordKey]state) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := true
	for k, v := range states { // all of them, so that the cache keeps them
		durable, ok := d.records.Get(k)
		known = known && ok && durable == v
	}
	return known
}

func (d *durableRecords) add(states map[evento.RecordKey]state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, v := range states {
		d.records.Put(k, v)
	}
}
