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
	for _, h := range p.helpers {
		if types.Identical(h.shape.typ, sh.typ) {
			return h
		}
	}
	base := "Struct"
	if named, ok := types.Unalias(sh.typ).(*types.Named); ok {
		base = named.Obj().Name()
		if pkg := named.Obj().Pkg(); pkg != nil && pkg != p.pkg.Types {
			base = exportedIdent(pkg.Name()) + base
		}
		base = strings.ToUpper(base[:1]) + base[1:]
	}
	name := base + "CBOR"
	for i := 2; p.names["append"+name] || p.names["decode"+name]; i++ {
		name = base + strconv.Itoa(i) + "CBOR"
	}
	p.names["append"+name], p.names["decode"+name] = true, true
	h := &helper{shape: sh, name: name}
	p.helpers = append(p.helpers, h)
	return h
}

// helper prints the two functions of a struct.
func (p *printer) helper(h *helper) {
	typ := p.typ(h.shape.typ)
	p.f("\nfunc append%s(b []byte, v *%s) ([]byte, error) {\n", h.name, typ)
	p.appendBody("v", h.shape)
	p.f("return b, nil\n}\n")
	p.f("\nfunc decode%s(d *%s.Decoder, v *%s) {\n", h.name, p.wire(), typ)
	p.decodeBody("d", "v", h.shape)
	p.f("}\n")
}

// codec prints the methods that encode and decode an event.
func (p *printer) codec(e *event) {
	p.f("\n// AppendCBOR adds the event to b as evento.CBOR writes it.\n")
	p.f("func (e %s) AppendCBOR(b []byte) ([]byte, error) {\n", e.ident)
	p.appendBody("e", e.shape)
	p.f("return b, nil\n}\n")
	p.f("\n// DecodeCBOR decodes what AppendCBOR writes, and leaves the rest to evento.CBOR.\n")
	p.f("func (e *%s) DecodeCBOR(data []byte) (bool, error) {\n", e.ident)
	p.f("d, v := %s.NewDecoder(data), *e\n", p.wire())
	p.decodeBody("&d", "v", e.shape)
	p.f("if !d.End() {\nreturn false, nil\n}\n*e = v\nreturn true, nil\n}\n")
}

