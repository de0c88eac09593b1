package gen

import (
	"cmp"
	"fmt"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Problem is a mistake in the input: where it is, what is wrong, and how to fix it.
type Problem struct {
	// Pos is zero if there is no position.
	Pos  token.Position
	Text string
}

func (p Problem) String() string {
	switch {
	case p.Pos.Filename == "":
		return p.Text
	case p.Pos.Line == 0:
		return p.Pos.Filename + ": " + p.Text
	case p.Pos.Column == 0: // as of a //line comment without one
		return fmt.Sprintf("%s:%d: %s", p.Pos.Filename, p.Pos.Line, p.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.Pos.Filename, p.Pos.Line, p.Pos.Column, p.Text)
}

// RefusedError is the error of a run that refused its input: all problems, in the
// order of the files. Nothing was written.
type RefusedError []Problem

func (ps RefusedError) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// problems collects problems, so that one run reports all of them.
type problems struct {
	dir string // file names are reported relative to it
	all RefusedError
}

func (ps *problems) add(pos token.Position, format string, args ...any) {
	pos.Filename = ps.relative(pos.Filename)
	ps.all = append(ps.all, Problem{pos, fmt.Sprintf(format, args...)})
}

// relative returns a file's name as it is reported.
func (ps *problems) relative(name string) string {
	if rel, err := filepath.Rel(ps.dir, name); err == nil && name != "" && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return name
}

// mentions reports whether there is a problem between two places in a file.
func (ps *problems) mentions(from, to token.Position) bool {
	name := ps.relative(from.Filename)
	return slices.ContainsFunc(ps.all, func(p Problem) bool {
		return p.Pos.Filename == name && p.Pos.Line >= from.Line && p.Pos.Line <= to.Line
	})
}

// place returns where a problem is reported: where a //line comment says that the code
// comes from, as the compiler does, if that file is there; else where the code is.
func place(fset *token.FileSet, pos token.Pos) token.Position {
	said, is := fset.Position(pos), fset.PositionFor(pos, false)
	if said.Filename == is.Filename {
		return said
	}
	if info, err := os.Stat(said.Filename); err == nil && info.Mode().IsRegular() {
		return said
	}
	return is
}

func (c *code) place(pos token.Pos) token.Position { return place(c.pkg.Fset, pos) }

// err returns nil, or the problems in the order of the files.
func (ps *problems) err() error {
	if len(ps.all) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.all, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Pos.Filename, b.Pos.Filename),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
		)
	})
	return slices.Compact(ps.all)
}
