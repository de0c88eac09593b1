package cborwire_test

import (
	"bytes"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cborwire"
)

// The same fields without the methods, to compare with the codec alone.
type (
	orderedByFields ordered
	wideByFields    wide
)

func fullOrdered() ordered {
	note := "leave it at the door"
	return ordered{
		Owner: "Zoë Example", Cents: -123_456, Count: 3, Ratio: 0.25, Open: true,
		When: time.Date(2024, 2, 29, 23, 59, 59, 123_456_789, time.FixedZone("", 2*3600)),
		Raw:  []byte{0, 1, 2, 0xff}, Tags: []string{"new", "gift", ""},
		Home:   address{"1 Example Street", 12345},
		Labels: map[string]string{"channel": "web", "a": "1", "campaign": "spring"}, Note: &note,
	}
}

func fullWide() wide {
	return wide{
		A: math.MinInt8, B: math.MaxUint16, C: -0.1, D: [4]byte{1, 2, 3, 4}, E: netip.MustParseAddr("2001:db8::1"), F: 7,
		G: map[any]any{"list": []any{uint64(1), "two", nil, 2.5}}, H: &tree{Left: &tree{}, Right: &tree{Left: &tree{}}},
		I: map[int8]bool{-128: true, -1: false, 0: true, 1: false, 127: true},
		J: []time.Time{{}, time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)},
		K: [][]int16{nil, {}, {math.MinInt16, 0, math.MaxInt16}}, L: -time.Hour,
	}
}

// both has a value with the methods, and the same value without.
type both struct{ methods, byFields any }

func values() []both {
	var all []both
	order := func(change func(*ordered)) {
		o := fullOrdered()
		change(&o)
		all = append(all, both{o, orderedByFields(o)}, both{&o, (*orderedByFields)(&o)})
	}
	widen := func(change func(*wide)) {
		w := fullWide()
		change(&w)
		all = append(all, both{w, wideByFields(w)})
	}
	order(func(*ordered) {})
	order(func(o *ordered) { *o = ordered{} })
	order(func(o *ordered) { o.Raw, o.Tags, o.Labels = []byte{}, []string{}, map[string]string{} })
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1), 1.5} {
		order(func(o *ordered) { o.Ratio = f })
		widen(func(w *wide) { w.C = float32(f) })
	}
	for _, n := range []int64{0, 1, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, math.MaxInt64, -1, -24, -25, -256, -257, math.MinInt64} {
		order(func(o *ordered) { o.Cents, o.Count = n, uint32(n) })
	}
	for _, n := range []int{1, 23, 24, 255, 256, 65536} {
		order(func(o *ordered) { o.Owner, o.Raw, o.Tags = strings.Repeat("x", n), make([]byte, n), make([]string, n) })
	}
	order(func(o *ordered) { o.Owner = "a\xff\x00" })
	many := map[string]string{}
	for i := range 30 {
		many[strings.Repeat("k", i)+"\xff"], many[strings.Repeat("é", i)] = "v", "w"
	}
	order(func(o *ordered) { o.Labels = many })
	widen(func(*wide) {})
	widen(func(w *wide) { *w = wide{} })
	return all
}

func TestSameBytes(t *testing.T) {
	t.Parallel()
	cbor := evento.CBOR()
	for _, v := range values() {
		want, err := cbor.Marshal(v.byFields)
		if err != nil {
			t.Fatalf("%+v: %v", v.byFields, err)
		}
		got, err := cbor.Marshal(v.methods)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v was written as\n%x, %v, want\n%x", v.methods, got, err, want)
			continue
		}
		if direct, err := v.methods.(evento.CBORAppender).AppendCBOR([]byte("before")); err != nil || string(direct) != "before"+string(want) {
			t.Errorf("%+v was appended as %x, %v, want %x behind what was there", v.methods, direct, err, want)
		}
		switch reflect.Indirect(reflect.ValueOf(v.methods)).Interface().(type) {
		case ordered:
			agree[ordered, orderedByFields](t, want, true)
		case wide:
			agree[wide, wideByFields](t, want, true)
		}
	}
}

