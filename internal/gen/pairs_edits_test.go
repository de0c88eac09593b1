package gen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// randomEdit changes a struct and, in most cases, a field of it. It reports false if it
// does not apply.
type randomEdit struct {
	name string
	do   func(p *randomPackage, s *randomStruct, f *randomField) bool
}

// harmless are edits that are to be accepted.
var harmless = []randomEdit{
	{"add", func(p *randomPackage, s *randomStruct, _ *randomField) bool {
		if p.isArray(s) || p.embeds(s) {
			return false
		}
		f := p.add(s)
		f.name, f.json, f.cbor, f.integer, f.embedded, f.was = fmt.Sprintf("N%d", f.number), "", "", false, false, nil
		if f.jsonOmit+f.cborOmit != "" {
			f.dflt = ""
		}
		return true
	}},
	{"remove", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		if p.isArray(s) || p.embeds(s) || f.tag != "" || f.embedded || len(s.fields) == 1 {
			return false
		}
		p.remove(s, f)
		return !slices.ContainsFunc(p.structs, func(o *randomStruct) bool { return o.taken(f.name, true) || o.taken(f.key().name, true) })
	}},
	{"wider", func(_ *randomPackage, _ *randomStruct, f *randomField) bool {
		wider := map[string]string{"int8": "int16", "int16": "int32", "int32": "int64", "uint8": "uint16", "uint16": "uint64", "float32": "float64"}[f.typ.kind]
		if wider == "" {
			return false
		}
		f.typ = &randomType{kind: wider}
		return true
	}},
	{"pointer", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		if f.omitted || p.embeds(s) || f.embedded || f.typ.kind == "*" || f.typ.kind == "any" || f.jsonOmit+f.cborOmit != "" {
			return false
		}
		f.typ = &randomType{kind: "*", elem: f.typ}
		return p.isEvent(s) || !slices.ContainsFunc(p.structs, func(o *randomStruct) bool {
			// Zeros of it may be within what was left out, also with an embedded pointer.
			return slices.ContainsFunc(o.fields, func(f *randomField) bool {
				return f.typ.kind == "struct" && (f.omitted || f.jsonOmit+f.cborOmit != "") || f.embedded && f.typ.kind == "*"
			})
		})
	}},
}

// isArray reports whether a struct is stored as an array, or may be because it embeds one.
func (p *randomPackage) isArray(s *randomStruct) bool {
	return s.array || slices.ContainsFunc(s.fields, func(f *randomField) bool { return f.embedded && p.isArray(f.holds(p)) })
}

// embeds reports whether a struct is embedded in another one, where more may be known of
// its fields.
func (p *randomPackage) embeds(s *randomStruct) bool {
	return slices.ContainsFunc(p.structs, func(o *randomStruct) bool {
		return slices.ContainsFunc(o.fields, func(f *randomField) bool { return f.embedded && f.holds(p) == s })
	})
}

func (p *randomPackage) remove(s *randomStruct, f *randomField) {
	s.fields = slices.DeleteFunc(s.fields, func(o *randomField) bool { return o == f })
	p.removed[s.number] = append(p.removed[s.number], f)
}

// restored gives a field another stored name.
func (f *randomField) restore(name string) { f.name, f.json, f.cbor, f.integer = name, "", "", false }

