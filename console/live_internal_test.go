package console

import (
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/memory"
)

// A replica that is behind another does not make viewers be told of events again.
func TestTailOfReplicas(t *testing.T) {
	t.Parallel()
	ex := memory.New(nil)
	t.Cleanup(func() { _ = ex.Close() })
	c := &console{ex: ex}
	pages, err := parseTemplates(c.place)
	if err != nil {
		t.Fatal(err)
	}
	l := newLive(ex, pages, nil)
	v := &viewer{rows: true, messages: make(chan string, mostWaiting)}
	l.viewers[v] = struct{}{}
	var at evento.RawEvent
	for _, head := range []uint64{30, 25, 30, 31} { // as far as the replica that is read has come
		page := &cursor.Page[evento.RawEvent]{}
		for position := head - 19; position <= head; position++ {
			page.Edges = append(page.Edges, cursor.Edge[evento.RawEvent]{Node: evento.RawEvent{ID: evento.ID{byte(position)}, Position: position, Name: "Opened"}})
		}
		if at, err = l.tellNewer(page, at); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.messages); n != 2 || at.Position != 31 {
		t.Errorf("viewers are told %d times, up to position %d, want twice, up to 31", n, at.Position)
	}
}
