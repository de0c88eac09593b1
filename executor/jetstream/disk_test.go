//go:build linux

package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/jetstream"
	"github.com/evento-go/evento/internal/testserver"
)

// small is a file system of a few megabytes.
func small(t *testing.T, megabytes int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "evento-small-") //nolint:usetesting // the server runs as another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=777", megabytes)); err != nil {
		testserver.LeaveOut(t, fmt.Sprintf("a small file system needs the superuser: %v", err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// fill takes all space, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

// The disk of the leader is full: what was acknowledged stays, and the store goes on. A server whose
// disk was full has to be started again. One less than EVENTO_JETSTREAM_ALL_FULL is how often the
// disks of all are full then.
func TestFullDisks(t *testing.T) {
	t.Parallel()
	dirs := []string{small(t, 64), small(t, 64), small(t, 64)}
	cluster := testserver.NATS(t, testserver.NATSOptions{Store: func(i int) string { return dirs[i] }})
	ex := openStore(t, cluster.URL(), "full", "")
	other := openStore(t, cluster.URL(), "full", "")
	l := startLoad(t, ex, "writer", 4)
	l.progress(20)
	node := leader(t, cluster, "full")
	free := fill(t, dirs[node])
	timed(t, "the leader's disk is full", func() { l.progress(100) })
	free()
	cluster.Nodes[node].Kill()
	cluster.Nodes[node].Start()
	l.progress(20)
	l.end()
	l.checkAll(other, openStore(t, cluster.URL(), "full", ""))
	for range many(t, "EVENTO_JETSTREAM_ALL_FULL", 1) - 1 {
		allFull(t, cluster, dirs, ex, l)
	}
}

// allFull fills the disks of all servers, and kills these: they have lost messages that they had
// published then, which is known of them (docs/jetstream.md), so it is not part of each run.
func allFull(t *testing.T, cluster *testserver.NATSCluster, dirs []string, ex evento.Executor, l *load) {
	t.Helper()
	for _, dir := range dirs {
		defer fill(t, dir)()
	}
	var tried []evento.Write
	for range 3 {
		w := one("last", 0)
		w.Appends[0].AnyVersion = true
		w.Appends[0].Events[0].Data = make([]byte, 1<<20)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := ex.Write(ctx, w)
		cancel()
		if err == nil || !errors.Is(err, evento.ErrFull) && !errors.Is(err, evento.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("all disks are full: Write() = %v", err)
		}
		tried = append(tried, w)
	}
	for i, dir := range dirs {
		if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
			t.Fatal(err)
		}
		cluster.Nodes[i].Kill()
		cluster.Nodes[i].Start()
	}
	l.ex = openStore(t, cluster.URL(), "full", "")
	timed(t, "all disks have room again", func() {
		for _, w := range tried {
			w.Retry = true
			if _, err := l.ex.Write(t.Context(), w); err != nil {
				t.Errorf("Write() = %v", err)
			}
		}
	})
	l.others += len(tried)
	l.checkAll(append(sound(t, ex), openStore(t, cluster.URL(), "full", ""))...)
}

// sound returns those of the clients that have not closed themselves. Servers that all had no
// room may lose a message that they have published, but not acknowledged: a client that has
// applied it finds that out.
func sound(t *testing.T, clients ...evento.Executor) (sound []evento.Executor) {
	t.Helper()
	for _, ex := range clients {
		switch _, err := ex.Read(t.Context(), evento.Query{}, backward); {
		case errors.Is(err, evento.ErrDamaged):
			t.Logf("a client has closed itself: %v", err)
		case err != nil:
			t.Errorf("Read() = %v", err)
		default:
			sound = append(sound, ex)
		}
	}
	return sound
}

// The disk of the index is full: the client closes itself and says why, and goes on with the
// same index when there is room. The log, and other clients, know nothing of it.
func TestFullIndex(t *testing.T) {
	t.Parallel()
	url, disk := single(t), small(t, 12)
	dir := filepath.Join(disk, "index")
	ex, err := jetstream.Open(t.Context(), url, alone("a", dir))
	if err != nil {
		t.Fatal(err)
	}
	other := open(t, url, alone("a", ""))
	write(t, ex, "x", 0)
	free := fill(t, disk)
	var full error
	for n := uint64(1); full == nil; n++ {
		w := one("x", n)
		w.Appends[0].Events[0].Data = make([]byte, 100<<10)
		_, full = ex.Write(t.Context(), w)
	}
	says(t, "a full disk", full, nil, "no space left")
	if !errors.Is(full, evento.ErrFull) && !errors.Is(full, evento.ErrOutcomeUnknown) {
		t.Errorf("Write() = %v", full)
	}
	_, err = ex.Read(t.Context(), evento.Query{}, backward)
	says(t, "reading after that", err, evento.ErrClosed, "no space left")
	if err := ex.Close(); err != nil && !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Close() = %v", err)
	}
	free()
	again := open(t, url, alone("a", dir))
	if got, want := len(allEvents(t, again)), len(allEvents(t, other)); got != want || got < 2 {
		t.Errorf("there are %d events, another client has %d", got, want)
	}
	write(t, again, "y", 0)
}
