// The shape of a state: what its snapshots depend on, and what they would lose.

package evento

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// snapshotShape returns the hash of V's fields and their types, so that snapshots of
// another shape are not used. It refuses a V that a snapshot could not hold completely.
// The name of V itself does not count.
func snapshotShape[V any]() (string, error) {
	text, err := describe(reflect.TypeFor[V]())
	if err != nil {
		return "", err
	}
	return variantHash(text), nil
}

func describe(t reflect.Type) (string, error) {
	s := shape{root: t, within: map[reflect.Type]bool{}}
	err := s.describe(t, "")
	return s.text.String(), err
}

// shape is the description of a type.
type shape struct {
	text   strings.Builder
	root   reflect.Type
	within map[reflect.Type]bool // the structs around
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	cborMarshaler   = reflect.TypeFor[cbor.Marshaler]()
	binaryMarshaler = reflect.TypeFor[encoding.BinaryMarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
)

// storesItself reports whether a type says how it is stored.
func storesItself(t reflect.Type) bool {
	ptr := reflect.PointerTo(t)
	return t == timeType || ptr.Implements(cborMarshaler) || ptr.Implements(binaryMarshaler) || ptr.Implements(textMarshaler)
}

// describe adds a type; path is where it is in the state.
func (s *shape) describe(t reflect.Type, path string) error {
	if t != s.root && t.PkgPath() != "" {
		s.text.WriteString(t.PkgPath() + "." + t.Name() + " ")
	}
	switch {
	case storesItself(t):
		return nil
	case s.within[t]:
		s.text.WriteString("^" + t.String())
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		s.within[t] = true
		defer delete(s.within, t)
		return s.describeStruct(t, path)
	case reflect.Map:
		s.text.WriteString("map[")
		if err := s.describe(t.Key(), path+"[key]"); err != nil {
			return err
		}
		s.text.WriteString("]")
		return s.describe(t.Elem(), path+"[]")
	case reflect.Array:
		fmt.Fprintf(&s.text, "[%d]", t.Len())
		return s.describe(t.Elem(), path)
	case reflect.Slice, reflect.Pointer:
		if k := t.Elem().Kind(); t.Kind() == reflect.Pointer && (k == reflect.Pointer || k == reflect.Slice || k == reflect.Map) && !storesItself(t.Elem()) {
			return fmt.Errorf("%w state: a snapshot would not tell nil from a pointer to nil in %s of type %s", ErrInvalid, strings.TrimPrefix(path, "."), t)
		}
		fmt.Fprintf(&s.text, "%s ", t.Kind())
		return s.describe(t.Elem(), path)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Interface, reflect.Uintptr:
		return fmt.Errorf("%w state: a snapshot cannot give back %s of type %s", ErrInvalid, strings.TrimPrefix(path, "."), t)
	default:
		s.text.WriteString(t.Kind().String())
		return nil
	}
}

func (s *shape) describeStruct(t reflect.Type, path string) error {
	if err := checkNames(t, path, map[string]string{}, map[reflect.Type]bool{}); err != nil {
		return err
	}
	s.text.WriteString("struct{")
	for i := range t.NumField() {
		f := t.Field(i)
		at := strings.TrimPrefix(path+"."+f.Name, ".")
		tag, name := storedAs(&f)
		if tag == "-" {
			continue // left out on purpose
		}
		if !f.IsExported() && (!f.Anonymous || f.Type.Kind() != reflect.Struct) {
			return fmt.Errorf("%w state: a snapshot would lose the unexported field %s of %s: export it, tag it `cbor:\"-\"`, or give the type MarshalBinary", ErrInvalid, at, t)
		}
		if what := omitted(&f, tag); what != "" {
			return fmt.Errorf("%w state: a snapshot would lose %s in the field %s of %s: take omitempty or omitzero out of its tag", ErrInvalid, what, at, t)
		}
		if f.Anonymous && name == "" {
			s.text.WriteString("embedded ")
		}
		s.text.WriteString(f.Name + " " + tag + " ")
		if err := s.describe(f.Type, at); err != nil {
			return err
		}
		s.text.WriteString(";")
	}
	s.text.WriteString("}")
	return nil
}

// storedAs returns a field's tag, and the name in it, if there is one.
func storedAs(f *reflect.StructField) (tag, name string) {
	if tag = f.Tag.Get("cbor"); tag == "" {
		tag = f.Tag.Get("json")
	}
	name, _, _ = strings.Cut(tag, ",")
	return tag, name
}

// omitted says which value other than the zero value is left out of a snapshot, because
// of a field's tag; "": none.
func omitted(f *reflect.StructField, tag string) string {
	switch f.Type.Kind() {
	case reflect.Float32, reflect.Float64:
		if strings.Contains(tag, ",omit") {
			return "-0"
		}
	case reflect.Slice, reflect.Map:
		if strings.Contains(tag, ",omitempty") {
			return "that it is empty and not nil"
		}
	default:
	}
	return ""
}

// checkNames refuses a struct in which two fields are stored under one name: one hides
// the other, or both are lost. Names has the paths of those that were seen.
func checkNames(t reflect.Type, path string, names map[string]string, seen map[reflect.Type]bool) error {
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		at := strings.TrimPrefix(path+"."+f.Name, ".")
		tag, name := storedAs(&f)
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if of, ok := embedded(&f, name); ok {
			if seen[of] {
				continue
			}
			if err := checkNames(of, at, names, seen); err != nil {
				return err
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		if other, taken := names[name]; taken {
			return fmt.Errorf("%w state: a snapshot would lose the field %s or %s: both are stored as %q; give one another name in its tag", ErrInvalid, other, at, name)
		}
		names[name] = at
	}
	return nil
}

// embedded returns the struct whose fields are stored as those of the struct that embeds
// it.
func embedded(f *reflect.StructField, name string) (reflect.Type, bool) {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t, f.Anonymous && name == "" && t.Kind() == reflect.Struct && !storesItself(t)
}
