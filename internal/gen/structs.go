package gen

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// structShape is the shape of a struct, which is made once for each type.
type structShape struct {
	*shape
	number int // in the order in which they were begun
	// back is the lowest number of an open struct that it leads to.
	back   int
	itself bool // it contains itself directly
	closed bool // it is known which structs contain each other
}

// ofStruct returns the shape of a struct, also of one that is not complete yet
// because it contains itself. Structs that contain each other are found as Tarjan
// finds the components of a graph: they are left to the default codec, as only the
// codec detects cycles.
func (s *shaper) ofStruct(t types.Type, u *types.Struct, at string) (*shape, error) {
	if st := s.known(t); st != nil {
		if !st.closed {
			s.current.back = min(s.current.back, st.number)
			st.itself = st.itself || st == s.current
		}
		return st.shape, nil
	}
	st := &structShape{shape: &shape{kind: kindStruct, typ: t, label: s.label(t, at)}, number: len(s.structs)}
	st.back = st.number
	if s.structs == nil {
		s.structs = map[types.Type]*structShape{}
	}
	s.structs[t] = st
	s.open = append(s.open, st)
	current, depth := s.current, s.depth
	s.current, s.depth = st, 0
	if err := s.fillStruct(st.shape, u, at); err != nil {
		return nil, err
	}
	s.current, s.depth = current, depth
	if st.back < st.number {
		current.back = min(current.back, st.back)
		return st.shape, nil
	}
	first := slices.Index(s.open, st)
	for _, o := range s.open[first:] {
		o.closed = true
		if st.itself || o != st {
			o.slow = "a type that contains itself"
			st.slow = o.slow
		}
	}
	s.open = s.open[:first]
	return st.shape, nil
}

// label returns a name for a struct: that of its type or, if it has none, the path to
// it.
func (s *shaper) label(t types.Type, at string) string {
	if _, named := t.(*types.Named); named {
		return s.name(t)
	}
	return strings.ReplaceAll(at, "[]", "")
}

// known returns what is known of a struct, or nil. Two instances of a generic type
// may be identical.
func (s *shaper) known(t types.Type) *structShape {
	if st := s.structs[t]; st != nil {
		return st
	}
	if named, ok := t.(*types.Named); ok && named.TypeArgs() != nil {
		for o, st := range s.structs {
			if types.Identical(o, t) {
				return st
			}
		}
	}
	return nil
}

// fillStruct finds the fields of a struct.
func (s *shaper) fillStruct(sh *shape, u *types.Struct, at string) error {
	if s.codec == byJSON {
		fields, err := s.fieldsInJSON(sh.typ, u, at)
		if err != nil {
			return err
		}
		return s.fillFields(sh, fields, at)
	}
	fields, slow, err := s.fieldsOf(sh.typ, u, at)
	if err != nil {
		return err
	}
	sh.slow = slow
	array, err := s.arrayOption(sh.typ, u, at)
	if err != nil {
		return err
	}
	if array {
		sh.array, sh.slow = true, "a struct with the option toarray"
	}
	if len(fields) == 0 && u.NumFields() > 0 {
		return &unsupportedError{at, fmt.Sprintf("nothing of %s would be stored: it has no exported fields", s.name(sh.typ)),
			"export its fields, or give it MarshalText and UnmarshalText"}
	}
	return s.fillFields(sh, fields, at)
}

// fillFields finds the shapes of the fields of a struct.
func (s *shaper) fillFields(sh *shape, fields []*field, at string) (err error) {
	for _, f := range fields {
		fieldAt := f.selector()
		if at != "" {
			fieldAt = at + "." + fieldAt
		}
		if f.shape, err = s.part(f.v.Type(), fieldAt); err != nil {
			return err
		}
		if why := slowOmit(f); why != "" {
			sh.slow = why
		}
	}
	sh.fields = fields
	return nil
}

// slowOmit returns why only the default codec can decide whether a field is
// omitted.
func slowOmit(f *field) string {
	sh := f.shape
	switch f.omit {
	case "empty":
		switch sh.kind {
		case kindText, kindBinary, kindCBOR:
			return "omitempty on a type with its own encoding"
		case kindStruct:
			if !slices.ContainsFunc(sh.fields, func(f *field) bool { return f.omit != "empty" }) {
				return "omitempty on a struct that may be empty"
			}
		}
	case "zero":
		switch sh.kind {
		case kindBool, kindInt, kindUint, kindString, kindList, kindMap:
			if hasIsZero(sh.typ) {
				return "omitzero on a type with IsZero"
			}
		case kindTime:
		case kindPointer, kindBytes:
			if sh.kind == kindBytes && sh.size >= 0 || hasIsZero(sh.typ) {
				return "omitzero on a type with IsZero"
			}
		default:
			return "omitzero on a type that has no plain zero"
		}
	}
	return ""
}

func hasIsZero(t types.Type) bool {
	if _, ok := t.Underlying().(*types.Pointer); !ok {
		t = types.NewPointer(t)
	}
	m, _, _ := types.LookupFieldOrMethod(t, false, nil, "IsZero")
	return m != nil
}
