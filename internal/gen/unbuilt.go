// Files of a package's folder that are no part of the package as it is built here.

package gen

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// unbuilt is a file with tests, or one that the build leaves out: by its name, by a
// build constraint, or as it needs cgo. Its directives are not followed, and so they
// are refused. The names that it declares are not used in generated code.
type unbuilt struct {
	path string
	file *ast.File
	pkg  bool // it is of the package itself, not of an external test or another package
}

// unbuiltFiles reads the files of a package's folder that are not part of it. What is
// wrong with them otherwise is for the go command to say.
func unbuiltFiles(fset *token.FileSet, p *packages.Package, ps *problems) (files []unbuilt, err error) {
	dir := packageDir(p)
	if dir == "" {
		return nil, nil
	}
	// Names matter only where there is something to generate.
	wanted := slices.ContainsFunc(p.Syntax, func(f *ast.File) bool { return len(directivesOf(f)) > 0 })
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(dir, entry.Name())
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") ||
			name == outputName(p.Name) || slices.ContainsFunc(p.GoFiles, func(built string) bool { return filepath.Base(built) == name }) {
			continue
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue // the go command passes over these, too
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if !wanted && !hasDirectives(src) {
			continue
		}
		file, _ := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
		if file == nil {
			continue
		}
		u := unbuilt{path: path, file: file, pkg: file.Name.Name == p.Name}
		u.refuse(fset, ps)
		files = append(files, u)
	}
	return files, nil
}

// refuse reports the first directive of the file.
func (u unbuilt) refuse(fset *token.FileSet, ps *problems) {
	var first *directive
	for _, d := range directivesOf(u.file) {
		if first == nil || d.pos < first.pos {
			first = d
		}
	}
	if first == nil {
		return
	}
	why, remedy := "the build leaves this file out here, by its name or a build constraint", "a file that every build has, as generated code is for every build"
	switch {
	case strings.HasSuffix(u.path, "_test.go"):
		why, remedy = "this file is part of tests alone, and generated code is not", "a file whose name does not end in _test.go"
	case u.needsC():
		why, remedy = "the build leaves this file out here, as it needs cgo", `a file without import "C", or set CGO_ENABLED=1 and install a C compiler`
	}
	ps.add(place(fset, first.pos), "//evento:%s is not followed: %s; move what it is about to %s", first.name, why, remedy)
}

// needsC reports whether the build leaves the file out for want of cgo alone.
func (u unbuilt) needsC() bool {
	dir, name := filepath.Split(u.path)
	ofC := slices.ContainsFunc(u.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"C"` })
	matches, err := build.Default.MatchFile(dir, name)
	return ofC && matches && err == nil
}

// declares calls f with each name that the file declares outside of functions.
func (u unbuilt) declares(f func(name *ast.Ident)) {
	if !u.pkg {
		return
	}
	for _, d := range u.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				f(d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					f(spec.Name)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						f(name)
					}
				}
			}
		}
	}
}

// unbuiltFolders looks for directives in the folders of patterns such as ./... of which
// the build leaves out every file, and for locks that are left behind: the go command does
// not list these.
func unbuiltFolders(fset *token.FileSet, dir string, patterns []string, listed []*packages.Package, ps *problems) error {
	known := map[string]bool{}
	for _, p := range listed {
		known[resolved(packageDir(p))] = true
	}
	for _, pattern := range patterns {
		root, all := strings.CutSuffix(filepath.ToSlash(pattern), "/...")
		if !all || !strings.HasPrefix(root, ".") {
			continue
		}
		root = filepath.Join(dir, filepath.FromSlash(root))
		err := filepath.WalkDir(resolved(root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if path != resolved(root) && !searched(path) {
				return fs.SkipDir
			}
			if known[path] {
				return nil
			}
			known[path] = true
			rel, err := filepath.Rel(resolved(root), path)
			if err != nil {
				return err
			}
			folder := filepath.Join(root, rel)
			files, err := unbuiltFiles(fset, &packages.Package{Dir: folder}, ps)
			if len(files) == 0 {
				leftLock(folder, ps)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leftLock refuses a lock in a folder without a package: where the package is now, nothing
// is compared with it.
func leftLock(folder string, ps *problems) {
	lock := filepath.Join(folder, LockName)
	if _, err := os.Stat(lock); err == nil {
		ps.add(token.Position{Filename: lock}, "there is no package here any more; move the file to where the events are now, "+
			"or delete it if none was ever stored")
	}
}

// resolved returns a path without symbolic links.
func resolved(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}

// searched reports whether the go command looks for packages in a folder below another.
func searched(path string) bool {
	name := filepath.Base(path)
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
		return false
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err != nil // or it is a module of its own
}
