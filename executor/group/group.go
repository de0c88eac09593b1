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
// A page is merged by the events' timestamps. Events of the same time come in the order
// of the members' numbers. Each member's own order is kept, and each event comes
// once. A cursor holds a place in every member, so going on from it leaves nothing
// out, whatever is committed to whichever member meanwhile.
//
// The order among members is one of timestamps, not of commits: what a member
// adds is merged among the events that a reader has not reached yet, and never before
// the place where a reader is. Two readers of a group to which nothing is added see the
// same order. Two that follow its end may see events of different members in different
// order, and timestamps that fall. [evento.RawEvent.Position] is the place in the
// member: it neither rises along a group nor is unique in it.
//
// # Cursors
//
// Members are known by their number. Others may be added at the end: old
// cursors stay valid, and begin at the beginning of the new members. A
// cursor with a place in a member that is gone, or that is another store now, gives
// [cursor.ErrForeign]. A cursor takes about 15 bytes, and 40 for each member that has
// events; the members of a group within the group count too. One of more than 16 KiB
// is refused.
//
// A cursor can be used with another query than the one that it was read with. It then
// splits the events of its own event's member there, and those of any other member
// after the last event that the first query showed of that member.
//
// Of two cursors neither need come before the other: the first may be further in one
// member, the second in another. [Executor.Earlier] then returns a third, which both
// have passed.
//
// # Aggregates
//
// Each aggregate should be in one member: choose ids that do not repeat among the
// members, such as those of [evento.Create]. Aggregates in another member than the
// first are read-only: committing to one at the version that was loaded gives
// [evento.ErrReadOnly]. When an aggregate is in several members nevertheless, all of its
// events are read, with versions that repeat. A store that is in a group twice is read
// twice.
//
// # Not for
//
// A group does not replicate, and has no transactions over several stores: nothing is
// ever written to the other members. A page costs a read of each member, of about twice
// its share of the page: a handful of members is fine, hundreds are not.
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
// concurrent use. Records and snapshots are the first member's: so Records, Swap,
// Snapshot, SaveSnapshot, Snapshots and RemoveSnapshots are its own.
type Executor struct {
	first
	members []evento.Executor // the first too; none after a mistake in New
	changed *store.AnySignal
	feed    evento.Feed
	close   func() error
}

// first is embedded, for the methods that are the first member's. After a mistake in
// New it refuses everything.
type first = evento.Executor

var (
	_ evento.Transactor = (*Executor)(nil)
	_ evento.Importer   = (*Executor)(nil)
)

// New returns the group of the first executor, to which it writes, and others,
// which it only reads. It owns them from then on: Close closes them. A nil
// among them makes every method fail with [evento.ErrInvalid].
func New(first evento.Executor, others ...evento.Executor) *Executor {
	members := append([]evento.Executor{first}, others...)
	ex := &Executor{first: first, members: members}
	ex.close = sync.OnceValue(func() error { return ex.closeAll(members) })
	var sources []func() <-chan struct{}
	for i, m := range members {
		if m == nil {
			ex.first = store.Refusing(fmt.Errorf("%w group: member %d is nil", evento.ErrInvalid, i+1))
			ex.members, sources = nil, nil
			break
		}
		sources = append(sources, m.Changed)
	}
	ex.changed = store.NewAnySignal(sources...)
	return ex
}

// Write implements [evento.Executor], in the first member. When it conflicts because
// the aggregate is in another member, the error is [evento.ErrReadOnly]: trying again
// could never succeed. Conditions are refused with [errors.ErrUnsupported]: the first
// member cannot say what the others have added meanwhile.
func (ex *Executor) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if len(w.Unless) > 0 {
		return nil, fmt.Errorf("evento: group: a write with conditions: %w, as its members have no order in common", errors.ErrUnsupported)
	}
	receipts, err := ex.first.Write(ctx, w)
	return receipts, ex.explain(ctx, err)
}

// explain returns [evento.ErrReadOnly] for a conflict if the aggregate is in another
// member.
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
// whatever the context. Other members are read outside of the transaction.
func (ex *Executor) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	tx, ok := ex.first.(evento.Transactor)
	if !ok {
		return fmt.Errorf("evento: group: InTx: %w by the first member, a %T", errors.ErrUnsupported, ex.first)
	}
	var fnErr error
	err := tx.InTx(ctx, func(ctx context.Context) error {
		fnErr = fn(ctx)
		return fnErr
	})
	if fnErr != nil {
		return err
	}
	return ex.explain(ctx, err)
}

// Import implements [evento.Importer], in the first member: positions and
// versions are those of that member. Without a first member that is an Importer
// the error matches [errors.ErrUnsupported].
func (ex *Executor) Import(ctx context.Context, events []evento.RawEvent) error {
	im, ok := ex.first.(evento.Importer)
	if !ok {
		return fmt.Errorf("evento: group: Import: %w by the first member, a %T", errors.ErrUnsupported, ex.first)
	}
	return ex.explain(ctx, im.Import(ctx, events))
}

// Changed implements [evento.Executor]. It wakes when any member does.
func (ex *Executor) Changed() <-chan struct{} { return ex.changed.Wait() }

// CursorAt implements [evento.Executor]. Positions are the members' own, so a group
// has only the cursor of 0: for any other the error matches [errors.ErrUnsupported].
func (ex *Executor) CursorAt(position uint64) (cursor.Value, error) {
	if _, err := ex.first.CursorAt(0); err != nil { // it is closed
		return "", err
	}
	if position > 0 {
		return "", fmt.Errorf("evento: group: the cursor of position %d: %w: positions are the members' own; use a cursor of the group", position, errors.ErrUnsupported)
	}
	return "", nil
}

// Feed implements [evento.Executor].
func (ex *Executor) Feed() *evento.Feed { return &ex.feed }

// Close implements [evento.Executor]. It closes the members.
func (ex *Executor) Close() error { return ex.close() }

func (ex *Executor) closeAll(members []evento.Executor) error {
	var errs []error
	for i, m := range members {
		if m == nil {
			continue
		}
		if err := m.Close(); err != nil {
			errs = append(errs, memberError(i, err))
		}
	}
	ex.changed.Close()
	if errs == nil {
		return nil
	}
	return store.Errorf("%w", errors.Join(errs...))
}

// memberError says which member failed.
func memberError(i int, err error) error {
	if errors.Is(err, cursor.ErrMalformed) {
		// The group's cursor was well-formed, so its place is of another
		// kind of store than the member is.
		return fmt.Errorf("%w: place in member %d of the group: %s", cursor.ErrForeign, i+1, err.Error())
	}
	return store.Errorf("member %d of the group: %w", i+1, err)
}
