// Following a query: stored events, and then new ones.

package evento

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/evento-go/evento/cursor"
)

// Follow ranges over the events of a query: first those that are stored after a
// place ("" is the beginning), then each new one as it is committed, by any
// process. They come in order, each of them once. The consumer may change what it
// is given.
//
// The range does not end by itself. It ends when the consumer breaks off, or with
// one error, which comes last: the error of ctx, when ctx ends; [ErrClosed], when
// the executor closes; [ErrInvalid] for the query, or for a context within a
// transaction; [cursor.ErrInvalid] for the place. After other errors of the store,
// Follow waits and tries again. Breaking off leaves nothing open; ranging again
// starts again from the place.
//
// Many may follow one store: all followers in a process that have reached its end
// share one read of new events, see [Feed]. A slow one does not hold up the others.
//
// Follow does not store how far it has come; [NewSubscription] does. To follow only
// new events, start after the last stored one:
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

// following is one range of Follow. It alternates between reading for itself and
// taking what a feed reads for many:
//
//  1. catchUp reads until nothing is left.
//  2. share joins the feed, and waits until the feed has looked for new events once
//     more. From then on the feed buffers new events for it, beginning at a place
//     that is at or after its own.
//  3. readBetween reads once more: what lies between the two places, and maybe some
//     events that the feed is going to give. It remembers these events in given, so
//     that those which come again are dropped. They are recognised by id and
//     position, and not by comparing places: in executor/group two readers may meet
//     the events of different members in different order.
//  4. share takes from the feed, until the buffer is full or the feed gives up. Then
//     it begins with 1 again, at its own place.
//
// At any time at and given together say how far it is: it has yielded every event
// of the query up to at, and after at those in given and no others. One goroutine
// uses it.
//
// Why: docs/decisions.md, "Joining by events, not by places".
type following struct {
	ex    Executor
	feed  *Feed
	query Query
	yield func(RawEvent, error) bool

	at    cursor.Value
	given map[eventKey]struct{}
}

// eventKey identifies an event, also where a group has the same id twice.
type eventKey struct {
	id       ID
	position uint64
}

func keyOf(e *RawEvent) eventKey { return eventKey{e.ID, e.Position} }

// run returns why it ends.
func (f *following) run(ctx context.Context) error {
	if WithinTx(ctx) {
		return fmt.Errorf("%w follow: the context is within a transaction, whose end it would wait for: follow outside of it", ErrInvalid)
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

// catchUp reads to the end of the store.
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
			f.given = nil // at is after all of them
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
		if news.level {
			f.at, f.given = news.at, nil
		}
	}
}

// readBetween reads a page, which is to have what lies between the follower's place
// and the feed's. It reports false when there is more than a page, or when reading
// failed.
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
	f.given = make(map[eventKey]struct{}, len(page.Edges))
	for i := range page.Edges {
		f.given[keyOf(&page.Edges[i].Node)] = struct{}{}
	}
	return true, nil
}

// give yields an event, unless that was done before.
func (f *following) give(ctx context.Context, e *fedEvent) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, again := f.given[keyOf(&e.Node)]; !again {
		// The consumer may write to the event, and append to its data: others may
		// have the same bytes, or those that come after them.
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

// waitOut waits until a failed read can be tried again. It returns an error when
// trying again is of no use, or when ctx ends.
func (f *following) waitOut(ctx context.Context, err error, failures int) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, cursor.ErrInvalid):
		return wrap(err, "follow after %s", shorten(string(f.at)))
	case final(err):
		return err
	}
	wait := backoff(failures)
	f.feed.log(ctx, err, wait)
	return pause(ctx, wait, nil, nil)
}
