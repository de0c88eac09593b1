package executortest

import (
	"testing"

	"github.com/evento-go/evento"
)

func TestRealTime(t *testing.T) {
	t.Parallel()
	a, b := to("a", 0, "A", "A"), to("b", 0, "B")
	log := make([]edge, 3) // a, b, a
	for i, e := range []evento.NewEvent{a.Events[0], b.Events[0], a.Events[1]} {
		log[i].Node.ID, log[i].Node.Position = e.ID, uint64(i+1)
	}
	first := attempt{write: evento.Write{Appends: []evento.Append{a}}, invoked: 1, answered: 3}
	for _, tt := range []struct {
		invoked int64
		ok      bool
	}{
		{2, true},  // while the first is under way: either order
		{4, false}, // after it: must not be before its last event
	} {
		second := attempt{write: evento.Write{Appends: []evento.Append{b}}, invoked: tt.invoked, answered: tt.invoked + 3}
		if err := realTime(log, []attempt{second, first}); (err == nil) != tt.ok {
			t.Errorf("the second write invoked at %d, the first answered at %d: got %v, want an error: %t", tt.invoked, first.answered, err, !tt.ok)
		}
	}
}