// agree checks that data is decoded to the same value with and without the methods.
// fast: the methods must have decoded it.
func agree[M, F any, P interface {
	*M
	evento.CBORDecoder
}](t *testing.T, data []byte, fast bool) {
	t.Helper()
	var want F
	wantErr := evento.CBOR().Unmarshal(data, &want)
	var got M
	ok, err := P(&got).DecodeCBOR(data)
	switch {
	case err != nil, fast && !ok, ok && wantErr != nil:
		t.Fatalf("%x: DecodeCBOR said %v, %v, and the codec %v", data, ok, err, wantErr)
	case !ok:
		if var0 := *new(M); !reflect.DeepEqual(got, var0) {
			t.Fatalf("%x: DecodeCBOR gave up and left %+v", data, got)
		}
		err = evento.CBOR().Unmarshal(data, &got)
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%x was read with %v, want %v", data, err, wantErr)
	}
	if err == nil && !same(reflect.ValueOf(&got).Elem(), reflect.ValueOf(&want).Elem()) {
		t.Fatalf("%x was read as\n%+v, want\n%+v", data, got, want)
	}
}

// same is reflect.DeepEqual for values of two types with the same fields; two NaN
// are equal if their bits are.
func same(a, b reflect.Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case reflect.Struct:
		if a.Type() == b.Type() && a.Type().PkgPath() != reflect.TypeFor[ordered]().PkgPath() {
			return reflect.DeepEqual(a.Interface(), b.Interface())
		}
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Float32: // Float would change a NaN
		return math.Float32bits(float32Of(a)) == math.Float32bits(float32Of(b))
	case reflect.Float64:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float())
	case reflect.Interface:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for it := a.MapRange(); it.Next(); {
			v := b.MapIndex(it.Key())
			nan := it.Key().Interface() != it.Key().Interface() // a NaN key, which no look-up finds
			if !nan && (!v.IsValid() || !same(it.Value(), v)) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(a.Interface(), b.Interface())
	}
}

func float32Of(v reflect.Value) float32 { return *v.Addr().Interface().(*float32) }

// Arrays and maps nested deeper than the codec allows are refused, so that
// recursive code ends.
func TestDepthOfOpen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		data string
		want int
	}{
		{strings.Repeat("\x81", evento.MaxDepth) + "\x01", evento.MaxDepth},
		{strings.Repeat("\x81", evento.MaxDepth+1) + "\x01", evento.MaxDepth},
		{strings.Repeat("\x81", 1_000_000), evento.MaxDepth},
		{"\x98\x64" + strings.Repeat("\x80", 100), 101}, // siblings, not nested
	} {
		d, opened := cborwire.NewDecoder([]byte(test.data)), 0
		for d.OK() && !d.End() {
			if d.Array(); d.OK() {
				opened++
			}
		}
		if opened != test.want {
			t.Errorf("%d arrays of %d bytes were opened, want %d", opened, len(test.data), test.want)
		}
	}
}

