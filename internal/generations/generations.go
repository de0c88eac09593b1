// Package generations is a bounded cache that needs no order of use.
package generations

// Cache forgets in generations: when the young one is full it becomes the old
// one, and the old one is forgotten. Make it with New; it is not safe for
// concurrent use.
type Cache[K comparable, V any] struct {
	young, old map[K]V
	most       int // of one generation
}

// New returns a cache of up to twice most entries.
func New[K comparable, V any](most int) Cache[K, V] {
	return Cache[K, V]{young: map[K]V{}, most: most}
}

// Get finds an entry.
func (g *Cache[K, V]) Get(k K) (V, bool) {
	v, ok := g.young[k]
	if !ok {
		v, ok = g.old[k]
	}
	return v, ok
}

// Put adds or replaces an entry.
func (g *Cache[K, V]) Put(k K, v V) {
	if len(g.young) >= g.most {
		g.old, g.young = g.young, make(map[K]V, g.most)
	}
	g.young[k] = v
}

// Clear forgets everything.
func (g *Cache[K, V]) Clear() {
	clear(g.young)
	g.old = nil
}
