// Disks that fail.

package pebble_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
	"github.com/evento-go/evento/executor/pebble"
)

var errDisk = errors.New("the disk is broken")

// The log fails in each way that it can, under many writers: the executor
// closes, those under way do not know, and after opening again what was
// acknowledged is there and the others can be settled.
func TestFailingLog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		hook func(op, name string) error
	}{
		{"sync", failing("sync", isLog)},
		{"write", failing("write", isLog)},
		{"close when the log is changed", failing("close", isLog)},
		{"create when the log is changed", failing("create", isLog)},
		{"sync of the directory", failing("sync", func(name string) bool { return name == dir })},
		{"manifest", failing("sync", func(name string) bool { return strings.Contains(name, "MANIFEST") })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewCrashableMem()
			fs := &faulty{FS: mem}
			ex, err := pebble.Open(t.Context(), dir, &pebble.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			p := &promised{writes: map[evento.ID]evento.Write{}, places: map[evento.ID]uint64{}}
			commit(t, ex, 1)
			var fails atomic.Bool
			fs.on(func(op, name string) error {
				if fails.Load() {
					return tt.hook(op, name)
				}
				return nil
			})
			unknown := writeUntilClosed(t, ex, p, &fails)
			if err := ex.Swap(t.Context(), setting(0, "a")); !is(t, err, evento.ErrClosed) || !errors.Is(err, errDisk) && tt.name != "manifest" {
				t.Errorf("Swap() = %v, want %v because of %v", err, evento.ErrClosed, errDisk)
			}
			if _, err := ex.Read(t.Context(), evento.Query{}, cursor.Forward(1, "")); !is(t, err, evento.ErrClosed) {
				t.Errorf("Read() = %v, want %v", err, evento.ErrClosed)
			}
			fails.Store(false)
			if err := ex.Close(); err != nil && !is(t, err, evento.ErrOutcomeUnknown) {
				t.Logf("Close() = %v", err)
			}
			for _, world := range []vfs.FS{mem.CrashClone(vfs.CrashCloneCfg{}), mem} { // after a power cut, and without
				again := checked(t, world, p)
				for _, w := range unknown {
					w.Retry = true
					if _, err := again.Write(t.Context(), w); err != nil {
						t.Errorf("Write() again = %v", err)
					}
				}
				p.check(t, again)
				closeAll(t, again)
			}
			t.Logf("acknowledged %d events, unknown %d writes", len(p.places), len(unknown))
		})
	}
}

func failing(op string, which func(name string) bool) func(op, name string) error {
	return func(o, name string) error {
		if o == op && which(name) {
			return errDisk
		}
		return nil
	}
}

// writeUntilClosed returns the writes of which nobody knows.
func writeUntilClosed(t *testing.T, ex evento.Executor, p *promised, fails *atomic.Bool) (unknown []evento.Write) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := 0; ; n++ {
				w := evento.Write{Appends: []evento.Append{anyVersion(fmt.Sprint("own ", i), 20), anyVersion("shared", 1)}}
				w.Appends[0].Events[7].Data = make([]byte, 100<<10) // so that the log is changed soon
				p.made(w)
				receipts, err := ex.Write(t.Context(), w)
				switch {
				case err == nil:
					p.acknowledged(w, receipts)
					if n == 3 {
						fails.Store(true)
					}
				case is(t, err, evento.ErrOutcomeUnknown):
					mu.Lock()
					unknown = append(unknown, w)
					mu.Unlock()
					return
				case is(t, err, evento.ErrClosed):
					return
				default:
					t.Errorf("Write() = %v, want %v or %v", err, evento.ErrOutcomeUnknown, evento.ErrClosed)
					return
				}
			}
		})
	}
	wg.Wait()
	return unknown
}

// A disk that runs full refuses writes before they are made, and takes them
// again when there is space.
func TestFull(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	ex := openOn(t, mem)
	defer closeAll(t, ex)
	commit(t, ex, 1)
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 64<<20 + 100})
	full := func() error {
		_, err := ex.Write(t.Context(), evento.Write{Appends: []evento.Append{anyVersion("one", 5000)}})
		return err
	}
	if err := full(); !is(t, err, evento.ErrFull) {
		t.Fatalf("Write() = %v, want %v", err, evento.ErrFull)
	}
	if err := ex.SaveSnapshot(t.Context(), key, evento.Snapshot{Version: 1, Data: make([]byte, 5<<20)}); !is(t, err, evento.ErrFull) {
		t.Errorf("SaveSnapshot() = %v, want %v", err, evento.ErrFull)
	}
	large := setting(0, "a", "b")
	for i := range 90 {
		large.Changes = append(large.Changes, evento.Change{RecordKey: recordKey(fmt.Sprint(i)), Value: make([]byte, evento.MaxRecord)})
	}
	if err := ex.Swap(t.Context(), large); !is(t, err, evento.ErrFull) {
		t.Errorf("Swap() = %v, want %v", err, evento.ErrFull)
	}
	if n := count(t, ex); n != 1 {
		t.Errorf("%d events are there, want 1", n)
	}
	wantRecords(t, ex)
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40})
	if err := full(); err != nil {
		t.Errorf("Write() = %v when there is space again", err)
	}
	if err := ex.Swap(t.Context(), large); err != nil {
		t.Errorf("Swap() = %v when there is space again", err)
	}
}

// What the file system refuses at Open is told in evento's terms.
func TestOpenOnBadDisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		op   string
		err  error
		want error
	}{
		{"create", syscall.ENOSPC, evento.ErrFull},
		{"write", syscall.ENOSPC, evento.ErrFull},
		{"sync", errDisk, errDisk},
		{"create", syscall.EROFS, evento.ErrReadOnly},
		{"create", syscall.EACCES, evento.ErrReadOnly},
	} {
		t.Run(tt.op+" "+tt.err.Error(), func(t *testing.T) {
			t.Parallel()
			fs := &faulty{FS: vfs.NewMem()}
			fs.on(func(op, _ string) error {
				if op == tt.op {
					return tt.err
				}
				return nil
			})
			if ex, err := pebble.Open(t.Context(), dir, &pebble.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)}); !is(t, err, tt.want) {
				t.Errorf("Open() = %v, %v, want %v", ex, err, tt.want)
			}
		})
	}
}
