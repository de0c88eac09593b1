package sqlite_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// unprivileged runs fn on a thread that may not override file permissions,
// also when the tests run as the superuser.
func unprivileged(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		// The thread ends with the goroutine, as it stays locked.
		runtime.LockOSThread()
		var err error
		if unix.Geteuid() == 0 {
			err = unix.Setfsuid(65534)
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
