// How generated code names types.

package gen

import (
	"go/types"
	"strconv"
	"strings"
)

// nameable reports whether the package's generated code can name a type.
func (s *shaper) nameable(t types.Type) bool { return nameable(t, s.pkg) }

func nameable(t types.Type, from *types.Package) bool {
	switch t := t.(type) {
	case *types.Basic:
		return t.Kind() != types.UnsafePointer
	case *types.Alias:
		return named(t.Obj(), t.TypeArgs(), from) || nameable(t.Rhs(), from)
	case *types.Named:
		return named(t.Obj(), t.TypeArgs(), from)
	case *types.Pointer:
		return nameable(t.Elem(), from)
	case *types.Slice:
		return nameable(t.Elem(), from)
	case *types.Array:
		return nameable(t.Elem(), from)
	case *types.Map:
		return nameable(t.Key(), from) && nameable(t.Elem(), from)
	case *types.Struct:
		for v := range t.Fields() {
			if !v.Exported() && v.Pkg() != from || !nameable(v.Type(), from) || v.Embedded() && !embeddable(v.Type(), from) {
				return false
			}
		}
		return true
	case *types.Interface:
		return t.Empty()
	}
	return false // with functions and channels in it: fields that are not stored
}

// embeddable reports whether an embedded type can be named as it was: Go calls the
// field after it, and after an alias as such.
func embeddable(t types.Type, from *types.Package) bool {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	alias, ok := t.(*types.Alias)
	return !ok || named(alias.Obj(), alias.TypeArgs(), from)
}

// named reports whether the package's code can use the name of a type, with arguments.
func named(obj *types.TypeName, args *types.TypeList, from *types.Package) bool {
	for arg := range args.Types() {
		if !nameable(arg, from) {
			return false
		}
	}
	switch pkg := obj.Pkg(); pkg {
	case nil:
		return true // predeclared
	case from:
		return pkg.Scope().Lookup(obj.Name()) == obj && !strings.HasPrefix(obj.Name(), "_C") // the C of cgo is in the files alone that import it
	default:
		return obj.Exported() && importable(pkg, from)
	}
}

// importable reports whether Go lets a package import another one: a package below
// a folder named internal can be imported only from around that folder.
func importable(pkg, from *types.Package) bool {
	path := "/" + pkg.Path() + "/"
	if pkg.Name() == "main" || strings.HasPrefix(path, "/vendor/") {
		return false
	}
	i := strings.LastIndex(path, "/internal/")
	if i == 0 { // of the standard library, or of a module of that name
		return strings.HasPrefix(from.Path()+"/", "internal/")
	}
	return i < 0 || strings.HasPrefix("/"+from.Path()+"/", path[:i]+"/")
}

// typ returns a type as it is written in the file. It must be nameable.
func (p *printer) typ(t types.Type) string {
	switch t := t.(type) {
	case *types.Basic:
		return p.names.predeclared(t.Name())
	case *types.Alias:
		if !named(t.Obj(), t.TypeArgs(), p.pkg.Types) {
			return p.typ(t.Rhs())
		}
		return p.named(t.Obj(), t.TypeArgs())
	case *types.Named:
		return p.named(t.Obj(), t.TypeArgs())
	case *types.Pointer:
		return "*" + p.typ(t.Elem())
	case *types.Slice:
		return "[]" + p.typ(t.Elem())
	case *types.Array:
		return "[" + strconv.FormatInt(t.Len(), 10) + "]" + p.typ(t.Elem())
	case *types.Map:
		return "map[" + p.typ(t.Key()) + "]" + p.typ(t.Elem())
	case *types.Struct:
		return p.structType(t)
	}
	return p.names.predeclared("any") // of interfaces, only the empty one is nameable
}

// named returns the name of a type in the file, with its arguments.
func (p *printer) named(obj *types.TypeName, args *types.TypeList) string {
	name := obj.Name()
	switch pkg := obj.Pkg(); pkg {
	case nil:
		name = p.names.predeclared(name)
	case p.pkg.Types:
		p.names.used[name] = true
	default:
		name = p.names.pkg(pkg.Path(), pkg.Name()) + "." + name
	}
	if args.Len() == 0 {
		return name
	}
	var list []string
	for arg := range args.Types() {
		list = append(list, p.typ(arg))
	}
	return name + "[" + strings.Join(list, ", ") + "]"
}

func (p *printer) structType(t *types.Struct) string {
	fields := make([]string, t.NumFields())
	for i := range fields {
		v := t.Field(i)
		fields[i] = p.typ(v.Type())
		if !v.Embedded() {
			fields[i] = v.Name() + " " + fields[i]
		}
		if tag := t.Tag(i); tag != "" {
			fields[i] += " " + strconv.Quote(tag)
		}
	}
	return "struct{" + strings.Join(fields, "; ") + "}"
}

// convert returns x converted to a basic type.
func (p *printer) convert(x string, t types.Type, basic types.BasicKind) string {
	if types.Identical(t, types.Typ[basic]) {
		return x
	}
	return p.typ(types.Typ[basic]) + "(" + x + ")"
}
