package store_test

import (
	"testing"

	"github.com/evento-go/evento/internal/store"
)

// What was put last is there, the newest of it always; what is put is kept
// until the generation has risen by two.
func TestCache(t *testing.T) {
	t.Parallel()
	const most = 3
	c := store.NewCache[int, int](most)
	put := map[int]uint64{} // the generation of each
	kept := func(k, v int) {
		t.Helper()
		got, ok := c.Get(k)
		switch {
		case ok && got != v:
			t.Errorf("Get(%d) = %d, want %d", k, got, v)
		case !ok && c.Generation() < put[k]+2:
			t.Errorf("%d was put at generation %d and is gone at %d", k, put[k], c.Generation())
		}
	}
	for i := range 50 {
		c.Put(i, i)
		put[i] = c.Generation()
		held := 0
		for k := range i + 1 {
			kept(k, k)
			if _, ok := c.Get(k); ok {
				held++
			}
		}
		if _, ok := c.Get(i); !ok || held > 2*most {
			t.Fatalf("after %d: it is there: %t, with %d in all, want it and at most %d", i, ok, held, 2*most)
		}
	}
	if c.Generation() == 0 {
		t.Error("no generation was forgotten")
	}
	c.Put(49, 7)
	kept(49, 7)
	before := c.Generation()
	c.Clear()
	if _, ok := c.Get(49); ok || c.Generation() < before+2 {
		t.Errorf("after Clear: 49 is there: %t, at generation %d, before it was %d", ok, c.Generation(), before)
	}
}
