package gen

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/types"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fields finds the shape of an event and reads the directives of its fields.
func (r *reader) fields(e *event) {
	e.shape = &shape{kind: kindStruct} // never nil, so that later code need not check
	e.broken = true
	t := e.obj.Type()
	astStruct, ok := e.spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	if e.old && len(e.upcasts) > 0 {
		r.problem(e.upcasts[0].d.pos, "%s is read alone, so that its //evento:upcast would not be called; "+
			"put it into the group of its aggregate with //evento:retired", e.ident)
	}
	if !r.plainStruct(e) {
		return
	}
	sh, err := r.shaper.of(t)
	if err != nil {
		r.unsupported(e, astStruct, err)
		return
	}
	// Directives are for the event, and not where its struct is within another.
	of := *sh
	e.shape, of.fields = &of, nil
	for _, f := range sh.fields {
		own := *f
		of.fields = append(of.fields, &own)
	}
	if of.kind != kindStruct {
		of.slow = "its own encoding"
	}
	before := len(r.ps.all)
	for _, af := range astStruct.Fields.List {
		r.fieldDirectives(e, af)
	}
	for i := range e.tags {
		f := e.tags[i].field
		f.tags = append(f.tags, r.shaper.lockTag(&e.tags[i]))
	}
	r.checkFields(e)
	r.checkUntags(e)
	if len(r.ps.all) == before {
		r.checkReading(e)
	}
	e.broken = len(r.ps.all) > before
}

// plainStruct refuses embedded fields that would give the struct their methods or
// their encoding.
func (r *reader) plainStruct(e *event) bool {
	before := len(r.ps.all)
	u, ok := e.obj.Type().Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for v := range u.Fields() {
		if !v.Embedded() {
			continue
		}
		t := types.Unalias(v.Type())
		if p, ok := t.(*types.Pointer); ok {
			t = p.Elem()
		}
		written, _, _ := types.LookupFieldOrMethod(types.NewPointer(t), false, r.pkg.Types, "EventName")
		_, isEvent := written.(*types.Func)
		if isEvent || slices.ContainsFunc(r.all, func(o *event) bool { return types.Identical(o.obj.Type(), t) }) {
			r.problem(v.Pos(), "%s embeds the event %s, and would be taken for it; "+
				"move what they share to a struct that both embed", e.ident, r.shaper.name(t))
		}
	}
	for _, m := range standing {
		f, of := promoted(e.obj.Type(), m.name, r.pkg.Types)
		if f != nil && (m.sig == nil || types.Identical(f.Signature(), m.sig)) {
			r.problem(of.Pos(), "%s has %s from its embedded %s, %s; give the field a name", e.ident, m.name, of.Name(), m.why)
		}
	}
	return len(r.ps.all) == before
}

// unsupported reports a field that cannot be stored, at its declaration.
func (r *reader) unsupported(e *event, s *ast.StructType, err error) {
	pos := e.spec.Name.Pos()
	var u *unsupportedError
	if errors.As(err, &u) {
		first, _, _ := strings.Cut(u.at, ".")
		first, _, _ = strings.Cut(first, "[")
		for _, f := range s.Fields.List {
			for _, name := range f.Names {
				if name.Name == first {
					pos = name.Pos()
				}
			}
			if len(f.Names) == 0 && strings.HasSuffix(types.ExprString(f.Type), first) {
				pos = f.Type.Pos()
			}
		}
		at := u.at
		if at == "" {
			r.problem(pos, "event %s: %s; %s", e.ident, u.why, u.remedy)
			return
		}
		r.problem(pos, "event %s, field %s: %s; %s", e.ident, at, u.why, u.remedy)
		return
	}
	r.problem(pos, "event %s: %v", e.ident, err)
}

// fieldDirectives reads the directives of a field.
func (r *reader) fieldDirectives(e *event, af *ast.Field) {
	was := r.directives.take("was", af.Doc, af.Comment)
	dflt := r.directives.take("default", af.Doc, af.Comment)
	tags := r.directives.take("tag", af.Doc, af.Comment)
	all := slices.Concat(was, dflt, tags)
	if len(all) == 0 {
		return
	}
	pos := all[0].pos
	if e.shape.kind != kindStruct {
		remedy := "evolve it there"
		if len(tags) == len(all) {
			remedy = "write the method Tags"
		}
		r.problem(pos, "%s has an encoding of its own, of which the directive knows nothing; %s", e.ident, remedy)
		return
	}
	if len(af.Names) != 1 {
		r.problem(pos, "the directive is for one field with a name; give each field a line of its own")
		return
	}
	i := slices.IndexFunc(e.fields(), func(f *field) bool { return len(f.path) == 1 && f.path[0] == af.Names[0].Name })
	if i < 0 {
		r.problem(pos, "the field %s is not stored, so there is nothing to say of it; remove the directive", af.Names[0].Name)
		return
	}
	f := e.fields()[i]
	r.tags(e, f, tags)
	if len(was)+len(dflt) > 0 {
		r.evolved(e, f, af, was, dflt)
	}
}

