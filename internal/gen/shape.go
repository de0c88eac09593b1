package gen

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// kind is how a value is stored.
type kind string

const (
	kindBool   kind = "bool"
	kindInt    kind = "int"   // with bits
	kindUint   kind = "uint"  // with bits
	kindFloat  kind = "float" // with bits
	kindString kind = "string"
	kindBytes  kind = "bytes" // a slice, or an array of size
	kindTime   kind = "time"
	kindText   kind = "text"   // by MarshalText
	kindBinary kind = "binary" // by MarshalBinary
	kindCBOR   kind = "cbor"   // by MarshalCBOR, with any contents
	kindBigInt kind = "bigint"
	kindAny    kind = "any"
	kindRef    kind = "ref" // the enclosing struct so many structs further out
	// The kinds below are composite.
	kindPointer kind = "pointer"
	kindList    kind = "list"
	kindArray   kind = "array" // of size
	kindMap     kind = "map"
	kindStruct  kind = "struct"
)

// shape is how the values of a type are stored.
type shape struct {
	kind   kind
	bits   int
	size   int64 // of an array; -1 for a slice of bytes
	key    *shape
	elem   *shape
	fields []*field
	up     int // of kindRef

	typ types.Type // nil when read from a lock
	// counted says that a kindRef may mean it though it is no struct, as it is made of
	// itself: type list []list.
	counted bool
	// slow is why only the default codec can encode and decode it, or "".
	slow string
}

// field is a field of a stored struct.
type field struct {
	name  string   // the stored name
	path  []string // Go names, from the struct: several if it is embedded
	shape *shape
	omit  string // "", "empty" or "zero"

	was     []string // former stored names
	dflt    string   // Go literal for events that were stored without the field, or ""
	dropped bool     // only in a lock

	v      *types.Var
	tagged bool
}

func (f *field) selector() string { return strings.Join(f.path, ".") }

// shaper finds the shapes of types. For a type that cannot be stored it returns an
// error with the path to it.
type shaper struct {
	pkg   *types.Package
	outer []types.Type // the structs being visited, and other types made of themselves
	depth int          // of the type being visited within the event
	count int          // of types visited within the event
}

// Limits of an event, so that types that grow with each level, and those that refer to
// each other in very many ways, have an end.
const (
	deepest   = 200
	mostTypes = 1 << 16
)

// unsupportedError is about a part of a payload that cannot be stored or read back.
type unsupportedError struct{ at, why, remedy string }

func (e *unsupportedError) Error() string {
	return fmt.Sprintf("field %s: %s; %s", e.at, e.why, e.remedy)
}

func (s *shaper) name(t types.Type) string {
	name := types.TypeString(t, func(p *types.Package) string {
		if p == s.pkg {
			return ""
		}
		return p.Name()
	})
	return strings.ReplaceAll(name, "_Ctype_", "C.") // as it is before cgo
}

// of returns the shape of a type; at is the path to it. Types that the generated
// code cannot name are left to the default codec.
func (s *shaper) of(t types.Type, at string) (*shape, error) {
	if at == "" {
		s.count = 0
	}
	s.count++
	s.depth++
	defer func() { s.depth-- }()
	if s.depth > deepest || s.count > mostTypes {
		field, _, _ := strings.Cut(at, ".")
		field, _, _ = strings.Cut(field, "[")
		return nil, &unsupportedError{field, fmt.Sprintf("its type is made of more than %d others, or of more than %d within each other", mostTypes, deepest),
			"store what it stands for, with MarshalText and UnmarshalText or as any"}
	}
	bare := types.Unalias(t)
	sh, err := s.madeOfItself(bare, at)
	if err == nil && !s.nameable(bare) {
		sh.typ = t // perhaps an alias has a name
	}
	if err == nil && sh.slow == "" && !s.nameable(t) {
		sh.slow = "a type without a name here"
	}
	return sh, err
}

// madeOfItself is shapeOf for types such as type list []list, which contain themselves
// without a struct in between, and for all others.
func (s *shaper) madeOfItself(t types.Type, at string) (*shape, error) {
	named, ok := t.(*types.Named)
	if !ok || !circular(named) {
		return s.shapeOf(t, at)
	}
	if i := slices.IndexFunc(s.outer, func(o types.Type) bool { return types.Identical(o, t) }); i >= 0 {
		return &shape{kind: kindRef, up: len(s.outer) - 1 - i, typ: t, slow: "a type that contains itself"}, nil
	}
	if behindPointers(t) == nil {
		return nil, &unsupportedError{at, fmt.Sprintf("a %s is a pointer to itself, and nothing else", s.name(t)), "use another type"}
	}
	s.outer = append(s.outer, t)
	defer func() { s.outer = s.outer[:len(s.outer)-1] }()
	sh, err := s.shapeOf(t, at)
	if err == nil {
		sh.counted = true
	}
	return sh, err
}

