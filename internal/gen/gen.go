// Package gen is the generator behind evento gen: it reads the structs that are an
// application's events, and generates code for them.
//
// Its nouns: a directive is a comment such as //evento:aggregate bank/Account; an
// event is a struct that a directive declares as an event; a shape is how the
// values of a type are stored; the lock is the file that records the shapes, so
// that the generator can refuse a change that would make stored events unreadable.
//
// docs/generator.md describes the directives and the generated code.
//
// Why: docs/decisions.md, "Generated code follows the codec, and gives way to it".
package gen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/token"
	"os"
	"path/filepath"

	"github.com/evento-go/evento/internal/replace"
)

// Options say what to generate. The zero Options are for the package in the current
// folder.
type Options struct {
	// Dir is the folder that Patterns are relative to. Default: the current one.
	Dir string
	// Patterns name packages as the go command does. Default: ".".
	Patterns []string
	// Check writes nothing, and returns what would be written.
	Check bool
}

// File is a file that was written or, with Check, would be.
type File struct {
	// Path is relative to Dir if it is below it.
	Path string
	// New says that the file did not exist.
	New bool
}

// Result is the result of a run.
type Result struct {
	// Events counts the kinds of events that were read.
	Events int
	// Changed are the files whose contents changed.
	Changed []File
}

// ErrNoEvents is the error when no package has a directive.
var ErrNoEvents = errors.New("no package has //evento:aggregate above its types; put it above the structs that are events")

// Run generates the code. If any input is refused, with [RefusedError], or cannot
// be read, it writes nothing. Each file is replaced atomically.
func Run(ctx context.Context, o Options) (Result, error) {
	if len(o.Patterns) == 0 {
		o.Patterns = []string{"."}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return Result{}, err
	}
	done := make(chan plan, 1)
	go func() { done <- o.plan(ctx, dir) }()
	var p plan
	select {
	case p = <-done:
	case <-ctx.Done(): // the type checker, for one, does not know of ctx
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if p.err != nil {
		return Result{}, p.err
	}
	result := Result{Events: p.events}
	for _, f := range p.files {
		if !f.changed {
			continue
		}
		path := f.path
		if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
		result.Changed = append(result.Changed, File{Path: filepath.ToSlash(path), New: f.absent})
	}
	if o.Check {
		return result, nil
	}
	return result, write(ctx, p.files)
}

// plan is what a run would write.
type plan struct {
	files  []output
	events int
	err    error
}

func (o Options) plan(ctx context.Context, dir string) (p plan) {
	ps := &problems{dir: dir}
	pkgs, err := load(ctx, dir, o.Patterns, ps)
	if err != nil {
		return plan{err: err}
	}
	if err := ps.err(); err != nil {
		return plan{err: err}
	}
	claimed := map[string]*code{} // aggregates by their types
	found := false
	for _, pkg := range pkgs {
		if ctx.Err() != nil {
			return plan{err: ctx.Err()}
		}
		c := read(pkg.pkg, pkg.unbuilt, ps)
		for _, a := range c.aggregates {
			if other := claimed[a.typ]; other != nil {
				ps.add(c.place(a.pos), "two aggregates of the name %q: the other is in package %s; an aggregate belongs to one package",
					a.typ, other.pkg.PkgPath)
			}
			claimed[a.typ] = c
		}
		written, err := c.outputs(ps)
		if err != nil {
			return plan{err: err}
		}
		p.events += len(c.all)
		p.files = append(p.files, written...)
		found = found || len(c.all) > 0 || len(written) > 0
	}
	if p.err = ps.err(); p.err == nil && !found {
		p.err = ErrNoEvents
	}
	return p
}

// output is the new contents of a file.
type output struct {
	path    string
	content []byte
	changed bool
	absent  bool
}

// outputs returns the files of a package: none if it has neither events nor a lock.
func (c *code) outputs(ps *problems) ([]output, error) {
	if c.dir == "" {
		return nil, nil
	}
	lockFile := filepath.Join(c.dir, LockName)
	before := &lock{}
	stored, err := os.ReadFile(lockFile)
	switch {
	case err == nil:
		if before, err = parseLock(stored); err != nil {
			var le *lockError
			errors.As(err, &le)
			ps.add(token.Position{Filename: lockFile, Line: le.line, Column: 1}, "%v", err)
			return nil, nil
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	if len(c.all) == 0 && len(before.events) == 0 {
		return nil, nil
	}
	out := filepath.Join(c.dir, outputName(c.pkg.Name))
	if present, err := os.ReadFile(out); err == nil && byHand(present) {
		ps.add(token.Position{Filename: out}, "evento gen writes this file, and what is in it now would be lost, as it lacks the line %q; give it another name", header)
		return nil, nil
	}
	after := c.compare(before, lockFile, ps)
	if len(ps.all) > 0 {
		return nil, nil
	}
	source, err := render(c)
	if err != nil {
		return nil, err
	}
	var files []output
	for _, f := range []output{
		{path: out, content: source},
		{path: lockFile, content: after.format()},
	} {
		present, err := os.ReadFile(f.path)
		f.absent = errors.Is(err, os.ErrNotExist)
		if err != nil && !f.absent {
			return nil, err
		}
		f.changed = f.absent || !sameText(present, f.content)
		files = append(files, f)
	}
	return files, nil
}

// sameText reports whether texts are the same but for the ends of their lines, which
// version control may have made those of Windows.
func sameText(a, b []byte) bool {
	plain := func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) }
	return bytes.Equal(plain(a), plain(b))
}

// write replaces the files that changed. It first writes all of them under
// temporary names, so that a full disk leaves everything unchanged.
func write(ctx context.Context, files []output) (err error) {
	var made []*replace.File
	defer func() {
		for _, f := range made {
			err = errors.Join(err, f.Discard())
		}
	}()
	for _, f := range files {
		if !f.changed {
			continue
		}
		const readable = 0o666 // as the umask lets other files of source be
		temporary, err := replace.Create(ctx, f.path, readable)
		if err != nil {
			return fmt.Errorf("writing %s: %w", f.path, err)
		}
		made = append(made, temporary)
		if _, err := temporary.Write(f.content); err != nil {
			return fmt.Errorf("writing %s: %w", f.path, err)
		}
	}
	for _, f := range made {
		if err := f.Commit(); err != nil {
			return err
		}
	}
	return nil
}
