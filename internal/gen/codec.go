package gen

import (
	"fmt"
	"go/types"
	"strconv"
	"strings"
)

// helper is a pair of functions for a struct within events.
type helper struct {
	shape *shape
	name  string // append<name> and decode<name>
}

// helperFor returns the functions of a struct, which are printed at the end.
func (p *printer) helperFor(sh *shape) *helper {
	if h, ok := p.known.At(sh.typ).(*helper); ok {
		return h
	}
	base := "Struct"
	if named, ok := types.Unalias(sh.typ).(*types.Named); ok {
		base = exportedIdent(named.Obj().Name())
		if pkg := named.Obj().Pkg(); pkg != p.pkg.Types {
			base = exportedIdent(pkg.Name()) + base
		}
	}
	h := &helper{shape: sh, name: p.helperName(base)}
	p.helpers = append(p.helpers, h)
	p.known.Set(sh.typ, h)
	return h
}

// helperName returns a name for both functions of a struct.
func (p *printer) helperName(base string) string {
	name := base + "CBOR"
	taken := func(function string) bool {
		_, imported := p.imported[function]
		return imported || p.names.taken[function]
	}
	for i := 2; taken("append"+name) || taken("decode"+name); i++ {
		name = base + strconv.Itoa(i) + "CBOR"
	}
	p.names.give("append"+name, nil)
	p.names.give("decode"+name, nil)
	return name
}

// helper prints the two functions of a struct.
func (p *printer) helper(h *helper) {
	typ := p.typ(h.shape.typ)
	p.f("\nfunc append%s($b []$byte, $v *%s) ([]$byte, $error) {\n", h.name, typ)
	p.appendBody(p.text("$v"), h.shape)
	p.f("return $b, $nil\n}\n")
	p.f("\nfunc decode%s($d *$cborwire.Decoder, $v *%s) {\n", h.name, typ)
	p.decodeBody(p.text("$d"), p.text("$v"), h.shape)
	p.f("}\n")
}

// codec prints the methods that encode and decode an event.
func (p *printer) codec(e *event) {
	p.f("\n// AppendCBOR adds the event to b as evento.CBOR writes it.\n")
	p.f("func ($e %s) AppendCBOR($b []$byte) ([]$byte, $error) {\n", e.ident)
	p.appendBody(p.text("$e"), e.shape)
	p.f("return $b, $nil\n}\n")
	p.f("\n// DecodeCBOR decodes what AppendCBOR writes, and leaves the rest to evento.CBOR.\n")
	p.f("func ($e *%s) DecodeCBOR($data []$byte) ($bool, $error) {\n", e.ident)
	if len(e.fields()) == 0 {
		p.f("$d := $cborwire.NewDecoder($data)\n")
		p.decodeBody(p.text("&$d"), "", e.shape)
		p.f("return $d.End(), $nil\n}\n")
		return
	}
	p.f("$d, $v := $cborwire.NewDecoder($data), *$e\n")
	p.decodeBody(p.text("&$d"), p.text("$v"), e.shape)
	p.f("if !$d.End() {\nreturn $false, $nil\n}\n*$e = $v\nreturn $true, $nil\n}\n")
}

// appendBody prints the encoding of a struct's fields.
func (p *printer) appendBody(x string, sh *shape) {
	if usesErr(sh) {
		p.f("var $err $error\n")
	}
	fields := wireOrder(sh.fields)
	always := 0
	for _, f := range fields {
		if p.present(x+"."+f.selector(), f) == "" {
			always++
		}
	}
	if always == len(fields) {
		p.f("$b = $cborwire.AppendMap($b, %d)\n", always)
	} else {
		p.f("$n := %d\n", always)
		for _, f := range fields {
			if cond := p.present(x+"."+f.selector(), f); cond != "" {
				p.f("if %s {\n$n++\n}\n", cond)
			}
		}
		p.f("$b = $cborwire.AppendMap($b, $n)\n")
	}
	for _, f := range fields {
		cond := p.present(x+"."+f.selector(), f)
		if cond != "" {
			p.f("if %s {\n", cond)
		}
		p.appendName(f.name)
		p.encode(x+"."+f.selector(), f.shape, 0)
		if cond != "" {
			p.f("}\n")
		}
	}
}