// circular reports whether a type contains itself without a struct in between.
func circular(t *types.Named) bool {
	seen := map[types.Type]bool{}
	for within := []types.Type{t}; len(within) > 0 && len(seen) < deepest; within = within[1:] {
		in := types.Unalias(within[0])
		if named, ok := in.(*types.Named); ok && len(seen) > 0 && named.Obj() == t.Obj() && types.Identical(named, t) {
			return true
		}
		if seen[in] {
			continue
		}
		seen[in] = true
		switch u := in.Underlying().(type) {
		case *types.Pointer:
			within = append(within, u.Elem())
		case *types.Slice:
			within = append(within, u.Elem())
		case *types.Array:
			within = append(within, u.Elem())
		case *types.Map:
			within = append(within, u.Key(), u.Elem())
		}
	}
	return false
}

// behindPointers returns what is behind a pointer, however many there are; nil: there
// are pointers alone.
func behindPointers(t types.Type) types.Type {
	for range deepest {
		p, ok := t.Underlying().(*types.Pointer)
		if !ok {
			return types.Unalias(t)
		}
		t = p.Elem()
	}
	return nil
}

func (s *shaper) shapeOf(t types.Type, at string) (*shape, error) {
	refuse := func(why, remedy string) (*shape, error) { return nil, &unsupportedError{at, why, remedy} }
	if p, ok := t.Underlying().(*types.Pointer); ok {
		elem, err := s.of(p.Elem(), at)
		if err != nil {
			return nil, err
		}
		sh := &shape{kind: kindPointer, elem: elem, typ: t, slow: elem.slow}
		if _, named := t.(*types.Named); named {
			sh.slow = "a named pointer type"
		}
		return sh, nil
	}
	if sh, err := s.special(t, at); sh != nil || err != nil {
		return sh, err
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if sh := basic(u); sh != nil {
			sh.typ = t
			return sh, nil
		}
		if u.Kind() == types.Invalid {
			return refuse("its type is not known", "correct the type, or generate the code that it comes from first")
		}
		return refuse(fmt.Sprintf("a %s cannot be stored", s.name(t)), "store what it stands for as a string, a number or bytes")
	case *types.Slice:
		if isByte(u.Elem()) {
			return ofBytes(t, u.Elem(), -1, "a slice"), nil
		}
		elem, err := s.of(u.Elem(), at+"[]")
		if err != nil {
			return nil, err
		}
		return &shape{kind: kindList, elem: elem, typ: t, slow: elem.slow}, nil
	case *types.Array:
		if isByte(u.Elem()) {
			return ofBytes(t, u.Elem(), u.Len(), "an array"), nil
		}
		elem, err := s.of(u.Elem(), at+"[]")
		if err != nil {
			return nil, err
		}
		return &shape{kind: kindArray, size: u.Len(), elem: elem, typ: t, slow: elem.slow}, nil
	case *types.Map:
		return s.ofMap(t, u, at)
	case *types.Struct:
		return s.ofStruct(t, u, at)
	case *types.Interface:
		if u.Empty() {
			return &shape{kind: kindAny, typ: t}, nil
		}
		return refuse(fmt.Sprintf("the interface %s has methods, and what it held cannot be read back", s.name(t)),
			"use a struct with a field for each kind, or any")
	case *types.Chan, *types.Signature:
		return refuse(fmt.Sprintf("a %s cannot be stored", s.name(t)), `leave it out of the event, or tag it json:"-"`)
	}
	return refuse(fmt.Sprintf("a %s cannot be stored", s.name(t)), "use another type")
}

// basic returns the shape of a basic type, or nil.
func basic(b *types.Basic) *shape {
	switch b.Kind() {
	case types.Bool:
		return &shape{kind: kindBool}
	case types.String:
		return &shape{kind: kindString}
	case types.Int, types.Int64:
		return &shape{kind: kindInt, bits: 64}
	case types.Int8:
		return &shape{kind: kindInt, bits: 8}
	case types.Int16:
		return &shape{kind: kindInt, bits: 16}
	case types.Int32:
		return &shape{kind: kindInt, bits: 32}
	case types.Uint, types.Uint64:
		return &shape{kind: kindUint, bits: 64}
	case types.Uint8:
		return &shape{kind: kindUint, bits: 8}
	case types.Uint16:
		return &shape{kind: kindUint, bits: 16}
	case types.Uint32:
		return &shape{kind: kindUint, bits: 32}
	case types.Float32:
		return &shape{kind: kindFloat, bits: 32}
	case types.Float64:
		return &shape{kind: kindFloat, bits: 64}
	}
	return nil
}

