//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// children are the processes that a process has started, with their states, as far as the system
// tells: see proc(5).
func children(parent int) map[int]string {
	found := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && fields[1] == fmt.Sprint(parent) {
			found[pid] = fields[0]
		}
	}
	return found
}

// When the command is killed while one of its processes is halted, that one ends too.
func TestTortureKilled(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system does not tell which processes are halted")
	}
	cmd := program(t, t.TempDir(), "torture", "--store", "x.db", "--for", "1s", "--kills", "1000")
	cmd.Env = append(cmd.Environ(), "TMPDIR="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids map[int]string
	wait(t, "a process is halted", func() bool {
		pids = children(cmd.Process.Pid)
		for _, state := range pids {
			if state == "T" {
				return true
			}
		}
		return false
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	t.Cleanup(func() {
		if t.Failed() {
			for pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	wait(t, "all processes have ended", func() bool {
		for pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	})
}

func wait(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !reached(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Where no store can be made it says why and what to do, leaves nothing, and shows no password.
func TestTortureMakesNoStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for store, wants := range map[string]string{
		"there/x.db":                        "no store can be made beside sqlite:there/x.db: stat there: no such file or directory; its directory has to be there",
		"pebble:there/deep/x":               "no store can be made beside pebble:there/deep/x: ",
		"postgres://a:secret@127.0.0.1:1/x": "GRANT CREATE ON DATABASE",
		"mysql:a:secret@tcp(127.0.0.1:1)/x": "GRANT ALL ON `evento\\_torture\\_%`.*",
	} {
		code, stdout, stderr := ended(t, program(t, dir, "torture", "--store", store))
		if code != exitFailed || stdout != "" || !strings.Contains(stderr, wants) || strings.Contains(stderr, "secret") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d\n%s%s", store, code, stdout, stderr)
		}
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("%s: it has left %q", store, left)
		}
	}
}

// The database of --store need not be there on MySQL: a new one is made beside it.
func TestTortureBesideNoDatabase(t *testing.T) {
	t.Parallel()
	store := regexp.MustCompile(`/[^/?]+(\?|$)`).ReplaceAllString(stores[mysqlStore](t), "/there_is_none$1")
	code, stdout, stderr := ended(t, program(t, t.TempDir(), "torture", "--store", store, "--for", "0s", "--kills", "0"))
	if code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}
