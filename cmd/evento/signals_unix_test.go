//go:build unix

package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/sqlite"
)

// ending are the signals that ask a process to end.
var ending = map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM, "SIGHUP": syscall.SIGHUP}

// large makes a SQLite store whose export is larger than any pipe, and returns its path.
func large(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large.db")
	ex, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := make([]evento.NewEvent, 5000)
	for i := range events {
		events[i] = evento.NewEvent{ID: evento.NewID(), Name: "Made", Codec: "raw", Data: make([]byte, 1000)}
	}
	_, err = ex.Write(t.Context(), evento.Write{Appends: []evento.Append{{AggregateType: "t", AggregateID: "i", Events: events}}})
	if err := errors.Join(err, ex.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts the program. At the end of the test it runs no more.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// until waits until something is so, while the program runs.
func until(t *testing.T, cmd *exec.Cmd, what string, so func() bool) {
	t.Helper()
	for !so() {
		if err := t.Context().Err(); err != nil || cmd.Process.Signal(syscall.Signal(0)) != nil {
			t.Fatalf("never: %s; the program ended or the test does", what)
		}
	}
}

func there(path string) func() bool {
	return func() bool { _, err := os.Stat(path); return err == nil }
}

func send(t *testing.T, cmd *exec.Cmd, signals ...syscall.Signal) {
	t.Helper()
	for _, s := range signals {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
}

// interrupted checks that the program ends in order after a signal.
func interrupted(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("it ended with %v, want the exit code %d", err, exitInterrupted)
	}
}

// died checks that it ended by one of two signals, of which either may have been the
// second, or in order, where that was faster.
func died(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if cmd.ProcessState.ExitCode() == exitInterrupted {
		return
	}
	if by := status.Signal(); !ok || by != syscall.SIGINT && by != syscall.SIGTERM && by != syscall.SIGHUP {
		t.Errorf("it ended with %v, want one of the signals", err)
	}
}

// fullPipe returns the side of a pipe for writing that takes nothing more.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fds[1], true); err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []int{4096, 1} {
		for {
			if _, err := syscall.Write(fds[1], make([]byte, chunk)); err != nil {
				break
			}
		}
	}
	if err := syscall.SetNonblock(fds[1], false); err != nil {
		t.Fatal(err)
	}
	read, write := os.NewFile(uintptr(fds[0]), "read"), os.NewFile(uintptr(fds[1]), "write")
	t.Cleanup(func() { _, _ = read.Close(), write.Close() })
	return write
}

// exporting starts an export into a directory that comes to no end, as nobody reads of
// its progress, and waits until it writes its temporary file.
func exporting(t *testing.T, store, dir string) *exec.Cmd {
	t.Helper()
	cmd := program(t, dir, "export", "--store", store, "--output", "export.jsonl", "--progress")
	cmd.Stderr = fullPipe(t)
	start(t, cmd)
	until(t, cmd, "a temporary file", func() bool {
		return slices.ContainsFunc(names(t, dir), func(name string) bool { return strings.HasPrefix(name, ".") })
	})
	return cmd
}

// Whatever signal ends an export leaves nothing behind, and the old file as it was.
func TestSignalsLeaveNoFile(t *testing.T) {
	t.Parallel()
	store := large(t)
	for name, test := range map[string]struct {
		signals []syscall.Signal
		check   func(*testing.T, *exec.Cmd)
	}{
		"SIGINT":  {[]syscall.Signal{syscall.SIGINT}, interrupted},
		"SIGTERM": {[]syscall.Signal{syscall.SIGTERM}, interrupted},
		"SIGHUP":  {[]syscall.Signal{syscall.SIGHUP}, interrupted},
		"SIGQUIT": {[]syscall.Signal{syscall.SIGQUIT}, func(t *testing.T, cmd *exec.Cmd) {
			t.Helper()
			// It prints its goroutines then, which nobody reads here.
			until(t, cmd, "no temporary file", func() bool {
				return !slices.ContainsFunc(names(t, cmd.Dir), func(name string) bool { return strings.HasPrefix(name, ".") })
			})
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}},
		"SIGINT and SIGTERM": {[]syscall.Signal{syscall.SIGINT, syscall.SIGTERM}, died},
		"SIGTERM and SIGHUP": {[]syscall.Signal{syscall.SIGTERM, syscall.SIGHUP}, died},
	} {
		for _, old := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir, want := t.TempDir(), []string(nil)
				if old {
					want = []string{"export.jsonl"}
					if err := os.WriteFile(filepath.Join(dir, want[0]), []byte("old"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				cmd := exporting(t, store, dir)
				send(t, cmd, test.signals...)
				test.check(t, cmd)
				if got := names(t, dir); !slices.Equal(got, want) {
					t.Errorf("there is %q, want %q", got, want)
				}
				if old && readFile(t, filepath.Join(dir, want[0])) != "old" {
					t.Error("the old file was changed")
				}
			})
		}
	}
}

