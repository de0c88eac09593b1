// The disk under a store that Open opened.

package pebble

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
)

// disk stands between Pebble and its files, because Pebble ends the process
// when its log fails. Here the executor closes itself instead. From the first failure
// of the log on, nothing is written to any file and nothing is removed, so that
// the next Open finds what was there. Pebble is told that writing the log
// succeeded; the executor asks after every sync whether that is true.
//
// It is Pebble's logger too, because Pebble reports other failures there.
//
// Why: docs/decisions.md, "Its log does not tell it of failures".
type disk struct {
	vfs.FS
	dir     string
	minFree int64
	logger  *slog.Logger
	armed   atomic.Pointer[func(error)] // nil while Open is at work
	broken  atomic.Bool
	credit  atomic.Int64 // bytes that may be written before asking for the free space again
}

// arm sets what closes the executor, once there is one.
func (d *disk) arm(fail func(error)) { d.armed.Store(&fail) }

// fail closes the executor and reports true. While Open is at work there is none, and
// Open returns the error.
func (d *disk) fail(err error) bool {
	fail := d.armed.Load()
	if fail == nil {
		return false
	}
	d.broken.Store(true)
	(*fail)(err)
	return true
}

// log takes an error of a file of the log. Pebble gets it only while Open is at work.
func (d *disk) log(err error) error {
	if err != nil && d.fail(err) {
		return nil
	}
	return err
}

// check refuses what would change the disk after a failure.
func (d *disk) check() error {
	if d.broken.Load() {
		return fmt.Errorf("nothing is written after a failure: %w", evento.ErrClosed)
	}
	return nil
}

// look is the most bytes that are written before asking for the free space again.
const look = 4 << 20

// room refuses a batch for which there is no space. A nil disk has room.
func (d *disk) room(size int) error {
	if d == nil || d.minFree < 0 || d.credit.Add(-int64(size)) > 0 {
		return nil
	}
	usage, err := d.GetDiskUsage(d.dir)
	if err != nil {
		return nil //nolint:nilerr // not every file system knows
	}
	if need := uint64(d.minFree) + uint64(size); usage.AvailBytes < need {
		d.credit.Store(0)
		return fmt.Errorf("%w: %d bytes are free on the disk of %s, %d are left free", evento.ErrFull, usage.AvailBytes, d.dir, d.minFree)
	}
	d.credit.Store(min(look, int64((usage.AvailBytes-uint64(d.minFree))/2)))
	return nil
}

// backgroundError logs an error of a flush or compaction, which Pebble repeats.
func (d *disk) backgroundError(err error) {
	if !d.broken.Load() {
		d.logger.Error("evento: pebble: in the background", "dir", d.dir, "error", err)
	}
}

// Infof implements Pebble's logger. It drops messages for Pebble's own developers.
func (d *disk) Infof(string, ...any) {}

// Errorf implements Pebble's logger.
func (d *disk) Errorf(format string, args ...any) {
	d.backgroundError(fmt.Errorf(format, args...))
}

// Fatalf implements Pebble's logger. Pebble goes on with the error after it.
func (d *disk) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if !d.broken.Load() {
		d.logger.Error("evento: pebble: the store closes itself", "dir", d.dir, "error", err)
	}
	d.fail(err)
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

// Create implements vfs.FS.
func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.created(name, func() (vfs.File, error) { return d.FS.Create(name, category) })
}

// ReuseForWrite implements vfs.FS.
func (d *disk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.created(newname, func() (vfs.File, error) { return d.FS.ReuseForWrite(oldname, newname, category) })
}

func (d *disk) created(name string, create func() (vfs.File, error)) (f vfs.File, err error) {
	if err = d.check(); err == nil {
		f, err = create()
	}
	if err != nil && isLog(name) && d.fail(err) {
		// Pebble gets a file to which nothing is written.
		f, err = vfs.NewMem().Create("log", vfs.WriteCategoryUnspecified)
	}
	switch {
	case err != nil:
		return nil, err
	case isLog(name):
		return &logFile{File: f, disk: d}, nil
	}
	return &file{File: f, disk: d}, nil
}

// OpenReadWrite implements vfs.FS.
func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	f, err := d.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, err
	}
	return &file{File: f, disk: d}, nil
}

// OpenDir implements vfs.FS. A directory is treated as a file of the log, because it
// is synced when the log gets a new file.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &logFile{File: f, disk: d}, nil
}

// Link implements vfs.FS.
func (d *disk) Link(oldname, newname string) error {
	return d.changes(func() error { return d.FS.Link(oldname, newname) })
}

// Remove implements vfs.FS.
func (d *disk) Remove(name string) error {
	return d.changes(func() error { return d.FS.Remove(name) })
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	return d.changes(func() error { return d.FS.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	return d.changes(func() error { return d.FS.Rename(oldname, newname) })
}

func (d *disk) changes(do func() error) error {
	if err := d.check(); err != nil {
		return err
	}
	return do()
}

// Unwrap implements vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// logFile is a file of the log, or a directory.
type logFile struct {
	vfs.File
	disk *disk
}

func (f *logFile) Write(p []byte) (int, error) {
	if f.disk.broken.Load() {
		return len(p), nil
	}
	n, err := f.File.Write(p)
	if err = f.disk.log(err); err == nil {
		n = len(p)
	}
	return n, err
}

func (f *logFile) do(sync func() error) error {
	if f.disk.broken.Load() {
		return nil
	}
	return f.disk.log(sync())
}

func (f *logFile) Sync() error     { return f.do(f.File.Sync) }
func (f *logFile) SyncData() error { return f.do(f.File.SyncData) }

func (f *logFile) SyncTo(length int64) (full bool, err error) {
	err = f.do(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *logFile) Close() error { return f.disk.log(f.File.Close()) }

// file is another file that is written.
type file struct {
	vfs.File
	disk *disk
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.disk.check(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.disk.check(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, offset)
}

func (f *file) Sync() error     { return f.disk.changes(f.File.Sync) }
func (f *file) SyncData() error { return f.disk.changes(f.File.SyncData) }
