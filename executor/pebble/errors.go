// Pebble's errors in evento's terms.

package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"syscall"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/store"
)

// classify adds the error of package evento that an error of Pebble's stands for.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, evento.ErrReadOnly), errors.Is(err, evento.ErrFull), errors.Is(err, evento.ErrDamaged):
		return err
	case vfs.IsNoSpaceError(err):
		return fmt.Errorf("%w: %w", evento.ErrFull, err)
	case lsm.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", evento.ErrDamaged, err)
	case errors.Is(err, lsm.ErrReadOnly), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", evento.ErrReadOnly, err)
	}
	return err
}

// explain says in plain words why Open failed, where Pebble's error does not.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN), strings.Contains(err.Error(), "lock held"): // by another process, by this one
		return fmt.Errorf("%w: another executor has it open: %w", evento.ErrInvalid, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: a part of the path is not a directory: %w", evento.ErrInvalid, err)
	}
	return classify(err)
}

// failure is what a public method returns for an error of Pebble's. Errors of contexts
// stay as they are.
func failure(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return store.Errorf("pebble: %w", classify(err))
}

// checkDirectory refuses a directory that holds something else. One that is
// empty, or in which a store was only begun, becomes a store. One that is not
// there is refused for a store that is only looked at: Pebble would make it.
func checkDirectory(files vfs.FS, dir string, readOnly bool) error {
	info, err := files.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !readOnly:
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
		if !pebbles.MatchString(name) {
			return fmt.Errorf("%w: the directory holds %q, which is not Pebble's", evento.ErrInvalid, name)
		}
	}
	return nil
}

// pebbles matches the names of files in Pebble's directory.
var pebbles = regexp.MustCompile(`^(MANIFEST-|OPTIONS-|marker\.|temporary\.)|\.(log|sst|blob|dbtmp)$|^(LOCK|CURRENT|lost\+found)$`)