// evolved reads what directives say of a field that was stored differently.
func (r *reader) evolved(e *event, f *field, af *ast.Field, was, dflt []*directive) {
	pos := slices.Concat(was, dflt)[0].pos
	if e.old {
		r.problem(pos, "%s is read alone, and of its fields nothing is known but the names in their tags; "+
			"put it into the group of its aggregate with //evento:retired, or remove the directive", e.ident)
		return
	}
	if e.shape.array {
		r.problem(pos, "field %s: the event is stored as an array (toarray), so that the directive has no name to go by; "+
			"keep the name in its tag and remove the directive, or use //evento:upcast", f.selector())
		return
	}
	if !r.shaper.nameable(f.v.Type()) {
		r.problem(pos, "the type of %s, %s, cannot be written in generated code, which the directive takes; "+
			"declare a type with a name for it, or use //evento:upcast", f.selector(), r.shaper.name(f.v.Type()))
		return
	}
	for _, d := range was {
		if name, ok := r.oneName(d); ok {
			if strings.ContainsAny(name, "\"`\\, ") {
				r.problem(d.pos, "%q cannot be the name of a field; give the name as it was stored", name)
				continue
			}
			f.was = append(f.was, name)
		}
	}
	for i, d := range dflt {
		if i > 0 {
			r.problem(d.pos, "a second //evento:default for %s; keep one", f.name)
			continue
		}
		if f.omits {
			r.problem(d.pos, "field %s: a zero is left out of the event (omitempty, omitzero), and would be read back as the default; "+
				"remove the option from its tag, or //evento:default", f.name)
			continue
		}
		f.dflt, f.value = r.defaultOf(f, af, d)
	}
}

// defaultOf evaluates a default as Go does, and returns it for generated code, and as a
// literal.
func (r *reader) defaultOf(f *field, af *ast.Field, d *directive) (expression, value string) {
	const remedy = "write a constant of the field's type, such as //evento:default 5"
	if d.args == "" {
		r.problem(d.pos, "//evento:default of %s says no value; "+remedy, f.name)
		return "", ""
	}
	sh, typ := f.shape, af.Type
	for sh.kind == kindPointer {
		star, ok := typ.(*ast.StarExpr)
		if !ok || sh.elem.kind == kindPointer {
			r.problem(d.pos, "field %s: a default is for bools, numbers, strings and pointers to these; use //evento:upcast for others", f.name)
			return "", ""
		}
		sh, typ = sh.elem, star.X
	}
	switch sh.kind {
	case kindBool, kindInt, kindUint, kindFloat, kindString:
	default:
		r.problem(d.pos, "field %s: a default is for bools, numbers, strings and pointers to these; use //evento:upcast for others", f.name)
		return "", ""
	}
	source, err := sourceOf(r.pkg.Fset, r.sources, typ)
	if err != nil {
		r.problem(d.pos, "field %s: %v", f.name, err)
		return "", ""
	}
	tv, err := types.Eval(r.pkg.Fset, r.pkg.Types, af.Pos(), d.args)
	if err == nil && tv.Value == nil {
		err = fmt.Errorf("%s is not a constant", d.args)
	}
	if err == nil {
		// An element of a literal accepts the same values as an assignment.
		_, err = types.Eval(r.pkg.Fset, r.pkg.Types, af.Pos(), "[1]"+source+"{"+d.args+"}")
	}
	if err != nil {
		var te types.Error
		text := err.Error()
		if errors.As(err, &te) {
			text = te.Msg
		}
		text = strings.Replace(text, " in array or slice literal", "", 1)
		r.problem(d.pos, "field %s: //evento:default %s: %s; "+remedy, f.name, d.args, text)
		return "", ""
	}
	value = literal(tv.Value, sh.kind)
	if r.plainExpression(d.args) {
		return d.args, value // the generated code uses its named constants
	}
	return r.written(value), value
}

// plainExpression reports whether an expression has the same meaning within a
// generated function: it names only constants of the package, and what Go predeclares.
func (r *reader) plainExpression(text string) bool {
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return false
	}
	plain := true
	ast.Inspect(expr, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			plain = false // of a package that would need an import
		case *ast.Ident:
			_, ofPackage := r.pkg.Types.Scope().Lookup(n.Name).(*types.Const)
			_, hidden := r.declared[n.Name]
			plain = plain && (ofPackage || !hidden && types.Universe.Lookup(n.Name) != nil)
		}
		return plain
	})
	return plain
}

// written returns a literal as generated code has it: the package may have a true or a
// false of its own.
func (r *reader) written(value string) string {
	if _, hidden := r.declared[value]; hidden {
		return map[string]string{"true": "0 == 0", "false": "0 != 0"}[value]
	}
	return value
}

func literal(v constant.Value, k kind) string {
	switch k {
	case kindString:
		return strconv.Quote(constant.StringVal(v))
	case kindFloat:
		f, _ := constant.Float64Val(constant.ToFloat(v))
		return strconv.FormatFloat(f, 'g', -1, 64)
	case kindInt, kindUint:
		return constant.ToInt(v).ExactString()
	}
	return v.ExactString()
}