func (p *printer) appendName(name string) {
	if p.names.hidden["append"] {
		p.f("$b = $cborwire.AppendRaw($b, %s)\n", encodedName(name))
		return
	}
	p.f("$b = append($b, %s...)\n", encodedName(name))
}

// encodedName returns a literal of an encoded name.
func encodedName(name string) string {
	var head string
	switch n := len(name); {
	case n < 24:
		head = fmt.Sprintf(`\x%02x`, 0x60+n)
	case n < 256:
		head = fmt.Sprintf(`\x78\x%02x`, n)
	default:
		head = fmt.Sprintf(`\x79\x%02x\x%02x`, n>>8, n&0xff)
	}
	return `"` + head + strconv.Quote(name)[1:]
}

// present returns the condition under which a field is stored; "": always.
func (p *printer) present(x string, f *field) string {
	if f.omit == "" {
		return ""
	}
	switch f.shape.kind {
	case kindBool:
		return x
	case kindInt, kindUint:
		return x + " != 0"
	case kindFloat:
		return x + " != 0"
	case kindString:
		return x + ` != ""`
	case kindPointer, kindAny:
		return p.isSet(x)
	case kindTime:
		if f.omit == "zero" {
			return "!" + x + ".IsZero()"
		}
	case kindList, kindMap, kindBytes, kindArray:
		if f.omit == "zero" {
			return p.isSet(x)
		}
		return p.text("$len(%s) != 0", x)
	}
	return ""
}

// usesErr reports whether encoding the fields of a struct may fail.
func usesErr(sh *shape) bool {
	for _, f := range sh.fields {
		if fallible(f.shape) {
			return true
		}
	}
	return false
}

func fallible(sh *shape) bool {
	switch {
	case sh.slow != "":
		return true
	case sh.kind == kindPointer || sh.kind == kindList || sh.kind == kindArray || sh.kind == kindMap:
		return fallible(sh.elem)
	}
	switch sh.kind {
	case kindTime, kindText, kindBinary, kindAny, kindStruct:
		return true
	}
	return false
}

// address returns the address of an expression.
func address(x string) string {
	if inner, ok := strings.CutPrefix(x, "(*"); ok && strings.HasSuffix(inner, ")") && !strings.ContainsAny(inner[:len(inner)-1], "()") {
		return inner[:len(inner)-1]
	}
	return "&" + x
}

// local returns the variable of a depth of nested blocks.
func (p *printer) local(name string, depth int) string {
	if depth > 0 {
		name += strconv.Itoa(depth + 1)
	}
	return p.names.variable(name)
}

// try prints a call that may fail.
func (p *printer) try(format string, args ...any) {
	p.f("if $b, $err = "+format+"; $err != $nil {\nreturn $b, $err\n}\n", args...)
}

// encode prints the encoding of a value. The expression x is addressable.
func (p *printer) encode(x string, sh *shape, depth int) {
	if sh.slow != "" {
		p.try("$cborwire.AppendAny($b, %s)", x)
		return
	}
	switch sh.kind {
	case kindBool:
		p.f("$b = $cborwire.AppendBool($b, %s)\n", p.convert(x, sh.typ, types.Bool))
	case kindInt:
		p.f("$b = $cborwire.AppendInt($b, %s)\n", p.convert(x, sh.typ, types.Int64))
	case kindUint:
		p.f("$b = $cborwire.AppendUint($b, %s)\n", p.convert(x, sh.typ, types.Uint64))
	case kindFloat:
		if sh.bits == 32 {
			p.f("$b = $cborwire.AppendFloat32($b, %s)\n", p.convert(x, sh.typ, types.Float32))
		} else {
			p.f("$b = $cborwire.AppendFloat64($b, %s)\n", p.convert(x, sh.typ, types.Float64))
		}
	case kindString:
		p.f("$b = $cborwire.AppendString($b, %s)\n", p.convert(x, sh.typ, types.String))
	case kindBytes:
		if sh.size >= 0 {
			x += "[:]"
		}
		p.f("$b = $cborwire.AppendBytes($b, %s)\n", x)
	case kindTime:
		p.try("$cborwire.AppendTime($b, %s)", x)
	case kindText:
		if !byValue(sh.typ, "MarshalText") {
			x = address(x)
		}
		p.try("$cborwire.AppendText($b, %s)", x)
	case kindBinary:
		if !byValue(sh.typ, "MarshalBinary") {
			x = address(x)
		}
		p.try("$cborwire.AppendBinary($b, %s)", x)
	case kindAny:
		p.try("$cborwire.AppendAny($b, %s)", x)
	case kindStruct:
		p.try("append%s($b, %s)", p.helperFor(sh).name, address(x))
	default:
		p.encodeMany(x, sh, depth)
	}
}

