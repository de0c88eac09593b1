//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSignals interrupts the program while it reads a file that has no end.
func TestSignals(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "evento-gen")
	output(t, ".", nil, "go", "build", "-o", program, ".")
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			lock := filepath.Join(dir, "evento.lock")
			must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/app\n\ngo 1.26\n"), 0o644))
			must(t, os.WriteFile(filepath.Join(dir, "app.go"), []byte("package app\n\n//evento:aggregate\ntype E struct{}\n"), 0o644))
			must(t, syscall.Mkfifo(lock, 0o600))
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Dir = dir
			must(t, cmd.Start())
			w, err := os.OpenFile(lock, os.O_WRONLY, 0) // waits for the reader
			must(t, err)
			must(t, cmd.Process.Signal(s))
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
				t.Errorf("it ended with %v, want the exit code %d", err, exitInterrupted)
			}
			must(t, w.Close())
		})
	}
}
