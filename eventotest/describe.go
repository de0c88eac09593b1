package eventotest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// describe writes a value with everything that it points to, unlike %+v: equal
// values give equal texts, whatever their addresses.
func describe(v any) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(v), 0)
	return b.String()
}

// lines is describe with a line for each element of the outermost value.
func lines(v any) []string {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer || r.Kind() == reflect.Interface {
		r = r.Elem()
	}
	switch r.Kind() {
	case reflect.Slice, reflect.Array:
		all := make([]string, r.Len())
		for i := range all {
			var b strings.Builder
			write(&b, r.Index(i), 0)
			all[i] = b.String()
		}
		return all
	case reflect.Map:
		return entries(r, 0)
	default:
		return []string{describe(v)}
	}
}

// maxDepth stops at values that contain themselves.
const maxDepth = 64

func write(b *strings.Builder, v reflect.Value, depth int) {
	if depth > maxDepth {
		b.WriteString("…")
		return
	}
	if v.IsValid() && v.CanInterface() {
		if t, ok := v.Interface().(time.Time); ok {
			b.WriteString(t.UTC().Format(time.RFC3339Nano))
			return
		}
	}
	switch v.Kind() {
	case reflect.Invalid:
		b.WriteString("nil")
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		if v.Kind() == reflect.Pointer {
			b.WriteString("&")
		}
		write(b, v.Elem(), depth+1)
	case reflect.Struct:
		b.WriteString(v.Type().Name() + "{")
		separator := ""
		for i := range v.NumField() {
			f := v.Field(i)
			if f.IsZero() || f.Type() == reflect.TypeFor[*time.Location]() ||
				(f.Kind() == reflect.Map || f.Kind() == reflect.Slice) && f.Len() == 0 {
				continue
			}
			b.WriteString(separator + v.Type().Field(i).Name + ": ")
			write(b, f, depth+1)
			separator = ", "
		}
		b.WriteString("}")
	case reflect.Map:
		b.WriteString("map[" + strings.Join(entries(v, depth), ", ") + "]")
	case reflect.Slice, reflect.Array:
		b.WriteString("[")
		for i := range v.Len() {
			if i > 0 {
				b.WriteString(", ")
			}
			write(b, v.Index(i), depth+1)
		}
		b.WriteString("]")
	case reflect.String:
		fmt.Fprintf(b, "%q", v.String())
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		b.WriteString(v.Type().String())
	default:
		writeBasic(b, v)
	}
}

// writeBasic writes a number or bool without calling its String method, which may
// return the same text for different values.
func writeBasic(b *strings.Builder, v reflect.Value) {
	switch {
	case v.CanInt():
		fmt.Fprint(b, v.Int())
	case v.CanUint():
		fmt.Fprint(b, v.Uint())
	case v.CanFloat():
		fmt.Fprint(b, v.Float())
	case v.CanComplex():
		fmt.Fprint(b, v.Complex())
	default:
		fmt.Fprint(b, v.Bool())
	}
}

// entries returns the entries of a map, sorted by their text.
func entries(m reflect.Value, depth int) []string {
	all := make([]string, 0, m.Len())
	for k, v := range m.Seq2() {
		var b strings.Builder
		write(&b, k, depth+1)
		b.WriteString(": ")
		write(&b, v, depth+1)
		all = append(all, b.String())
	}
	slices.Sort(all)
	return all
}
