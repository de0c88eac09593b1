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