// At other shapes than the plain one, the codec decodes the data or refuses it.
func TestOtherShapes(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat("\x81", n) }
	for _, data := range []string{
		"", "\xa0", "\xf6", "\xf7", "\x80", "\x01", "\xa1", "\xa0\x00", "\xbf\xff", "\xc1\xa0", "\xd9\xd9\xf7\xa0",
		"\xa1\x65Cents\x01", "\xa1\x65cents\x01", "\xa1\x65Other\x01", "\xa1\x01\x01", "\xa1\x45Cents\x01",
		"\xa2\x65Cents\x01\x65Cents\x02", "\xa2\x65Cents\x01\x65cents\x02", "\xa1\x78\x05Cents\x18\x01",
		"\xa1\x65Cents\xf6", "\xa1\x65Cents\xf7", "\xa1\x65Cents\xf4", "\xa1\x65Cents\xfb\x40\x00\x00\x00\x00\x00\x00\x00", "\xa1\x65Cents\xc2\x41\x05",
		"\xa1\x65Cents\x1b\x80\x00\x00\x00\x00\x00\x00\x00", "\xa1\x65Cents\x3b\x80\x00\x00\x00\x00\x00\x00\x00",
		"\xa1\x65Cents\x1b\x7f\xff\xff\xff\xff\xff\xff\xff", "\xa1\x65Cents\x3b\x7f\xff\xff\xff\xff\xff\xff\xff",
		"\xa1\x65Count\x1a\xff\xff\xff\xff", "\xa1\x65Count\x1b\x00\x00\x00\x01\x00\x00\x00\x00", "\xa1\x65Count\x20", "\xa1\x65Count\x1c",
		"\xa1\x65Owner\x41a", "\xa1\x65Owner\x7f\x61a\x61b\xff", "\xa1\x65Owner\x61\xff", "\xa1\x65Owner\x62a", "\xa1\x65Owner\xf6",
		"\xa1\x65Ratio\xf9\x3c\x00", "\xa1\x65Ratio\xf9\x7e\x00", "\xa1\x65Ratio\xf9\x7c\x01", "\xa1\x65Ratio\xfa\x7f\xc0\x00\x01",
		"\xa1\x65Ratio\xfb\x7f\xf0\x00\x00\x00\x00\x00\x01", "\xa1\x65Ratio\x01", "\xa1\x65Ratio\xf6",
		"\xa1\x64Open\xf6", "\xa1\x64Open\xf8\x20", "\xa1\x64Open\x01",
		"\xa1\x63Raw\x40", "\xa1\x63Raw\x83\x01\x02\x03", "\xa1\x63Raw\x61a", "\xa1\x63Raw\x5f\x41a\xff", "\xa1\x63Raw\x5b\x00\x00\x7f\xff\xff\xff\xff\xff",
		"\xa1\x64Tags\x80", "\xa1\x64Tags\x9f\xff", "\xa1\x64Tags\x81\xf6", "\xa1\x64Tags\x9a\x00\x40\x00\x00", "\xa1\x64Tags\x9b\x00\x00\x7f\xff\xff\xff\xff\xff",
		"\xa1\x66Labels\xa2\x61a\x61b\x61a\x61c", "\xa1\x66Labels\xa1\x61a\xf6", "\xa1\x66Labels\xbb\x80\x00\x00\x00\x00\x00\x00\x00",
		"\xa1\x64When\x742024-02-29T23:59:59Z", "\xa1\x64When\x78\x192024-02-29T23:59:59+01:00", "\xa1\x64When\x742024-02-30T23:59:59Z",
		"\xa1\x64When\x762024-02-29T23:59:59,5Z", "\xa1\x64When\x732024-02-29T3:59:59Z", "\xa1\x64When\x742024-02-29t23:59:59Z", "\xa1\x64When\x01", "\xa1\x64When\xc0\x742024-02-29T23:59:59Z", "\xa1\x64When\xf7", "\xa1\x64When\x60",
		"\xa1\x64Home\xf6", "\xa1\x64Home\xa0", "\xa1\x64Home\x80", "\xa1\x64Home\xa2\x63zip\x01\x63zip\x02", "\xa1\x64Home\xa1\x63ZIP\x01",
		"\xa1\x64Home\xa1\x65other\x01",
		"\xa1\x64Note\xf6", "\xa1\x64Note\x61a", "\xa1\x64Note\x01",
		"\xa1\x61A\x18\x7f", "\xa1\x61A\x18\x80", "\xa1\x61A\x38\x7f", "\xa1\x61A\x38\x80", "\xa1\x61B\x1a\x00\x01\x00\x00",
		"\xa1\x61C\xfa\x7f\x80\x00\x01", "\xa1\x61C\xfa\xff\xc0\x00\x01", "\xa1\x61C\xfb\x40\x00\x00\x00\x00\x00\x00\x00", "\xa1\x61C\xfb\x7f\xef\xff\xff\xff\xff\xff\xff",
		"\xa1\x61D\x43abc", "\xa1\x61D\x45abcde", "\xa1\x61D\x84\x01\x02\x03\x04", "\xa1\x61D\xf6",
		"\xa1\x61E\x40", "\xa1\x61E\x44\x01\x02\x03\x04", "\xa1\x61E\x43\x01\x02\x03", "\xa1\x61E\x671.2.3.4", "\xa1\x61E\xf6",
		"\xa1\x61F\x67level 5", "\xa1\x61F\x61x", "\xa1\x61F\x05", "\xa1\x61F\xf6",
		"\xa1\x61G" + deep(63) + "\x01", "\xa1\x61G" + deep(64) + "\x01", "\xa1\x61G" + deep(100_000) + "\x01",
		"\xa1\x61G\xa1\x81\x01\x01", "\xa1\x61G\xc1\x01", "\xa1\x61G\xc1\x61a", "\xa1\x61G\x9f\x01\xff", "\xa1\x61G\xa2\x01\x01\x01\x01", "\xa1\x61G\xe0", "\xa1\x61G\xf7", "\xa1\x61G\xc2\x41\x01",
		"\xa1\x61H" + strings.Repeat("\xa1\x64Left", 63) + "\xf6", "\xa1\x61H" + strings.Repeat("\xa1\x64Left", 64) + "\xf6",
		"\xa2\x61K\x98\x46" + strings.Repeat("\x81\x01", 70) + "\x61G" + deep(63) + "\x01",
		"\xa2\x61K\x98\x46" + strings.Repeat("\x81\x01", 70) + "\x61G" + deep(64) + "\x01",
		"\xa2\x61G" + deep(64) + "\x01\x61K\x98\x46" + strings.Repeat("\x81\x01", 70),
		"\xa1\x61I\xa2\x01\xf4\x01\xf5", "\xa1\x61I\xa1\x18\x80\xf4", "\xa1\x61J\x82\xf6\x742024-02-29T23:59:59Z",
		"\xa1\x61K\x82\x81\x19\x80\x00\x80", "\xa1\x61K\x82\xf6\x80", "\xa1\x61L\x20",
	} {
		agree[ordered, orderedByFields](t, []byte(data), false)
		agree[wide, wideByFields](t, []byte(data), false)
	}
}

