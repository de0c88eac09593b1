package pebble_test

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faulty asks a hook before each operation on its files: "create", "write",
// "sync", "close", with the name of the file or directory.
type faulty struct {
	vfs.FS
	hook atomic.Pointer[func(op, name string) error]
}

func (f *faulty) on(hook func(op, name string) error) { f.hook.Store(&hook) }

func (f *faulty) ask(op, name string) error {
	if hook := f.hook.Load(); hook != nil {
		return (*hook)(op, name)
	}
	return nil
}

func (f *faulty) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.ask("create", name); err != nil {
		return nil, err
	}
	return f.file(name)(f.FS.Create(name, category))
}

func (f *faulty) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.ask("create", newname); err != nil {
		return nil, err
	}
	return f.file(newname)(f.FS.ReuseForWrite(oldname, newname, category))
}

func (f *faulty) OpenDir(name string) (vfs.File, error) { return f.file(name)(f.FS.OpenDir(name)) }

func (f *faulty) file(name string) func(vfs.File, error) (vfs.File, error) {
	return func(file vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return &faultyFile{file, f, name}, nil
	}
}

type faultyFile struct {
	vfs.File
	fs   *faulty
	name string
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.fs.ask("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.ask("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) SyncData() error {
	if err := f.fs.ask("sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *faultyFile) Close() error {
	if err := f.fs.ask("close", f.name); err != nil {
		return err
	}
	return f.File.Close()
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }
