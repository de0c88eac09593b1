package gen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/packages"
)

// load reads the packages of the patterns, with the types of everything that they
// import. It leaves out function bodies: they are not part of an event, and may not
// compile before the code is generated. It also leaves out the files that earlier
// runs have generated, which may be stale.
//
// Why: docs/decisions.md, "The generator reads what does not compile yet".
func load(ctx context.Context, dir string, patterns []string, ps *problems) ([]*packages.Package, error) {
	config := packages.Config{Context: ctx, Dir: dir, Mode: packages.NeedName | packages.NeedFiles}
	listed, err := packages.Load(&config, patterns...)
	if err != nil {
		return nil, fmt.Errorf("loading packages: %w", err)
	}
	overlay, read, err := withoutGenerated(listed)
	if err != nil {
		return nil, err
	}
	config = packages.Config{
		Context: ctx, Dir: dir, Overlay: overlay, Fset: token.NewFileSet(),
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo |
			packages.NeedTypesSizes | packages.NeedModule,
		ParseFile: func(fset *token.FileSet, name string, src []byte) (*ast.File, error) {
			return parseDeclarations(fset, name, src, read[filepath.Dir(name)])
		},
	}
	loaded, err := packages.Load(&config, patterns...)
	if err != nil {
		return nil, fmt.Errorf("loading packages: %w", err)
	}
	told := map[string]bool{} // positions of errors: the first message at a position is the helpful one
	for p := range packages.Postorder(loaded) {
		for _, e := range p.Errors {
			// Ignore type errors outside events, such as a missing method: the
			// generator may be run to generate it.
			if e.Kind != packages.TypeError && !told[e.Pos] {
				told[e.Pos] = e.Pos != "" && e.Pos != "-"
				ps.add(position(e.Pos), "%s", brokenText(e))
			}
		}
	}
	slices.SortFunc(loaded, func(a, b *packages.Package) int { return strings.Compare(a.PkgPath, b.PkgPath) })
	return loaded, nil
}

// brokenText returns the message about a package that cannot be read.
func brokenText(e packages.Error) string {
	text := strings.TrimSpace(e.Msg)
	if e.Kind == packages.ParseError {
		return "syntax error: " + text + "; correct it and generate again"
	}
	return text
}

// withoutGenerated returns an overlay that hides the generated files of earlier
// runs, and the folders of the packages.
func withoutGenerated(listed []*packages.Package) (overlay map[string][]byte, read map[string]bool, err error) {
	overlay, read = map[string][]byte{}, map[string]bool{}
	for _, p := range listed {
		dir := packageDir(p)
		if dir == "" {
			continue
		}
		read[dir] = true
		file := filepath.Join(dir, outputName(p.Name))
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		overlay[file] = fmt.Appendf(nil, "package %s\n", p.Name)
	}
	return overlay, read, nil
}

// packageDir returns the folder of a package's files, or "".
func packageDir(p *packages.Package) string {
	if p.Dir != "" {
		return p.Dir
	}
	if len(p.GoFiles) > 0 {
		return filepath.Dir(p.GoFiles[0])
	}
	return ""
}

// outputName returns the name of a package's generated file.
func outputName(pkg string) string { return pkg + "_evento.go" }

// parseDeclarations parses a file and removes its function bodies. It keeps
// comments in packages that may have events.
func parseDeclarations(fset *token.FileSet, name string, src []byte, comments bool) (*ast.File, error) {
	mode := parser.SkipObjectResolution | parser.AllErrors
	if comments {
		mode |= parser.ParseComments
	}
	file, err := parser.ParseFile(fset, name, src, mode)
	if file == nil {
		return nil, err
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			f.Body = nil
		}
	}
	return file, err
}

// position parses "file:line:col", the loader's format.
func position(s string) token.Position {
	var numbers []int
	for len(numbers) < 2 {
		i := strings.LastIndexByte(s, ':')
		if i < 0 {
			break
		}
		n, err := strconv.Atoi(s[i+1:])
		if err != nil {
			break
		}
		s, numbers = s[:i], append(numbers, n)
	}
	pos := token.Position{Filename: s}
	switch len(numbers) {
	case 2:
		pos.Line, pos.Column = numbers[1], numbers[0]
	case 1:
		pos.Line, pos.Column = numbers[0], 1
	}
	if s == "-" {
		pos = token.Position{}
	}
	return pos
}

// sourceOf returns the source text of a node.
func sourceOf(fset *token.FileSet, files map[string][]byte, node ast.Node) (string, error) {
	from, to := fset.Position(node.Pos()), fset.Position(node.End())
	src, ok := files[from.Filename]
	if !ok {
		var err error
		if src, err = os.ReadFile(from.Filename); err != nil {
			return "", err
		}
		files[from.Filename] = src
	}
	if to.Offset > len(src) {
		return "", fmt.Errorf("%s changed while it was read", from.Filename)
	}
	return string(bytes.TrimSpace(src[from.Offset:to.Offset])), nil
}
