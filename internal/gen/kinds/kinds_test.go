package kinds

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/gen/kinds/other"
)

// The events without their methods: generated code must do what the default codec
// does with these by reflection.
type (
	plainBasic     Basic
	plainNamed     Named
	plainComposite Composite
	plainTimes     Times
	plainForeign   Foreign
	plainTagged    Tagged
	plainSlow      Slow
	plainWhole     Whole
	plainWide      Wide
	plainEmpty     Empty
	plainUsual     Usual
)

// pair is an event with methods, and the same event without.
type pair struct{ event, plain reflect.Type }

var pairs = []pair{
	{reflect.TypeFor[Basic](), reflect.TypeFor[plainBasic]()},
	{reflect.TypeFor[Named](), reflect.TypeFor[plainNamed]()},
	{reflect.TypeFor[Composite](), reflect.TypeFor[plainComposite]()},
	{reflect.TypeFor[Times](), reflect.TypeFor[plainTimes]()},
	{reflect.TypeFor[Foreign](), reflect.TypeFor[plainForeign]()},
	{reflect.TypeFor[Tagged](), reflect.TypeFor[plainTagged]()},
	{reflect.TypeFor[Slow](), reflect.TypeFor[plainSlow]()},
	{reflect.TypeFor[Whole](), reflect.TypeFor[plainWhole]()},
	{reflect.TypeFor[Wide](), reflect.TypeFor[plainWide]()},
	{reflect.TypeFor[Empty](), reflect.TypeFor[plainEmpty]()},
	{reflect.TypeFor[Usual](), reflect.TypeFor[plainUsual]()},
}

// fill sets a value from a random source.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	text := func() string {
		b := make([]byte, r.IntN(30))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		return string(b)
	}
	if r.IntN(5) == 0 {
		return // zero
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(r.Int64N(1<<35), r.Int64N(1e9)).In(time.FixedZone("", 3600))
		return
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{1, 2, 3, byte(r.IntN(256))})
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{1, 2, 3, byte(r.IntN(256))}), 24)
		return
	case *other.Decimal:
		*p = other.NewDecimal(r.Int64())
		return
	case *other.Token:
		*p = other.NewToken(byte(r.IntN(256)))
		return
	case *big.Int:
		p.SetInt64(r.Int64())
		p.Mul(p, big.NewInt(r.Int64()))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64)) // truncated to the size of the type
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Float32:
		v.SetFloat([]float64{math.Inf(1), 1.5, float64(math.Float32frombits(r.Uint32() &^ (1 << 30)))}[r.IntN(3)])
	case reflect.Float64:
		v.SetFloat([]float64{math.Inf(-1), 1.5, math.Float64frombits(r.Uint64() &^ (1 << 62))}[r.IntN(3)])
	case reflect.String:
		v.SetString(text())
	case reflect.Interface:
		v.Set(reflect.ValueOf([]any{text(), uint64(5), true, []any{"x"}}[r.IntN(4)]))
	case reflect.Pointer:
		if depth < 6 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth+1)
		}
	case reflect.Slice:
		if depth < 6 {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 5))
			for i := range v.Len() {
				fill(r, v.Index(i), depth+1)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(12) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(r, key, depth+1)
			fill(r, value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i), depth+1)
			}
		}
	}
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("Version"); f.IsValid() {
			f.SetInt(r.Int64N(1000)) // in a struct that is not exported
		}
	}
}

func random(t reflect.Type, seed uint64) reflect.Value {
	v := reflect.New(t)
	fill(rand.New(rand.NewPCG(seed, 1)), v.Elem(), 0)
	return v
}

// asEvent converts a value without methods to its event.
func asEvent(v reflect.Value, p pair) any { return v.Elem().Convert(p.event).Interface() }

