// The names in a generated file.

package gen

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"regexp"
	"strconv"
	"strings"
)

// names chooses the names that a generated file gives: those of imports, of variables
// and type parameters, and of functions. No two of them are the same. None is a name that
// Go predeclares, or one of the package, except that a variable may have a name of the
// package that the file does not use. So each name means the same everywhere in the file.
//
// Why: docs/decisions.md, "Generated names are chosen, not reserved".
type names struct {
	taken     map[string]bool   // no import and no function may have these
	meant     map[string]bool   // what they mean is used in the file: no variable may have these
	hidden    map[string]bool   // predeclared names that the package declares itself
	used      map[string]bool   // names of the package that the file uses
	variables map[string]string // also type parameters, by the names that they would like
	imports   map[string]imported
}

// imported is a package that a generated file imports.
type imported struct {
	name   string // in the file
	itsOwn string
}

// library are the packages that generated code uses whatever the events are.
var library = map[string]string{
	"context": "context", "fmt": "fmt", "strconv": "strconv",
	"evento": eventoPath, "cborwire": wirePath, "predeclared": predeclaredPath,
}

const (
	eventoPath      = "github.com/evento-go/evento"
	wirePath        = eventoPath + "/cborwire"
	predeclaredPath = wirePath + "/predeclared"
)

// newNames returns the names for a file that uses some of the package's.
func newNames(c *code, used map[string]bool) *names {
	n := &names{
		taken: map[string]bool{"_": true, "init": true, "main": true}, meant: maps.Clone(used), hidden: map[string]bool{},
		used: used, variables: map[string]string{}, imports: map[string]imported{},
	}
	for name := range c.declared {
		n.taken[name] = true
		n.hidden[name] = types.Universe.Lookup(name) != nil
	}
	for _, name := range types.Universe.Names() {
		n.taken[name], n.meant[name] = true, true
	}
	for _, d := range c.declarations() {
		n.taken[d.name], n.meant[d.name] = true, true
	}
	return n
}

// usedNames returns the names of the package that the file uses, those of the types of
// fields excepted, which are found when they are printed.
func (c *code) usedNames() map[string]bool {
	used := map[string]bool{}
	for _, e := range c.all {
		used[e.ident] = true
		for _, u := range e.upcasts {
			used[u.function] = true
		}
		for _, f := range e.fields() {
			if expr, err := parser.ParseExpr(f.dflt); err == nil {
				ast.Inspect(expr, func(n ast.Node) bool {
					if id, ok := n.(*ast.Ident); ok {
						used[id.Name] = true
					}
					return true
				})
			}
		}
	}
	return used
}

// give returns the name, with a number behind it if it is taken, and takes it.
func (n *names) give(name string, taken map[string]bool) string {
	unique := name
	for i := 2; taken[unique] || token.IsKeyword(unique); i++ {
		unique = name + strconv.Itoa(i)
	}
	n.taken[unique], n.meant[unique] = true, true
	return unique
}

// variable returns the name of a variable, the same one each time.
func (n *names) variable(name string) string {
	given, ok := n.variables[name]
	if !ok {
		given = n.give(name, n.meant)
		n.variables[name] = given
	}
	return given
}

// pkg imports a package and returns its name in the file.
func (n *names) pkg(importPath, name string) string {
	known, ok := n.imports[importPath]
	if !ok {
		known = imported{n.give(name, n.taken), name}
		n.imports[importPath] = known
	}
	return known.name
}

// predeclared returns what Go predeclares under a name. Of nil, it is one error alone
// if the package hides it: see [printer.none].
func (n *names) predeclared(name string) string {
	switch {
	case !n.hidden[name]:
		return name
	case name == "nil":
		return n.of("NoError()")
	}
	return n.of(strings.ToUpper(name[:1]) + name[1:])
}

// of returns a name of the package predeclared.
func (n *names) of(name string) string { return n.pkg(predeclaredPath, "predeclared") + "." + name }

var wanted = regexp.MustCompile(`\$[a-zA-Z]+[0-9]*`)

// in replaces each $name in code by the name that it has in the file: that of a package
// of the library, of what Go predeclares, or else of a variable.
func (n *names) in(code string) string {
	return wanted.ReplaceAllStringFunc(code, func(name string) string {
		name = name[1:]
		switch importPath, ok := library[name]; {
		case ok:
			return n.pkg(importPath, name)
		case types.Universe.Lookup(name) != nil:
			return n.predeclared(name)
		}
		return n.variable(name)
	})
}
