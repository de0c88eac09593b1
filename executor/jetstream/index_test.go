package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/storetest"
)

// filled is an index in a new directory, with events in its log or in its tables, and then
// closed.
func filled(t *testing.T, url, name string, events, size int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "index")
	ex, err := jetstream.Open(t.Context(), url, alone(name, dir))
	if err != nil {
		t.Fatal(err)
	}
	for n := range events {
		w := one("x", uint64(n))
		w.Appends[0].Events[0].Data = []byte(strings.Repeat(fmt.Sprint(n), size))
		if _, err := ex.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if err := ex.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// largest is the largest of the files in a directory with a name that ends so.
func largest(t *testing.T, dir, ending string) (path string, size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ending) && info.Size() > size {
			path, size = filepath.Join(dir, e.Name()), info.Size()
		}
	}
	if path == "" {
		t.Fatalf("%s has no %s", dir, ending)
	}
	return path, size
}

// An index whose own log was cut off, as by a power cut, gets what it lacks.
func TestTruncatedIndex(t *testing.T) {
	t.Parallel()
	url := single(t)
	whole := filled(t, url, "a", 50, 100)
	want := allEvents(t, open(t, url, alone("a", "")))
	for eighths := range int64(8) {
		for further := range int64(3) { // the cut is anywhere in a record
			dir := filepath.Join(t.TempDir(), "index")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			path, size := largest(t, dir, ".log")
			if err := os.Truncate(path, size*eighths/8+further*5); err != nil {
				t.Fatal(err)
			}
			if got := allEvents(t, open(t, url, alone("a", dir))); !slices.EqualFunc(got, want, sameEvent) {
				t.Errorf("cut off after %d/8 and %d bytes, there are %d events, want %d", eighths, further*5, len(got), len(want))
			}
		}
	}
}

// An index whose directory is removed while it is open, or before it is opened again, is made
// anew; the client that had it open loses nothing that it acknowledged.
func TestRemovedIndex(t *testing.T) {
	t.Parallel()
	url, dir := single(t), filepath.Join(t.TempDir(), "index")
	ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
	if err != nil {
		t.Fatal(err)
	}
	acked := 0
	write(t, ex, "x", 0)
	acked++
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n < 100; n++ {
		w := one("x", n)
		w.Appends[0].Events[0].Data = make([]byte, 1<<20)
		if _, err := ex.Write(t.Context(), w); err != nil {
			says(t, "without its directory", err, evento.ErrOutcomeUnknown, dir)
			break
		}
		acked++
	}
	if err := ex.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	events := allEvents(t, open(t, url, alone("a", dir)))
	if len(events) < acked {
		t.Errorf("there are %d events, %d were acknowledged", len(events), acked)
	}
}

// A damaged table of the index is found and named; when the directory is removed, the
// index is made anew.
func TestDamagedIndex(t *testing.T) {
	t.Parallel()
	url := single(t)
	dir := filled(t, url, "a", 80, 1<<19)
	storetest.DamageTables(t, dir)
	ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
	if err == nil {
		for _, err = range evento.Events(t.Context(), ex, evento.Query{}) {
			if err != nil {
				break
			}
		}
		_ = ex.Close()
	}
	says(t, "a damaged table", err, evento.ErrDamaged, "checksum mismatch", dir)
	if strings.Contains(err.Error(), "stack") {
		t.Errorf("it shows a stack: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got := len(allEvents(t, open(t, url, alone("a", dir)))); got != 80 {
		t.Errorf("made anew, there are %d events, want 80", got)
	}
}

// An index is not copied into its own directory, nor when the context has ended.
func TestCopyIndexRefuses(t *testing.T) {
	t.Parallel()
	url, root := single(t), t.TempDir()
	dir := filled(t, url, "a", 5, 100)
	link := filepath.Join(root, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	try := func(what string, copyTo func(ctx context.Context, to string) error) {
		for _, to := range []string{dir, filepath.Join(dir, "copy"), filepath.Join(dir, "none", "copy"), filepath.Join(link, "copy")} {
			says(t, what, copyTo(t.Context(), to), evento.ErrInvalid, to, "in the index itself")
		}
		to := filepath.Join(root, "copy")
		if err := copyTo(ended, to); !errors.Is(err, context.Canceled) {
			t.Errorf("%s when the context has ended: %v", what, err)
		}
	}
	try("CopyIndex", func(ctx context.Context, to string) error { return jetstream.CopyIndex(ctx, url, alone("a", dir), to) })
	ex := open(t, url, alone("a", dir))
	try("Executor.CopyIndex", ex.CopyIndex)
	if list, err := os.ReadDir(root); err != nil || len(list) != 1 {
		t.Errorf("there is %v, %v", list, err)
	}
	if err := ex.CopyIndex(t.Context(), filepath.Join(root, "copy")); err != nil {
		t.Error(err)
	}
	if got := len(allEvents(t, open(t, url, alone("a", filepath.Join(root, "copy"))))); got != 5 {
		t.Errorf("the copy has %d events, want 5", got)
	}
}
