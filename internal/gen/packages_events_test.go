package gen

import (
	"fmt"
	"go/types"
	"strconv"
	"strings"
)

// aggregate writes a group of events, and what they need.
func (w *writer) aggregate(seed int) {
	w.n++
	typ := fmt.Sprintf("p%d/%s", seed, w.pick("Account", "ledger-day", "Überweisung", "A", "Type", "evento", "ანგარიში")+strings.Repeat("x", w.n%7))
	if w.once(4) {
		typ += fmt.Sprintf(" %s%d", w.pick("Konto", "V", "P", "Event", "Ä"), w.n)
	}
	var group, after strings.Builder
	for range 1 + w.IntN(3) {
		w.event(&group, &after)
	}
	w.f("//evento:aggregate %s\ntype (\n%s)\n\n%s", typ, group.String(), after.String())
}

// event writes an event to a group. What it needs outside is written after it.
func (w *writer) event(group, after *strings.Builder) {
	name := w.name("P", "V", "D", "T", "E", "Opened", "Ärger", "Открыт", "Ǆ", "Filters", "View", "Payload", "Error", "String", "A_", "New")
	check := fmt.Sprintf("{Type: zzr.TypeFor[%s](), Plain: zzr.TypeFor[zz%[1]s]()", name)
	switch w.IntN(6) {
	case 0:
		fmt.Fprintf(group, "\t//evento:event %s\n", w.pick("stored_"+name, strconv.Quote("two words "+name), "é"+name, "x.y"+name))
	case 1:
		fmt.Fprintf(group, "\t//evento:was %s\n", "Old"+name)
	case 2:
		fmt.Fprintf(group, "\t//evento:retired\n")
	}
	if w.once(5) {
		check += w.upcast(name, group, after)
	}
	var defaults, was strings.Builder
	fmt.Fprintf(group, "\t%s struct {\n", name)
	for i := range w.IntN(7) {
		w.field(i, group, after, &defaults, &was)
	}
	if len(w.structs) > 0 && w.once(4) {
		fmt.Fprintf(group, "\t\t%s%s\n", w.pick("", "", "*"), w.pick(w.structs...))
	}
	if w.once(20) {
		fmt.Fprintf(group, "\t\t_ struct{} `cbor:\",toarray\"`\n")
	}
	group.WriteString("\t}\n")
	if defaults.Len() > 0 {
		check += ", Defaults: map[zzc.String]zzc.Any{" + defaults.String() + "}"
	}
	if was.Len() > 0 {
		check += ", Was: [][3]zzc.String{" + was.String() + "}"
	}
	fmt.Fprintf(&w.checks, "\t\t%s},\n", check)
	fmt.Fprintf(after, "type zz%s %[1]s\n\n", name)
}

// upcast writes an older event and the function that makes the new one of it.
func (w *writer) upcast(name string, group, after *strings.Builder) string {
	old, function := w.name("old", "older", "v", "data", "e", "Before"), w.name("upcast", "codec", "err", "name", "former", "b", "v")
	result, back := name, name+"{}"
	if !w.taken["nil"] && w.once(2) {
		result, back = "("+name+", "+w.pre("error")+")", name+"{}, nil"
	}
	fmt.Fprintf(group, "\t//evento:upcast %s\n", function)
	fmt.Fprintf(after, "//evento:event Stored_%s\ntype %[1]s struct{ A %s }\n\n", old, w.typ(2))
	fmt.Fprintf(after, "func %s(%s) %s { return %s }\n\n", function, old, result, back)
	return fmt.Sprintf(", Old: map[zzc.String]zzr.Type{\"Stored_%s\": zzr.TypeFor[%[1]s]()}", old)
}

// field writes a field of an event.
func (w *writer) field(i int, group, after, defaults, was *strings.Builder) {
	name := fmt.Sprintf("%s%d", w.pick("A", "B", "Type_", "Ё", "Error", "Len", "X", "Data"), i)
	typ, tag, directive := "", w.tag(), ""
	switch w.IntN(9) {
	case 0:
		typ, tag = w.tagged(), ""
		directive = " //evento:tag " + w.pick("tag", "course", "é", "x-y") + fmt.Sprint(i)
	case 1:
		basic := w.pick("string", "bool", "int", "uint8", "float64", "int32")
		typ = w.pre(basic)
		value := w.constant(basic)
		tag = ""
		directive = " //evento:default " + value
		fmt.Fprintf(after, "var zz%s%d %s = %s\n\n", name, w.n, typ, value)
		fmt.Fprintf(defaults, "%q: zz%s%d, ", name, name, w.n)
		w.n++
		if w.once(3) {
			typ = "*" + typ
		}
	case 2:
		stored := name
		if tag = ""; w.once(2) {
			stored, tag = "stored"+fmt.Sprint(i), fmt.Sprintf(" `json:\"stored%d\"`", i)
		}
		former := w.pick("was", "-", "é", "Was.x") + fmt.Sprint(i)
		directive = " //evento:was " + former
		fmt.Fprintf(was, "{%q, %q, %q}, ", name, former, stored)
	}
	if typ == "" {
		typ = w.typ(0)
	}
	fmt.Fprintf(group, "\t\t%s %s%s%s\n", name, typ, tag, directive)
}

// tagged returns a type that can be a tag.
func (w *writer) tagged() string {
	typ := w.pre(w.pick("string", "int", "uint16", "int64"))
	if len(w.keys) > 0 && w.once(2) {
		typ = w.pick(w.keys...)
	}
	return w.pick("", "", "*", "[]") + typ
}

// constant returns a constant expression of a basic type.
func (w *writer) constant(basic string) string {
	switch basic {
	case "string":
		return w.pick(`"text"`, `"a" + "b"`, "`raw`", `"//"`)
	case "bool":
		if w.taken["true"] || w.taken["false"] {
			return "1 == 1"
		}
		return w.pick("true", "!false", "1 == 1")
	case "float64":
		return w.pick("1.5", "1e300", "7")
	}
	// A constant of the package's, which may have the name of a variable.
	name := w.pick(w.hostile...)
	if !w.taken[name] && types.Universe.Lookup(name) == nil {
		w.taken[name] = true
		w.f("const %s = 5\n\n", name)
		return name + " + 1"
	}
	return w.pick("5", "1 << 3", "'a'")
}
