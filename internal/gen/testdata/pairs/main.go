// Command pairs commits events of random packages, and reads them with the code of
// each later version of their package: each field must get what it was, and a new one
// its default.
package main

import (
	"bytes"
	"encoding"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/evento-go/evento"
)

// chain is a package in its versions.
type chain struct {
	name     string
	versions []version
}

type version struct {
	events []evento.Payload
	plain  func(event any) any // an event without its methods
	decode func(evento.RawEvent, ...evento.Codec) (evento.Payload, error)
}

func main() {
	failed := false
	for _, c := range chains {
		for i := range c.versions {
			for _, e := range c.versions[i].events {
				for variant := range 8 {
					for _, codec := range []evento.Codec{evento.CBOR(), evento.JSON()} {
						if err := c.check(i, e, variant, codec); err != nil {
							fmt.Printf("%s: version %d, %T, value %d, %s: %v\n", c.name, i, e, variant, codec.Name(), err)
							failed = true
						}
					}
				}
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check commits an event and reads it with each version.
func (c *chain) check(i int, event evento.Payload, variant int, codec evento.Codec) error {
	v := reflect.New(reflect.TypeOf(event)).Elem()
	(&filler{rand.New(rand.NewPCG(uint64(variant), 2)), variant}).fill(v, 0)
	event = v.Interface().(evento.Payload)
	data, err := codec.Marshal(event)
	if err != nil {
		return fmt.Errorf("not stored: %w", err)
	}
	plain, err := codec.Marshal(c.versions[i].plain(event))
	if err != nil || !bytes.Equal(data, plain) {
		return fmt.Errorf("%x by generated code, %x without, %w", data, plain, err)
	}
	raw := evento.RawEvent{AggregateType: event.AggregateType(), AggregateID: "1", Name: event.EventName(), Codec: codec.Name(), Data: data}
	var read []reflect.Value
	for j := i; j < len(c.versions); j++ {
		now, err := c.versions[j].decode(raw)
		if err != nil {
			return fmt.Errorf("version %d cannot read %+v: %w", j, event, err)
		}
		read = append(read, reflect.ValueOf(now))
		if j == i {
			continue
		}
		if err := (reader{codec == evento.JSON()}).compare("", read, ""); err != nil {
			return fmt.Errorf("version %d reads %+v as %+v: %w", j, read[0], now, err)
		}
	}
	return nil
}

// reader compares what was read by one codec.
type reader struct{ json bool }

// compare compares a value as the last version reads it with what versions before it
// read, from that which stored it on. Those without the field have none.
func (r reader) compare(path string, read []reflect.Value, dflt string) error {
	read = append([]reflect.Value(nil), read...)
	for i := range read {
		for read[i].Kind() == reflect.Pointer && !read[i].IsNil() {
			read[i] = read[i].Elem()
		}
	}
	now := read[len(read)-1]
	var before reflect.Value
	for _, v := range read[:len(read)-1] {
		if v.IsValid() {
			before = v
		}
	}
	isNil := now.Kind() == reflect.Pointer
	switch {
	case !before.IsValid() && dflt != "":
		if want := strings.Trim(dflt, `"`); isNil || text(now) != want {
			return fmt.Errorf("%s is new, and %s instead of %s", path, show(now), want)
		}
	case !before.IsValid():
		if !isNil && !isZero(now) {
			return fmt.Errorf("%s is new, and %s", path, show(now))
		}
	case before.Kind() == reflect.Pointer:
		if !isNil && !isZero(now) {
			return fmt.Errorf("%s was nil, and is %s", path, show(now))
		}
	case isNil:
		// It is as if there was no value only if none was stored, or null.
		stored := read[0].IsValid() && read[0].Kind() != reflect.Pointer && !(isNilable(read[0]) && read[0].IsNil()) && !isZeroTime(read[0])
		if stored || !isZero(before) {
			return fmt.Errorf("%s was %s, and is nil", path, show(before))
		}
	default:
		return r.compareValues(path, read, before, now)
	}
	return nil
}

func (r reader) compareValues(path string, read []reflect.Value, before, now reflect.Value) error {
	own, ownBefore := binary(now), binary(before)
	switch {
	case now.Kind() == reflect.Interface:
		return compareAny(path, read, before, now)
	case !r.json && own != "" && ownBefore != "":
		if own != ownBefore {
			return fmt.Errorf("%s was %s, and is %s", path, show(before), show(now))
		}
	case isLeaf(now) || isLeaf(before):
		if text(before) != text(now) && !(isZeroTime(before) && now.IsZero()) {
			return fmt.Errorf("%s was %s, and is %s", path, show(before), show(now))
		}
	case now.Kind() == reflect.Struct:
		return r.compareStructs(path, read, before, now)
	case now.Kind() == reflect.Map:
		if before.Len() != now.Len() {
			return fmt.Errorf("%s had %d elements, and has %d", path, before.Len(), now.Len())
		}
		for it := now.MapRange(); it.Next(); {
			if err := r.compare(path+"["+text(it.Key())+"]", each(read, func(v reflect.Value) reflect.Value { return lookUp(v, it.Key()) }), ""); err != nil {
				return err
			}
		}
	default:
		if before.Len() > now.Len() || now.Kind() == reflect.Slice && before.Len() != now.Len() {
			return fmt.Errorf("%s had %d elements, and has %d", path, before.Len(), now.Len())
		}
		for i := range now.Len() {
			if err := r.compare(path+"["+strconv.Itoa(i)+"]", each(read, func(v reflect.Value) reflect.Value { return element(v, i) }), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareStructs compares fields by their numbers.
func (r reader) compareStructs(path string, read []reflect.Value, before, now reflect.Value) error {
	if number(before.Type()) != number(now.Type()) {
		return nil // of different structs it is not known which fields are the same
	}
	for n, f := range fields(now) {
		if r.json && !f.json {
			continue
		}
		of := each(read, func(v reflect.Value) reflect.Value {
			if v.Kind() != reflect.Struct || number(v.Type()) != number(now.Type()) {
				return reflect.Value{}
			}
			if in := fields(v)[n]; !r.json || in.json {
				return in.Value
			}
			return reflect.Value{} // the codec leaves it out
		})
		if err := r.compare(path+"."+f.name, of, f.dflt); err != nil {
			return err
		}
	}
	return nil
}

// compareAny compares what is simple.
func compareAny(path string, read []reflect.Value, before, now reflect.Value) error {
	if before.Kind() == reflect.Interface {
		if !reflect.DeepEqual(before.Interface(), now.Interface()) {
			return fmt.Errorf("%s was %s, and is %s", path, show(before), show(now))
		}
		return nil
	}
	now = now.Elem()
	switch before.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.String:
		null := !now.IsValid() && read[0].IsValid() && isZeroTime(read[0])
		if before.Type().PkgPath() == "" && text(before) != text(now) && !null {
			return fmt.Errorf("%s was %s, and is %s", path, show(before), show(now))
		}
	}
	return nil
}

func each(read []reflect.Value, of func(reflect.Value) reflect.Value) []reflect.Value {
	found := make([]reflect.Value, len(read))
	for i, v := range read {
		if v.IsValid() && !isLeaf(v) && v.Kind() != reflect.Interface && v.Kind() != reflect.Pointer {
			found[i] = of(v)
		}
	}
	return found
}

func lookUp(m, key reflect.Value) reflect.Value {
	for it := m.MapRange(); it.Next(); {
		if text(it.Key()) == text(key) {
			return it.Value()
		}
	}
	return reflect.Value{}
}

func element(list reflect.Value, i int) reflect.Value {
	if i >= list.Len() {
		return reflect.Value{}
	}
	return list.Index(i)
}

// number returns the number in the name of a struct: S12 or S12x1.
func number(t reflect.Type) string {
	n, _, _ := strings.Cut(t.Name(), "x")
	return n
}

type field struct {
	reflect.Value
	name, dflt string
	json       bool // the JSON codec stores it
}

// fields returns the fields of a struct, and of those embedded in it that are not
// hidden by one that is less deep, by their numbers.
func fields(s reflect.Value) map[string]field {
	found := map[string]field{}
	names := map[string]bool{}
	for level := []reflect.Value{s}; len(level) > 0; {
		var next []reflect.Value
		here := map[string]bool{}
		for _, v := range level {
			for i := range v.NumField() {
				f := v.Type().Field(i)
				switch {
				case f.Name == "_":
				case f.Anonymous:
					next = append(next, embedded(v.Field(i)))
				case !names[storedAs(f)]:
					found[f.Tag.Get("number")] = field{v.Field(i), f.Name, f.Tag.Get("default"), f.Tag.Get("json") != "-"}
					here[storedAs(f)] = true
				}
			}
		}
		maps.Copy(names, here)
		level = next
	}
	return found
}

// embedded is a struct that is embedded by its value or by a pointer.
func embedded(v reflect.Value) reflect.Value {
	switch {
	case v.Kind() != reflect.Pointer:
		return v
	case v.IsNil():
		return reflect.New(v.Type().Elem()).Elem()
	}
	return v.Elem()
}

func storedAs(f reflect.StructField) string {
	tag := f.Tag.Get("cbor")
	if tag == "" {
		tag = f.Tag.Get("json")
	}
	if name, _, _ := strings.Cut(tag, ","); name != "" {
		return name
	}
	return f.Name
}

func isNilable(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Interface, reflect.Pointer:
		return true
	}
	return false
}

// isZeroTime reports whether a value is a time that CBOR stores as null.
func isZeroTime(v reflect.Value) bool {
	t, ok := v.Interface().(time.Time)
	return ok && t.IsZero()
}

// isZero reports whether nothing is in a value.
func isZero(v reflect.Value) bool {
	switch {
	case isLeaf(v):
		return v.IsZero()
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		return v.Len() == 0
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			if !isZero(v.Index(i)) {
				return false
			}
		}
		return true
	case v.Kind() == reflect.Struct:
		for _, f := range fields(v) {
			if !isZero(f.Value) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

// isLeaf reports whether a value is compared as a text.
func isLeaf(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Pointer, reflect.Interface:
		return false
	case reflect.Struct:
		_, ok := v.Interface().(encoding.TextMarshaler)
		return ok
	}
	return true
}

// binary is what the default codec stores of a type that encodes itself; "": it does not.
func binary(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.BinaryMarshaler); ok && !isZeroTime(v) {
		if b, err := m.MarshalBinary(); err == nil {
			return string(b)
		}
	}
	return ""
}

// text returns a text that is the same for equal values of different types.
func text(v reflect.Value) string {
	if v.IsValid() {
		switch v.Kind() {
		case reflect.Float32, reflect.Float64:
			if f := v.Float(); f == math.Trunc(f) && math.Abs(f) < 1e15 {
				return strconv.FormatInt(int64(f), 10)
			}
			return strconv.FormatFloat(v.Float(), 'g', -1, 64)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return strconv.FormatInt(v.Int(), 10)
		}
		if m, ok := v.Interface().(encoding.TextMarshaler); ok {
			t, err := m.MarshalText()
			return string(t) + fmt.Sprint(err)[:0]
		}
	}
	return fmt.Sprint(v)
}

func show(v reflect.Value) string { return fmt.Sprintf("%+v", v) }

// filler fills values: all zero, all not zero, and at random.
type filler struct {
	*rand.Rand
	variant int
}

func (f *filler) zero() bool { return f.variant == 0 || f.variant > 1 && f.IntN(4) == 0 }

func (f *filler) fill(v reflect.Value, depth int) {
	if f.zero() || depth > 6 {
		return
	}
	switch value := v.Addr().Interface().(type) {
	case *time.Time:
		*value = time.Date(2000+f.IntN(50), 2, 3, 4, 5, 6, 7000, time.UTC)
		return
	case *netip.Addr:
		*value = netip.AddrFrom4([4]byte{10, 0, 0, byte(f.IntN(256))})
		return
	case *any:
		*value = []any{"x", true, "y"}[f.IntN(3)]
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		bits := v.Type().Bits()
		v.SetInt([]int64{1, -1, 1<<(bits-1) - 1, -1 << (bits - 1), 42}[f.IntN(5)])
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint([]uint64{1, 1<<(v.Type().Bits()) - 1, 7}[f.IntN(3)])
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{0.5, -3, 1 << 20}[f.IntN(3)])
	case reflect.String:
		v.SetString([]string{"a", "b c", "é"}[f.IntN(3)])
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.IntN(3), 3))
		for i := range v.Len() {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range f.IntN(3) {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key, depth+1)
			f.fill(elem, depth+1)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				f.fill(v.Field(i), depth+1)
			}
		}
	}
}
