// Pebble's errors in evento's terms.

package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
)

// classify adds the error of evento that callers match.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, evento.ErrReadOnly), errors.Is(err, evento.ErrFull):
		return err
	case vfs.IsNoSpaceError(err):
		return fmt.Errorf("%w: %w", evento.ErrFull, err)
	case errors.Is(err, lsm.ErrReadOnly), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", evento.ErrReadOnly, err)
	}
	return err
}

// explain says plainly of a directory what Pebble says obliquely.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN), strings.Contains(err.Error(), "lock held"): // by another process, by this
		return fmt.Errorf("%w: another executor has it open: %w", evento.ErrInvalid, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: a part of the path is not a directory: %w", evento.ErrInvalid, err)
	}
	return classify(err)
}

// checkDirectory refuses a directory that holds something else. One that is
// empty, or in which a store was only begun, becomes a store.
func checkDirectory(files vfs.FS, dir string) error {
	info, err := files.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%w: it is not a directory", evento.ErrInvalid)
	}
	names, err := files.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !ofPebble(name) {
			return fmt.Errorf("%w: the directory holds %q, which is not Pebble's", evento.ErrInvalid, name)
		}
	}
	return nil
}

func ofPebble(name string) bool {
	for _, prefix := range []string{"MANIFEST-", "OPTIONS-", "marker.", "temporary."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	for _, suffix := range []string{".log", ".sst", ".blob", ".dbtmp"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return name == "LOCK" || name == "CURRENT" || name == "lost+found"
}
