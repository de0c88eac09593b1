package pebble

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
)

// With a cache that forgets nearly everything at once, versions are still
// gapless: heads come from the index, what is not synced yet included.
func TestForgottenHeads(t *testing.T) {
	t.Parallel()
	ex, err := Open(t.Context(), "store", &Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	}()
	ex.heads = newHeads(1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for range 150 {
				id := fmt.Sprint(r.IntN(5))
				a := evento.Append{AggregateType: "test/Thing", AggregateID: id, AnyVersion: true, RoutingKey: fmt.Sprint(i),
					Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Happened", Codec: "raw"}}}
				if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{a}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	versions, routing := map[string]uint64{}, map[string]string{}
	last := uint64(0)
	for e, err := range evento.Events(t.Context(), ex, evento.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		versions[e.AggregateID]++
		if e.Version == 1 {
			routing[e.AggregateID] = e.RoutingKey
		}
		if last++; e.Position != last || e.Version != versions[e.AggregateID] || e.RoutingKey != routing[e.AggregateID] {
			t.Fatalf("got %+v, want position %d, version %d, routing key %q", e, last, versions[e.AggregateID], routing[e.AggregateID])
		}
	}
	if last != 8*150 {
		t.Errorf("%d events, want %d", last, 8*150)
	}
}

// A position that leaves no room for others is somebody else's doing.
func TestPositionBeyondReason(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	open := func() (*Executor, error) { return Open(t.Context(), "store", &Options{FS: fs}) }
	ex, err := open()
	if err != nil {
		t.Fatal(err)
	}
	a := evento.Append{AggregateType: "test/Thing", AggregateID: "a", Events: []evento.NewEvent{{ID: evento.NewID(), Name: "Happened", Codec: "raw"}}}
	if _, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{a}}); err != nil {
		t.Fatal(err)
	}
	value, err := ex.get(at(ex.keys.events(), 1))
	if err != nil {
		t.Fatal(err)
	}
	const beyond = 1<<63 - 10
	stored(value).place(beyond, 2, stored(value).recordedAt())
	if err := errors.Join(ex.db.Set(at(ex.keys.events(), beyond), value, lsm.Sync), ex.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, evento.ErrDamaged) {
		t.Errorf("Open() = %v, want %v", err, evento.ErrDamaged)
	}
}