// checkFields refuses stored names that are used twice.
func (r *reader) checkFields(e *event) {
	taken := map[string]string{}
	for _, f := range e.fields() {
		taken[f.name] = f.selector()
	}
	for _, f := range e.fields() {
		for _, name := range f.was {
			if other, ok := taken[name]; ok {
				r.problem(f.v.Pos(), "event %s: //evento:was %s of field %s: that name is the one of field %s; "+
					"name what the field was stored as before", e.ident, name, f.selector(), other)
			}
			taken[name] = f.selector()
		}
	}
	for _, name := range e.dropped {
		if other, ok := taken[name]; ok {
			r.problem(e.spec.Name.Pos(), "event %s: //evento:dropped %s: the field %s is stored under that name; remove one of them",
				e.ident, name, other)
		}
	}
}

// checkReading refuses former names by which a field would also read what another one
// stores: codecs do not heed case where no name fits better.
func (r *reader) checkReading(e *event) {
	for _, f := range e.fields() {
		if len(f.was) > 0 && f.quoted && f.shape.kind == kindPointer {
			r.problem(f.v.Pos(), "event %s, field %s: //evento:was cannot read a pointer that the JSON codec quotes (the option string); "+
				"keep the name in its tag, and remove the directive", e.ident, f.selector())
			return
		}
		for _, c := range bothCodecs {
			for _, k := range f.keys(c) {
				for _, other := range e.shape.readers(c, k) {
					if other != f {
						r.problem(other.v.Pos(), "event %s: field %s would also get what field %s is stored as, %s, as the codecs do not heed case; "+
							"change one of the names", e.ident, other.selector(), f.selector(), k)
						return
					}
				}
			}
		}
	}
}

// oneName returns the one name of a directive, quoted if it has spaces.
func (r *reader) oneName(d *directive) (string, bool) {
	name := d.args
	if strings.HasPrefix(name, `"`) {
		name, _ = strconv.Unquote(name) // "" if it is not
	} else if strings.ContainsAny(name, " \t") {
		name = ""
	}
	if !storable(name) {
		r.problem(d.pos, "//evento:%s needs one name behind it; write //evento:%[1]s Name", d.name)
		return "", false
	}
	return name, true
}

// storable reports whether the store accepts a name of an event or aggregate.
func storable(name string) bool {
	return name != "" && len(name) <= 255 && utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsControl) < 0
}

// checkNames refuses names that would be declared twice, and stored names that two
// events would read.
func (r *reader) checkNames() {
	type stored struct{ aggregate, name string }
	claimed := map[stored]*event{}
	for _, e := range r.all {
		for _, name := range e.names() {
			k := stored{aggregateType(e), name}
			if other := claimed[k]; other != nil {
				r.problem(e.spec.Name.Pos(), "event %q of %q is %s here and %s at %s; name one of them differently with //evento:event",
					name, k.aggregate, e.ident, other.ident, r.at(other.spec.Name.Pos()))
				continue
			}
			claimed[k] = e
		}
		r.checkMembers(e)
	}
	r.checkDeclarations()
}

// checkMembers refuses fields and methods that have the names of generated methods.
func (r *reader) checkMembers(e *event) {
	if e.old {
		return
	}
	generated := []string{"AggregateType", "EventName", "AppendCBOR", "DecodeCBOR"}
	if e.evolved() {
		generated = append(generated, "DecodeEvent")
	}
	if len(e.former()) > 0 {
		generated = append(generated, "FormerNames")
	}
	if e.retired {
		generated = append(generated, "Retired")
	}
	if len(e.tags) > 0 {
		generated = append(generated, "Tags")
	}
	for _, name := range generated {
		obj, index, _ := types.LookupFieldOrMethod(types.NewPointer(e.obj.Type()), false, r.pkg.Types, name)
		if _, method := obj.(*types.Func); method && len(index) > 1 && name == "Tags" {
			r.problem(e.spec.Name.Pos(), "event %s has a method Tags from what it embeds, which that of its //evento:tag would hide; "+
				"write one method for all of its tags, and remove the directives", e.ident)
		}
		if obj == nil || len(index) != 1 {
			continue
		}
		if _, field := obj.(*types.Var); field {
			r.problem(obj.Pos(), "event %s has a field %s, which is the name of a method that it needs; rename the field, and keep what is stored with `json:%q`",
				e.ident, name, name)
			continue
		}
		r.problem(obj.Pos(), "event %s has a method %s, which evento gen writes; remove it", e.ident, name)
	}
}

// checkDirectives refuses unknown directives, and those in a place where they have
// no meaning.
func (r *reader) checkDirectives() {
	for _, d := range r.directives {
		switch where, ok := known[d.name]; {
		case !ok:
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			r.problem(d.pos, "there is no directive //evento:%s; use one of %s", d.name, strings.Join(names, ", "))
		case d.glued():
			r.problem(d.pos, "//evento:%s %s: it is not clear whether the // is of the name; put a space in front of a comment, or quotes around a name", d.name, d.args)
		case !d.used:
			r.problem(d.pos, "//evento:%s means nothing here; it belongs %s", d.name, where)
		}
	}
}