// appendBody prints the encoding of a struct's fields.
func (p *printer) appendBody(x string, sh *shape) {
	wire := p.wire()
	if usesErr(sh) {
		p.f("var err error\n")
	}
	fields := wireOrder(sh.fields)
	always := 0
	for _, f := range fields {
		if present(x+"."+f.selector(), f) == "" {
			always++
		}
	}
	if always == len(fields) {
		p.f("b = %s.AppendMap(b, %d)\n", wire, always)
	} else {
		p.f("n := %d\n", always)
		for _, f := range fields {
			if cond := present(x+"."+f.selector(), f); cond != "" {
				p.f("if %s {\nn++\n}\n", cond)
			}
		}
		p.f("b = %s.AppendMap(b, n)\n", wire)
	}
	for _, f := range fields {
		cond := present(x+"."+f.selector(), f)
		if cond != "" {
			p.f("if %s {\n", cond)
		}
		p.f("b = append(b, %s...)\n", encodedName(f.name))
		p.encode(x+"."+f.selector(), f.shape, 0)
		if cond != "" {
			p.f("}\n")
		}
	}
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
func present(x string, f *field) string {
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
		return x + " != nil"
	case kindTime:
		if f.omit == "zero" {
			return "!" + x + ".IsZero()"
		}
	case kindList, kindMap, kindBytes, kindArray:
		if f.omit == "zero" {
			return x + " != nil"
		}
		return "len(" + x + ") != 0"
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

// local returns a variable name for a depth of nested blocks.
func local(name string, depth int) string {
	if depth == 0 {
		return name
	}
	return name + strconv.Itoa(depth+1)
}

// convert returns x converted to a basic type.
func convert(x string, t types.Type, basic types.BasicKind) string {
	if types.Identical(t, types.Typ[basic]) {
		return x
	}
	return types.Typ[basic].Name() + "(" + x + ")"
}

// try prints a call that may fail.
func (p *printer) try(format string, args ...any) {
	p.f("if b, err = "+format+"; err != nil {\nreturn b, err\n}\n", args...)
}

// encode prints the encoding of a value. The expression x is addressable.
func (p *printer) encode(x string, sh *shape, depth int) {
	wire := p.wire()
	if sh.slow != "" {
		p.try("%s.AppendAny(b, %s)", wire, x)
		return
	}
	switch sh.kind {
	case kindBool:
		p.f("b = %s.AppendBool(b, %s)\n", wire, convert(x, sh.typ, types.Bool))
	case kindInt:
		p.f("b = %s.AppendInt(b, %s)\n", wire, convert(x, sh.typ, types.Int64))
	case kindUint:
		p.f("b = %s.AppendUint(b, %s)\n", wire, convert(x, sh.typ, types.Uint64))
	case kindFloat:
		if sh.bits == 32 {
			p.f("b = %s.AppendFloat32(b, %s)\n", wire, convert(x, sh.typ, types.Float32))
		} else {
			p.f("b = %s.AppendFloat64(b, %s)\n", wire, convert(x, sh.typ, types.Float64))
		}
	case kindString:
		p.f("b = %s.AppendString(b, %s)\n", wire, convert(x, sh.typ, types.String))
	case kindBytes:
		if sh.size >= 0 {
			x += "[:]"
		}
		p.f("b = %s.AppendBytes(b, %s)\n", wire, x)
	case kindTime:
		p.try("%s.AppendTime(b, %s)", wire, x)
	case kindText:
		if !byValue(sh.typ, "MarshalText") {
			x = address(x)
		}
		p.try("%s.AppendText(b, %s)", wire, x)
	case kindBinary:
		if !byValue(sh.typ, "MarshalBinary") {
			x = address(x)
		}
		p.try("%s.AppendBinary(b, %s)", wire, x)
	case kindAny:
		p.try("%s.AppendAny(b, %s)", wire, x)
	case kindPointer:
		p.f("if %s == nil {\nb = %s.AppendNil(b)\n} else {\n", x, wire)
		p.encode("(*"+x+")", sh.elem, depth)
		p.f("}\n")
	case kindList:
		i := local("i", depth)
		p.f("if %s == nil {\nb = %s.AppendNil(b)\n} else {\n", x, wire)
		p.f("b = %s.AppendArray(b, len(%s))\nfor %s := range %[2]s {\n", wire, x, i)
		p.encode(x+"["+i+"]", sh.elem, depth+1)
		p.f("}\n}\n")
	case kindArray:
		i := local("i", depth)
		p.f("b = %s.AppendArray(b, %d)\nfor %s := range %s {\n", wire, sh.size, i, x)
		p.encode(x+"["+i+"]", sh.elem, depth+1)
		p.f("}\n")
	case kindMap:
		k, e := local("k", depth), local("value", depth)
		keys := "Keys"
		if sh.key.kind != kindString {
			keys = "IntKeys"
		}
		p.f("if %s == nil {\nb = %s.AppendNil(b)\n} else {\n", x, wire)
		p.f("b = %s.AppendMap(b, len(%s))\n", wire, x)
		few := local("few", depth) // on the stack
		p.f("var %s [8]%s\nfor _, %s := range %s.%s(%[1]s[:0], %[6]s) {\n", few, p.typ(sh.key.typ), k, wire, keys, x)
		p.encode(k, sh.key, depth+1)
		p.f("%s := %s[%s]\n", e, x, k)
		p.encode(e, sh.elem, depth+1)
		p.f("}\n}\n")
	case kindStruct:
		p.try("append%s(b, %s)", p.helperFor(sh).name, address(x))
	}
}

// decodeBody prints the decoding of a struct's fields. d is an expression of type
// *Decoder.
func (p *printer) decodeBody(d, x string, sh *shape) {
	dot := strings.TrimPrefix(d, "&")
	if len(sh.fields) == 0 {
		p.f("if %s.Map() != 0 {\n%[1]s.Unusual()\n}\n", dot)
		if x == "v" {
			p.f("_ = v\n")
		}
		return
	}
	const set = 64
	if sets := (len(sh.fields) + set - 1) / set; sets > 1 {
		p.f("var seen [%d]uint64\n", sets)
	} else {
		p.f("var seen uint64\n")
	}
	p.f("for range %s.Map() {\nswitch string(%[1]s.Key()) {\n", dot)
	for i, f := range wireOrder(sh.fields) {
		p.f("case %q:\n", f.name)
		if len(sh.fields) > set {
			p.f("%s.Once(&seen[%d], %d)\n", dot, i/set, i%set)
		} else {
			p.f("%s.Once(&seen, %d)\n", dot, i)
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
		p.f("if %s.Nil() {\n%s = nil\n} else {\n%[2]s = %[1]s.Bytes()\n}\n", dot, x)
	case kindTime:
		p.f("if !%s.Nil() {\n%s = %[1]s.Time()\n}\n", dot, x)
	case kindText:
		p.f("%s.Text(%s)\n", dot, address(x))
	case kindBinary:
		p.f("%s.Binary(%s)\n", dot, address(x))
	case kindPointer:
		// If the pointer is not nil, the codec decodes into what it points to.
		// Leave that to the codec, unless the value is replaced completely.
		ptr := local("ptr", depth)
		p.f("if %s.Nil() {\n%s = nil\n} else {\n", dot, x)
		if !whole(sh.elem) {
			p.f("if %s != nil {\n%s.Unusual()\n}\n", x, dot)
		}
		p.f("%s := new(%s)\n", ptr, p.typ(sh.elem.typ))
		p.decode(d, "(*"+ptr+")", sh.elem, depth+1)
		p.f("%s = %s\n}\n", x, ptr)
	case kindList:
		i, list := local("i", depth), local("list", depth)
		p.f("if %s.Nil() {\n%s = nil\n} else {\nif %[2]s != nil {\n%[1]s.Unusual()\n}\n", dot, x)
		p.f("%s := make(%s, %s.Array())\nfor %s := range %[1]s {\n", list, p.typ(sh.typ), dot, i)
		p.decode(d, list+"["+i+"]", sh.elem, depth+1)
		p.f("}\n%s = %s\n}\n", x, list)
	case kindArray:
		i := local("i", depth)
		p.f("if %s.Array() != %d {\n%[1]s.Unusual()\n}\nfor %[3]s := range %[4]s {\n", dot, sh.size, i, x)
		p.decode(d, x+"["+i+"]", sh.elem, depth+1)
		p.f("}\n")
	case kindMap:
		n, k, e, m := local("pairs", depth), local("k", depth), local("value", depth), local("m", depth)
		p.f("if %s.Nil() {\n%s = nil\n} else {\nif %[2]s != nil {\n%[1]s.Unusual()\n}\n", dot, x)
		p.f("%s := %s.Map()\n%s := make(%s, %[1]s)\nfor range %[1]s {\n", n, dot, m, p.typ(sh.typ))
		p.f("var %s %s\n", k, p.typ(sh.key.typ))
		p.decode(d, k, sh.key, depth+1)
		p.f("var %s %s\n", e, p.typ(sh.elem.typ))
		p.decode(d, e, sh.elem, depth+1)
		p.f("%s[%s] = %s\n}\nif len(%[1]s) != %[4]s {\n%[5]s.Unusual()\n}\n%[6]s = %[1]s\n}\n", m, k, e, n, dot, x)
	case kindStruct:
		p.f("decode%s(%s, %s)\n", p.helperFor(sh).name, d, address(x))
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
		call = fmt.Sprintf("%sOf(%s.IntSize)", method, p.use("strconv", "strconv"))
	case sh.bits < 64:
		call = fmt.Sprintf("%sOf(%d)", method, sh.bits)
	}
	p.assign(x, sh.typ, widest, call)
}
