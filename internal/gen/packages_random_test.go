package gen

import (
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// randomSource is a package with events, and the file that is put beside it when the
// generator has accepted it.
type randomSource struct{ source, checks string }

// writer writes a random package.
type writer struct {
	*rand.Rand
	hostile []string // names that generated code has uses for
	taken   map[string]bool
	imports map[string]string // packages by their paths
	decls   strings.Builder
	types   []string // expressions for types of fields
	keys    []string // those of map keys
	structs []string // those that may be embedded
	checks  strings.Builder
	n       int // counts what needs a name of its own
}

// newRandomSource returns the package of a seed.
func newRandomSource(seed int, hostile []string) randomSource {
	w := &writer{
		Rand: rand.New(rand.NewPCG(uint64(seed), 0)), hostile: hostile, taken: map[string]bool{}, imports: map[string]string{},
	}
	name := w.pick("p", "p", "events", "evento", "v1", "счёт", "_odd", "cborwire", "string", "main2", "err")
	w.hide()
	w.library()
	for range w.IntN(7) {
		w.declareType()
	}
	for range 1 + w.IntN(2) {
		w.aggregate(seed)
	}
	var source strings.Builder
	fmt.Fprintf(&source, "// Package of the seed %d.\npackage %s\n\n", seed, name)
	for _, path := range slices.Sorted(maps.Keys(w.imports)) {
		if name := w.imports[path]; strings.Contains(w.decls.String(), name+".") {
			fmt.Fprintf(&source, "import %s %q\n", name, path)
		}
	}
	source.WriteString(w.decls.String())
	checks := "package " + name + "\n\nimport (\n\tzzr \"reflect\"\n\n\tzzc \"" + elsewhere + "check\"\n)\n\nfunc ZZEvents() []zzc.Event {\n\treturn []zzc.Event{\n" +
		w.checks.String() + "\t}\n}\n"
	return randomSource{source: source.String(), checks: checks}
}

func (w *writer) f(format string, args ...any) { fmt.Fprintf(&w.decls, format, args...) }

func (w *writer) pick(from ...string) string { return from[w.IntN(len(from))] }

func (w *writer) once(in int) bool { return w.IntN(in) == 0 }

// name returns a name that the package has not declared yet.
func (w *writer) name(from ...string) string {
	name := w.pick(from...)
	for w.taken[name] {
		w.n++
		name += strconv.Itoa(w.n)
	}
	w.taken[name] = true
	return name
}

// pre returns what Go predeclares under a name, whatever the package calls so.
func (w *writer) pre(name string) string {
	if !w.taken[name] {
		return name
	}
	return w.of("kinds", "zzk") + "." + strings.ToUpper(name[:1]) + name[1:]
}

// of imports a package of the module.
func (w *writer) of(path, name string) string {
	w.imports[elsewhere+path] = name
	return name
}

// std imports a package of the standard library.
func (w *writer) std(path string) string {
	name := "zz" + path[strings.LastIndexByte(path, '/')+1:]
	w.imports[path] = name
	return name
}

// hide declares names that generated code would like to use.
func (w *writer) hide() {
	if w.once(3) {
		return
	}
	var names []string
	for range 1 + w.IntN(6) {
		name := w.pick(w.hostile...)
		if !w.taken[name] && !ast.IsExported(name) && (name != "nil" || w.once(4)) {
			w.taken[name], names = true, append(names, name)
		}
	}
	for _, name := range names {
		switch w.IntN(4) {
		case 0:
			w.f("func %s() {}\n\n", name)
		case 1:
			w.f("const %s = 7\n\n", name)
		case 2:
			w.f("var %s = [...]struct{}{}\n\n", name)
		default:
			w.f("type %s struct{ A %s }\n\n", name, w.pre("int"))
			if types.Universe.Lookup(name) == nil {
				w.types, w.structs, w.keys = append(w.types, name), append(w.structs, name), append(w.keys, name)
			}
		}
	}
}

// library imports packages, and takes types of theirs.
func (w *writer) library() {
	for range 1 + w.IntN(4) {
		path := "lib/" + folder(w.pick(w.hostile...))
		if w.imports[elsewhere+path] != "" {
			continue
		}
		w.n++
		name := w.of(path, fmt.Sprintf("zzl%d", w.n))
		w.f("var _ %s.Ref\n\n", name)
		for _, t := range []string{"Ref", "Amount", "Names", "Codes", "ID", "Level", "Text", "Bin", "Raw", "Forest", "Known", "Deep", "Pair[%s, " + name + ".Known]"} {
			if strings.Contains(t, "%s") {
				t = fmt.Sprintf(t, w.pre("string"))
			}
			w.types = append(w.types, name+"."+t)
		}
		w.keys = append(w.keys, name+".Amount", name+".Level", name+".ID")
		w.structs = append(w.structs, name+".Base", name+".Ref", name+".Known")
	}
}

// basic returns a basic type.
func (w *writer) basic() string {
	return w.pre(w.pick("string", "string", "int", "int", "bool", "int64", "int32", "int16", "int8", "uint", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "rune", "byte"))
}

// typ returns an expression for a type.
func (w *writer) typ(depth int) string {
	if depth > 3 {
		return w.basic()
	}
	switch n := w.IntN(40); {
	case n < 14:
		return w.basic()
	case n < 21 && len(w.types) > 0:
		return w.pick(w.types...)
	case n < 25:
		return "[]" + w.typ(depth+1)
	case n < 28:
		return "map[" + w.key() + "]" + w.typ(depth+1)
	case n < 31:
		return "*" + w.typ(depth+1)
	case n < 33:
		return fmt.Sprintf("[%d]%s", w.IntN(4), w.typ(depth+1))
	case n < 34:
		return w.structType(depth+1, 1+w.IntN(3))
	case n < 36:
		return w.std("time") + ".Time"
	case n < 37:
		path, name, _ := strings.Cut(w.pick("net/netip Addr", "math/big Int", "encoding/json RawMessage"), " ")
		return w.pick("", "*") + w.std(path) + "." + name
	case n < 38:
		return w.pre("any")
	case n < 39:
		return "[]" + w.pre("byte")
	}
	if w.once(6) {
		return w.pick("chan "+w.basic(), "func()", "complex128", "map[*"+w.basic()+"]"+w.basic(), "map[struct{ A [1]*"+w.basic()+" }]"+w.basic(), w.pre("error"))
	}
	return w.basic()
}

func (w *writer) key() string {
	switch {
	case len(w.keys) > 0 && w.once(3):
		return w.pick(w.keys...)
	case w.once(8):
		return w.pick("[2]"+w.pre("int8"), w.pre("bool"), w.pre("float64"), "struct{ A, B "+w.pre("int")+" }", w.pre("any"))
	}
	return w.pre(w.pick("string", "string", "int", "int16", "uint8", "uint64"))
}

// tag returns a tag of a field, or nothing.
func (w *writer) tag() string {
	if w.once(2) {
		return ""
	}
	w.n++
	name := w.pick("", "", fmt.Sprintf("n%d", w.n), fmt.Sprintf("é%d", w.n), fmt.Sprintf("x y%d", w.n), strings.Repeat("long", 1+w.IntN(80))+strconv.Itoa(w.n), "a", "-")
	options := w.pick("", "", ",omitempty", ",omitempty", ",omitzero", ",omitempty,omitzero", ",string")
	if w.once(30) {
		name, options = strconv.Itoa(w.n), ",keyasint"
	}
	return fmt.Sprintf(" `%s:%q`", w.pick("json", "json", "cbor"), name+options)
}

func (w *writer) structType(depth, fields int) string {
	var b strings.Builder
	b.WriteString("struct{ ")
	for i := range fields {
		fmt.Fprintf(&b, "%s%d %s%s; ", w.pick("A", "X", "É", "Type_", "Nil", "String", "Ω"), i, w.typ(depth), w.tag())
	}
	if len(w.structs) > 0 && w.once(6) {
		fmt.Fprintf(&b, "%s; ", w.pick(w.structs...))
	}
	if w.once(8) {
		fmt.Fprintf(&b, "_ %s; hidden %s; ", w.basic(), w.basic())
	}
	b.WriteString("}")
	return b.String()
}

// declareType declares a type for fields.
func (w *writer) declareType() {
	names := append(slices.Clone(w.hostile), "Thing", "thing", "Größe", "größer", "Имя", "開", "T", "K", "Point", "AppendCBOR", "Event")
	names = slices.DeleteFunc(names, func(name string) bool { return types.Universe.Lookup(name) != nil })
	name := w.name(names...)
	use, what := name, w.IntN(12)
	if what == 3 && w.taken["comparable"] {
		what = 4
	}
	switch what {
	case 0:
		w.f("type %s = %s\n\n", name, w.typ(0))
	case 1, 2:
		basic := w.basic()
		w.f("type %s %s\n\n", name, basic)
		w.keys = append(w.keys, name)
		if w.once(3) {
			w.f("func (%s) String() %s { return \"s\" }\n\n", name, w.pre("string"))
		} else if w.once(3) {
			w.f("func (%s) IsZero() %s { return 1 != 1 }\n\n", name, w.pre("bool"))
		}
	case 3:
		k, v := w.pick(w.hostile...), w.pick("K", "V", "T_")
		if k == "any" || k == "comparable" || k == name || v == name || k == v {
			k, v = "K0", "V0"
		}
		w.f("type %s[%s comparable, %s %s] struct {\n\tKey %[2]s\n\tValues []%[3]s\n\tBoth map[%[2]s]*%[3]s `json:\",omitempty\"`\n\tNext *%[1]s[%[2]s, %[3]s]\n}\n\n",
			name, k, v, w.pre("any"))
		use = fmt.Sprintf("%s[%s, %s]", name, w.key(), w.typ(1))
	case 4:
		w.f("type %s %s\n\n", name, w.pick("[]"+name, "map["+w.pre("string")+"]"+name, "[]*"+name, "struct{ Value "+w.pre("int")+"; Left, Right *"+name+" }", "*[]"+name))
	case 5:
		if w.marshals(name) {
			break
		}
		fallthrough
	case 6:
		w.f("type %s %s\n\n", name, w.pick("[]", "[3]", "*", "map["+w.key()+"]")+w.typ(1))
	default:
		w.f("type %s %s\n\n", name, w.structType(0, w.IntN(5)))
		w.structs = append(w.structs, name)
	}
	w.types = append(w.types, use)
	if w.once(10) {
		alias := w.name("Alias", "alias", "Byname", "list2", "псевдоним")
		w.f("type %s = %s\n\n", alias, use)
		w.types = append(w.types, alias)
	}
}

// marshals declares a type that encodes itself, unless the package hides what that
// takes.
func (w *writer) marshals(name string) bool {
	for _, needed := range []string{"string", "byte", "error", "nil", "uint64"} {
		if w.taken[needed] {
			return false
		}
	}
	what := w.pick("Text", "Binary", "CBOR")
	encoded := map[string]string{"Text": "[]byte{'a' + t.b&15}", "Binary": "[]byte{'a' + t.b&15}", "CBOR": "[]byte{0x41, 'a' + t.b&15}"}[what]
	w.f("type %s struct{ b byte }\n\n", name)
	w.f("func (t %s%s) Marshal%s() ([]byte, error) { return %s, nil }\n\n", w.pick("", "*"), name, what, encoded)
	w.f("func (t *%s) Unmarshal%s(data []byte) error { for _, t.b = range data { t.b -= 'a' }; return nil }\n\n", name, what)
	w.f("func (t *%s) FillRandom(n uint64) { t.b = byte(n) & 15 }\n\n", name)
	return true
}
