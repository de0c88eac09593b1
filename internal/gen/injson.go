// How the JSON codec stores types that have an encoding of their own for the default
// codec alone: by MarshalText, or by what they are made of.

package gen

import (
	"go/types"
	"slices"
)

// storedInJSON returns how the JSON codec stores a type without MarshalJSON.
func (s *shaper) storedInJSON(t types.Type, at string) (*shape, error) {
	if s.forJSON == nil {
		s.forJSON = &shaper{pkg: s.pkg, codec: byJSON}
	}
	sh, err := s.forJSON.part(t, at)
	if err == nil && sh.kind == kindText {
		return &shape{kind: kindText}, nil
	}
	return sh, err
}

// unsupported refuses a type, unless it is one that the default codec does not look into.
func (s *shaper) unsupported(at, why, remedy string) (*shape, error) {
	if s.codec == byJSON {
		return &shape{kind: kindNone}, nil
	}
	return nil, &unsupportedError{at, why, remedy}
}

// specialInJSON returns the shape of a type that the JSON codec stores or reads by
// methods, or nil.
func (s *shaper) specialInJSON(t types.Type) *shape {
	b, isBasic := t.Underlying().(*types.Basic)
	marshals, unmarshals := s.has(t, "MarshalText", marshalType), s.has(t, "UnmarshalText", unmarshalType)
	switch {
	case s.jsonMethods(t, nil) != "":
		return &shape{kind: kindAny, typ: t}
	case !marshals && !unmarshals:
		return nil
	case marshals && unmarshals, isBasic && b.Info()&types.IsString != 0:
		return &shape{kind: kindText, typ: t, by: s.fullName(t)}
	}
	return &shape{kind: kindNone} // what one of them writes, or reads, nothing else does
}

// fieldsInJSON returns the fields of a struct as the JSON codec finds them.
func (s *shaper) fieldsInJSON(t types.Type, u *types.Struct, at string) ([]*field, error) {
	all, _, err := s.members(t, u, byJSON, at)
	if err != nil {
		return nil, err
	}
	all, _, _ = outermost(all, func(a, b *member) bool { return a.name == b.name })
	slices.SortFunc(all, func(a, b *member) int { return slices.Compare(a.index, b.index) })
	var fields []*field
	for _, m := range all {
		f := newField(m)
		f.number = false // an option of the default codec
		f.setJSON(m)
		fields = append(fields, f)
	}
	return fields, nil
}

// inJSON compares how the JSON codec stores a value of a type with an encoding of its
// own. none is what a lock has if it stored none.
func (c *comparison) inJSON(stored, now *shape, at location, none string) {
	if c.trying() {
		return
	}
	const upcast = " or retire the event and put //evento:upcast above a new one"
	at.none = none
	switch {
	case stored.kind == kindNone:
	case stored.kind == kindText && now.kind != kindText:
		c.problem(at, "it is stored by its MarshalText, and is not read by UnmarshalText any more; put both back,"+upcast)
	case stored.kind != kindText && now.kind == kindText:
		c.problem(at, "it is stored as %s, and would be read by its UnmarshalText; take MarshalText and UnmarshalText away,"+upcast, stored)
	case now.kind == kindNone:
		c.problem(at, "it is stored as %s, and can be read no more; restore its type and methods,"+upcast, stored)
	default:
		c.values(stored, now, at)
	}
}
