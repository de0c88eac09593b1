// The methods by which types encode and decode themselves.

package gen

import (
	"cmp"
	"fmt"
	"go/types"
	"reflect"
)

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

// promoted returns the method that a pointer to a struct has from what the struct
// embeds, and the field that embeds it. nil: it has none, or one of its own.
func promoted(t types.Type, name string, from *types.Package) (method *types.Func, of *types.Var) {
	m, index, _ := types.LookupFieldOrMethod(types.NewPointer(t), false, from, name)
	f, isMethod := m.(*types.Func)
	u, isStruct := t.Underlying().(*types.Struct)
	if !isMethod || !isStruct || len(index) < 2 {
		return nil, nil
	}
	return f, u.Field(index[0])
}

// whole refuses a struct of which a method stores or reads the part alone that it has the
// method from, by being embedded.
func (s *shaper) whole(t types.Type, method, why, at string) error {
	_, of := promoted(t, method, s.pkg)
	if of == nil {
		return nil
	}
	u, _ := t.Underlying().(*types.Struct)
	for i := range u.NumFields() {
		v := u.Field(i)
		if v != of && (v.Exported() || v.Embedded()) && reflect.StructTag(u.Tag(i)).Get("json") != "-" {
			return &unsupportedError{at, fmt.Sprintf("%s has %s from its embedded %s, %s", s.name(t), method, of.Name(), why),
				"give the embedded field a name, or write the method for all of it"}
		}
	}
	return nil
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

// ownJSON returns the name of a type that the JSON codec stores in a way of its own,
// or "". sh is how the default codec stores it.
func (s *shaper) ownJSON(t types.Type, sh *shape, at string) (string, error) {
	name := s.jsonMethods(t, sh)
	if name == "" {
		return "", nil
	}
	return name, cmp.Or(s.whole(t, "MarshalJSON", notStored+byJSONToo, at), s.whole(t, "UnmarshalJSON", notRead+byJSONToo, at))
}

// jsonMethods returns the name of a type that the JSON codec stores in a way of its own,
// or "". sh is its shape otherwise, as far as that is known.
func (s *shaper) jsonMethods(t types.Type, sh *shape) string {
	name := s.fullName(t)
	if name == "encoding/json.Number" || s.has(t, "MarshalJSON", marshalType) || s.has(t, "UnmarshalJSON", unmarshalType) {
		return name
	}
	if sh != nil && !sh.encodes() && sh.kind != kindText && sh.kind != kindNone && s.has(t, "UnmarshalText", unmarshalType) {
		return name // the JSON codec reads texts alone, and writes something else
	}
	elem := byteOf(t)
	if sh != nil && sh.kind == kindBytes && (s.has(elem, "MarshalJSON", marshalType) || s.has(elem, "UnmarshalJSON", unmarshalType) ||
		s.has(elem, "MarshalText", marshalType) || s.has(elem, "UnmarshalText", unmarshalType)) {
		return name // as a list of what its elements are stored as
	}
	return ""
}

const (
	notStored = "so that nothing else of it would be stored"
	notRead   = "so that nothing else of it would be read back"
	byJSONToo = " by the JSON codec"
)

// standing are the methods that an event must not have from what it embeds: they are
// called for all of it, and do what is right for a part. Without a signature, any is.
var standing = []struct {
	name string
	sig  *types.Signature
	why  string
}{
	{"MarshalCBOR", marshalType, notStored},
	{"MarshalBinary", marshalType, notStored},
	{"MarshalText", marshalType, notStored},
	{"MarshalJSON", marshalType, notStored + byJSONToo},
	{"UnmarshalCBOR", unmarshalType, notRead},
	{"UnmarshalJSON", unmarshalType, notRead + byJSONToo},
	{"AppendCBOR", nil, notStored},
	{"DecodeCBOR", nil, notRead},
	{"DecodeEvent", nil, notRead},
	{"FormerNames", nil, "so that it would read the events of other names"},
	{"Retired", signature(nil, nil), "so that no commit would accept it"},
}
