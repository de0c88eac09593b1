// Tags of events, from the fields that are marked with //evento:tag.

package gen

import (
	"go/types"
	"slices"
	"strings"
	"unicode"
)

// tag is a mark of a field: the event gets a tag of this name for its value.
type tag struct {
	name  string
	field *field
	id    *shape // of one value: what a pointer points to, or an element of a slice
	text  string // the method that gives its text: MarshalText or String; "": it has none
}

var stringType = signature(nil, []types.Type{types.Typ[types.String]})

// tags reads the directives of a field.
func (r *reader) tags(e *event, f *field, ds []*directive) {
	for _, d := range ds {
		switch {
		case !tagName(d.args):
			r.problem(d.pos, "//evento:tag needs one name behind it, without spaces, colons and quotes; write //evento:tag course")
		case e.old:
			r.problem(d.pos, "%s is read alone, and no event gets its tags; remove the directive", e.ident)
		case slices.ContainsFunc(e.tags, func(t tag) bool { return t.name == d.args && t.field == f }):
			r.problem(d.pos, "a second //evento:tag %s for %s; keep one", d.args, f.name)
		default:
			r.tag(e, f, d)
		}
	}
}

func (r *reader) tag(e *event, f *field, d *directive) {
	t := tag{name: d.args, field: f, id: f.shape}
	if t.id.kind == kindPointer || t.id.kind == kindList {
		t.id = t.id.elem
	}
	ok := true
	switch t.id.kind {
	case kindString, kindInt, kindUint:
	case kindBool, kindFloat, kindTime, kindPointer, kindList: // whatever methods they have
		ok = false
	default:
		t.text = r.shaper.textMethod(t.id.typ)
		ok = t.text != ""
	}
	typ := r.shaper.name(f.v.Type())
	switch {
	case !ok:
		r.problem(d.pos, "field %s: a %s cannot be a tag; tags are of strings, integers, types with MarshalText or String, "+
			"and pointers to and slices of these", f.name, typ)
	case t.mayBeUnset() && !r.shaper.nameable(t.id.typ):
		r.problem(d.pos, "the type of %s, %s, cannot be written in generated code, which the directive takes; declare a type with a name for it", f.name, typ)
	default:
		e.tags = append(e.tags, t)
	}
}

// tagName reports whether a text can be the name of a tag. The first colon of a tag is
// behind its name.
func tagName(name string) bool {
	return storable(name) && !strings.ContainsAny(name, ":\"`") && strings.IndexFunc(name, unicode.IsSpace) < 0
}

// textMethod returns the method by which the values of a type have a text; "": there is
// none. A String may be for people alone, so it comes second.
func (s *shaper) textMethod(t types.Type) string {
	switch {
	case s.has(t, "MarshalText", marshalType):
		return "MarshalText"
	case s.has(t, "String", stringType):
		return "String"
	}
	return ""
}

// tags prints the method for the tags of an event.
func (p *printer) tags(e *event) {
	p.f("\n// Tags are what the event is about besides its aggregate.\n")
	p.f("func ($e %s) Tags() []$string {\nvar $tags []$string\n", e.ident)
	for i := range e.tags {
		t := &e.tags[i]
		switch x := p.text("$e.") + t.field.selector(); t.field.shape.kind {
		case kindPointer:
			p.tag(t, x, "*"+x, p.isSet(x))
		case kindList:
			v := p.text("$v")
			p.f("for _, %s := range %s {\n", v, x)
			p.tag(t, v, v)
			p.f("}\n")
		default:
			p.tag(t, x, x)
		}
	}
	p.f("return $tags\n}\n")
}

// tag prints the tag for a value, under conditions. Methods of value are called by x, which
// is the value or a pointer to it.
func (p *printer) tag(t *tag, x, value string, conds ...string) {
	var text, from string
	switch {
	case t.text == "MarshalText":
		text, from = p.text("$string($b)"), p.text("$b, $err := %s.MarshalText(); $err == $nil && $len($b) > 0", x)
	case t.text == "String":
		text, from = p.text("$s"), p.text(`$s := %s.String(); $s != ""`, x)
	case t.id.kind == kindString:
		text = p.convert(value, t.id.typ, types.String)
		conds = append(conds, value+` != ""`)
	case t.id.kind == kindInt:
		text = p.text("$strconv.FormatInt(%s, 10)", p.convert(value, t.id.typ, types.Int64))
	default:
		text = p.text("$strconv.FormatUint(%s, 10)", p.convert(value, t.id.typ, types.Uint64))
	}
	if t.mayBeUnset() {
		conds = append(conds, value+" != ("+p.typ(t.id.typ)+"{})")
	}
	code := p.text("$tags = $append($tags, %q+%s)\n", t.name+":", text)
	if from != "" {
		code = "if " + from + " {\n" + code + "}\n"
	}
	if len(conds) > 0 {
		code = "if " + strings.Join(conds, " && ") + " {\n" + code + "}\n"
	}
	p.f("%s", code)
}

// mayBeUnset reports whether the zero value is no id: that of a struct or an array, such as
// a ULID.
func (t *tag) mayBeUnset() bool {
	switch t.id.typ.Underlying().(type) {
	case *types.Struct, *types.Array:
		return t.text != "" && types.Comparable(t.id.typ)
	}
	return false
}