// The first signal ends a command in order, whatever it waits for.
func TestSignalEndsWaiting(t *testing.T) {
	t.Parallel()
	store := large(t)
	// waits starts the program and returns when it waits.
	for name, waits := range map[string]func(t *testing.T, dir string) *exec.Cmd{
		"tail": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			cmd := program(t, dir, "events", "tail", "-n", "1", "--store", store)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			start(t, cmd)
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			return cmd
		},
		"import of what nobody writes on": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			lines, _ := must(t, "", "export", "--store", filled(t))
			first, _, _ := strings.Cut(lines, "\n")
			cmd := program(t, dir, "import", "--store", "new.db")
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = stdin.Close() })
			start(t, cmd)
			if _, err := io.WriteString(stdin, first+"\n"); err != nil { // the store is made for a good first line
				t.Fatal(err)
			}
			until(t, cmd, "the new store", there(filepath.Join(dir, "new.db")))
			return cmd
		},
		"import of a named pipe": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			fifo := makeFifo(t, dir)
			cmd := program(t, dir, "import", "--store", "new.db", fifo)
			start(t, cmd)
			var write *os.File
			until(t, cmd, "a reader", func() (opened bool) {
				var err error
				write, err = os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0)
				return err == nil
			})
			t.Cleanup(func() { _ = write.Close() })
			return cmd
		},
		"export that nobody reads": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			cmd := program(t, dir, "export", "--store", store)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			start(t, cmd)
			if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			return cmd
		},
		"export to a named pipe that nobody reads": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			fifo := makeFifo(t, dir)
			cmd := program(t, dir, "export", "--store", store, "--output", fifo)
			start(t, cmd)
			read, err := os.Open(fifo)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = read.Close() })
			if _, err := io.ReadFull(read, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			return cmd
		},
		"list of a PostgreSQL that says nothing": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			return silent(t, dir, "postgres://app:secret@ADDRESS/db")
		},
		"list of a MySQL that says nothing": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			return silent(t, dir, "mysql:app:secret@tcp(ADDRESS)/db")
		},
		"export to a named pipe that nobody opens": func(t *testing.T, dir string) *exec.Cmd {
			t.Helper()
			own := filepath.Join(dir, "own.db")
			must(t, "", "migrate", "up", "--store", own)
			_ = os.Remove(own + "-shm") // who looks at the store makes it
			cmd := program(t, dir, "export", "--store", own, "--output", makeFifo(t, dir))
			start(t, cmd)
			until(t, cmd, "an open store", there(own+"-shm"))
			return cmd
		},
	} {
		for signal, s := range ending {
			t.Run(name+" "+signal, func(t *testing.T) {
				t.Parallel()
				cmd := waits(t, t.TempDir())
				send(t, cmd, s)
				interrupted(t, cmd)
			})
		}
	}
}

// silent starts a list of a server that takes connections and says nothing.
func silent(t *testing.T, dir, store string) *exec.Cmd {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	cmd := program(t, dir, "events", "list", "--store", strings.Replace(store, "ADDRESS", server.Addr().String(), 1))
	start(t, cmd)
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return cmd
}

func makeFifo(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A command that was told to go on without its terminal does so.
func TestHangupIsIgnoredWithNohup(t *testing.T) {
	t.Parallel()
	store := filled(t)
	cmd := program(t, t.TempDir(), "events", "tail", "-n", "1", "--store", store)
	cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = "/bin/sh"
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	send(t, cmd, syscall.SIGHUP)
	err = onNewStore(t.Context(), store, func(ex evento.Executor) error {
		return commit(t.Context(), ex, evento.NewEvent{ID: evento.NewID(), Name: "After", Codec: "json", Data: []byte("{}")})
	})
	if err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "After") {
		t.Errorf("after SIGHUP it has printed %q, %v", line, err)
	}
	send(t, cmd, syscall.SIGTERM)
	interrupted(t, cmd)
}

// A reader of its progress that goes away ends no export.
func TestExportWithoutStandardError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, dir, "export", "--store", filled(t), "--output", "export.jsonl", "--progress")
	cmd.Stderr = write
	if err := errors.Join(cmd.Run(), write.Close()); err != nil {
		t.Errorf("export: %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"export.jsonl"}) {
		t.Errorf("there is %q, want the export", got)
	}
}
