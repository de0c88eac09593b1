package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
	"github.com/evento-go/evento/internal/sqlstore"
	"github.com/evento-go/evento/internal/storetest"
)

func inspect(t *testing.T, path string) *sqlstore.Inspector {
	t.Helper()
	in, err := sqlite.Inspect(path)
	if err != nil {
		t.Fatalf("Inspect(%q) = %v", path, err)
	}
	return in
}

// Whatever Open takes can be inspected.
func TestInspect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "a b?%&.db"), "file:" + filepath.Join(dir, "b.db"), "file:" + filepath.Join(dir, "c.db") + "?mode=rwc#x"} {
		storetest.Inspector(t, inspect(t, path), "evento_", func() evento.Executor { return openFile(t, path) })
	}
	if _, err := sqlite.Inspect(":memory:"); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("Inspect() of memory = %v, want %v", err, evento.ErrInvalid)
	}
}

// A file that is missing is not made, and one that is there keeps its bytes.
func TestInspectChangesNothing(t *testing.T) {
	t.Parallel()
	ask := func(path string) error {
		in := inspect(t, path)
		_, _, err := in.Version(t.Context())
		for _, c := range in.Checks {
			err = errors.Join(err, in.Examine(t.Context(), c, func(sqlstore.Finding) error { return nil }))
		}
		return errors.Join(err, in.Close())
	}
	path := filepath.Join(t.TempDir(), "a.db")
	if err := ask(path); err == nil {
		t.Error("a file that is missing was inspected")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing was made: %v", err)
	}
	closeAll(t, openFile(t, path))
	before := fileBytes(t, path)
	if err := ask(path); err != nil {
		t.Error(err)
	}
	if fileBytes(t, path) != before {
		t.Error("inspecting the file changed it")
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	in := inspect(t, "any.db")
	for _, tt := range []struct{ query, row, words string }{
		{"journal_mode", "wal", ""},
		{"journal_mode", "delete", "mode is delete"},
		{"integrity_check", "ok", ""},
		{"integrity_check", "page 3 is lost", "damaged: page 3 is lost"},
		{"FROM evento_event WHERE checksum", "0", ""},
		{"FROM evento_event WHERE checksum", "2", "2 events are not what was stored"},
		{"FROM evento_record WHERE checksum", "1", "1 records are not what was stored"},
		{"FROM evento_snapshot WHERE checksum", "1", "1 snapshots are not what was stored"},
		{"identity", "1", ""},
		{"identity", "0", "the store's identity is missing"},
		{"snapshot", "0", ""},
		{"snapshot", "7", "7 snapshots"},
	} {
		storetest.Judge(t, in, tt.query, tt.words, tt.row)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

func TestViewShowsEventIDs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.db")
	ex := openFile(t, path)
	storetest.EventIDs(t, openDB(t, path), "evento_events", ex)
	closeAll(t, ex)
}
