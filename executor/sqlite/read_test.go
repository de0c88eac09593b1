package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
)

// In the process a commit and a swap wake at once, without the watch.
func TestChangedWithoutWatch(t *testing.T) {
	t.Parallel()
	ex, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), &sqlite.Options{WatchInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, ex)
	for what, do := range map[string]func(){
		"a commit": func() { commit(t, ex, 1) },
		"a swap that wakes": func() {
			if err := ex.Swap(t.Context(), evento.Swap{Wake: true, Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "test", Key: "key"}}}}); err != nil {
				t.Errorf("Swap() = %v", err)
			}
		},
	} {
		changed := ex.Changed()
		do()
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Errorf("%s did not wake", what)
		}
	}
}

// A scan that was begun because the next matches are close together gives up
// when the others are far away, and the page is complete all the same.
func TestScanGivesUp(t *testing.T) {
	t.Parallel()
	ex := openFile(t, filepath.Join(t.TempDir(), "a.db"))
	defer closeAll(t, ex)
	const near, far, between, limit = 40, 5, 8000, 42
	add := func(n int, p evento.Payload) {
		for n > 0 {
			batch := min(n, 1000)
			payloads := make([]evento.Payload, batch)
			for i := range payloads {
				payloads[i] = p
			}
			if _, err := evento.Create().Event(payloads...).Commit(t.Context(), ex); err != nil {
				t.Fatal(err)
			}
			n -= batch
		}
	}
	add(far, happened{})
	add(between, filler{})
	add(near, happened{})
	add(between, filler{})
	add(far, happened{})
	q := evento.Query{Filters: []evento.Filter{evento.ByEvent(happened{}), evento.ByEvent(happened2{})}}
	add(1, happened2{})

	// From the first of those that are near to each other.
	first, err := ex.Read(t.Context(), q, cursor.Forward(far+1, ""))
	if err != nil {
		t.Fatal(err)
	}
	page, err := ex.Read(t.Context(), q, cursor.Forward(limit, first.PageInfo.EndCursor))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(page.Edges); got != limit || !page.PageInfo.HasNextPage {
		t.Errorf("forward: %d events, HasNextPage %t, want %d and true", got, page.PageInfo.HasNextPage, limit)
	}
	last, err := ex.Read(t.Context(), q, cursor.Backward(far+2, ""))
	if err != nil {
		t.Fatal(err)
	}
	page, err = ex.Read(t.Context(), q, cursor.Backward(limit, last.PageInfo.StartCursor))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(page.Edges); got != limit || !page.PageInfo.HasPreviousPage {
		t.Errorf("backward: %d events, HasPreviousPage %t, want %d and true", got, page.PageInfo.HasPreviousPage, limit)
	}
	for i := 1; i < len(page.Edges); i++ {
		if a, b := page.Edges[i-1].Node, page.Edges[i].Node; a.Position >= b.Position || b.Name == "Filler" {
			t.Errorf("backward: position %d %s comes after %d", b.Position, b.Name, a.Position)
		}
	}
}

type (
	filler    struct{}
	happened2 struct{}
)

func (filler) AggregateType() evento.AggregateType    { return thing }
func (filler) EventName() string                      { return "Filler" }
func (happened2) AggregateType() evento.AggregateType { return thing }
func (happened2) EventName() string                   { return "Happened2" }
