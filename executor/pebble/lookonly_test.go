package pebble_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
)

// With Options.ReadOnly a store is shown as it is, and a directory that is
// missing is not made.
func TestReadOnlyOption(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "events")
	write := evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "a", AnyVersion: true, Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}}}}}

	if ex, err := pebble.Open(ctx, dir, &pebble.Options{ReadOnly: true}); err == nil {
		t.Errorf("a directory that is missing was opened to read from: %v", ex.Close())
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a directory that is missing was made: %v", err)
	}

	ex, err := pebble.Open(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ex.Write(ctx, write)
	if err := errors.Join(err, ex.Close()); err != nil {
		t.Fatal(err)
	}
	ex, err = pebble.Open(ctx, dir, &pebble.Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	page, err := ex.Read(ctx, evento.Query{}, cursor.Forward(10, ""))
	if err != nil || len(page.Edges) != 1 {
		t.Errorf("Read() = %v, %v, want 1 event", page, err)
	}
	if _, err := ex.Write(ctx, write); !is(t, err, evento.ErrReadOnly) {
		t.Errorf("Write() = %v, want %v", err, evento.ErrReadOnly)
	}
	if err := ex.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}