func TestSameBytes(t *testing.T) {
	t.Parallel()
	for _, p := range pairs {
		t.Run(p.event.Name(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(300) {
				plain := random(p.plain, seed)
				want, err := evento.CBOR().Marshal(plain.Elem().Interface())
				if err != nil {
					t.Fatalf("seed %d: without methods: %v", seed, err)
				}
				got, err := evento.CBOR().Marshal(asEvent(plain, p))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("seed %d: %+v\nis %x, want %x; %v", seed, plain.Elem(), got, want, err)
				}
				compareDecoded(t, p, want, 0)
			}
		})
	}
}

// compareDecoded decodes into values that are zero or already filled, and reports
// whether generated code did it.
func compareDecoded(t *testing.T, p pair, data []byte, filled uint64) {
	t.Helper()
	event, plain := reflect.New(p.event), reflect.New(p.plain)
	if filled > 0 {
		event, plain = random(p.event, filled), random(p.plain, filled)
	}
	err, wantErr := evento.CBOR().Unmarshal(data, event.Interface()), evento.CBOR().Unmarshal(data, plain.Interface())
	if fmt.Sprint(err == nil) != fmt.Sprint(wantErr == nil) {
		t.Fatalf("%x into %s: error %v, want %v", data, p.event.Name(), err, wantErr)
	}
	if wantErr != nil {
		return
	}
	got, want := event.Elem().Interface(), asEvent(plain, p)
	if reflect.DeepEqual(got, want) {
		return
	}
	// NaN is not equal to itself.
	a, errA := evento.CBOR().Marshal(event.Elem().Convert(p.plain).Interface())
	b, errB := evento.CBOR().Marshal(plain.Elem().Interface())
	if errA != nil || errB != nil || !bytes.Equal(a, b) || !bytes.Contains(a, []byte("\xf9\x7e\x00")) {
		t.Fatalf("%x into %s:\n%+v, want\n%+v", data, p.event.Name(), got, want)
	}
}

// Generated code itself reads what it has written: it does not leave all of the
// work to the codec.
func TestDecodesItself(t *testing.T) {
	t.Parallel()
	for _, p := range pairs {
		_, ok := reflect.New(p.event).Interface().(evento.CBORDecoder)
		if whole := p.event == reflect.TypeFor[Whole](); ok == whole {
			t.Errorf("%s decodes itself: %t, want %t", p.event.Name(), ok, !whole)
		}
		if !ok {
			continue
		}
		for seed := range uint64(100) {
			data, err := evento.CBOR().Marshal(random(p.event, seed).Elem().Interface())
			if err != nil {
				t.Fatal(err)
			}
			decoder := reflect.New(p.event).Interface().(evento.CBORDecoder)
			if ok, err := decoder.DecodeCBOR(data); !ok || err != nil {
				t.Fatalf("%s, seed %d: %x: %t, %v; want it to be decoded", p.event.Name(), seed, data, ok, err)
			}
		}
	}
}

// Both codecs give the same result on any bytes, broken ones included, and for any
// former value.
func FuzzDecode(f *testing.F) {
	for i, p := range pairs {
		for seed := range uint64(3) {
			data, err := evento.CBOR().Marshal(random(p.event, seed).Elem().Interface())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(i), seed*7, data)
		}
	}
	f.Fuzz(func(t *testing.T, i byte, filled uint64, data []byte) {
		compareDecoded(t, pairs[int(i)%len(pairs)], data, filled)
	})
}

// The same on bytes that are almost valid, in every run of the tests.
func TestDecodeDamaged(t *testing.T) {
	t.Parallel()
	for _, p := range pairs {
		t.Run(p.event.Name(), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(7, 7))
			for seed := range uint64(400) {
				data, err := evento.CBOR().Marshal(random(p.event, seed).Elem().Interface())
				if err != nil {
					t.Fatal(err)
				}
				compareDecoded(t, p, data, seed)
				for range 1 + r.IntN(3) {
					data[r.IntN(len(data))] = byte(r.IntN(256))
				}
				compareDecoded(t, p, data, 0)
				compareDecoded(t, p, data, seed)
				compareDecoded(t, p, data[:r.IntN(len(data))], 0)
			}
		})
	}
}

