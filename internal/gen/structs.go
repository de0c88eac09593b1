// The fields of structs, as the default codec finds them.

package gen

import (
	"fmt"
	"go/types"
	"reflect"
	"slices"
	"strings"
)

func (s *shaper) ofStruct(t types.Type, u *types.Struct, at string) (*shape, error) {
	if i := slices.IndexFunc(s.outer, func(o types.Type) bool { return types.Identical(o, t) }); i >= 0 {
		return &shape{kind: kindRef, up: len(s.outer) - 1 - i, typ: t, slow: "a type that contains itself"}, nil
	}
	s.outer = append(s.outer, t)
	defer func() { s.outer = s.outer[:len(s.outer)-1] }()
	sh := &shape{kind: kindStruct, typ: t}
	fields, slow, err := s.fieldsOf(t, u, at)
	if err != nil {
		return nil, err
	}
	sh.slow = slow
	if len(fields) == 0 && u.NumFields() > 0 {
		return nil, &unsupportedError{at, fmt.Sprintf("nothing of %s would be stored: it has no exported fields", s.name(t)),
			"export its fields, or give it MarshalText and UnmarshalText"}
	}
	for _, f := range fields {
		fieldAt := f.selector()
		if at != "" {
			fieldAt = at + "." + fieldAt
		}
		if f.shape, err = s.of(f.v.Type(), fieldAt); err != nil {
			return nil, err
		}
		// A slow field is encoded by the default codec alone. But if it may contain
		// this struct again, the whole struct must be, as only the codec detects
		// cycles.
		if leadsOut(f.shape, 0) {
			sh.slow = "a type that contains itself"
		}
		if why := slowOmit(f); why != "" {
			sh.slow = why
		}
	}
	sh.fields = fields
	return sh, nil
}

// leadsOut reports whether a shape refers to an enclosing struct; inside is how
// many of those that it may refer to are part of the shape itself.
func leadsOut(sh *shape, inside int) bool {
	if sh == nil {
		return false
	}
	if sh.kind == kindRef {
		return sh.up >= inside
	}
	if sh.counted {
		inside++
	}
	return leadsOut(sh.key, inside) || leadsOut(sh.elem, inside) ||
		slices.ContainsFunc(sh.fields, func(f *field) bool { return leadsOut(f.shape, inside+1) })
}

// slowOmit returns why only the default codec can decide whether a field is
// omitted.
func slowOmit(f *field) string {
	sh := f.shape
	switch f.omit {
	case "empty":
		switch sh.kind {
		case kindText, kindBinary, kindCBOR, kindRef:
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

// fieldsOf returns the fields of a struct as the default codec finds them: the
// exported ones, by the names of their tags, and those of embedded structs; among
// fields of one name, the outermost.
func (s *shaper) fieldsOf(t types.Type, u *types.Struct, at string) (fields []*field, slow string, err error) {
	type level struct {
		t    types.Type
		u    *types.Struct
		path []string
		at   []int
	}
	type found struct {
		*field
		index []int
	}
	var all []found
	visited := map[types.Type]bool{t: true}
	for current := []level{{t: t, u: u}}; len(current) > 0; {
		var next []level
		count := map[types.Type]int{}
		for _, l := range current {
			for i := range l.u.NumFields() {
				v, tag := l.u.Field(i), reflect.StructTag(l.u.Tag(i))
				if v.Name() == "_" && tag.Get("cbor") != "" && tag.Get("cbor") != "-" {
					slow = "a struct with the option toarray"
				}
				t := types.Unalias(v.Type())
				_, pointer := t.Underlying().(*types.Pointer)
				if pointed := behindPointers(t); pointed != nil {
					t = pointed
				}
				inner, isStruct := t.Underlying().(*types.Struct)
				if !v.Exported() && (!v.Embedded() || !isStruct) {
					continue
				}
				text := tag.Get("cbor")
				if text == "" {
					text = tag.Get("json")
				}
				if text == "-" {
					continue
				}
				name, options, _ := strings.Cut(text, ",")
				path := append(slices.Clone(l.path), v.Name())
				if len(path) > deepest {
					return nil, "", &unsupportedError{path[0], fmt.Sprintf("it embeds more than %d structs within each other", deepest), "use fields with names"}
				}
				index := append(slices.Clone(l.at), i)
				if v.Embedded() && isStruct && name == "" {
					if pointer {
						slow = "an embedded pointer"
						if !v.Exported() {
							return nil, "", &unsupportedError{join(at, path), "an embedded pointer to an unexported struct cannot be read back", "embed the struct itself"}
						}
					}
					if !v.Exported() && v.Pkg() != s.pkg {
						slow = "an unexported struct that another package embeds"
					}
					if visited[t] {
						continue
					}
					if count[t]++; count[t] == 1 {
						next = append(next, level{t, inner, path, index})
					}
					continue
				}
				f := &field{name: name, path: path, v: v, tagged: text != ""}
				if name == "" {
					f.name = v.Name()
				}
				if !v.Exported() {
					// The codec cannot set an unexported embedded struct that has a
					// name.
					return nil, "", &unsupportedError{join(at, path), "an unexported field with a name cannot be read back", "export its type"}
				}
				for o := range strings.SplitSeq(options, ",") {
					switch o {
					case "omitempty":
						if f.omit != "zero" {
							f.omit = "empty"
						}
						if strings.Contains(","+options+",", ",omitzero,") {
							slow = "omitempty together with omitzero"
						}
					case "omitzero":
						if f.omit == "" {
							f.omit = "zero"
						}
					case "keyasint":
						slow = "a field with the option keyasint"
					}
				}
				all = append(all, found{field: f, index: index})
			}
		}
		current = slices.DeleteFunc(next, func(l level) bool { return count[l.t] > 1 })
		for _, l := range current {
			visited[l.t] = true
		}
	}
	// Of the fields of one name, the outermost counts. If there are several, the
	// tagged one counts, if there is exactly one; else none.
	for _, f := range all {
		var rival *field // as deep as f, and with the same right
		hidden := false
		for _, o := range all {
			switch {
			case o.field == f.field || o.name != f.name:
			case len(o.index) < len(f.index) || len(o.index) == len(f.index) && o.tagged && !f.tagged:
				hidden = true
			case len(o.index) == len(f.index) && o.tagged == f.tagged:
				rival = o.field
			}
		}
		switch {
		case hidden:
		case rival != nil:
			return nil, "", &unsupportedError{join(at, f.path),
				fmt.Sprintf("%s is stored as %q too, so that neither would be", join(at, rival.path), f.name), "give one of them another name with a json tag"}
		default:
			fields = append(fields, f.field)
		}
	}
	return fields, slow, nil
}

func join(at string, path []string) string {
	p := strings.Join(path, ".")
	if at == "" {
		return p
	}
	return at + "." + p
}

// wireOrder sorts fields in the order in which they are stored: by their encoded
// names.
func wireOrder(fields []*field) []*field {
	sorted := slices.Clone(fields)
	slices.SortStableFunc(sorted, func(a, b *field) int {
		if len(a.name) != len(b.name) {
			return len(a.name) - len(b.name)
		}
		return strings.Compare(a.name, b.name)
	})
	return sorted
}
