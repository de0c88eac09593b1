package gen

import (
	"fmt"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/types/typeutil"
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
	kindNone   kind = "none" // of the JSON codec: it stores none, or reads none back
	// The kinds below are composite.
	kindPointer kind = "pointer"
	kindList    kind = "list"
	kindArray   kind = "array" // of size
	kindMap     kind = "map"
	kindStruct  kind = "struct"
)

// shape is how the values of a type are stored. That of a type that contains itself does
// too.
type shape struct {
	kind   kind
	bits   int
	size   int64 // of an array; -1 for a slice of bytes
	key    *shape
	elem   *shape
	fields []*field // of a struct; those that the default codec stores
	array  bool     // a struct with the option toarray: stored without names
	// by is the type whose methods encode or decode it, for kindText, kindBinary and
	// kindCBOR. json is the type that the JSON codec stores by its MarshalJSON.
	by, json string
	// inJSON is what the JSON codec stores in place of kindBinary and kindCBOR, unless
	// json says it. A kindText is that of the type itself.
	inJSON *shape
	// label is the name in a lock of a struct, and of what contains itself without one.
	label string

	typ types.Type // nil when read from a lock
	// slow is why only the default codec can encode and decode it, or "".
	slow string
}

// field is a field of a stored struct.
type field struct {
	name   string // the name under which the default codec stores it
	number bool   // with the option keyasint: the name is an integer
	json   string // the name under which the JSON codec stores it; "": it does not
	quoted bool   // the JSON codec puts the value in quotes: the option string

	path   []string // Go names, from the struct: several if it is embedded
	behind bool     // within an embedded pointer
	shape  *shape
	omit   string   // "", "empty" or "zero"
	was    []string // former stored names
	dflt   string   // Go expression for events that were stored without the field, or ""
	value  string   // dflt as a literal
	tags   []string // as a lock has them

	// What a lock remembers of stored events.
	omits   bool // a zero value may have been left out
	added   bool // events were stored before it was there
	null    bool // a null may be stored: it was a pointer
	dropped bool // it is gone

	v *types.Var
}

func (f *field) selector() string { return strings.Join(f.path, ".") }

// shaper finds the shapes of types. For a type that cannot be stored it returns an
// error with the path to it.
type shaper struct {
	pkg     *types.Package
	codec   codec   // whose shapes they are
	forJSON *shaper // one for the JSON codec
	structs map[types.Type]*structShape
	open    []*structShape // those that may yet turn out to contain themselves
	current *structShape   // the innermost around the present type
	depth   int            // of the present type within that struct
	circles typeutil.Map   // the shapes of other types that contain themselves
	parts   []*shape       // pointers, lists, arrays and maps: as slow as their elements
	maps    []mapAt        // those of which the keys are to be checked
}

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

// of returns the shape of a type.
func (s *shaper) of(t types.Type) (*shape, error) {
	sh, err := s.part(t, "")
	if err == nil {
		err = s.checkKeys()
	}
	if err != nil {
		*s = shaper{pkg: s.pkg} // some shapes are not complete
		return nil, err
	}
	for _, p := range s.parts { // elements come before what is made of them
		if p.slow == "" {
			p.slow = p.elem.slow
		}
	}
	s.parts = nil
	return sh, nil
}

// part returns the shape of a type within another; at is the path to it. Types that
// the generated code cannot name are left to the default codec.
func (s *shaper) part(t types.Type, at string) (*shape, error) {
	if s.depth++; s.depth > deepest {
		at, _, _ := strings.Cut(at, "[")
		return nil, &unsupportedError{at, fmt.Sprintf("its type is made of more than %d others within each other", deepest),
			"put a struct with a field in between, or store what it stands for, with MarshalText and UnmarshalText"}
	}
	bare := types.Unalias(t)
	sh, err := s.madeOfItself(bare, at)
	if err != nil {
		return nil, err
	}
	s.depth--
	plain := sh.kind == kindPointer || sh.kind == kindTime || sh.kind == kindBigInt || types.IsInterface(bare)
	if s.codec == byJSON {
		if !plain {
			sh.json = s.jsonMethods(bare, sh)
		}
		return sh, nil
	}
	switch sh.kind {
	case kindPointer, kindList, kindArray, kindMap:
		s.parts = append(s.parts, sh)
	}
	if !s.nameable(sh.typ) && s.nameable(t) {
		sh.typ = t // it has no name here, but an alias
	}
	if sh.slow == "" && !s.nameable(sh.typ) {
		sh.slow = "a type without a name here"
	}
	if plain {
		return sh, nil
	}
	if sh.json, err = s.ownJSON(bare, sh, at); err == nil && sh.json == "" && sh.encodes() {
		sh.inJSON, err = s.storedInJSON(bare, at)
	}
	return sh, err
}

// encodes reports whether it is a type with an encoding that the JSON codec does not use.
func (s *shape) encodes() bool { return s.kind == kindBinary || s.kind == kindCBOR }

// deepest is how many types that are no structs may be within each other.
const deepest = 200

// fullName returns the name of a type with the path of its package, if that is
// another one.
func (s *shaper) fullName(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == s.pkg {
			return ""
		}
		return p.Path()
	})
}

