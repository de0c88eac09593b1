package gen

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A random package, of which there are versions. Each field has a number that it keeps
// from version to version as long as it is the same field: it is in its tag, for the
// program that reads the events of one version by the code of another.
type (
	randomPackage struct {
		*rand.Rand
		name    string
		structs []*randomStruct           // the first are events
		used    *int                      // the last number of a field or struct
		edits   []string                  // what was done since the version before
		history map[int]map[randomKey]int // the numbers of the fields of each struct
		removed map[int][]*randomField
		own     int // which of ownTypes there is
	}
	randomStruct struct {
		number  int
		name    string
		event   string // the stored name of an event
		was     []string
		said    []string // further directives
		array   bool
		renamed int
		fields  []*randomField
	}
	randomField struct {
		number     int
		name       string
		json, cbor string // names in tags
		jsonOmit   string
		cborOmit   string
		integer    bool
		quoted     bool
		embedded   bool
		omitted    bool // a zero, before
		added      bool // in a later version
		typ        *randomType
		was        []string
		dflt       string
		tag        string
	}
	// randomKey is what the default codec stores a field under.
	randomKey struct {
		name    string
		integer bool
	}
	randomType struct {
		kind string // a Go type, or one of * [] [n] map[string] map[int] struct
		elem *randomType
		of   int // the number of a struct
		size int
	}
)

const randomEvents = 2

// texts are types that encode by themselves, and do not read each other.
const texts = `
type TextA struct{ N int }
type TextB struct{ N int }

func (a TextA) MarshalText() ([]byte, error) { return []byte("a" + strconv.Itoa(a.N)), nil }
func (b TextB) MarshalText() ([]byte, error) { return []byte("b" + strconv.Itoa(b.N)), nil }
func (a *TextA) UnmarshalText(t []byte) (err error) { a.N, err = number("a", t); return err }
func (b *TextB) UnmarshalText(t []byte) (err error) { b.N, err = number("b", t); return err }

type BytesA struct{ N int }

func (a BytesA) MarshalBinary() ([]byte, error)     { return []byte("a" + strconv.Itoa(a.N)), nil }
func (a BytesA) MarshalText() ([]byte, error)       { return a.MarshalBinary() }
func (a *BytesA) UnmarshalBinary(t []byte) (err error) { a.N, err = number("a", t); return err }
func (a *BytesA) UnmarshalText(t []byte) error      { return a.UnmarshalBinary(t) }

type JSONA int

func (a JSONA) MarshalJSON() ([]byte, error)     { return []byte("\"j" + strconv.Itoa(int(a)) + "\""), nil }
func (a *JSONA) UnmarshalJSON(t []byte) error {
	if string(t) == "null" {
		return nil
	}
	n, err := number("j", []byte(strings.Trim(string(t), "\"")))
	*a = JSONA(n)
	return err
}

func number(prefix string, t []byte) (int, error) {
	s, ok := strings.CutPrefix(string(t), prefix)
	if !ok {
		return 0, fmt.Errorf("%q does not begin with %s", t, prefix)
	}
	return strconv.Atoi(s)
}
`

// ownTypes are what BytesC may be. The default codec stores the number in it, and the JSON
// codec stores what it is made of or, in the first case, a text.
var ownTypes = []string{
	`struct{ N int32 }

func (c BytesC) MarshalText() ([]byte, error)     { return c.MarshalBinary() }
func (c *BytesC) UnmarshalText(t []byte) error { return c.UnmarshalBinary(t) }
func (c *BytesC) number() *int32 { return &c.N }
`,
	"struct{ N int32 `number:\"1\"` }\nfunc (c *BytesC) number() *int32 { return &c.N }\n",
	"struct{ N int32 `number:\"1\" cbor:\"-\"`; M int8 `number:\"2\" cbor:\"-\"` }\nfunc (c *BytesC) number() *int32 { return &c.N }\n",
	"struct{ N int32 `number:\"1\"`; M int16 `number:\"2\" json:\"m\"` }\nfunc (c *BytesC) number() *int32 { return &c.N }\n",
	"int32\nfunc (c *BytesC) number() *int32 { return (*int32)(c) }\n",
}

const ownMethods = `
func (c BytesC) MarshalBinary() ([]byte, error) { return []byte("c" + strconv.Itoa(int(*c.number()))), nil }
func (c *BytesC) UnmarshalBinary(t []byte) error {
	n, err := number("c", t)
	*c.number() = int32(n)
	return err
}
`

