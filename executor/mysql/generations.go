package mysql

// generations is a bounded cache: when the young generation is full it becomes
// the old one, and the old one is forgotten.
type generations[K comparable, V any] struct {
	young, old map[K]V
	most       int // of one generation
}

func newGenerations[K comparable, V any](most int) generations[K, V] {
	return generations[K, V]{young: map[K]V{}, most: most}
}

func (g *generations[K, V]) get(k K) (V, bool) {
	v, ok := g.young[k]
	if !ok {
		v, ok = g.old[k]
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if len(g.young) >= g.most {
		g.old, g.young = g.young, make(map[K]V, g.most)
	}
	g.young[k] = v
}

func (g *generations[K, V]) clear() {
	clear(g.young)
	g.old = nil
}