// otherEdits may be accepted or refused.
var otherEdits = []randomEdit{
	{"rename", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		f.name = p.freeName(s, false)
		return true
	}},
	{"rename and say so", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		if !p.isEvent(s) {
			return false
		}
		json, _, _ := strings.Cut(f.json, ",")
		if json == "" {
			json = f.name
		}
		if k := f.key(); !k.integer {
			f.was = append(f.was, k.name)
		}
		if !slices.Contains(f.was, json) {
			f.was = append(f.was, json)
		}
		f.restore(p.freeName(s, p.IntN(2) == 0))
		return true
	}},
	{"forget a former name", func(_ *randomPackage, _ *randomStruct, f *randomField) bool {
		if len(f.was) == 0 {
			return false
		}
		f.was = f.was[1:]
		return true
	}},
	{"json tag", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		f.json = p.one("", strings.ToLower(f.name), "x"+f.name, f.key().name, p.one(randomNames...))
		return true
	}},
	{"cbor tag", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		f.cbor, f.integer = p.one("", strings.ToLower(f.name), "x"+f.name, f.key().name), false
		if p.IntN(6) == 0 {
			f.json = p.one("-", "j'"+f.name)
		}
		return true
	}},
	{"case", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		name := f.key().name
		f.restore(f.name)
		f.json = p.one(strings.ToLower(name), strings.ToUpper(name))
		if p.IntN(3) == 0 {
			f.typ = p.typ(0)
		}
		return true
	}},
	{"type", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		f.typ = p.typ(0)
		return true
	}},
	{"similar type", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		t := f.typ
		for t.elem != nil && p.IntN(3) > 0 {
			t = t.elem
		}
		// Rather of one that encodes itself.
		for _, f := range s.fields {
			if inner := f.typ.innermost(); p.IntN(2) == 0 && slices.Contains([]string{"TextA", "TextB", "BytesA", "JSONA", "netip.Addr"}, inner.kind) {
				t = inner
			}
		}
		similar := map[string][]string{
			"TextA": {"TextB", "TextB", "string"}, "TextB": {"TextA"}, "BytesA": {"TextA", "[]byte", "netip.Addr"}, "netip.Addr": {"BytesA", "string"}, "JSONA": {"int64", "int"}, "int64": {"JSONA", "float64", "uint64"},
			"string": {"TextA", "JSONA", "[]byte"}, "time.Time": {"string", "any"}, "[n]": {"[]"}, "uint8": {"int16", "float32"}, "int32": {"float64", "float32"}, "map[int16]": {"map[int32]", "map[string]"},
			"[]byte": {"string"}, "bool": {"int8"}, "any": {"string"}, "float32": {"float64"}, "uint64": {"int64"},
		}[t.kind]
		if len(similar) == 0 {
			return false
		}
		*t = randomType{kind: p.one(similar...), elem: t.elem}
		return true
	}},
	{"own encoding", func(p *randomPackage, _ *randomStruct, f *randomField) bool {
		p.own = p.IntN(len(ownTypes))
		if p.IntN(4) == 0 {
			f.typ.innermost().kind = "BytesC"
		}
		return true
	}},
	{"to any", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		f.typ, f.dflt, f.tag = &randomType{kind: "any"}, "", ""
		return true
	}},
	{"longer array", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		f.typ.size += 1 - p.IntN(2)
		return f.typ.kind == "[n]"
	}},
	{"pointer", func(_ *randomPackage, _ *randomStruct, f *randomField) bool {
		f.typ = &randomType{kind: "*", elem: f.typ}
		return f.typ.elem.kind != "any" && f.typ.elem.kind != "*"
	}},
	{"value", func(_ *randomPackage, _ *randomStruct, f *randomField) bool {
		if f.typ.kind != "*" || f.typ.elem.kind == "struct" && !f.embedded {
			return false
		}
		f.typ = f.typ.elem
		return true
	}},
	{"replace", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		p.remove(s, f)
		n := p.add(s)
		if p.IntN(3) > 0 {
			n.typ = f.typ
		}
		switch path := p.path(s); {
		case p.IntN(2) == 0:
		case p.isEvent(s):
			s.said = append(s.said, "dropped "+f.key().name)
		case path != "":
			p.structs[0].said = append(p.structs[0].said, "dropped "+path+"."+f.key().name)
		}
		return true
	}},
	{"bring back", func(p *randomPackage, s *randomStruct, _ *randomField) bool {
		gone := p.removed[s.number]
		if len(gone) == 0 {
			return false
		}
		f := *gone[p.IntN(len(gone))]
		if p.IntN(3) == 0 {
			f.typ = p.typ(0)
		}
		if p.IntN(3) == 0 && p.isEvent(s) {
			p.setDefault(&f)
		}
		f.was = nil
		s.fields = append(s.fields, &f)
		return true
	}},
	{"reorder", func(p *randomPackage, s *randomStruct, _ *randomField) bool {
		p.Shuffle(len(s.fields), func(i, j int) { s.fields[i], s.fields[j] = s.fields[j], s.fields[i] })
		return true
	}},
	{"swap names", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		o := s.fields[p.IntN(len(s.fields))]
		if o.embedded || f.embedded {
			return false
		}
		o.name, f.name, o.json, f.json, o.cbor, f.cbor, o.integer, f.integer = f.name, o.name, f.json, o.json, f.cbor, o.cbor, f.integer, o.integer
		return true
	}},
	{"array", func(_ *randomPackage, s *randomStruct, _ *randomField) bool {
		s.array = !s.array
		return true
	}},
	{"integer", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		f.cbor, f.integer = strconv.Itoa(p.IntN(20)), p.IntN(4) > 0
		if p.IntN(4) == 0 {
			f.cbor, f.integer = "", false
		}
		return true
	}},
	{"default", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		if !p.isEvent(s) {
			return false
		}
		// Rather of one that events may lack.
		if i := slices.IndexFunc(s.fields, func(f *randomField) bool { return (f.added || f.omitted) && f.typ.inner().basic() }); i >= 0 {
			f = s.fields[i]
		}
		f.jsonOmit, f.cborOmit = "", ""
		if f.dflt == "" || p.IntN(2) == 0 {
			p.setDefault(f)
		} else {
			f.dflt = ""
		}
		return true
	}},
	{"omit", func(p *randomPackage, _ *randomStruct, f *randomField) bool {
		f.jsonOmit, f.cborOmit = p.one("", "omitempty", "omitzero"), p.one("", "omitempty")
		return true
	}},
	{"quoted", func(_ *randomPackage, _ *randomStruct, f *randomField) bool {
		f.quoted = !f.quoted
		return f.typ.basic()
	}},
	{"tag", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		if !p.isEvent(s) || f.typ.kind != "string" {
			return false
		}
		if f.tag != "" && p.IntN(2) == 0 {
			s.said = append(s.said, "untag "+f.tag)
		}
		f.tag = p.one("", "t", "v")
		return true
	}},
	{"nest", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		p.remove(s, f)
		of := &randomStruct{number: p.next(), fields: []*randomField{f}}
		of.name = fmt.Sprintf("S%d", of.number)
		f.dflt, f.was, f.tag = "", nil, ""
		p.structs = append(p.structs, of)
		s.fields = append(s.fields, &randomField{number: p.next(), name: fmt.Sprintf("N%d", of.number), typ: &randomType{kind: "struct", of: of.number}})
		return true
	}},
	{"take out", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		of := f.holds(p)
		if of == nil {
			return false
		}
		p.remove(s, f)
		for _, inner := range of.fields {
			if copied := *inner; !s.taken(inner.name, false) && !inner.embedded {
				if !f.embedded {
					copied.number = p.next()
				}
				s.fields = append(s.fields, &copied)
			}
		}
		return len(s.fields) > 0
	}},
	{"embed or not", func(p *randomPackage, s *randomStruct, f *randomField) bool {
		switch {
		case f.holds(p) == nil:
			return false
		case f.embedded:
			f.embedded = false
		default:
			f.embed(p)
		}
		return true
	}},
	{"rename a type", func(p *randomPackage, s *randomStruct, _ *randomField) bool {
		s.renamed++
		s.name = fmt.Sprintf("S%dx%d", s.number, s.renamed)
		return true
	}},
	{"rename an event", func(p *randomPackage, s *randomStruct, _ *randomField) bool {
		if !p.isEvent(s) {
			return false
		}
		if p.IntN(4) > 0 {
			s.was = append(s.was, s.event)
		}
		s.event = fmt.Sprintf("Event%d", p.next())
		return true
	}},
}

