package rw_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/internal/signal"
)

// lagging is a replica of a store: it shows a prefix of the order. Closing it
// leaves the store open.
type lagging struct {
	evento.Executor // the store

	// step is by how many events the prefix grows with each read; 0: only
	// by show.
	step int

	changed signal.Signal
	mu      sync.Mutex
	shown   int
	closed  bool
}

// show makes the first n events of the store visible.
func (l *lagging) show(n int) {
	l.mu.Lock()
	l.shown = n
	l.mu.Unlock()
	l.changed.Notify()
}

func (l *lagging) Changed() <-chan struct{} { return l.changed.Wait() }

func (l *lagging) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Close()
	return nil
}

// Read pages what is visible of the store, as a store of its own would.
func (l *lagging) Read(ctx context.Context, q evento.Query, args cursor.Args) (*cursor.Page[evento.RawEvent], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, evento.ErrClosed
	}
	if l.step > 0 {
		defer l.changed.Notify()
	}
	log, err := readAll(ctx, l.Executor)
	if err != nil {
		return nil, err
	}
	l.shown = min(l.shown+l.step, max(l.shown, len(log)))
	log = log[:min(l.shown, len(log))]

	at := 0 // how many events are before the place
	switch i := slices.IndexFunc(log, func(e edge) bool { return e.Cursor == args.At() }); {
	case args.At() == "" && args.IsBackward():
		at = len(log)
	case i >= 0 && args.IsBackward():
		at = i
	case i >= 0:
		at = i + 1
	case args.At() != "":
		// The store says what is wrong with it, if not only that it is late.
		if _, err := l.Executor.Read(ctx, q, args); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: the replica has %d events", cursor.ErrBeyondHead, len(log))
	}
	before, after := matching(q, log[:at]), matching(q, log[at:])
	p := &cursor.Page[evento.RawEvent]{PageInfo: cursor.PageInfo{StartCursor: args.At(), EndCursor: args.At()}}
	if args.IsBackward() {
		cut, size := len(before), 0
		for cut > 0 && len(before)-cut < args.Limit() {
			if size += len(before[cut-1].Node.Data); cut < len(before) && size > evento.PageBytes {
				break
			}
			cut--
		}
		p.Edges, p.PageInfo.HasPreviousPage, p.PageInfo.HasNextPage = before[cut:], cut > 0, len(after) > 0
	} else {
		cut, size := 0, 0
		for cut < len(after) && cut < args.Limit() {
			if size += len(after[cut].Node.Data); cut > 0 && size > evento.PageBytes {
				break
			}
			cut++
		}
		p.Edges, p.PageInfo.HasPreviousPage, p.PageInfo.HasNextPage = after[:cut], len(before) > 0, cut < len(after)
		if cut == 0 && len(log) > 0 {
			p.PageInfo.EndCursor = log[len(log)-1].Cursor
		}
	}
	if n := len(p.Edges); n > 0 {
		p.PageInfo.StartCursor, p.PageInfo.EndCursor = p.Edges[0].Cursor, p.Edges[n-1].Cursor
	}
	return p, nil
}

type edge = cursor.Edge[evento.RawEvent]

func matching(q evento.Query, edges []edge) []edge {
	var m []edge
	for _, e := range edges {
		if q.Matches(e.Node) {
			m = append(m, e)
		}
	}
	return m
}

// readAll is every event of an executor.
func readAll(ctx context.Context, ex evento.Executor) ([]edge, error) {
	var all []edge
	at := cursor.Value("")
	for {
		p, err := ex.Read(ctx, evento.Query{}, cursor.Onward(cursor.MaxPage, at))
		if err != nil {
			return nil, err
		}
		all = append(all, p.Edges...)
		if at = p.PageInfo.EndCursor; !p.PageInfo.HasNextPage {
			return all, nil
		}
	}
}
