// Reading ahead: the next page is on its way while the last one is replayed.

package evento

import (
	"context"

	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/intx"
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

	behind bool          // a page was read before
	limit  int           // of the next page; 0: least
	at     cursor.Value  // where what is on its way begins
	ready  chan struct{} // closed when page and err are set; nil: nothing is on its way
	page   *cursor.Page[RawEvent]
	err    error
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

// follow begins to read what comes behind a page.
func (r *readAhead) follow(ctx context.Context, page *cursor.Page[RawEvent]) {
	if !page.PageInfo.HasNextPage {
		r.limit = r.least
		return
	}
	r.limit = max(r.least, min(2*len(page.Edges), r.most))
	if (r.all || r.behind) && !intx.In(ctx) {
		r.begin(ctx, page.PageInfo.EndCursor)
	}
	r.behind = true
}

func (r *readAhead) begin(ctx context.Context, after cursor.Value) {
	r.at, r.ready = after, make(chan struct{})
	args := cursor.Onward(r.limit, after)
	go func() {
		defer close(r.ready)
		r.page, r.err = r.read(ctx, args)
	}()
}

// take returns what was read ahead, if it is of use.
func (r *readAhead) take(after cursor.Value) (*cursor.Page[RawEvent], error) {
	if r.ready == nil {
		return nil, nil
	}
	r.stop()
	if r.at != after || r.err == nil && !r.all && !r.page.PageInfo.HasNextPage {
		return nil, nil
	}
	return r.page, r.err
}

// forget drops what was read ahead, so that it is read again, and begins with
// small pages.
func (r *readAhead) forget() {
	r.stop()
	r.limit, r.behind = 0, false
}

// stop waits for what is on its way.
func (r *readAhead) stop() {
	if r.ready != nil {
		<-r.ready
		r.ready = nil
	}
}
