package sqlite_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

// A file without permission to write. The superuser may write anyway, so the
// thread gives that up.
func TestReadOnlyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	closeAll(t, openFile(t, path))
	own := filepath.Dir(path) // in a folder that is the test's too
	for _, dir := range []string{own, filepath.Dir(own)} {
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Error(err)
			}
		}()
	}
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	for want, opts := range map[string]*sqlite.Options{path: nil, "the files -wal and -shm beside it": {ReadOnly: true}} {
		var ex *sqlite.Executor
		var err error
		unprivileged(t, func() { ex, err = sqlite.Open(context.Background(), path, opts) })
		if err == nil {
			closeAll(t, ex)
		}
		if !errors.Is(err, evento.ErrReadOnly) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("Open() = %v, want %v with %s and %q", err, evento.ErrReadOnly, path, want)
		}
	}
}

// unprivileged runs fn on a thread that may not override file permissions,
// also when the tests run as the superuser.
func unprivileged(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		// The thread ends with the goroutine, as it stays locked.
		runtime.LockOSThread()
		var err error
		if syscall.Geteuid() == 0 {
			err = syscall.Setfsuid(65534)
		}
		if err == nil {
			fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
