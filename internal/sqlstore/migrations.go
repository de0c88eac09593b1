// The files that make the tables.

package sqlstore

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/evento-go/evento"
)

// Migration is a file of migrations.
type Migration struct {
	Number int // 1, 2, 3, …
	Name   string
	Text   string
}

// Folder is the folder migrations of what was embedded.
func Folder(files embed.FS) fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // its name is valid
	}
	return sub
}

// Migrations reads a folder of files NNNN_name.sql, in their order.
func Migrations(files fs.FS) ([]Migration, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	list := make([]Migration, len(entries))
	for i, e := range entries {
		if !strings.HasPrefix(e.Name(), fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("migration %s is not number %d", e.Name(), i+1)
		}
		text, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return nil, err
		}
		list[i] = Migration{Number: i + 1, Name: e.Name(), Text: string(text)}
	}
	return list, nil
}

// Script returns the SQL that makes a store where there is none: a statement that
// makes the table of migrations, and each of them in a format of its text and
// number.
func Script(files fs.FS, prepare, format string) (string, error) {
	list, err := Migrations(files)
	text := prepare + ";\n"
	for _, m := range list {
		text += "\n-- " + m.Name + "\n" + fmt.Sprintf(format, strings.TrimSuffix(m.Text, "\n")+"\n", m.Number)
	}
	return text, err
}

// Missing returns which migrations of a folder a store lacks that is at one of them;
// 0: at none. A store that is newer than the library is an error, and so is one that
// lacks something when nothing may be applied.
func Missing(files fs.FS, at int, apply bool) ([]Migration, error) {
	switch all, err := Migrations(files); {
	case err != nil:
		return nil, err
	case at > len(all):
		return nil, fmt.Errorf("%w: it is at migration %d, this library knows %d: upgrade it", evento.ErrNewerStore, at, len(all))
	case at < len(all) && !apply:
		return nil, fmt.Errorf("%w store: it is at migration %d of %d, and NoMigrate is set", evento.ErrInvalid, at, len(all))
	default:
		return all[at:], nil
	}
}
