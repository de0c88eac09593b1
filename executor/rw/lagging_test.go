package rw_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/internal/store"
)

// primary is a store that notes where its commits end, which is what its
// replicas go by: they show whole commits.
type primary struct {
	evento.Executor
	replicas []*lagging

	mu   sync.Mutex
	ends []int // how many events there are up to each commit's end
}

func newPrimary() *primary { return &primary{Executor: memory.New(nil)} }

func (p *primary) Write(ctx context.Context, w evento.Write) ([]evento.Receipt, error) {
	receipts, err := p.Executor.Write(ctx, w)
	if err != nil {
		return nil, err
	}
	end := 0
	for _, r := range receipts {
		end = max(end, int(r.Position))
	}
	p.note(end)
	return receipts, nil
}

func (p *primary) Import(ctx context.Context, events []evento.RawEvent) error {
	err := p.Executor.(evento.Importer).Import(ctx, events)
	if err == nil && len(events) > 0 {
		p.note(int(events[len(events)-1].Position))
	}
	return err
}

// note notes the end of a commit.
func (p *primary) note(end int) {
	p.mu.Lock()
	if i, noted := slices.BinarySearch(p.ends, end); !noted {
		p.ends = slices.Insert(p.ends, i, end)
	}
	p.mu.Unlock()
	for _, l := range p.replicas {
		l.changed.Notify()
	}
}

// end is how many events there are when some commits have followed the first
// so many events, or as many of them as there are.
func (p *primary) end(events, commits int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, _ := slices.BinarySearch(p.ends, events+1)
	if i = min(i+commits, len(p.ends)); i == 0 {
		return 0
	}
	return p.ends[i-1]
}

// lagging is a replica of a store: it shows a prefix of the order that ends
// with a commit. Closing it leaves the store open.
type lagging struct {
	*primary

	// step is by how many commits the prefix grows with each read; 0: only
	// by show.
	step int

	changed store.Signal
	mu      sync.Mutex
	shown   int // events
	closed  bool
}

// replica makes another replica of the store, before the store is used.
func (p *primary) replica(step int) *lagging {
	l := &lagging{primary: p, step: step}
	p.replicas = append(p.replicas, l)
	return l
}

// show makes the first n commits of the store visible.
func (l *lagging) show(n int) {
	l.mu.Lock()
	l.shown = l.end(0, n)
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
	if grown := l.end(l.shown, l.step); grown > l.shown {
		l.shown = grown
		defer l.changed.Notify()
	}
	log, err := readAll(ctx, l.Executor)
	if err != nil {
		return nil, err
	}
	log = log[:l.shown]

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
