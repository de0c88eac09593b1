// The file of a store: where it is, and whether it is still there.

package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// absolute makes a path independent of the working directory: connections are opened as
// they are needed, and the program may have gone elsewhere by then.
func absolute(path string) (string, error) {
	if !strings.HasPrefix(path, "file:") {
		return filepath.Abs(path)
	}
	rest, query, _ := strings.Cut(strings.TrimPrefix(path, "file:"), "?")
	if name, err := url.PathUnescape(rest); err == nil && name != "" && !strings.HasPrefix(name, "/") {
		name, err = filepath.Abs(filepath.FromSlash(name))
		return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(name), RawQuery: query}).String(), err
	}
	return path, nil // it is absolute, or SQLite will say what is wrong
}

// uriOf is the URI of a path, which may be one.
func uriOf(path string) string {
	if strings.HasPrefix(path, "file:") {
		return path
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}).String()
}

// withSetting is a URI with a setting, such as how it is opened: the mode "rw" does not
// make the file, and "ro" only reads. Of several the last is taken.
func withSetting(uri, name, value string) string {
	separator := "?"
	if uri, _, _ = strings.Cut(uri, "#"); strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + name + "=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// withModeOf makes the write-ahead log, which has events too, as accessible as the
// file is, and its owner the same: otherwise the umask would decide. A log that is
// there stays as it is.
func withModeOf(uri string) string {
	name, query, _ := strings.Cut(strings.TrimPrefix(uri, "file:"), "?")
	path, err := url.PathUnescape(name)
	if err != nil || strings.Contains(query, "vfs=") || strings.Contains(query, "modeof=") {
		return uri
	}
	if after, ok := strings.CutPrefix(path, "//localhost/"); ok {
		path = "/" + after
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return uri
	}
	return withSetting(uri, "modeof", path)
}

// likeFile is withModeOf for the shared memory beside the log, once SQLite has made it. A link
// at its place is left alone: whoever may write to the folder could have made it, to any file,
// and this process may be the superuser's. os.Root does not follow one that is put there
// meanwhile.
func likeFile(path string) {
	file, err := os.Stat(path)
	if err != nil {
		return // it is not in a file system of the operating system
	}
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return
	}
	defer func() { _ = folder.Close() }()
	name := filepath.Base(path) + "-shm"
	made, err := folder.Lstat(name)
	if err != nil || !made.Mode().IsRegular() || linked(made) {
		return
	}
	if made.Mode() != file.Mode() {
		_ = folder.Chmod(name, file.Mode()) // it may be another user's
	}
	giveTo(folder, name, made, file)
}

// file is what an executor has opened. It is safe for concurrent use.
type file struct {
	path   string
	info   os.FileInfo // nil: it is not in a file system of the operating system
	opened time.Time
	looked atomic.Int64 // when a reader has looked for it, since opened
}

// lookEvery is how often readers look whether the file is still there. A commit does so
// each time.
const lookEvery = time.Second

func fileOf(c *conn) *file {
	f := &file{path: c.Filename("main").String(), opened: time.Now()}
	f.info, _ = os.Stat(f.path)
	return f
}

// lostMeanwhile is lost for readers, now and then.
func (f *file) lostMeanwhile() error {
	looked, now := f.looked.Load(), int64(time.Since(f.opened))
	if now-looked < int64(lookEvery) || !f.looked.CompareAndSwap(looked, now) {
		return nil
	}
	return f.lost()
}

// lost returns an error when the file is no longer at its path: what is committed goes
// into one that nobody will open again.
func (f *file) lost() error {
	if f.info == nil {
		return nil
	}
	now, err := os.Stat(f.path)
	if err == nil && !os.SameFile(f.info, now) {
		return fmt.Errorf("%s was replaced while it was open", f.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s was removed while it was open", f.path)
	}
	return nil
}
