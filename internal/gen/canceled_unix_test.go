//go:build unix

package gen

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A run ends with ctx whatever it is doing: here it reads a file that has no end.
func TestCanceledWithin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"go.mod": "module example.com/app\n\ngo 1.26\n", "app.go": "package app\n\n//evento:aggregate\ntype E struct{}\n",
	})
	lock := filepath.Join(dir, LockName)
	must(t, syscall.Mkfifo(lock, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := Run(ctx, Options{Dir: dir})
		done <- err
	}()
	w, err := os.OpenFile(lock, os.O_WRONLY, 0) // waits for the reader
	must(t, err)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	must(t, w.Close())
}