// encodeMany is encode for what has elements.
func (p *printer) encodeMany(x string, sh *shape, depth int) {
	if sh.kind != kindArray {
		p.f("if %s {\n$b = $cborwire.AppendNil($b)\n} else {\n", p.isNil(x))
	}
	i := p.local("i", depth)
	switch sh.kind {
	case kindPointer:
		p.encode("(*"+x+")", sh.elem, depth)
	case kindList:
		p.f("$b = $cborwire.AppendArray($b, $len(%s))\nfor %s := range %[1]s {\n", x, i)
		p.encode(x+"["+i+"]", sh.elem, depth+1)
		p.f("}\n")
	case kindArray:
		p.f("$b = $cborwire.AppendArray($b, %d)\nfor %s := range %s {\n", sh.size, i, x)
		p.encode(x+"["+i+"]", sh.elem, depth+1)
	case kindMap:
		k, e := p.local("k", depth), p.local("value", depth)
		keys := "Keys"
		if sh.key.kind != kindString {
			keys = "IntKeys"
		}
		few := p.local("few", depth) // on the stack
		p.f("$b = $cborwire.AppendMap($b, $len(%s))\n", x)
		p.f("var %s [8]%s\nfor _, %s := range $cborwire.%s(%[1]s[:0], %[5]s) {\n", few, p.typ(sh.key.typ), k, keys, x)
		p.encode(k, sh.key, depth+1)
		p.f("%s := %s[%s]\n", e, x, k)
		p.encode(e, sh.elem, depth+1)
		p.f("}\n")
	}
	p.f("}\n")
}

// decodeBody prints the decoding of a struct's fields. d is an expression of type
// *Decoder.
func (p *printer) decodeBody(d, x string, sh *shape) {
	dot := strings.TrimPrefix(d, "&")
	if len(sh.fields) == 0 {
		p.f("if %s.Map() != 0 {\n%[1]s.Unusual()\n}\n", dot)
		return
	}
	const set = 64
	if sets := (len(sh.fields) + set - 1) / set; sets > 1 {
		p.f("var $seen [%d]$uint64\n", sets)
	} else {
		p.f("var $seen $uint64\n")
	}
	p.f("for range %s.Map() {\nswitch $string(%[1]s.Key()) {\n", dot)
	for i, f := range wireOrder(sh.fields) {
		p.f("case %q:\n", f.name)
		if len(sh.fields) > set {
			p.f("%s.Once(&$seen[%d], %d)\n", dot, i/set, i%set)
		} else {
			p.f("%s.Once(&$seen, %d)\n", dot, i)
		}
		p.decode(d, x+"."+f.selector(), f.shape, 0)
	}
	p.f("default:\n%s.Unusual()\n}\n}\n", dot)
}

// assign prints x = value, converted if x has a named type.
func (p *printer) assign(x string, t types.Type, basic types.BasicKind, value string) {
	if !types.Identical(t, types.Typ[basic]) {
		value = p.typ(t) + "(" + value + ")"
	}
	p.f("%s = %s\n", x, value)
}