// madeOfItself is shapeOf for types such as type list []list, which contain themselves
// without a struct in between, and for all others. The shape of such a type is made once,
// and it has a name, as that of a struct has.
func (s *shaper) madeOfItself(t types.Type, at string) (*shape, error) {
	named, ok := t.(*types.Named)
	if !ok || !circular(named) {
		return s.shapeOf(t, at)
	}
	if behindPointers(t) == nil {
		return s.unsupported(at, fmt.Sprintf("a %s is a pointer to itself, and nothing else", s.name(t)), "use another type")
	}
	if sh, ok := s.circles.At(t).(*shape); ok {
		return sh, nil
	}
	sh := &shape{typ: t}
	s.circles.Set(t, sh)
	of, err := s.shapeOf(t, at)
	if err != nil {
		return nil, err
	}
	*sh = *of
	if sh.elem != nil { // it has no encoding of its own
		sh.label, sh.slow = s.name(t), "a type that contains itself"
	}
	return sh, nil
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
	refuse := func(why, remedy string) (*shape, error) { return s.unsupported(at, why, remedy) }
	if p, ok := t.Underlying().(*types.Pointer); ok {
		elem, err := s.part(p.Elem(), at)
		if err != nil {
			return nil, err
		}
		sh := &shape{kind: kindPointer, elem: elem, typ: t}
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
			return nil, &unsupportedError{at, "its type is not known", "correct the type, or generate the code that it comes from first"}
		}
		return refuse(fmt.Sprintf("a %s cannot be stored", s.name(t)), "store what it stands for as a string, a number or bytes")
	case *types.Slice:
		if isByte(u.Elem()) {
			return ofBytes(t, u.Elem(), -1, "a slice"), nil
		}
		elem, err := s.part(u.Elem(), at+"[]")
		if err != nil {
			return nil, err
		}
		return &shape{kind: kindList, elem: elem, typ: t}, nil
	case *types.Array:
		if isByte(u.Elem()) {
			return ofBytes(t, u.Elem(), u.Len(), "an array"), nil
		}
		elem, err := s.part(u.Elem(), at+"[]")
		if err != nil {
			return nil, err
		}
		return &shape{kind: kindArray, size: u.Len(), elem: elem, typ: t}, nil
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

func isBytes(t types.Type) bool { return byteOf(t) != nil }

// byteOf returns the type of the elements of a slice or an array of bytes, or nil.
func byteOf(t types.Type) types.Type {
	elems, ok := t.Underlying().(interface{ Elem() types.Type })
	switch t.Underlying().(type) {
	case *types.Slice, *types.Array:
		if ok && isByte(elems.Elem()) {
			return elems.Elem()
		}
	}
	return nil
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
			if s.codec == byCBOR && strings.HasPrefix(path, "github.com/fxamacker/cbor/") {
				return &shape{kind: kindCBOR, typ: t, by: s.fullName(t), slow: "a type of the codec's"}, nil
			}
		}
	}
	if types.IsInterface(t) {
		return nil, nil
	}
	if s.codec == byJSON {
		return s.specialInJSON(t), nil
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
		if err := s.whole(t, m.marshal, notStored, at); err != nil {
			return nil, err
		}
		sh := &shape{kind: m.kind, typ: t, by: s.fullName(t)}
		if m.kind == kindCBOR {
			sh.slow = "a type with MarshalCBOR"
		}
		return sh, nil
	}
	if s.has(t, "UnmarshalCBOR", unmarshalType) {
		if err := s.whole(t, "UnmarshalCBOR", notRead, at); err != nil {
			return nil, err
		}
	}
	return s.readByItself(t), nil
}

// readByItself returns the shape of a type that is stored like any of its kind, and
// read by a method. nil: it has none that the default codec would call.
func (s *shaper) readByItself(t types.Type) *shape {
	b, isBasic := t.Underlying().(*types.Basic)
	var k kind
	switch {
	case s.has(t, "UnmarshalCBOR", unmarshalType):
		k = kindCBOR
	case s.has(t, "UnmarshalText", unmarshalType) && isBasic && b.Info()&types.IsString != 0:
		k = kindText
	case s.has(t, "UnmarshalBinary", unmarshalType) && isBytes(t):
		k = kindBinary
	default:
		return nil
	}
	return &shape{kind: k, typ: t, by: s.fullName(t), slow: "a type that reads what it does not write"}
}

func (s *shaper) ofMap(t types.Type, u *types.Map, at string) (*shape, error) {
	key, err := s.part(u.Key(), at+"[key]")
	if err != nil {
		return nil, err
	}
	elem, err := s.part(u.Elem(), at+"[]")
	if err != nil {
		return nil, err
	}
	sh := &shape{kind: kindMap, key: key, elem: elem, typ: t}
	s.maps = append(s.maps, mapAt{sh, at})
	switch key.kind {
	case kindString, kindInt, kindUint:
	default:
		sh.slow = "a map by " + s.name(u.Key())
	}
	return sh, nil
}

// mapAt is a map, and the path to it.
type mapAt struct {
	*shape
	at string
}

// checkKeys refuses maps by pointers, or by what contains some: other keys are read than
// were stored. It looks at structs that were not complete when the maps were met.
func (s *shaper) checkKeys() error {
	for _, m := range s.maps {
		switch {
		case m.key.kind == kindPointer:
			return &unsupportedError{m.at, "a map by pointers would be read back with other keys", "use what they point to as the key"}
		case m.key.hasPointers():
			return &unsupportedError{m.at, fmt.Sprintf("a map by %s, which contains pointers, would be read back with other keys", s.name(m.key.typ)),
				"use a key with what they point to"}
		}
	}
	s.maps = nil
	return nil
}

// hasPointers reports whether values of a shape, which can be keys, contain pointers that
// are stored.
func (s *shape) hasPointers() bool {
	return s.kind == kindPointer || s.kind == kindArray && s.elem.hasPointers() ||
		slices.ContainsFunc(s.fields, func(f *field) bool { return f.behind || f.shape.hasPointers() })
}
