// Reading ahead: the next page is read while the last one is replayed.

package evento

import (
	"context"

	"github.com/evento-go/evento/cursor"
)

// readAhead reads one page after the other: while its caller works on a full page,
// another goroutine reads the next, at most two ahead. One goroutine uses it, and
// calls stop at the end.
//
// Why: docs/decisions.md, "The next page is read while the last is worked on".
type readAhead struct {
	read func(context.Context, cursor.Args) (*cursor.Page[RawEvent], error)
	// least and most bound how many events a page has: after a full page, the next
	// is twice as large.
	least, most int
	// all: the caller wants everything that is stored at the first read, and
	// nothing later. Otherwise the caller may break off, so the page after the
	// first one is not read ahead. And a page that was read ahead counts only if it
	// is full, as only a full page never changes: others may lack events that were
	// committed since.
	all    bool
	behind bool           // a page was read before
	limit  int            // of the next page; 0: least
	coming chan aheadPage // what is read ahead, in order; nil: nothing is
	quit   chan struct{}  // closed to end reading ahead
}

// aheadPage is a page that was read ahead, or the error of reading it.
type aheadPage struct {
	at   cursor.Value // where it begins
	page *cursor.Page[RawEvent]
	err  error
}

func newReadAhead(ex Executor, q Query) *readAhead {
	return &readAhead{least: streamPage, most: streamPage, read: func(ctx context.Context, args cursor.Args) (*cursor.Page[RawEvent], error) {
		return ex.Read(ctx, q, args)
	}}
}

// get reads the page after a cursor. In a transaction, where all calls share one
// connection, it does not read ahead.
func (r *readAhead) get(ctx context.Context, after cursor.Value) (*cursor.Page[RawEvent], error) {
	page, err := r.take(after)
	if page == nil && err == nil {
		page, err = r.read(ctx, cursor.Onward(max(r.limit, r.least), after))
	}
	if err != nil {
		return nil, err
	}
	r.follow(ctx, page)
	return page, nil
}

// follow starts reading the page after a given one.
func (r *readAhead) follow(ctx context.Context, page *cursor.Page[RawEvent]) {
	r.limit = r.behindOf(page)
	if !page.PageInfo.HasNextPage {
		return
	}
	if r.coming == nil && (r.all || r.behind) && !WithinTx(ctx) {
		r.begin(ctx, page.PageInfo.EndCursor)
	}
	r.behind = true
}

// behindOf returns how many events to read after a page.
func (r *readAhead) behindOf(page *cursor.Page[RawEvent]) int {
	if !page.PageInfo.HasNextPage {
		return r.least
	}
	return max(r.least, min(2*len(page.Edges), r.most))
}

// begin starts a goroutine that reads what comes after a page.
func (r *readAhead) begin(ctx context.Context, at cursor.Value) {
	coming, quit, limit := make(chan aheadPage, 1), make(chan struct{}), r.limit
	r.coming, r.quit = coming, quit
	go func() {
		defer close(coming)
		for {
			page, err := r.read(ctx, cursor.Onward(limit, at))
			more := err == nil && page.PageInfo.HasNextPage
			if err == nil && !more && !r.all {
				return
			}
			select {
			case coming <- aheadPage{at, page, err}:
			case <-quit:
				return
			}
			if !more {
				return
			}
			at, limit = page.PageInfo.EndCursor, r.behindOf(page)
		}
	}()
}

// take returns the page that was read ahead, if it is the one after the cursor;
// else nil.
func (r *readAhead) take(after cursor.Value) (*cursor.Page[RawEvent], error) {
	if r.coming == nil {
		return nil, nil
	}
	next, ok := <-r.coming
	if !ok || next.at != after {
		r.stop()
		return nil, nil
	}
	return next.page, next.err
}

// forget drops what was read ahead, so that it is read again, beginning with small
// pages.
func (r *readAhead) forget() {
	r.stop()
	r.limit, r.behind = 0, false
}

// stop ends reading ahead, and waits for a read that is running.
func (r *readAhead) stop() {
	if r.coming == nil {
		return
	}
	close(r.quit)
	for range r.coming {
	}
	r.coming = nil
}
