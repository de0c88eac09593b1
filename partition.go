// Splitting a subscription: which events are whose, and reading them once for
// all partitions of a process.

package evento

import (
	"context"
	"sync"

	"github.com/evento-go/evento/cursor"
)

const (
	// slices is into how many parts the aggregates are split, of which a
	// partition has a contiguous range.
	slices1024 = 1024
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
	return int(h%slices1024) * partitions / slices1024
}

// sharedPages is reading for several workers that go along the same events. A
// page that is full never changes, so whoever comes to its place later takes
// what the first has read. Of the last pages some are kept.
type sharedPages struct {
	read func(context.Context, cursor.Args) (*cursor.Page[RawEvent], error)

	mu    sync.Mutex
	pages map[cursor.Value]*sharedPage
	order []cursor.Value
}

type sharedPage struct {
	ready chan struct{}
	page  *cursor.Page[RawEvent] // nil when it was not full, or reading failed
}

const keptPages = 32

func (s *sharedPages) get(ctx context.Context, args cursor.Args) (*cursor.Page[RawEvent], error) {
	s.mu.Lock()
	p := s.pages[args.At()]
	if p == nil {
		p = &sharedPage{ready: make(chan struct{})}
		if s.pages == nil {
			s.pages = map[cursor.Value]*sharedPage{}
		}
		s.pages[args.At()] = p
		s.order = append(s.order, args.At())
		if len(s.order) > keptPages {
			delete(s.pages, s.order[0])
			s.order = s.order[1:]
		}
		s.mu.Unlock()
		return s.fill(ctx, p, args)
	}
	s.mu.Unlock()
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

func (s *sharedPages) fill(ctx context.Context, p *sharedPage, args cursor.Args) (*cursor.Page[RawEvent], error) {
	defer close(p.ready)
	page, err := s.read(ctx, args)
	if err == nil && page.PageInfo.HasNextPage {
		p.page = page
		return page, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages[args.At()] == p {
		delete(s.pages, args.At())
		for i, at := range s.order {
			if at == args.At() {
				s.order = append(s.order[:i], s.order[i+1:]...)
				break
			}
		}
	}
	return page, err
}
