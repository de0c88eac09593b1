package pebble

import (
	"fmt"
	"testing"

	"github.com/evento-go/evento"
)

// What was added is never missed, and few others seem to be there.
func TestUnseen(t *testing.T) {
	t.Parallel()
	u := newUnseen()
	const n = 5 * firstRoom
	key := func(i int) evento.AggregateKey { return evento.AggregateKey{Type: "t", ID: fmt.Sprint(i)} }
	for i := range n {
		u.add(key(i))
	}
	wrong := 0
	for i := range n {
		if !u.has(key(i)) {
			t.Fatalf("%d was added and is not there", i)
		}
		if u.has(key(n + i)) {
			wrong++
		}
	}
	if wrong > n/10 {
		t.Errorf("%d of %d that were not added seem to be there", wrong, n)
	}
}
