// What the generated file declares, and what the package declares itself.

package gen

import (
	"go/ast"
	"go/token"
)

// declaration is a name that the generated file declares outside of functions.
type declaration struct {
	name      string
	aggregate *aggregate
	event     *event // nil: it is the aggregate's
}

// declarations are the names that others use. The functions for structs are not among
// them: their names are chosen as they are needed.
func (c *code) declarations() (all []declaration) {
	for _, a := range c.aggregates {
		for _, name := range []string{
			a.ident + "Type", a.ident + "Filter", a.ident + "View", a.ident + "Handlers", a.ident + "Subscriber",
			"Subscribe" + a.ident, "Apply" + a.ident, "Decode" + a.ident,
		} {
			all = append(all, declaration{name: name, aggregate: a})
		}
		for _, e := range a.events {
			all = append(all, declaration{name: e.ident + "Filters", aggregate: a, event: e})
		}
	}
	return all
}

// what names what a declaration is for.
func (d declaration) what() string {
	if d.event != nil {
		return "event " + d.event.ident
	}
	return "aggregate " + d.aggregate.ident
}

func (d declaration) pos() token.Pos {
	if d.event != nil {
		return d.event.spec.Name.Pos()
	}
	return d.aggregate.pos
}

// rename says how the declaration gets another name.
func (d declaration) rename() string {
	if d.event != nil {
		return "rename the event, and keep what is stored with //evento:event " + quoted(d.event.name)
	}
	return "give the aggregate another name: //evento:aggregate " + d.aggregate.typ + " Other" + d.aggregate.ident
}

// declare collects the names that the package declares outside of functions, in any
// build and in its tests, and those that imports have in its files. Go lets neither be
// declared once more.
func (c *code) declare(files []unbuilt) {
	c.declared, c.imported = map[string]token.Pos{}, map[string]token.Pos{}
	for _, u := range files {
		u.declares(func(name *ast.Ident) { c.declared[name.Name] = name.Pos() })
		for _, i := range u.file.Imports {
			if u.pkg && i.Name != nil {
				c.imported[i.Name.Name] = i.Name.Pos()
			}
		}
	}
	scope := c.pkg.Types.Scope()
	for _, name := range scope.Names() {
		c.declared[name] = scope.Lookup(name).Pos()
	}
	for _, file := range c.pkg.Syntax {
		for _, i := range file.Imports {
			name := c.pkg.TypesInfo.PkgNameOf(i)
			switch {
			case name == nil:
			case name.Name() == ".":
				for _, from := range name.Imported().Scope().Names() {
					c.imported[from] = i.Pos()
				}
			default:
				c.imported[name.Name()] = i.Pos()
			}
		}
	}
}

// checkDeclarations refuses names that would be declared twice.
func (r *reader) checkDeclarations() {
	first := map[string]declaration{}
	for _, d := range r.declarations() {
		if pos, ok := r.declared[d.name]; ok {
			r.problem(pos, "%s is declared here, and evento gen declares it too; remove or rename it, or %s", d.name, d.rename())
		} else if pos, ok := r.imported[d.name]; ok {
			r.problem(pos, "%s is the name of an import here, or of what a dot import brings, and evento gen declares it too; "+
				"import it under another name, or %s", d.name, d.rename())
		}
		other, twice := first[d.name]
		if twice && other.what() != d.what() { // two aggregates of one name are refused before
			r.problem(d.pos(), "%s would be declared for the %s and for the %s; %s", d.name, d.what(), other.what(), d.rename())
		}
		first[d.name] = d
	}
}
