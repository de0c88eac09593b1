package sqlite_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// faultyFS is the operating system's file system with faults that a test
// switches on. It counts the syncs.
type faultyFS struct {
	vfs.VFSFilename
	full      atomic.Bool // writes find no space
	badSync   atomic.Bool // syncs fail
	hang      atomic.Pointer[hung]
	syncs     atomic.Int64
	syncFails atomic.Int64
}

// hung is a disk that does not answer a sync: waits is closed when there is one,
// and end ends it.
type hung struct {
	began      sync.Once
	waits, end chan struct{}
}

// newFaultyFS registers one under the test's name, for paths that end with
// "?vfs=" and that name.
func newFaultyFS(t *testing.T) *faultyFS {
	t.Helper()
	fs := &faultyFS{VFSFilename: vfs.Find("os").(vfs.VFSFilename)}
	vfs.Register(t.Name(), fs)
	t.Cleanup(func() { vfs.Unregister(t.Name()) })
	return fs
}

func (fs *faultyFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := fs.VFSFilename.OpenFilename(name, flags)
	if err != nil {
		return nil, flags, err
	}
	return faultyFile{f, fs}, flags, nil
}

type faultyFile struct {
	vfs.File
	fs *faultyFS
}

func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fs.full.Load() {
		return 0, sqlite3.FULL
	}
	return f.File.WriteAt(p, off)
}

func (f faultyFile) Sync(flags vfs.SyncFlag) error {
	f.fs.syncs.Add(1)
	if h := f.fs.hang.Load(); h != nil {
		h.began.Do(func() { close(h.waits) })
		<-h.end
	}
	if f.fs.badSync.Load() {
		f.fs.syncFails.Add(1)
		return sqlite3.IOERR_FSYNC
	}
	return f.File.Sync(flags)
}

// What the write-ahead log needs of the file beneath.
func (f faultyFile) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f faultyFile) LockState() vfs.LockLevel       { return vfsutil.WrapLockState(f.File) }
func (f faultyFile) PowersafeOverwrite() bool       { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f faultyFile) SetPowersafeOverwrite(on bool)  { vfsutil.WrapSetPowersafeOverwrite(f.File, on) }
func (f faultyFile) SizeHint(size int64) error      { return vfsutil.WrapSizeHint(f.File, size) }
func (f faultyFile) HasMoved() (bool, error)        { return vfsutil.WrapHasMoved(f.File) }
