// The file that a command writes.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
	"github.com/evento-go/evento/internal/replace"
)

// writeTo calls fn with what is at a path, or with standard output where there is no
// path. A file is written under another name and put in its place when fn succeeds;
// otherwise the old one stays as it is. Pipes and devices are written to.
func writeTo(cmd *cobra.Command, path string, fn func(io.Writer) error) (err error) {
	if path == "" || path == "-" {
		return fn(cmd.OutOrStdout())
	}
	if n, ok := descriptor(path); ok {
		return toDescriptor(cmd, path, n, fn)
	}
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return usageError{fmt.Errorf("%w output: %s is a directory", evento.ErrInvalid, printable.Text(path))}
	case err == nil && !info.Mode().IsRegular():
		return toStream(cmd.Context(), path, os.O_WRONLY, fn)
	}
	f, err := replace.Create(cmd.Context(), path, privateFile)
	if err != nil {
		return err
	}
	if err := fn(f); err != nil {
		return errors.Join(err, f.Discard())
	}
	return f.Commit()
}

func toStream(ctx context.Context, path string, flags int, fn func(io.Writer) error) error {
	s, err := openStream(ctx, path, flags)
	if err != nil {
		return err
	}
	return errors.Join(fn(s), s.Close())
}

// toDescriptor writes to what this process has open. Opened by its name, a file would
// be written from its beginning, or replaced under the feet of whoever has opened it.
func toDescriptor(cmd *cobra.Command, path string, n int, fn func(io.Writer) error) error {
	switch n {
	case 1:
		return fn(cmd.OutOrStdout())
	case 2:
		stderr := cmd.ErrOrStderr()
		if c, ok := stderr.(careful); ok {
			stderr = c.w // of data nothing is hidden
		}
		return fn(stderr)
	}
	return toStream(cmd.Context(), path, os.O_WRONLY|os.O_APPEND, fn)
}

// descriptors are the folders that have the open files of a process.
var descriptors = regexp.MustCompile(`^/(dev/fd|proc/([0-9]+)(/task/[0-9]+)?/fd)$`)

// descriptor returns the number of the open file that a path such as /dev/stdout names,
// also by symbolic links.
func descriptor(path string) (n int, ok bool) {
	const most = 40 // links
	for range most {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return 0, false
		}
		if m := descriptors.FindStringSubmatch(filepath.ToSlash(dir)); m != nil && (m[2] == "" || m[2] == strconv.Itoa(os.Getpid())) {
			n, err := strconv.Atoi(filepath.Base(path))
			return n, err == nil
		}
		path = filepath.Join(dir, filepath.Base(path))
		to, err := os.Readlink(path)
		if err != nil {
			return 0, false
		}
		if path = to; !filepath.IsAbs(to) {
			path = filepath.Join(dir, to)
		}
	}
	return 0, false
}

// checkOutput refuses an output that would destroy the store, or its index: one of its files, also
// one that is not there just now.
func (a address) checkOutput(path string) error {
	dir := a.nats.dir
	if a.kind == pebbleStore {
		dir = a.path
	}
	refused := usagef("--output %s is the store itself", printable.Text(path))
	switch {
	case path == "":
		return nil
	case dir != "" && (sameFile(filepath.Dir(path), dir) || sameFile(path, dir)):
		return refused
	case dir != "" || a.path == "":
		return nil
	}
	store, err := filepath.EvalSymlinks(a.path)
	if err != nil {
		return nil //nolint:nilerr // opening the store says what is the matter
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		part := store + suffix
		if sameFile(part, path) || filepath.Base(part) == filepath.Base(path) && sameFile(filepath.Dir(part), filepath.Dir(path)) {
			return refused
		}
	}
	return nil
}

// sameFile reports whether two paths lead to one file or directory that is there.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
