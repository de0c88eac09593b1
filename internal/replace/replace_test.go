package replace_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/evento-go/evento/internal/replace"
)

func create(t *testing.T, ctx context.Context, path string) *replace.File { //nolint:revive // it is of a test
	t.Helper()
	f, err := replace.Create(ctx, path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	return f
}

// has checks what is in a file and that there is nothing else in its folder.
func has(t *testing.T, path, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if want == "" != errors.Is(err, fs.ErrNotExist) || string(text) != want {
		t.Errorf("the file has %q, %v, want %q", text, err, want)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) > 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// Nothing is there before Commit, and nothing but the file behind it.
func TestFile(t *testing.T) {
	t.Parallel()
	for _, old := range []string{"", "old", "longer than new"} {
		path := filepath.Join(t.TempDir(), "a")
		if old != "" {
			if err := os.WriteFile(path, []byte(old), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if err := create(t, t.Context(), path).Discard(); err != nil {
			t.Errorf("Discard() = %v", err)
		}
		has(t, path, old)
		f := create(t, t.Context(), path)
		if err := errors.Join(f.Commit(), f.Discard()); err != nil {
			t.Errorf("Commit() = %v", err)
		}
		has(t, path, "new")
	}
}

// What cannot be synced or written leaves the old file.
func TestFailure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := create(t, t.Context(), path)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Error("Commit() of a closed file succeeded")
	}
	has(t, path, "old")
	if _, err := replace.Create(t.Context(), t.TempDir(), 0o600); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Create() of a folder = %v, want %v", err, fs.ErrInvalid)
	}
	var of *fs.PathError
	missing := filepath.Join(t.TempDir(), "missing", "a")
	if _, err := replace.Create(t.Context(), missing, 0o600); !errors.As(err, &of) || of.Path != missing || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create() = %v, want that %s cannot be made", err, missing)
	}
}

// A process that ends otherwise removes what it has begun.
func TestWatch(t *testing.T) {
	t.Parallel()
	ctx, remove := replace.Watch(t.Context())
	path := filepath.Join(t.TempDir(), "a")
	if err := create(t, ctx, path).Commit(); err != nil {
		t.Fatal(err)
	}
	begun := create(t, ctx, path)
	remove()
	has(t, path, "new")
	if err := begun.Commit(); err == nil {
		t.Error("what was removed was committed")
	}
}