func newRandomPackage(name string, seed uint64) *randomPackage {
	p := &randomPackage{Rand: rand.New(rand.NewPCG(seed, 1)), name: name, used: new(int), history: map[int]map[randomKey]int{}, removed: map[int][]*randomField{}}
	p.own = p.IntN(len(ownTypes))
	for i := range randomEvents + 3 {
		s := &randomStruct{number: p.next()}
		s.name = fmt.Sprintf("S%d", s.number)
		if i < randomEvents {
			s.event = s.name
		}
		p.structs = append(p.structs, s)
	}
	for _, s := range p.structs {
		s.array = p.IntN(8) == 0
		for range 1 + p.IntN(5) {
			p.add(s)
		}
	}
	p.identify(p)
	return p
}

func (p *randomPackage) next() int { *p.used++; return *p.used }

func (p *randomPackage) one(of ...string) string { return of[p.IntN(len(of))] }

func (p *randomPackage) isEvent(s *randomStruct) bool { return s.event != "" }

// copy is the package before it is edited.
func (p *randomPackage) copy() *randomPackage {
	c := *p
	c.edits, c.structs = nil, nil
	for _, s := range p.structs {
		of := *s
		of.was, of.said, of.fields = slices.Clone(s.was), nil, nil
		for _, f := range s.fields {
			field := *f
			field.was, field.typ = slices.Clone(f.was), f.typ.copy()
			field.omitted = f.omitted || f.jsonOmit+f.cborOmit != ""
			of.fields = append(of.fields, &field)
		}
		c.structs = append(c.structs, &of)
	}
	return &c
}

func (t *randomType) copy() *randomType {
	if t == nil {
		return nil
	}
	c := *t
	c.elem = t.elem.copy()
	return &c
}

// compiles reports whether fields have different names in Go, and no struct contains
// itself by value. Embedded fields have the names of their types.
func (p *randomPackage) compiles() bool {
	for _, s := range p.structs {
		names := map[string]bool{}
		for _, f := range s.fields {
			if f.embedded {
				f.embed(p)
			}
			if names[f.name] || p.within(f, s, 0) {
				return false
			}
			names[f.name] = true
		}
	}
	return true
}

// within reports whether a struct is that of a field, or of one within its value.
func (p *randomPackage) within(f *randomField, s *randomStruct, depth int) bool {
	t := f.typ
	for t.kind == "[n]" {
		t = t.elem
	}
	if t.kind != "struct" {
		return false
	}
	inner := p.byNumber(t.of)
	return inner == s || depth > len(p.structs) || slices.ContainsFunc(inner.fields, func(f *randomField) bool { return p.within(f, s, depth+1) })
}

var randomNames = []string{"A", "B", "C", "D", "Id", "ID", "Ab", "AB", "Total", "Owner", "Place", "K"}

// taken reports whether a name is taken in a struct; exactly, or but for case.
func (s *randomStruct) taken(name string, fold bool) bool {
	return slices.ContainsFunc(s.fields, func(f *randomField) bool {
		for _, n := range append([]string{f.name, f.json, f.cbor}, f.was...) {
			if n == name || fold && strings.EqualFold(n, name) {
				return true
			}
		}
		return false
	})
}

// freeName returns a name that a struct does not have.
func (p *randomPackage) freeName(s *randomStruct, fold bool) string {
	for range 50 {
		if name := p.one(randomNames...); !s.taken(name, fold) {
			return name
		}
	}
	return fmt.Sprintf("F%d", p.next())
}

// add adds a field to a struct.
func (p *randomPackage) add(s *randomStruct) *randomField {
	f := &randomField{number: p.next(), typ: p.typ(0), added: len(p.history) > 0}
	f.name = p.freeName(s, p.IntN(3) > 0)
	switch p.IntN(8) {
	case 0:
		f.json = strings.ToLower(f.name)
	case 1:
		f.cbor, f.json = "c"+f.name, p.one("", "", "-", "j'"+f.name) // JSON takes no name with a quote
	case 2:
		if !s.array && p.IntN(2) == 0 {
			f.cbor, f.integer = strconv.Itoa(p.IntN(20)), true
		}
	}
	switch p.IntN(8) {
	case 0:
		f.jsonOmit, f.cborOmit = "omitempty", "omitempty"
	case 1:
		f.jsonOmit = p.one("omitempty", "omitzero")
	case 2:
		f.quoted = f.typ.basic()
	}
	if p.isEvent(s) && p.IntN(4) == 0 && f.jsonOmit == "" {
		p.setDefault(f)
	}
	if p.isEvent(s) && f.typ.kind == "string" && p.IntN(3) == 0 {
		f.tag = p.one("t", "u")
	}
	if i := slices.Index(p.structs, s) + 1; i > 0 && p.IntN(6) == 0 && i < len(p.structs) {
		p.hold(s, f, p.structs[max(i, randomEvents)+p.IntN(len(p.structs)-max(i, randomEvents))])
	}
	s.fields = slices.Insert(s.fields, p.IntN(len(s.fields)+1), f)
	return f
}

