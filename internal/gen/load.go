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

// input is a package, and the files of its folder that are not part of it here.
type input struct {
	pkg     *packages.Package
	unbuilt []unbuilt
}

// load reads the packages of the patterns, with the types of everything that they
// import. It leaves out function bodies: they are not part of an event, and may not
// compile before the code is generated. It also leaves out the files that earlier
// runs have generated, which may be stale.
//
// Why: docs/decisions.md, "The generator reads what does not compile yet".
func load(ctx context.Context, dir string, patterns []string, ps *problems) ([]input, error) {
	config := packages.Config{Context: ctx, Dir: dir, Mode: packages.NeedName | packages.NeedFiles}
	listed, err := packages.Load(&config, patterns...)
	if err != nil {
		return nil, fmt.Errorf("loading packages: %w", err)
	}
	overlay, err := withoutGenerated(listed, ps)
	if err != nil {
		return nil, err
	}
	config = packages.Config{
		Context: ctx, Dir: dir, Overlay: overlay, Fset: token.NewFileSet(), ParseFile: parseDeclarations,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo |
			packages.NeedTypesSizes | packages.NeedModule,
	}
	loaded, err := packages.Load(&config, patterns...)
	if err != nil {
		return nil, fmt.Errorf("loading packages: %w", err)
	}
	told := map[string]bool{} // positions of errors: the first message at a position is the helpful one
	for p := range packages.Postorder(loaded) {
		for _, e := range p.Errors {
			// Ignore type errors outside events, such as a missing method: the
			// generator may be run to generate it. But a type that grows each time it
			// is looked into has no end, and go/types itself loops over it.
			ignored := e.Kind == packages.TypeError && !strings.HasPrefix(e.Msg, "instantiation cycle")
			if !ignored && !told[e.Pos] {
				told[e.Pos] = e.Pos != "" && e.Pos != "-"
				ps.add(position(e.Pos), "%s", brokenText(e))
			}
		}
	}
	slices.SortFunc(loaded, func(a, b *packages.Package) int { return strings.Compare(a.PkgPath, b.PkgPath) })
	if err := unbuiltFolders(config.Fset, dir, patterns, loaded, ps); err != nil {
		return nil, err
	}
	inputs := make([]input, len(loaded))
	for i, p := range loaded {
		if p.PkgPath == "command-line-arguments" {
			ps.add(token.Position{}, "evento gen takes packages, not files: name the folder, such as ./%s", filepath.Base(packageDir(p)))
			continue
		}
		files, err := unbuiltFiles(config.Fset, p, ps)
		if err != nil {
			return nil, err
		}
		inputs[i] = input{p, files}
	}
	return inputs, nil
}

// brokenText returns the message about a package that cannot be read.
func brokenText(e packages.Error) string {
	text := strings.TrimSpace(e.Msg)
	switch e.Kind {
	case packages.ParseError:
		return "syntax error: " + text + "; correct it and generate again"
	case packages.TypeError:
		return "instantiation cycle: the type is made of a larger one of itself, and has no end; correct it and generate again"
	}
	return text
}

// withoutGenerated returns an overlay that hides the generated files of earlier
// runs, and those that another run may write meanwhile. It refuses those with
// directives, which no run has written.
func withoutGenerated(listed []*packages.Package, ps *problems) (overlay map[string][]byte, err error) {
	overlay = map[string][]byte{}
	for _, p := range listed {
		dir := packageDir(p)
		if dir == "" {
			continue
		}
		file := filepath.Join(dir, outputName(p.Name))
		written, err := os.ReadFile(file)
		switch absent := errors.Is(err, os.ErrNotExist); {
		case absent && len(p.GoFiles) == 0:
			continue
		case !absent && err != nil:
			return nil, err
		}
		line := 0
		for text := range bytes.Lines(written) {
			if line++; bytes.HasPrefix(bytes.TrimSpace(text), []byte(directivePrefix)) {
				ps.add(token.Position{Filename: file, Line: line, Column: 1},
					"evento gen writes this file, and the directive would be lost; move what it is about to another file")
				break
			}
		}
		if !byHand(written) {
			overlay[file] = fmt.Appendf(nil, "package %s\n", p.Name)
		}
	}
	return overlay, nil
}

// byHand reports whether a file has something in it that no run has written.
func byHand(src []byte) bool {
	for line := range bytes.Lines(src) {
		if string(bytes.TrimSpace(line)) == header {
			return false
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", src, parser.SkipObjectResolution)
	return len(bytes.TrimSpace(src)) > 0 && (err != nil || len(file.Decls) > 0)
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

// outputName returns the name of a package's generated file. The go command ignores
// files that begin with an underscore.
func outputName(pkg string) string { return strings.TrimLeft(pkg+"_evento.go", "_") }

// parseDeclarations parses a file and removes its function bodies. It keeps the
// comments of files that may have directives.
func parseDeclarations(fset *token.FileSet, name string, src []byte) (*ast.File, error) {
	mode := parser.SkipObjectResolution | parser.AllErrors
	if mayHaveDirectives(src) {
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

// sourceOf returns the source text of a node, from the file that was parsed, whatever
// a //line comment says of where it comes from.
func sourceOf(fset *token.FileSet, files map[string][]byte, node ast.Node) (string, error) {
	from, to := fset.PositionFor(node.Pos(), false), fset.PositionFor(node.End(), false)
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
