// SQLite's errors in evento's terms.

package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ncruces/go-sqlite3"

	"github.com/evento-go/evento"
)

// classify adds the error of evento that callers match.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sqlite3.FULL):
		return fmt.Errorf("%w: %w", evento.ErrFull, err)
	case errors.Is(err, sqlite3.READONLY), errors.Is(err, sqlite3.PERM):
		return fmt.Errorf("%w: %w", evento.ErrReadOnly, err)
	}
	return err
}

// needsBeside is the error of looking at a file in whose folder this user may not write.
func needsBeside(err error) error {
	return fmt.Errorf("%w: SQLite reads it by way of the files -wal and -shm beside it, which this user may not make or change: %w", evento.ErrReadOnly, err)
}

// explainPath says plainly of a path what SQLite says obliquely.
func explainPath(path string, looking bool, err error) error {
	if looking && errors.Is(err, sqlite3.READONLY) {
		return needsBeside(sqlite3.READONLY)
	}
	if !errors.Is(err, sqlite3.CANTOPEN) {
		return err
	}
	if info, e := os.Stat(path); e == nil && info.IsDir() {
		return fmt.Errorf("%w: it is a directory: %w", evento.ErrInvalid, err)
	}
	if f, e := os.Open(path); e == nil && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", evento.ErrReadOnly, errors.Join(err, f.Close()))
	}
	return err
}
