package gen

import (
	"cmp"
	"fmt"
	"go/token"
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
	if rel, err := filepath.Rel(ps.dir, pos.Filename); err == nil && pos.Filename != "" && filepath.IsLocal(rel) {
		pos.Filename = filepath.ToSlash(rel)
	}
	ps.all = append(ps.all, Problem{pos, fmt.Sprintf(format, args...)})
}

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
