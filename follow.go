// Following a query: what is stored, and then what comes.

package evento

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/intx"
)

// Follow ranges over the events of a query as they come: first those that are
// stored after a place ("" is the beginning), then each new one as it is
// committed, by whatever process. They come in order, each of them once. What
// is yielded is the consumer's own: writing to it changes nothing for others.
//
// The range does not end by itself. It ends when the consumer breaks off, or
// with one error, which is last: that of ctx, when ctx ends; [ErrClosed], when
// the executor closes; [ErrInvalid] for the query, or for a context within a
// transaction; [cursor.ErrInvalid] for the place. Other errors of the store are
// waited out. Breaking off leaves nothing open; ranging again begins again at
// the place.
//
// Many may follow one store: all of a process who have reached its end share one
// read of what is new, see [Feed]. One who is slow does not hold up the others.
//
// A follower keeps its place nowhere: [NewSubscription] has what does. To begin
// with what comes next, begin after the last event that there is:
//
//	last, err := ex.Read(ctx, evento.Query{}, cursor.Backward(1, ""))
//	…
//	for e, err := range evento.Follow(ctx, ex, query, last.PageInfo.EndCursor) {
func Follow(ctx context.Context, ex Executor, query Query, after cursor.Value) iter.Seq2[RawEvent, error] {
	query.Filters = slices.Clone(query.Filters)
	return func(yield func(RawEvent, error) bool) {
		f := &following{ex: ex, query: query, yield: yield, at: after}
		if err := f.run(ctx); !errors.Is(err, errBrokenOff) {
			yield(RawEvent{}, err)
		}
	}
}

// errBrokenOff: the consumer takes no more.
var errBrokenOff = errors.New("broken off")

// following is one range of Follow. It alternates between reading for itself
// and taking what a feed reads for many:
//
//  1. catchUp reads for itself until nothing is left.
//  2. It joins the feed. From the feed's place on it is given what is new. That
//     place is not before its own, as the feed has looked once more meanwhile.
//  3. readBetween reads once more for itself: whatever came between its own place
//     and the feed's, and maybe some of what the feed is going to give. Those
//     events are remembered in read, and dropped when they come again. They are
//     told by their ids: in executor/group two readers may meet the events of
//     different members in different order, so their places do not compare.
//  4. It takes from the feed, until it falls too far behind, or the feed gives
//     up. Then it begins with 1 again, at its own place.
//
// At any time its place is at and read together: every event of the query up to
// at was yielded, and behind it those in read and no others. One goroutine uses
// it.
type following struct {
	ex    Executor
	feed  *Feed
	query Query
	yield func(RawEvent, error) bool

	at   cursor.Value
	read map[eventKey]struct{}
}

// eventKey tells events apart, also where a group has the same id twice.
type eventKey struct {
	id       ID
	position uint64
}

func keyOf(e *RawEvent) eventKey { return eventKey{e.ID, e.Position} }

// run returns why it ends.
func (f *following) run(ctx context.Context) error {
	if intx.In(ctx) {
		return fmt.Errorf("%w follow: its context is within a transaction, whose end it would wait for in vain", ErrInvalid)
	}
	if f.feed = f.ex.Feed(); f.feed == nil {
		return fmt.Errorf("%w executor: the Feed of %T is nil", ErrInvalid, f.ex)
	}
	for {
		if err := f.catchUp(ctx); err != nil {
			return err
		}
		if err := f.share(ctx); err != nil {
			return err
		}
	}
}

// catchUp reads until a page has nothing behind it.
func (f *following) catchUp(ctx context.Context) error {
	pages := newReadAhead(f.ex, f.query)
	defer pages.stop()
	for failures := 0; ; {
		page, err := pages.get(ctx, f.at)
		if err != nil {
			if err := f.waitOut(ctx, err, failures); err != nil {
				return err
			}
			failures++
			continue
		}
		failures = 0
		if err := f.givePage(ctx, page); err != nil {
			return err
		}
		if !page.PageInfo.HasNextPage {
			f.read = nil // all of them are up to here
			return nil
		}
	}
}

// share takes from the feed. It returns nil when the follower has to read for
// itself again.
func (f *following) share(ctx context.Context) error {
	w, first := f.feed.join(f.ex, f.query, f.at)
	defer w.leave()
	if !first {
		if err := w.wait(ctx); err != nil {
			return err
		}
		if complete, err := f.readBetween(ctx, w); err != nil || !complete {
			return err
		}
	}
	for {
		if err := w.wait(ctx); err != nil {
			return err
		}
		news := w.take()
		if news.left {
			return nil
		}
		for i := range news.events {
			if err := f.give(ctx, &news.events[i]); err != nil {
				return err
			}
		}
		if news.passed {
			f.at, f.read = news.at, nil
		}
	}
}

// readBetween reads what was committed before the feed's place and not read by
// the follower yet. It reports false when that is much, or fails.
func (f *following) readBetween(ctx context.Context, w *follower) (complete bool, err error) {
	page, err := f.ex.Read(ctx, f.query, cursor.Onward(streamPage, f.at))
	if err != nil {
		return false, f.waitOut(ctx, err, 0)
	}
	w.caughtUp()
	if err := f.givePage(ctx, page); err != nil {
		return false, err
	}
	if page.PageInfo.HasNextPage {
		return false, nil
	}
	f.read = make(map[eventKey]struct{}, len(page.Edges))
	for i := range page.Edges {
		f.read[keyOf(&page.Edges[i].Node)] = struct{}{}
	}
	return true, nil
}

// give yields an event, unless it was before.
func (f *following) give(ctx context.Context, e *fedEvent) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, again := f.read[keyOf(&e.Node)]; !again {
		// Others may have the same bytes, or those behind them.
		e.Node.Data = slices.Clip(e.Node.Data)
		if e.shared {
			e.Node.Data, e.Node.Metadata = slices.Clone(e.Node.Data), e.Node.Metadata.Clone()
		}
		if !f.yield(e.Node, nil) {
			return errBrokenOff
		}
	}
	f.at = e.Cursor
	return nil
}

// givePage yields the events of a page that the follower has read for itself.
func (f *following) givePage(ctx context.Context, page *cursor.Page[RawEvent]) error {
	for i := range page.Edges {
		if err := f.give(ctx, &fedEvent{Edge: page.Edges[i]}); err != nil {
			return err
		}
	}
	f.at = page.PageInfo.EndCursor
	return nil
}

// waitOut waits before a read that failed is tried again. It returns an error
// when trying again is of no use, or when ctx ends.
func (f *following) waitOut(ctx context.Context, err error, failures int) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case final(err):
		return err
	}
	wait := backoff(failures)
	f.feed.log(ctx, err, wait)
	return pause(ctx, wait, nil, nil)
}
