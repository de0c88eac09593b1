// How deep a value is nested, found before an encoder recurses into it.

package evento

import (
	"fmt"
	"reflect"
	"sync"
)

// unbounded remembers of each type whether its values may be nested without
// bound: types that contain themselves, or an interface.
var unbounded sync.Map // reflect.Type: bool

func isUnbounded(t reflect.Type) bool {
	if known, ok := unbounded.Load(t); ok {
		return known.(bool)
	}
	found := contains(t, map[reflect.Type]bool{})
	unbounded.Store(t, found)
	return found
}

func contains(t reflect.Type, within map[reflect.Type]bool) bool {
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
	default:
		return false
	}
	if within[t] {
		return true
	}
	within[t] = true
	defer delete(within, t)
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if contains(t.Field(i).Type, within) {
				return true
			}
		}
		return false
	case reflect.Map:
		return contains(t.Key(), within) || contains(t.Elem(), within)
	default:
		return contains(t.Elem(), within)
	}
}

// checkNesting stands before an encoder that recurses as deep as a value is,
// which for one that contains itself is until the stack of the process ends.
func checkNesting(v reflect.Value, left int) error {
	if !v.IsValid() || !isUnbounded(v.Type()) {
		return nil
	}
	if left == 0 {
		return fmt.Errorf("nested deeper than %d, or within itself", MaxDepth)
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			return checkNesting(v.Elem(), left-1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkNesting(v.Index(i), left-1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := checkNesting(it.Value(), left-1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := checkNesting(v.Field(i), left-1); err != nil {
				return err
			}
		}
	}
	return nil
}