// ofBytes returns the shape of a slice of bytes, with size -1, or of an array of
// bytes.
func ofBytes(t, elem types.Type, size int64, what string) *shape {
	sh := &shape{kind: kindBytes, size: size, typ: t}
	if !types.Identical(elem, types.Typ[types.Byte]) {
		sh.slow = what + " of a named byte type"
	}
	return sh
}

func isByte(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Kind() == types.Uint8
}

// special returns the shape of a type with its own encoding: one that the default
// codec knows, or one with marshalling methods. nil: neither.
func (s *shaper) special(t types.Type, at string) (*shape, error) {
	if named, ok := t.(*types.Named); ok && named.Obj().Pkg() != nil {
		switch path := named.Obj().Pkg().Path(); path + "." + named.Obj().Name() {
		case "time.Time":
			return &shape{kind: kindTime, typ: t}, nil
		case "math/big.Int":
			return &shape{kind: kindBigInt, typ: t, slow: "a big.Int"}, nil
		default:
			if strings.HasPrefix(path, "github.com/fxamacker/cbor/") {
				return &shape{kind: kindCBOR, typ: t, slow: "a type of the codec's"}, nil
			}
		}
	}
	if types.IsInterface(t) {
		return nil, nil
	}
	for _, m := range []struct {
		kind            kind
		marshal, decode string
	}{
		{kindCBOR, "MarshalCBOR", "UnmarshalCBOR"},
		{kindBinary, "MarshalBinary", "UnmarshalBinary"},
		{kindText, "MarshalText", "UnmarshalText"},
	} {
		if !s.has(t, m.marshal, marshalType) {
			continue
		}
		if !s.has(t, m.decode, unmarshalType) {
			return nil, &unsupportedError{
				at, fmt.Sprintf("%s has %s and no %s, so what is stored could not be read back", s.name(t), m.marshal, m.decode),
				"add the method",
			}
		}
		sh := &shape{kind: m.kind, typ: t}
		if m.kind == kindCBOR {
			sh.slow = "a type with MarshalCBOR"
		}
		return sh, nil
	}
	return nil, nil
}

var (
	bytesType     = types.NewSlice(types.Typ[types.Byte])
	errorType     = types.Universe.Lookup("error").Type()
	marshalType   = signature(nil, []types.Type{bytesType, errorType})
	unmarshalType = signature([]types.Type{bytesType}, []types.Type{errorType})
)

func signature(params, results []types.Type) *types.Signature {
	tuple := func(ts []types.Type) *types.Tuple {
		vars := make([]*types.Var, len(ts))
		for i, t := range ts {
			vars[i] = types.NewParam(0, nil, "", t)
		}
		return types.NewTuple(vars...)
	}
	return types.NewSignatureType(nil, nil, nil, tuple(params), tuple(results), false)
}

// has reports whether a pointer to t has a method with this name and signature.
func (s *shaper) has(t types.Type, name string, sig *types.Signature) bool {
	m, _, _ := types.LookupFieldOrMethod(types.NewPointer(t), false, s.pkg, name)
	f, ok := m.(*types.Func)
	return ok && types.Identical(f.Signature(), sig)
}

// byValue reports whether t itself has the method.
func byValue(t types.Type, name string) bool {
	m, _, indirect := types.LookupFieldOrMethod(t, false, nil, name)
	_, ok := m.(*types.Func)
	return ok && !indirect
}

func (s *shaper) ofMap(t types.Type, u *types.Map, at string) (*shape, error) {
	key, err := s.of(u.Key(), at+"[key]")
	if err != nil {
		return nil, err
	}
	elem, err := s.of(u.Elem(), at+"[]")
	if err != nil {
		return nil, err
	}
	sh := &shape{kind: kindMap, key: key, elem: elem, typ: t, slow: elem.slow}
	switch key.kind {
	case kindString, kindInt, kindUint:
	case kindPointer:
		return nil, &unsupportedError{at, "a map by pointers would be read back with other keys", "use what they point to as the key"}
	default:
		sh.slow = "a map by " + s.name(u.Key())
	}
	return sh, nil
}