// decode prints the decoding of a value into x, which is addressable.
func (p *printer) decode(d, x string, sh *shape, depth int) {
	dot := strings.TrimPrefix(d, "&")
	if sh.slow != "" || sh.kind == kindAny {
		p.f("%s.Any(%s)\n", dot, address(x))
		return
	}
	switch sh.kind {
	case kindBool:
		p.assign(x, sh.typ, types.Bool, dot+".Bool()")
	case kindInt:
		p.number(x, sh, dot+".Int", types.Int64)
	case kindUint:
		p.number(x, sh, dot+".Uint", types.Uint64)
	case kindFloat:
		if sh.bits == 32 {
			p.assign(x, sh.typ, types.Float32, dot+".Float32()")
		} else {
			p.assign(x, sh.typ, types.Float64, dot+".Float64()")
		}
	case kindString:
		p.assign(x, sh.typ, types.String, dot+".String()")
	case kindBytes:
		if sh.size >= 0 {
			p.f("%s.BytesInto(%s[:])\n", dot, x)
			return
		}
		p.f("if %s.Nil() {\n%s = %s\n} else {\n%[2]s = %[1]s.Bytes()\n}\n", dot, x, p.noneOf(sh))
	case kindTime:
		p.f("if !%s.Nil() {\n%s = %[1]s.Time()\n}\n", dot, x)
	case kindText:
		p.f("%s.Text(%s)\n", dot, address(x))
	case kindBinary:
		p.f("%s.Binary(%s)\n", dot, address(x))
	case kindStruct:
		p.f("decode%s(%s, %s)\n", p.helperFor(sh).name, d, address(x))
	default:
		p.decodeMany(d, x, sh, depth)
	}
}

// decodeMany is decode for what has elements.
func (p *printer) decodeMany(d, x string, sh *shape, depth int) {
	dot := strings.TrimPrefix(d, "&")
	i := p.local("i", depth)
	if sh.kind == kindArray {
		p.f("if %s.Array() != %d {\n%[1]s.Unusual()\n}\nfor %[3]s := range %[4]s {\n", dot, sh.size, i, x)
		p.decode(d, x+"["+i+"]", sh.elem, depth+1)
		p.f("}\n")
		return
	}
	p.f("if %s.Nil() {\n%s = %s\n} else {\n", dot, x, p.noneOf(sh))
	// If there is something already, the codec decodes into it. Leave that to the
	// codec, unless a pointer is to what is replaced completely.
	if sh.kind != kindPointer || !whole(sh.elem) {
		p.f("if %s {\n%s.Unusual()\n}\n", p.isSet(x), dot)
	}
	switch sh.kind {
	case kindPointer:
		ptr := p.local("ptr", depth)
		p.f("%s := %s\n", ptr, p.newOf(sh.elem.typ))
		p.decode(d, "(*"+ptr+")", sh.elem, depth+1)
		p.f("%s = %s\n}\n", x, ptr)
	case kindList:
		list := p.local("list", depth)
		p.f("%s := %s\nfor %s := range %[1]s {\n", list, p.makeOf(sh, dot+".Array()"), i)
		p.decode(d, list+"["+i+"]", sh.elem, depth+1)
		p.f("}\n%s = %s\n}\n", x, list)
	case kindMap:
		n, k, e, m := p.local("pairs", depth), p.local("k", depth), p.local("value", depth), p.local("m", depth)
		p.f("%s := %s.Map()\n%s := %s\nfor range %[1]s {\n", n, dot, m, p.makeOf(sh, n))
		p.f("var %s %s\n", k, p.typ(sh.key.typ))
		p.decode(d, k, sh.key, depth+1)
		p.f("var %s %s\n", e, p.typ(sh.elem.typ))
		p.decode(d, e, sh.elem, depth+1)
		p.f("%s[%s] = %s\n}\nif $len(%[1]s) != %[4]s {\n%[5]s.Unusual()\n}\n%[6]s = %[1]s\n}\n", m, k, e, n, dot, x)
	}
}

// whole reports whether decoding replaces a value completely.
func whole(sh *shape) bool {
	switch sh.kind {
	case kindBool, kindInt, kindUint, kindFloat, kindString:
		return true
	}
	return false
}

// number prints the decoding of an integer. The size of an int depends on where the
// code runs.
func (p *printer) number(x string, sh *shape, method string, widest types.BasicKind) {
	basic, _ := sh.typ.Underlying().(*types.Basic)
	call := method + "()"
	switch {
	case basic != nil && (basic.Kind() == types.Int || basic.Kind() == types.Uint):
		call = p.text("%sOf($strconv.IntSize)", method)
	case sh.bits < 64:
		call = fmt.Sprintf("%sOf(%d)", method, sh.bits)
	}
	p.assign(x, sh.typ, widest, call)
}
