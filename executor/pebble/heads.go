// Where aggregates are.

package pebble

import (
	"sync"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// headsMost is how many heads a generation of the cache has.
const headsMost = 1 << 15

// head is the last event of an aggregate, which may not be synced yet. The zero head
// is that of an aggregate without events.
type head struct {
	version, position uint64
	routing           string
}

// heads is a cache for many goroutines.
type heads struct {
	mu    sync.Mutex
	cache store.Cache[evento.AggregateKey, head]
}

func newHeads(most int) *heads {
	return &heads{cache: store.NewCache[evento.AggregateKey, head](most)}
}

// get also returns the generation of the cache: what is put from now on stays at
// least until the generation has risen by two.
func (c *heads) get(a evento.AggregateKey) (h head, ok bool, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok = c.cache.Get(a)
	return h, ok, c.cache.Generation()
}

func (c *heads) put(a evento.AggregateKey, h head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cache.Put(a, h)
}

// seen is a head with the generation of the cache when it was looked up.
type seen struct {
	head
	generation uint64
}

// look finds an aggregate's head as it is at some moment during the call.
func (ex *Executor) look(a evento.AggregateKey) (seen, error) {
	h, ok, generation := ex.heads.get(a)
	if ok {
		return seen{h, generation}, nil
	}
	h, err := ex.lookStored(a)
	return seen{h, generation}, err
}

// now brings a head up to date, under the order.
func (ex *Executor) now(a evento.AggregateKey, s *seen) (err error) {
	h, ok, generation := ex.heads.get(a)
	switch {
	case ok:
		s.head = h
	case generation > s.generation+1: // what came since may be forgotten
		s.head, err = ex.lookStored(a)
	}
	return err
}

func (ex *Executor) lookStored(a evento.AggregateKey) (h head, err error) {
	err = ex.last(ex.keys.aggregate(a.Type, a.ID), func(_ []byte, v stored) error {
		h = head{version: v.version(), position: v.position(), routing: string(v.parts().routing)}
		return nil
	})
	return h, err
}
