// Listing snapshots.

package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// snapshotList is what snapshots there are, without their states. A server lists only
// subjects, in which are hashes: so the messages are read, those since the last time. It is safe
// for concurrent use.
type snapshotList struct {
	reading chan struct{} // has room for one: who reads; others wait as long as their contexts let them
	upTo    uint64        // the sequence up to which they are read; used by who reads

	mu  sync.Mutex
	all map[string]evento.StoredSnapshot // by subject; those of parts have no key
}

func newSnapshotList() *snapshotList {
	return &snapshotList{reading: make(chan struct{}, 1), all: map[string]evento.StoredSnapshot{}}
}

// forget removes what was removed.
func (l *snapshotList) forget(subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, subject)
}

// read brings the list up to date, and returns the snapshots in order.
func (l *snapshotList) read(ctx context.Context, c *connection) ([]evento.StoredSnapshot, error) {
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-c.closing:
		return nil, evento.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	info, err := c.info(ctx, c.names.snapshots)
	if err != nil {
		return nil, err
	}
	if err := l.readOn(ctx, c, info.State.Last); err != nil {
		return nil, err
	}
	if l.count() != info.State.Messages { // others have removed some, or it was restored
		l.clear()
		if err := l.readOn(ctx, c, info.State.Last); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]evento.StoredSnapshot, 0, len(l.all))
	for _, s := range l.all {
		if s.Projection != "" {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b evento.StoredSnapshot) int { return a.Compare(b.SnapshotKey) })
	return list, nil
}

func (l *snapshotList) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

func (l *snapshotList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.upTo, l.all = 0, map[string]evento.StoredSnapshot{}
}

// readOn reads the messages up to a sequence.
func (l *snapshotList) readOn(ctx context.Context, c *connection, upTo uint64) error {
	for l.upTo < upTo {
		m, err := c.message(ctx, c.names.snapshots, following{l.upTo + 1, c.names.snapshot + "*"})
		if err != nil {
			return err
		}
		if m == nil {
			l.upTo = upTo
			return nil
		}
		var s storedSnapshot
		if err := json.Unmarshal(m.Data, &s); err != nil {
			return fmt.Errorf("%w: the snapshot at %d: %w", evento.ErrDamaged, m.Sequence, err)
		}
		one := evento.StoredSnapshot{SnapshotKey: s.Key, Size: s.Size}
		one.Version, one.Position = s.Version, s.Position
		l.mu.Lock()
		l.all[m.Subject], l.upTo = one, m.Sequence
		l.mu.Unlock()
	}
	return nil
}

// Snapshots implements [evento.Executor].
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if err := ex.gate.Enter(ctx); err != nil {
		return nil, err
	}
	defer ex.gate.Leave()
	list, err := ex.list.read(ctx, ex.connection)
	if err != nil {
		return nil, failure(err)
	}
	page := store.SnapshotsOf(q)
	for _, s := range list {
		if q.Projection != "" && s.Projection != q.Projection || q.After != (evento.SnapshotKey{}) && s.Compare(q.After) <= 0 {
			continue
		}
		if q.States {
			state, err := ex.snapshot(ctx, s.SnapshotKey)
			if errors.Is(err, evento.ErrNotFound) {
				continue // it was removed meanwhile
			}
			if err != nil {
				return nil, failure(err)
			}
			s.Snapshot, s.Size = state, len(state.Data)
		}
		if !page.Take(s) {
			break
		}
	}
	return page.Page(), nil
}