// uses reports whether a field holds a type.
func (p *randomPackage) uses(kind string) bool {
	return slices.ContainsFunc(p.structs, func(s *randomStruct) bool {
		return slices.ContainsFunc(s.fields, func(f *randomField) bool { return f.typ.innermost().kind == kind })
	})
}

// path returns where the first event has a struct; "": not in a field of its own.
func (p *randomPackage) path(s *randomStruct) string {
	for _, f := range p.structs[0].fields {
		if t := f.typ.innermost(); t.kind == "struct" && t.of == s.number && !f.embedded {
			return f.key().name
		}
	}
	return ""
}

// edited returns a version that was edited, and whether all edits are harmless.
func (p *randomPackage) edited() (version *randomPackage, isHarmless bool) {
	v := p.copy()
	edits := otherEdits
	if isHarmless = v.IntN(5) == 0; isHarmless {
		edits = harmless[v.IntN(len(harmless)):][:1]
	}
	for n, tries := 1+v.IntN(3)*v.IntN(2), 0; len(v.edits) < n && tries < 50; tries++ {
		s := v.structs[v.IntN(len(v.structs))]
		if v.IntN(2) == 0 {
			s = v.structs[v.IntN(randomEvents)]
		}
		e := edits[v.IntN(len(edits))]
		if v.IntN(8) == 0 && !isHarmless {
			e = edits[slices.IndexFunc(edits, func(e randomEdit) bool { return e.name == "default" })]
		}
		if v.IntN(3) == 0 && !isHarmless && v.uses("BytesC") {
			e = edits[slices.IndexFunc(edits, func(e randomEdit) bool { return e.name == "own encoding" })]
		}
		if v.IntN(4) == 0 && !isHarmless {
			e = harmless[v.IntN(len(harmless))]
		}
		if len(s.fields) == 0 {
			continue
		}
		f := s.fields[v.IntN(len(s.fields))]
		was := v.copy()
		if name := f.name; e.do(v, s, f) && v.compiles() {
			v.edits = append(v.edits, fmt.Sprintf("%s of %s.%s", e.name, s.name, name))
		} else {
			v.structs, v.own = was.structs, was.own // it may have changed something
		}
	}
	v.identify(p)
	return v, isHarmless && len(v.edits) > 0
}
