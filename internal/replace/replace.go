// Package replace writes a file that takes the place of another when it is whole. The
// other may be missing, and may be behind a symbolic link: then what the link points to
// is replaced. What was there keeps its permissions and its owner.
//
//	f, err := replace.Create(ctx, "backup.jsonl", 0o600)
//	if err != nil {
//		return err
//	}
//	defer f.Discard()
//	// write to f
//	return f.Commit()
//
// It is not for pipes, devices and directories, which Create refuses.
package replace

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// File is written under a temporary name until Commit. Not safe for concurrent use.
type File struct {
	*os.File
	target string
	old    os.FileInfo // of what is there; nil: nothing
	copied bool        // over the old file, which cannot be replaced
	done   bool
	names  *names
}

// names are those of the temporary files that are there.
type names struct {
	mu   sync.Mutex
	list map[string]bool
}

type namesKey struct{}

// Watch returns a context for Create, and a function that removes all temporary files
// of it that are there: for a process that a signal ends. It may be called at any time.
func Watch(ctx context.Context) (context.Context, func()) {
	n := &names{list: map[string]bool{}}
	return context.WithValue(ctx, namesKey{}, n), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for name := range n.list {
			_ = os.Remove(name)
		}
	}
}

func (n *names) set(name string, there bool) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if there {
		n.list[name] = true
	} else {
		delete(n.list, name)
	}
}

// Create makes the temporary file: beside the place of the file or, where that may not
// be written to, in the folder for temporary files. A new file gets perm without the
// umask.
//
// Errors: those of the file system; what is there and may not be written to is one.
func Create(ctx context.Context, path string, perm fs.FileMode) (_ *File, err error) {
	f := &File{}
	f.names, _ = ctx.Value(namesKey{}).(*names)
	if f.target, err = follow(path); err != nil {
		return nil, err
	}
	switch f.old, err = os.Stat(f.target); {
	case errors.Is(err, fs.ErrNotExist):
		f.old = nil
		return f.temporary(filepath.Dir(f.target), perm)
	case err != nil:
		return nil, err
	case !f.old.Mode().IsRegular():
		return nil, &fs.PathError{Op: "replace", Path: path, Err: fmt.Errorf("%w: not a file", fs.ErrInvalid)}
	}
	if err := checkWritable(f.target); err != nil {
		return nil, err
	}
	const untilCommit = 0o600
	if _, err := f.temporary(filepath.Dir(f.target), untilCommit); err == nil {
		f.copied = !alike(f.File, f.old)
		return f, nil
	}
	f.copied = true
	return f.temporary(os.TempDir(), untilCommit)
}

func checkWritable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// temporary makes the file with a name of its own, which is short: that of the target
// may be as long as names can be.
func (f *File) temporary(dir string, perm fs.FileMode) (_ *File, err error) {
	name := filepath.Join(dir, ".evento-"+rand.Text())
	f.names.set(name, true) // before it is there
	if f.File, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm); err == nil {
		return f, nil
	}
	f.names.set(name, false)
	var of *fs.PathError
	if errors.As(err, &of) {
		err = &fs.PathError{Op: of.Op, Path: f.target, Err: of.Err}
	}
	return nil, err
}

// follow returns what symbolic links lead to, which need not exist.
func follow(path string) (string, error) {
	const most = 40 // links, as many as Linux follows
	for range most {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Type() != fs.ModeSymlink {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many symbolic links")}
}

// Commit syncs the file and puts it in its place. What was there is replaced at once,
// but where it cannot be (the folder may not be written to, the file has other names or
// another's owner, or is a mount): it is written over then.
func (f *File) Commit() error {
	var err error
	if f.old != nil && !f.copied {
		err = f.Chmod(f.old.Mode().Perm())
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, f.Discard())
	}
	if !f.copied {
		err := os.Rename(f.Name(), f.target)
		if err == nil {
			f.done = true
			f.names.set(f.Name(), false)
			syncFolder(filepath.Dir(f.target))
			return nil
		}
		if f.old == nil {
			return errors.Join(err, f.Discard())
		}
	}
	return errors.Join(f.copy(), f.Discard())
}

// copy writes the file over the old one.
func (f *File) copy() (err error) {
	from, err := os.Open(f.Name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.OpenFile(f.target, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	n, err := io.Copy(to, from)
	if err != nil {
		return err
	}
	return errors.Join(to.Truncate(n), to.Sync())
}

// Discard removes the temporary file. After Commit it does nothing.
func (f *File) Discard() error {
	if f.done {
		return nil
	}
	f.done = true
	err := f.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil // by Commit
	}
	err = errors.Join(err, os.Remove(f.Name()))
	f.names.set(f.Name(), false)
	return err
}

// syncFolder makes a new name durable, where folders can be read and synced.
func syncFolder(path string) {
	if dir, err := os.Open(path); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}
