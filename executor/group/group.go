// Package group is an evento executor made of several, which are read as one:
// to see the events of old and new stores, of shards or of applications in one
// list, in one projection and by one subscription.
//
//	g := group.New(current, archive2024, archive2023)
//	defer g.Close()
//
// Events are read from every member; commits, subscriptions' records and
// snapshots are the first member's. Members may be of any kind, groups too.
//
// # Order
//
// A page is merged by the events' timestamps, those of one time by the member's
// number and then in the member's order. Each member's own order is kept, and each of its
// events comes once. A cursor holds a place in every member, so going on from
// it leaves nothing out, whatever is committed to whichever member meanwhile.
//
// The order among members is one of timestamps, not of commits: what a member
// adds is merged among the events that a reader has not reached yet. So two
// readers of a group to which nothing is added see the same order; two that
// follow its end may see events of different members in different order, and
// where a reader has been nothing is ever inserted. [evento.RawEvent.Position]
// is the place in the member; it neither rises along a group nor is unique in
// it, nor are timestamps promised to rise where a reader follows the end.
//
// # Cursors
//
// Members are known by their number. Others may be added at the end: old
// cursors stay valid, and begin with the new members at their beginning. A
// cursor that holds a place in a member that is gone, or in another store than
// is there now, gives [cursor.ErrForeign]. A cursor is some 15 bytes and 40 for
// each member that has events, those of groups within counted; one of more than
// 16 KiB is refused.
//
// With a query other than the one that it was read with, a cursor splits the
// events into those before and those after it as ever, but a member other than
// the edge's is split after the last event that the first query showed of it.
//
// Of two cursors neither may come before the other: the first is further in one
// member, the second in another. [Executor.Earlier] returns a third then, up to
// which both have come.
//
// # Aggregates
//
// Each aggregate is expected to live in one member; choose ids that do not
// repeat among them, such as those of [evento.Create]. Aggregates that live in
// another member than the first are read-only: committing to one at the version
// that was loaded gives [evento.ErrReadOnly]. When an id is in several members
// nevertheless, all of its events are read, with versions that repeat. No store
// may be in a group twice, or its events are read twice.
//
// # Not for
//
// It is no replication and no transaction over several stores: nothing is ever
// written to the other members. A page costs a read of each member, of twice
// its share of the page or more; a handful of members is well, hundreds are not.
package group

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/store"
)

// Executor is an [evento.Executor] that reads several as one. It is safe for
// concurrent use.
type Executor struct {
	members []evento.Executor
	changed *store.AnySignal
	feed    evento.Feed
	close   func() error
	err     error // a mistake in New, told by every method
}

var _ evento.Transactor = (*Executor)(nil)

// New returns the group of the first executor, to which it writes, and others,
// which it only reads. It owns them from then on: Close closes them. A nil
// among them makes every method fail with [evento.ErrInvalid].
func New(first evento.Executor, others ...evento.Executor) *Executor {
	ex := &Executor{members: append([]evento.Executor{first}, others...)}
	var sources []func() <-chan struct{}
	for i, m := range ex.members {
		if m == nil {
			ex.err = fmt.Errorf("%w group: member %d is nil", evento.ErrInvalid, i+1)
			continue
		}
		sources = append(sources, m.Changed)
	}
	ex.changed = store.NewAnySignal(sources...)
	ex.close = sync.OnceValue(ex.closeAll)
	return ex
}

// first is where everything but events is, and where events go.
func (ex *Executor) first() (evento.Executor, error) { return ex.members[0], ex.err }

// Write implements [evento.Executor]. It writes to the first member. Where that
// conflicts because the aggregate is in another member, the error is
// [evento.ErrReadOnly]: trying again could never succeed.
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	first, err := ex.first()
	if err != nil {
		return nil, err
	}
	receipts, err := first.Write(ctx, w)
	return receipts, ex.explain(ctx, err)
}

// explain says of a conflict that the aggregate is in another member.
func (ex *Executor) explain(ctx context.Context, err error) error {
	var conflict *evento.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	q := evento.Query{Filters: []evento.Filter{evento.ByID(conflict.AggregateType, conflict.AggregateID)}}
	for i, m := range ex.members[1:] {
		page, readErr := m.Read(ctx, q, cursor.Onward(1, ""))
		if readErr != nil {
			return memberError(i+1, readErr)
		}
		if len(page.Edges) > 0 {
			return fmt.Errorf("%w: %s %q has events in member %d of the group, and only the first is written to",
				evento.ErrReadOnly, conflict.AggregateType, conflict.AggregateID, i+2)
		}
	}
	return err
}