// hold makes a field one of a struct, which may be embedded.
func (p *randomPackage) hold(s *randomStruct, f *randomField, of *randomStruct) {
	f.typ = &randomType{kind: "struct", of: of.number}
	if p.IntN(3) == 0 {
		f.typ = &randomType{kind: "*", elem: f.typ}
	}
	f.quoted, f.dflt, f.tag = false, "", ""
	if p.IntN(2) == 0 && !s.taken(of.name, false) {
		f.embed(p)
	}
}

// holds returns the struct that a field holds itself, or nil.
func (f *randomField) holds(p *randomPackage) *randomStruct {
	t := f.typ.inner()
	if t.kind != "struct" {
		return nil
	}
	return p.byNumber(t.of)
}

// embed makes a field that holds a struct an embedded one.
func (f *randomField) embed(p *randomPackage) {
	of := f.holds(p)
	if f.embedded = of != nil; !f.embedded {
		return
	}
	f.name = of.name
	f.json, f.cbor, f.jsonOmit, f.cborOmit, f.integer, f.was = "", "", "", "", false, nil
}

func (p *randomPackage) byNumber(n int) *randomStruct {
	return p.structs[slices.IndexFunc(p.structs, func(s *randomStruct) bool { return s.number == n })]
}

var plainTypes = []string{"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint64", "float32", "float64", "string", "string", "int64", "[]byte",
	"time.Time", "netip.Addr", "TextA", "TextB", "BytesA", "BytesC", "JSONA", "any"}

// typ returns a random type. A struct contains those behind it by value, and any one
// by way of pointers, lists and maps.
func (p *randomPackage) typ(depth int) *randomType {
	if depth > 2 || p.IntN(10) < 6 {
		return &randomType{kind: p.one(plainTypes...)}
	}
	if p.IntN(3) == 0 {
		return p.wrapped(&randomType{kind: "struct", of: p.structs[randomEvents+p.IntN(len(p.structs)-randomEvents)].number})
	}
	return p.wrapped(p.typ(depth + 1))
}

// wrapped puts a type into another one.
func (p *randomPackage) wrapped(t *randomType) *randomType {
	kind := p.one("*", "[]", "[]", "[n]", "map[string]", "map[int16]")
	if kind == "*" && t.kind == "any" || kind == "[n]" && t.kind == "struct" {
		kind = "[]"
	}
	return &randomType{kind: kind, elem: t, size: 1 + p.IntN(3)}
}

func (t *randomType) basic() bool {
	return strings.HasPrefix(t.kind, "int") || strings.HasPrefix(t.kind, "uint") || strings.HasPrefix(t.kind, "float") || t.kind == "bool" || t.kind == "string"
}

func (p *randomPackage) setDefault(f *randomField) {
	t := f.typ.inner()
	f.dflt = ""
	switch {
	case t.kind == "bool":
		f.dflt = p.one("true", "false")
	case t.kind == "string":
		f.dflt = p.one(`"x"`, `"y z"`, `""`)
	case t.basic():
		f.dflt = p.one("5", "7", "0")
	}
}

func (t *randomType) source(p *randomPackage) string {
	switch t.kind {
	case "struct":
		return p.byNumber(t.of).name
	case "[n]":
		return fmt.Sprintf("[%d]%s", t.size, t.elem.source(p))
	}
	if t.elem != nil {
		return t.kind + t.elem.source(p)
	}
	return t.kind
}

