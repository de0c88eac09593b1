package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
)

// Who gives up does not wait for a disk that hangs: what is under way has an
// unknown outcome, which trying again finds out, and what waits behind it is not
// stored.
func TestGivesUpOnAHungDisk(t *testing.T) {
	t.Parallel()
	fs := newFaultyFS(t)
	ex, err := sqlite.Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "events.db")+"?vfs="+t.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	disk := &hung{waits: make(chan struct{}), end: make(chan struct{})}
	fs.hang.Store(disk)
	write := func(id string) evento.Write {
		return evento.Write{Appends: []evento.Append{{AggregateType: "a", AggregateID: id, Events: []evento.NewEvent{{ID: evento.NewID(), Name: "E", Codec: "json", Data: []byte("1")}}}}}
	}
	do := func(w evento.Write) (stop context.CancelFunc, done chan error) {
		ctx, stop := context.WithCancel(t.Context())
		done = make(chan error, 1)
		go func() {
			_, err := ex.Write(ctx, w)
			done <- err
		}()
		return stop, done
	}
	first := write("first")
	stopFirst, firstDone := do(first)
	<-disk.waits
	stopSecond, secondDone := do(write("second"))
	stopSecond()
	if err := <-secondDone; !errors.Is(err, context.Canceled) || errors.Is(err, evento.ErrOutcomeUnknown) {
		t.Errorf("the one that waits behind it: %v, want %v", err, context.Canceled)
	}
	stopFirst()
	if err := <-firstDone; !errors.Is(err, evento.ErrOutcomeUnknown) || errors.Is(err, context.Canceled) {
		t.Errorf("the one under way: %v, want %v", err, evento.ErrOutcomeUnknown)
	}
	fs.hang.Store(nil)
	close(disk.end)
	first.Retry = true
	receipts, err := ex.Write(t.Context(), first)
	if err != nil || len(receipts) != 1 || receipts[0].Version != 1 {
		t.Errorf("the same write again: %+v, %v, want the receipt of the first", receipts, err)
	}
	page, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(10, ""))
	if err != nil || len(page.Edges) != 1 {
		t.Errorf("the store has %d events, %v; want the first alone", len(page.Edges), err)
	}
	if err := ex.Close(); err != nil {
		t.Error(err)
	}
}
