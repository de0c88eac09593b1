package pebble_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := openDir(t, filepath.Join(root, "open"))
	t.Cleanup(func() { closeAll(t, open) })
	newer := filepath.Join(root, "newer")
	describe(t, newer, binary.BigEndian.AppendUint32(nil, 2))
	short := filepath.Join(root, "short")
	describe(t, short, []byte{0, 0, 0, 1, 7})
	for _, tt := range []struct {
		name, dir string
		opts      *pebble.Options
		is        error
		says      string
	}{
		{"empty path", "", nil, evento.ErrInvalid, "empty"},
		{"NUL", "a\x00b", nil, evento.ErrInvalid, "NUL"},
		{"a file", file, nil, evento.ErrInvalid, "not a directory"},
		{"under a file", filepath.Join(file, "store"), nil, evento.ErrInvalid, "not a directory"},
		{"something else", root, nil, evento.ErrInvalid, `"file"`},
		{"open already", filepath.Join(root, "open"), nil, evento.ErrInvalid, "another executor"},
		{"newer", newer, nil, evento.ErrNewerStore, "format 2"},
		{"cut short", short, nil, evento.ErrInvalid, "cut short"},
		{"negative cache", filepath.Join(root, "n"), &pebble.Options{CacheSize: -1}, evento.ErrInvalid, "CacheSize"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ex, err := pebble.Open(context.Background(), tt.dir, tt.opts)
			if err == nil {
				closeAll(t, ex)
				t.Fatalf("Open(%q) = nil, want an error", tt.dir)
			}
			if !is(t, err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Open(%q) = %v, want %v that says %q", tt.dir, err, tt.is, tt.says)
			}
		})
	}
	if _, err := pebble.New(t.Context(), nil, nil); !is(t, err, evento.ErrInvalid) {
		t.Errorf("New(nil) = %v, want %v", err, evento.ErrInvalid)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pebble.Open(ended, filepath.Join(root, "ended"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Open() with an ended context = %v", err)
	}
}

// describe makes a store with this description.
func describe(t *testing.T, dir string, meta []byte) {
	t.Helper()
	db, err := lsm.Open(dir, &lsm.Options{Logger: quiet{}})
	if err == nil {
		err = errors.Join(db.Set([]byte("evento/m"), meta, lsm.Sync), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Another process has the directory open.
func TestOpenByAnotherProcess(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	p := startChild(t, path, 1)
	if ex, err := pebble.Open(t.Context(), path, nil); !is(t, err, evento.ErrInvalid) || !strings.Contains(err.Error(), "another executor") {
		t.Errorf("Open() = %v, %v, want %v", ex, err, evento.ErrInvalid)
	}
	p.kill(t)
	ex := openDir(t, path)
	commit(t, ex, 1)
	closeAll(t, ex)
}

// A database that is read-only can be read, where there is a store.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	ex := openOn(t, mem)
	commit(t, ex, 1)
	closeAll(t, ex)
	db, err := lsm.Open(dir, &lsm.Options{FS: mem, ReadOnly: true, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if ex, err := pebble.New(t.Context(), db, &pebble.Options{Prefix: "another/"}); !is(t, err, evento.ErrReadOnly) {
		t.Errorf("New() where there is no store = %v, %v, want %v", ex, err, evento.ErrReadOnly)
	}
	if ex, err = pebble.New(t.Context(), db, nil); err != nil {
		t.Fatalf("New() = %v", err)
	}
	defer closeAll(t, ex)
	if n := count(t, ex); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	_, err = ex.Write(t.Context(), evento.Write{Appends: []evento.Append{anyVersion("one", 1)}})
	if !is(t, err, evento.ErrReadOnly) || is(t, err, evento.ErrOutcomeUnknown) {
		t.Errorf("Write() = %v, want %v", err, evento.ErrReadOnly)
	}
	if err := ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1}); !is(t, err, evento.ErrReadOnly) {
		t.Errorf("SaveSnapshot() = %v, want %v", err, evento.ErrReadOnly)
	}
	if err := ex.RemoveSnapshots(t.Context(), []evento.SnapshotKey{key}); !is(t, err, evento.ErrReadOnly) {
		t.Errorf("RemoveSnapshots() = %v, want %v", err, evento.ErrReadOnly)
	}
	if err := ex.Swap(t.Context(), setting(0, "a")); !is(t, err, evento.ErrReadOnly) {
		t.Errorf("Swap() = %v, want %v", err, evento.ErrReadOnly)
	}
	wantRecords(t, ex)
	if n := count(t, ex); n != 1 {
		t.Errorf("%d events after the writes, want 1", n)
	}
}

// Times do not fall when the clock does between two lives, and cursors and
// heads are those of the same store.
func TestReopenWithAnEarlierClock(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := cursor.Value("")
	for life := range 3 {
		ex, err := pebble.Open(t.Context(), dir, &pebble.Options{FS: mem, Clock: func() time.Time { return now.Add(-time.Duration(life) * time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		commit(t, ex, life)
		page, err := ex.Read(t.Context(), evento.Query{}, cursor.Onward(10, at))
		if err != nil || len(page.Edges) != 1 || !page.Edges[0].Node.Timestamp.Equal(now) {
			t.Fatalf("life %d: Read() = %+v, %v, want one event of %s", life, page, err, now)
		}
		at = page.PageInfo.EndCursor
		closeAll(t, ex)
	}
}

// What a store was closed with is not in its log only, where a bit that is flipped loses
// all that follows.
func TestFlippedLog(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	ex := openDir(t, path)
	for i := range 100 {
		commit(t, ex, i)
	}
	closeAll(t, ex)
	logs, err := filepath.Glob(filepath.Join(path, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 {
			data[len(data)/2] ^= 1
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ex = openDir(t, path)
	if n := count(t, ex); n != 100 {
		t.Errorf("%d events, want 100", n)
	}
	closeAll(t, ex)
}