// A decoder that has given up returns only zero values from then on.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(*cborwire.Decoder) any{
		"Map":     func(d *cborwire.Decoder) any { return d.Map() },
		"Array":   func(d *cborwire.Decoder) any { return d.Array() },
		"Key":     func(d *cborwire.Decoder) any { return string(d.Key()) },
		"String":  func(d *cborwire.Decoder) any { return d.String() },
		"Bytes":   func(d *cborwire.Decoder) any { return d.Bytes() },
		"Nil":     func(d *cborwire.Decoder) any { return d.Nil() },
		"Bool":    func(d *cborwire.Decoder) any { return d.Bool() },
		"Int":     func(d *cborwire.Decoder) any { return d.Int() },
		"Uint":    func(d *cborwire.Decoder) any { return d.Uint() },
		"Float32": func(d *cborwire.Decoder) any { return d.Float32() },
		"Float64": func(d *cborwire.Decoder) any { return d.Float64() },
		"Time":    func(d *cborwire.Decoder) any { return d.Time() },
		"Any":     func(d *cborwire.Decoder) any { var v any; d.Any(&v); return &v },
		"Text":    func(d *cborwire.Decoder) any { var v level; d.Text(&v); return v },
		"Binary":  func(d *cborwire.Decoder) any { var v netip.Addr; d.Binary(&v); return v },
		"BytesInto": func(d *cborwire.Decoder) any {
			var v [1]byte
			d.BytesInto(v[:])
			return v
		},
	} {
		for _, next := range []string{"\x01", "\x61a", "\x41a", "\x81\x01", "\xa1\x01\x01", "\xf6", "\xf5", "\xf9\x7c\x00", "\xfa\x40\x00\x00\x00", "\xfb\x40\x00\x00\x00\x00\x00\x00\x00", "\x742024-02-29T23:59:59Z"} {
			d := cborwire.NewDecoder([]byte(next))
			d.Unusual()
			got := reflect.Indirect(reflect.ValueOf(call(&d)))
			if got.Kind() == reflect.Slice && got.IsNil() {
				continue
			}
			if !got.IsZero() || d.OK() || d.End() {
				t.Errorf("%s of %x after Unusual: %v, OK %v, End %v, want nothing", name, next, got, d.OK(), d.End())
			}
		}
		var none cborwire.Decoder
		_ = call(&none)
		if name != "Nil" && (none.OK() || none.End()) {
			t.Errorf("%s of no data: OK %v, End %v, want false", name, none.OK(), none.End())
		}
	}
}

// What cannot be encoded is an error, as it is without the methods.
func TestRefusals(t *testing.T) {
	t.Parallel()
	deep := func(n int) any {
		var v any = "bottom"
		for range n {
			v = []any{v}
		}
		return v
	}
	order := fullOrdered()
	for _, test := range []struct {
		value both
		want  string
	}{
		{func() both {
			o := order
			o.When = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
			return both{o, orderedByFields(o)}
		}(), "year"},
		{func() both {
			o := order
			o.When = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)
			return both{o, orderedByFields(o)}
		}(), "year"},
		{both{wide{F: -1}, wideByFields{F: -1}}, "level -1"},
		{both{wide{G: func() {}}, wideByFields{G: func() {}}}, "func()"},
		{both{wide{G: deep(64)}, wideByFields{G: deep(64)}}, "nest"},
		{both{wide{G: deep(1000)}, wideByFields{G: deep(1000)}}, "nest"},
	} {
		for _, v := range []any{test.value.methods, test.value.byFields} {
			if data, err := evento.CBOR().Marshal(v); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%T: %d bytes, %v, want an error with %q", v, len(data), err, test.want)
			}
		}
	}
	if _, err := evento.CBOR().Marshal(wide{G: deep(63)}); err != nil {
		t.Errorf("as deep as is allowed: %v", err)
	}
}