// source returns the Go source of the package.
func (p *randomPackage) source() string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n\nimport (\n\"fmt\"\n\"net/netip\"\n\"strconv\"\n\"strings\"\n\"time\"\n)\n\nvar _ = time.Now\nvar _ netip.Addr\n%s\ntype BytesC %s%s\n", p.name, texts, ownTypes[p.own], ownMethods)
	b.WriteString("// Plain returns a pointer to an event without its methods.\nfunc Plain(event any) any {\nswitch e := event.(type) {\n")
	for _, s := range p.structs {
		if p.isEvent(s) {
			fmt.Fprintf(&b, "case %s:\nreturn plain%[1]s(e)\n", s.name)
		}
	}
	b.WriteString("}\nreturn nil\n}\n")
	for _, s := range p.structs {
		if p.isEvent(s) {
			fmt.Fprintf(&b, "\ntype plain%s %[1]s\n\n//evento:aggregate %s/A\n//evento:event %s\n", s.name, p.name, s.event)
		}
		for _, name := range s.was {
			fmt.Fprintf(&b, "//evento:was %s\n", name)
		}
		for _, d := range s.said {
			fmt.Fprintf(&b, "//evento:%s\n", d)
		}
		fmt.Fprintf(&b, "type %s struct {\n", s.name)
		if s.array {
			b.WriteString("_ struct{} `cbor:\",toarray\"`\n")
		}
		for _, f := range s.fields {
			b.WriteString(f.source(p))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func (f *randomField) source(p *randomPackage) string {
	text := ""
	for _, name := range f.was {
		text += "//evento:was " + name + "\n"
	}
	if f.dflt != "" {
		text += "//evento:default " + f.dflt + "\n"
	}
	if f.tag != "" {
		text += "//evento:tag " + f.tag + "\n"
	}
	if !f.embedded {
		text += f.name + " "
	}
	json, cbor := f.tags()
	tag := fmt.Sprintf("number:\"%d\"", f.number)
	if json != "" {
		tag += fmt.Sprintf(" json:%q", json)
	}
	if cbor != "" {
		tag += fmt.Sprintf(" cbor:%q", cbor)
	}
	if f.dflt != "" {
		tag += fmt.Sprintf(" default:%q", f.dflt)
	}
	return text + f.typ.source(p) + " `" + tag + "`\n"
}

// tags returns what the two codecs read of a field's tag.
func (f *randomField) tags() (json, cbor string) {
	json, cbor = f.json, f.cbor
	if json == "-" && cbor == "" {
		json = ""
	}
	if f.jsonOmit != "" && json != "-" {
		json += "," + f.jsonOmit
	}
	if f.quoted && json != "-" {
		json += ",string"
	}
	if f.integer {
		cbor += ",keyasint"
	}
	if f.cborOmit != "" && (f.cbor != "" || f.jsonOmit == "") {
		cbor += "," + f.cborOmit
	}
	return json, cbor
}

// key returns what the default codec stores a field under.
func (f *randomField) key() randomKey {
	json, cbor := f.tags()
	if cbor == "" {
		cbor = json
	}
	name, _, _ := strings.Cut(cbor, ",")
	if name == "" {
		name = f.name
	}
	return randomKey{name, f.integer}
}

// identify gives fields the numbers of those that are the same: that were stored under
// the same name, or under one that a directive names or that differs in case alone.
// Others keep their numbers, if they have the same type as before.
func (p *randomPackage) identify(before *randomPackage) {
	for _, s := range p.structs {
		if p.history[s.number] == nil {
			p.history[s.number] = map[randomKey]int{}
		}
		history, found := p.history[s.number], map[*randomField]int{}
		taken := map[int]bool{}
		claim := func(f *randomField, number int) {
			if number != 0 && found[f] == 0 && !taken[number] {
				found[f], taken[number] = number, true
			}
		}
		for _, f := range s.fields {
			claim(f, history[f.key()])
		}
		for _, f := range s.fields {
			for _, name := range f.was {
				claim(f, history[randomKey{name: name}])
			}
			for k, number := range history {
				if !k.integer && !f.integer && len(k.name) == len(f.key().name) && strings.EqualFold(k.name, f.key().name) {
					claim(f, number)
				}
			}
		}
		for _, f := range s.fields {
			if old := before.fieldOf(s.number, f.number); old == nil || old.typ.source(before) == f.typ.source(p) {
				claim(f, f.number)
			}
			claim(f, p.next())
			f.number = found[f]
		}
		for _, f := range s.fields {
			history[f.key()] = f.number
		}
	}
	for range p.structs { // as deep as structs may be embedded
		for _, s := range p.structs {
			p.inherit(s)
		}
	}
}

// inherit adds what a struct embeds to its history.
func (p *randomPackage) inherit(s *randomStruct) {
	history := p.history[s.number]
	for _, f := range s.fields {
		if !f.embedded {
			continue
		}
		for k, number := range p.history[f.typ.inner().of] {
			if history[k] == 0 {
				history[k] = number
			}
		}
	}
}

// innermost returns what is behind pointers, and in lists and maps.
func (t *randomType) innermost() *randomType {
	for t.elem != nil {
		t = t.elem
	}
	return t
}

// inner returns what is behind pointers.
func (t *randomType) inner() *randomType {
	for t.kind == "*" {
		t = t.elem
	}
	return t
}

func (p *randomPackage) fieldOf(of, number int) *randomField {
	for _, s := range p.structs {
		for _, f := range s.fields {
			if s.number == of && f.number == number {
				return f
			}
		}
	}
	return nil
}
