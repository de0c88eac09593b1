package cursor_test

import (
	"errors"
	"testing"

	"github.com/evento-go/evento/cursor"
)

func TestPositionsOf(t *testing.T) {
	t.Parallel()
	store := cursor.NewPositions([16]byte{1, 2, 3, 15: 9})
	p, err := cursor.PositionsOf(store.Value(7))
	if err != nil || p.Store() != store.Store() || p.Value(1<<40) != store.Value(1<<40) {
		t.Errorf("PositionsOf(%q) = %x, %v, want store %x", store.Value(7), p.Store(), err, store.Store())
	}
	good := string(store.Value(7))
	for _, v := range []string{"", "x", good[1:], good + "A", "B" + good[1:], "!" + good[1:], good[:len(good)-1] + "!", good[:20] + "x" + good[21:]} {
		if _, err := cursor.PositionsOf(cursor.Value(v)); !errors.Is(err, cursor.ErrMalformed) {
			t.Errorf("PositionsOf(%q) = %v, want %v", v, err, cursor.ErrMalformed)
		}
	}
}