// Fields that the data does not have keep their values, as they do without the
// methods.
func TestDecodeIntoUsedValue(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"\xa0", "\xa1\x65Cents\x01", "\xa1\x64When\xf6", "\xa1\x64Home\xf6", "\xa1\x64Home\xa1\x63zip\x01", "\xa1\x64Note\xf6", "\xa1\x64Note\x61a",
		"\xa1\x63Raw\xf6", "\xa1\x63Raw\x41a", "\xa1\x64Tags\xf6", "\xa1\x64Tags\x81\x61a", "\xa1\x66Labels\xf6", "\xa1\x66Labels\xa1\x61z\x61a",
		"\xa2\x65Cents\x01\x65Owner\x01", "\xa1\x65Cents\xf6",
	} {
		got, want := fullOrdered(), orderedByFields(fullOrdered())
		err, wantErr := evento.CBOR().Unmarshal([]byte(data), &got), evento.CBOR().Unmarshal([]byte(data), &want)
		if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(orderedByFields(got), want) {
			t.Errorf("%q into a value in use: %+v, %v, want %+v, %v", data, got, err, want, wantErr)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range values() {
		data, err := evento.CBOR().Marshal(v.byFields)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 1000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		agree[ordered, orderedByFields](t, data, false)
		agree[wide, wideByFields](t, data, false)
	})
}

func FuzzEncode(f *testing.F) {
	f.Add("owner", int64(-5), uint32(7), 0.5, true, int64(1_700_000_000), int64(5), []byte{1}, "tag", "k", "v", uint8(0xff))
	f.Add("", int64(0), uint32(0), math.Inf(1), false, int64(-62135596800), int64(0), []byte{}, "", "\xff", "", uint8(0))
	f.Fuzz(func(t *testing.T, owner string, cents int64, count uint32, ratio float64, open bool, sec, nsec int64, raw []byte, tag, key, value string, which uint8) {
		o := ordered{Owner: owner, Cents: cents, Count: count, Ratio: ratio, Open: open, When: time.Unix(sec, nsec), Home: address{Street: tag}}
		w := wide{A: int8(cents), B: uint16(count), C: float32(ratio), F: level(count), L: time.Duration(nsec)}
		if which&1 != 0 {
			o.Raw, o.Home.Zip = raw, int(cents)
			copy(w.D[:], raw)
		}
		if which&2 != 0 {
			o.Tags, o.Note = []string{tag, owner, value}, &value
			w.J, w.K = []time.Time{o.When, {}}, [][]int16{nil, {int16(cents), int16(count)}}
		}
		if which&4 != 0 {
			o.Labels = map[string]string{key: value, tag: owner, owner + key: tag, "": "x"}
			w.I = map[int8]bool{int8(cents): open, int8(count): !open, -1: open, 0: true}
		}
		if which&8 != 0 {
			w.G, w.H = map[string]any{key: []any{tag, ratio, cents}}, &tree{Left: &tree{}}
		}
		written[ordered, orderedByFields](t, o, orderedByFields(o))
		written[wide, wideByFields](t, w, wideByFields(w))
	})
}

// written checks that both encodings, with and without the methods, are the same
// bytes or both an error, and can be decoded.
func written[M, F any, P interface {
	*M
	evento.CBORDecoder
}](t *testing.T, methods M, byFields F) {
	t.Helper()
	want, wantErr := evento.CBOR().Marshal(byFields)
	got, err := evento.CBOR().Marshal(methods)
	if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
		t.Fatalf("%+v was written as\n%x, %v, want\n%x, %v", methods, got, err, want, wantErr)
	}
	if err == nil {
		agree[M, F, P](t, want, true)
	}
}

func BenchmarkCodec(b *testing.B) {
	cbor, value := evento.CBOR(), fullOrdered()
	var payload, byFields any = value, orderedByFields(value) // the types that a commit gets
	data, err := cbor.Marshal(value)
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		run  func() error
	}{
		{"encode/methods", func() error { _, err := cbor.Marshal(payload); return err }},
		{"encode/fields", func() error { _, err := cbor.Marshal(byFields); return err }},
		{"decode/methods", func() error { var v ordered; return cbor.Unmarshal(data, &v) }},
		{"decode/fields", func() error { var v orderedByFields; return cbor.Unmarshal(data, &v) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
