// Splitting a subscription: which events are whose, and reading them once for
// all partitions of a process.

package evento

import (
	"context"
	"slices"
	"sync"

	"github.com/evento-go/evento/cursor"
)

const (
	// hashSlices is into how many parts the aggregates are split, of which a
	// partition has a contiguous range.
	hashSlices = 1024
	// maxPartitions bounds how many records change together.
	maxPartitions = 64
)

// partitionOf is the partition of an aggregate. It is the same for ever: the
// hash is FNV-1a (64 bits, of the type, a zero byte and the id) with the
// finalizer of MurmurHash3, so that also the high bits depend on all of it.
// http://www.isthe.com/chongo/tech/comp/fnv/
func partitionOf(t AggregateType, id string, partitions int) int {
	h := uint64(14695981039346656037)
	const prime = 1099511628211
	for i := range len(t) {
		h = (h ^ uint64(t[i])) * prime
	}
	h *= prime
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return int(h%hashSlices) * partitions / hashSlices
}

// sharedPages is reading for several workers that go along the same events. A
// page that is full never changes, so whoever comes to its place later, or to
// one within it, takes what the first has read. Of the last pages some are kept.
type sharedPages struct {
	read func(context.Context, cursor.Args) (*cursor.Page[RawEvent], error)
	keep bool

	mu    sync.Mutex
	pages []*sharedPage
}

type sharedPage struct {
	at    cursor.Value
	ready chan struct{}
	page  *cursor.Page[RawEvent] // set before ready is closed; nil when it was not full, or reading failed
}

const keptPages = 16

// get reads a page. A subscription without partitions keeps none.
func (s *sharedPages) get(ctx context.Context, args cursor.Args) (*cursor.Page[RawEvent], error) {
	if !s.keep {
		return s.read(ctx, args)
	}
	s.mu.Lock()
	for _, p := range s.pages {
		if p.at == args.At() {
			s.mu.Unlock()
			return s.wait(ctx, p, args)
		}
		if rest := p.behind(args.At()); rest != nil {
			s.mu.Unlock()
			return rest, nil
		}
	}
	p := &sharedPage{at: args.At(), ready: make(chan struct{})}
	if len(s.pages) == keptPages {
		s.pages = slices.Delete(s.pages, 0, 1)
	}
	s.pages = append(s.pages, p)
	s.mu.Unlock()

	defer close(p.ready)
	page, err := s.read(ctx, args)
	if err == nil && page.PageInfo.HasNextPage {
		p.page = page
		return page, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = slices.DeleteFunc(s.pages, func(other *sharedPage) bool { return other == p })
	return page, err
}

// forget drops the pages that were read: what a handler was given it may have
// changed.
func (s *sharedPages) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = nil
}

// wait returns a page that another worker reads or has read.
func (s *sharedPages) wait(ctx context.Context, p *sharedPage, args cursor.Args) (*cursor.Page[RawEvent], error) {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.page != nil {
		return p.page, nil
	}
	// What was not full then may have grown since.
	return s.read(ctx, args)
}

// behind returns what a page has behind a cursor within it; else nil.
func (p *sharedPage) behind(at cursor.Value) *cursor.Page[RawEvent] {
	select {
	case <-p.ready:
	default:
		return nil
	}
	if p.page == nil || at == "" {
		return nil
	}
	i := slices.IndexFunc(p.page.Edges, func(e cursor.Edge[RawEvent]) bool { return e.Cursor == at })
	if i < 0 || i == len(p.page.Edges)-1 {
		return nil
	}
	return &cursor.Page[RawEvent]{Edges: p.page.Edges[i+1:], PageInfo: p.page.PageInfo}
}
