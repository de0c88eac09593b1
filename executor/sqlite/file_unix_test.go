//go:build unix

package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/evento-go/evento/executor/sqlite"
)

// The log and the shared memory beside a file are as accessible as the file, which may
// be more or less than the umask leaves, and belong to its owner, whoever looks at it.
func TestFilesBesideAreLikeTheFile(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o600, 0o640, 0o666} {
		path := filepath.Join(t.TempDir(), "a b?%.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		owner := os.Getuid()
		if owner == 0 {
			owner = 65534
		}
		if err := os.Chown(path, owner, -1); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			t.Helper()
			for _, suffix := range []string{"", "-wal", "-shm"} {
				info, err := os.Stat(path + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if uid := int(info.Sys().(*syscall.Stat_t).Uid); info.Mode() != mode || uid != owner {
					t.Errorf("%s: %q is %v of user %d, want %v of %d", when, suffix, info.Mode(), uid, mode, owner)
				}
			}
		}
		ex := openFile(t, path)
		commit(t, ex, 1)
		check("written to")
		closeAll(t, ex)

		looking, err := sqlite.Open(t.Context(), path, &sqlite.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		check("looked at")
		closeAll(t, looking)
		for _, suffix := range []string{"-wal", "-shm"} {
			_ = os.Remove(path + suffix) // the next one makes them
		}

		in := inspect(t, "file:"+filepath.ToSlash(filepath.Dir(path))+"/a%20b%3F%25.db")
		if _, _, err := in.Version(context.Background()); err != nil {
			t.Fatal(err)
		}
		check("inspected")
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A link in the place of the shared memory leads to a file that is none of the store's: neither
// its permissions nor its owner are changed. Else whoever may write to the folder of a store could
// have the superuser, who looks at it, give them any file.
func TestLinkedSharedMemory(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]func(old, name string) error{"symbolic": os.Symlink, "hard": os.Link} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, other := filepath.Join(dir, "a.db"), filepath.Join(dir, "other")
			ex := openFile(t, path)
			commit(t, ex, 1)
			closeAll(t, ex)
			execFile(t, path, "PRAGMA journal_mode = delete") // so that it is read without shared memory
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o666); err != nil { // as the owner of the folder would
				t.Fatal(err)
			}
			if os.Getuid() == 0 {
				if err := os.Chown(path, 65534, 65534); err != nil {
					t.Fatal(err)
				}
			}
			if err := link(other, path+"-shm"); err != nil {
				t.Fatal(err)
			}
			looking, err := sqlite.Open(t.Context(), path, &sqlite.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			closeAll(t, looking)
			in := inspect(t, path)
			if _, _, err := in.Version(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			info, err := os.Stat(other)
			if err != nil {
				t.Fatal(err)
			}
			if uid := int(info.Sys().(*syscall.Stat_t).Uid); info.Mode() != 0o600 || uid != os.Getuid() {
				t.Errorf("the file that is linked to is %v of user %d, want %v of %d", info.Mode(), uid, os.FileMode(0o600), os.Getuid())
			}
		})
	}
}