// Rare shapes: generated code refuses what the codec refuses, and decodes the rest
// to the same value.
func TestDecodeOdd(t *testing.T) {
	t.Parallel()
	composite := pair{reflect.TypeFor[Composite](), reflect.TypeFor[plainComposite]()}
	wide := pair{reflect.TypeFor[Wide](), reflect.TypeFor[plainWide]()}
	empty := pair{reflect.TypeFor[Empty](), reflect.TypeFor[plainEmpty]()}
	for _, test := range []struct {
		what string
		pair
		data string
		err  bool
	}{
		{"a key of a map twice", composite, "\xa1\x66ByName\xa2\x61a\x01\x61a\x02", true},
		{"a field twice", composite, "\xa2\x65Bytes\x41a\x65Bytes\x41b", true},
		{"a field beyond the first 64 twice", wide, "\xa2\x63G05\xf5\x63G05\xf4", true},
		{"a field of an inner struct twice", composite, "\xa1\x66Inline\xa2\x61a\x01\x61a\x02", true},
		{"an array with fewer", composite, "\xa1\x64Grid\x81\x83\x01\x02\x03", false},
		{"an array with more", composite, "\xa1\x64Grid\x83\x80\x80\x80", false},
		{"bytes that are shorter than the array", composite, "\xa1\x64Hash\x41a", false},
		{"null for everything", composite, "\xa4\x65Bytes\xf6\x64Hash\xf6\x64Grid\xf6\x66Inline\xf6", false},
		{"null for the whole", composite, "\xf6", false},
		{"a name in other case", composite, "\xa1\x65bytes\x41a", false},
		{"a field that is not known", composite, "\xa1\x65Other\x41a", false},
		{"a field where there is none", empty, "\xa1\x65Other\x41a", false},
		{"a map without an end", composite, "\xbf\x65Bytes\x41a\xff", false},
		{"a number that does not fit", composite, "\xa1\x64Grid\x81\x81\x19\xff\xff", true},
		{"a list that claims too much", composite, "\xa1\x67Numbers\x9a\x00\x10\x00\x00\x01", true},
		{"text for bytes", composite, "\xa1\x65Bytes\x61a", true},
		{"something behind it", composite, "\xa0\xa0", true},
		{"nothing", composite, "", true},
	} {
		err := evento.CBOR().Unmarshal([]byte(test.data), reflect.New(test.plain).Interface())
		if (err != nil) != test.err {
			t.Errorf("%s: without methods: %v, want an error: %t", test.what, err, test.err)
		}
		compareDecoded(t, test.pair, []byte(test.data), 0)
		compareDecoded(t, test.pair, []byte(test.data), 4)
	}
}

func usual() Usual {
	coupon := "SPRING"
	return Usual{
		OrderID: "order-8812", Customer: "Ada Lovelace", Cents: 129_95, Quantity: 3, Paid: true, Rate: 0.19,
		At: time.Date(2026, 3, 2, 9, 30, 0, 123456789, time.UTC), Receipt: []byte("a receipt of some bytes"),
		Tags: []string{"new", "gift"}, Address: other.Address{Street: "12 Long Street", City: "London"},
		Labels: map[string]string{"source": "web", "campaign": "march"}, Coupon: &coupon,
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, v := range map[string]any{"generated": usual(), "reflective": plainUsual(usual())} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := evento.CBOR().Marshal(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := evento.CBOR().Marshal(usual())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("generated", func(b *testing.B) { decodeAll[Usual](b, data) })
	b.Run("reflective", func(b *testing.B) { decodeAll[plainUsual](b, data) })
}

func decodeAll[T any](b *testing.B, data []byte) {
	b.ReportAllocs()
	for b.Loop() {
		var v T
		if err := evento.CBOR().Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}