// InTx implements [evento.Transactor], in the first member. Without a first
// member that has transactions the error matches [errors.ErrUnsupported],
// whatever the context. What other members hold is read as ever, outside of the
// transaction.
func (ex *Executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	first, err := ex.first()
	if err != nil {
		return err
	}
	tx, ok := first.(evento.Transactor)
	if !ok {
		return fmt.Errorf("evento: group: InTx: %w by the first member, a %T", errors.ErrUnsupported, first)
	}
	var fnErr error
	err = tx.InTx(ctx, func(ctx context.Context) error {
		fnErr = fn(ctx)
		return fnErr
	})
	if fnErr != nil {
		return err
	}
	return ex.explain(ctx, err)
}

// Changed implements [evento.Executor]. It wakes when any member does.
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// CursorAt implements [evento.Executor]. Positions are the members' own, so
// there is none but 0 that the group has a cursor of: the error matches
// [errors.ErrUnsupported].
func (ex *Executor) CursorAt(position uint64) (cursor.Value, error) {
	first, err := ex.first()
	if err != nil {
		return "", err
	}
	if _, err := first.CursorAt(0); err != nil { // it is closed
		return "", memberError(0, err)
	}
	if position > 0 {
		return "", fmt.Errorf("evento: group: the cursor of position %d: %w: positions are the members' own; use a cursor of the group", position, errors.ErrUnsupported)
	}
	return "", nil
}

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// Records implements [evento.Executor], in the first member.
func (ex *Executor) Records(ctx context.Context, q evento.RecordQuery) (*evento.RecordPage, error) {
	first, err := ex.first()
	if err != nil {
		return nil, err
	}
	return first.Records(ctx, q)
}

// Swap implements [evento.Executor], in the first member.
func (ex *Executor) Swap(ctx context.Context, s evento.Swap) error {
	first, err := ex.first()
	if err != nil {
		return err
	}
	return first.Swap(ctx, s)
}

// Snapshot implements [evento.Executor], in the first member.
func (ex *Executor) Snapshot(ctx context.Context, key evento.SnapshotKey) (evento.Snapshot, error) {
	first, err := ex.first()
	if err != nil {
		return evento.Snapshot{}, err
	}
	return first.Snapshot(ctx, key)
}

// SaveSnapshot implements [evento.Executor], in the first member.
func (ex *Executor) SaveSnapshot(ctx context.Context, key evento.SnapshotKey, s evento.Snapshot) error {
	first, err := ex.first()
	if err != nil {
		return err
	}
	return first.SaveSnapshot(ctx, key, s)
}

// Snapshots implements [evento.Executor], in the first member.
func (ex *Executor) Snapshots(ctx context.Context, q evento.SnapshotQuery) (*evento.SnapshotPage, error) {
	first, err := ex.first()
	if err != nil {
		return nil, err
	}
	return first.Snapshots(ctx, q)
}

// RemoveSnapshots implements [evento.Executor], in the first member.
func (ex *Executor) RemoveSnapshots(ctx context.Context, keys []evento.SnapshotKey) error {
	first, err := ex.first()
	if err != nil {
		return err
	}
	return first.RemoveSnapshots(ctx, keys)
}

// Close implements [evento.Executor]. It closes the members.
func (ex *Executor) Close() error { return ex.close() }

func (ex *Executor) closeAll() error {
	var errs []error
	for i, m := range ex.members {
		if m == nil {
			continue
		}
		if err := m.Close(); err != nil {
			errs = append(errs, memberError(i, err))
		}
	}
	ex.changed.Close()
	return errors.Join(errs...)
}

// memberError says which member failed.
func memberError(i int, err error) error {
	if errors.Is(err, cursor.ErrMalformed) {
		// The group's cursor was well-formed, so its place is of another
		// kind of store than the member is.
		return fmt.Errorf("%w: place in member %d of the group: %s", cursor.ErrForeign, i+1, err.Error())
	}
	return fmt.Errorf("member %d of the group: %w", i+1, err)
}
