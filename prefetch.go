// Reading ahead: the next page is on its way while the last one is replayed.

package evento

import (
	"context"

	"github.com/evento-go/evento/cursor"
)

// readAhead reads one page after the other: while its caller works on a full
// one, the next is read. One goroutine uses it, and calls stop at the end.
type readAhead struct {
	read func(context.Context, cursor.Args) (*cursor.Page[RawEvent], error)
	// least and most are how many events a page has: behind a full one the
	// next is twice as large.
	least, most int
	// all: the caller wants all that there is at the first read, and nothing
	// else. Otherwise it may break off, so nothing is read beside the first
	// page; and what is read ahead counts only when it is full, as only that can
	// never change: a commit may have come since.
	all bool
	// pipelined: the caller is slow beside reading, as it calls handlers. Then one
	// goroutine reads on and on, at most two pages ahead: one that begins with
	// each page comes to work when much of the page before is done. For a quick
	// caller that is the better one, as both take turns on one processor.
	pipelined bool

	behind bool           // a page was read before
	limit  int            // of the next page; 0: least
	coming chan aheadPage // what is read ahead, in order; nil: nobody reads
	quit   chan struct{}  // closed when nobody is to read on
}

// aheadPage is a page that was read ahead, or why it could not be.
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

// get reads the page behind a cursor. Where every call shares the connection
// of a transaction, nothing is read beside the caller.
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

// follow has what comes behind a page read ahead.
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

// behindOf is how many events are to be read behind a page.
func (r *readAhead) behindOf(page *cursor.Page[RawEvent]) int {
	if !page.PageInfo.HasNextPage {
		return r.least
	}
	return max(r.least, min(2*len(page.Edges), r.most))
}

// begin has a goroutine read what comes behind a page.
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
			if !more || !r.pipelined {
				return
			}
			at, limit = page.PageInfo.EndCursor, r.behindOf(page)
		}
	}()
}

// take returns what was read ahead, if it is of use.
func (r *readAhead) take(after cursor.Value) (*cursor.Page[RawEvent], error) {
	if r.coming == nil {
		return nil, nil
	}
	next, ok := <-r.coming
	switch {
	case !ok || next.at != after:
		r.stop()
		return nil, nil
	case !r.pipelined: // it was the only one
		r.coming = nil
	}
	return next.page, next.err
}

// forget drops what was read ahead, so that it is read again, and begins with
// small pages.
func (r *readAhead) forget() {
	r.stop()
	r.limit, r.behind = 0, false
}

// stop has nobody read on, and waits for what is on its way.
func (r *readAhead) stop() {
	if r.coming == nil {
		return
	}
	close(r.quit)
	for range r.coming {
	}
	r.coming = nil
}
