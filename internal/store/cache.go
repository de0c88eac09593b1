// A bounded cache that needs no order of use.

package store

// Cache forgets in generations: when the young one is full it becomes the old
// one, and the old one before is forgotten. NewCache makes it; the zero value forgets
// nothing, and takes no memory until it has something. It is not safe for concurrent use.
type Cache[K comparable, V any] struct {
	young, old map[K]V
	most       int // of one generation; 0: any number
	number     uint64
}

// NewCache returns a cache of up to twice most entries.
func NewCache[K comparable, V any](most int) Cache[K, V] {
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
	switch {
	case g.most > 0 && len(g.young) >= g.most:
		g.old, g.young = g.young, make(map[K]V, g.most)
		g.number++
	case g.young == nil:
		g.young = map[K]V{}
	}
	g.young[k] = v
}

// Young has the entries of the young generation: of a cache that forgets nothing, all.
// The map must not be changed.
func (g *Cache[K, V]) Young() map[K]V { return g.young }

// Generation is the number of the young generation: what is put is kept at
// least until it has risen by two.
func (g *Cache[K, V]) Generation() uint64 { return g.number }

// Clear forgets everything.
func (g *Cache[K, V]) Clear() {
	clear(g.young)
	g.old = nil
	g.number += 2
}
