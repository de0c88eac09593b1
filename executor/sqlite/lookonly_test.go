package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/sqlite"
)

// With Options.ReadOnly a store is shown as it is, whatever its journal mode,
// beside a writer and without one, and none of its bytes change.
func TestReadOnlyOption(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "a.db")
	writer := openFile(t, path)
	commit := func() {
		t.Helper()
		w := evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "a", AnyVersion: true, Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}}}}}
		if _, err := writer.Write(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	look := func(want int) {
		t.Helper()
		ex, err := sqlite.Open(ctx, path, &sqlite.Options{ReadOnly: true})
		if err != nil {
			t.Fatalf("Open() = %v", err)
		}
		page, err := ex.Read(ctx, evento.Query{}, cursor.Forward(10, ""))
		if err != nil || len(page.Edges) != want {
			t.Errorf("Read() = %v, %v, want %d events", page, err, want)
		}
		_, err = ex.Write(ctx, evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "b", Events: []evento.NewEvent{{ID: evento.NewID(), Name: "n", Codec: "json", Data: []byte("{}")}}}}})
		if !errors.Is(err, evento.ErrReadOnly) {
			t.Errorf("Write() = %v, want %v", err, evento.ErrReadOnly)
		}
		swap := evento.Swap{Changes: []evento.Change{{RecordKey: evento.RecordKey{Kind: "k", Key: "k"}, Value: []byte("v")}}}
		if err := ex.Swap(ctx, swap); !errors.Is(err, evento.ErrReadOnly) {
			t.Errorf("Swap() = %v, want %v", err, evento.ErrReadOnly)
		}
		if err := ex.RemoveSnapshots(ctx, []evento.SnapshotKey{{Projection: "p"}}); !errors.Is(err, evento.ErrReadOnly) {
			t.Errorf("RemoveSnapshots() = %v, want %v", err, evento.ErrReadOnly)
		}
		if page, err := ex.Snapshots(ctx, evento.SnapshotQuery{}); err != nil || len(page.Snapshots) > 0 {
			t.Errorf("Snapshots() = %v, %v, want none", page, err)
		}
		closeAll(t, ex)
	}
	commit()
	look(1)
	commit()
	look(2)
	closeAll(t, writer)
	before := fileBytes(t, path)
	look(2)
	if fileBytes(t, path) != before {
		t.Error("looking at the file changed it")
	}

	// A copy made with VACUUM INTO has no write-ahead log.
	backup := filepath.Join(t.TempDir(), "backup.db")
	db := openDB(t, path)
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", backup); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	path = backup
	before = fileBytes(t, path)
	look(2)
	if fileBytes(t, path) != before {
		t.Error("looking at a backup changed it")
	}

	path = filepath.Join(t.TempDir(), "missing.db")
	if _, err := sqlite.Open(ctx, path, &sqlite.Options{ReadOnly: true}); err == nil {
		t.Error("a file that is missing was opened to read from")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing was made: %v", err)
	}
}

func fileBytes(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
