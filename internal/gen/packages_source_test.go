package gen

// The packages that random packages are made of.

// kindsSource has what Go predeclares, for packages that hide it.
const kindsSource = `package kinds

type (
	Bool = bool; Byte = byte; Error = error; Float32 = float32; Float64 = float64; Int = int; Int8 = int8; Int16 = int16
	Int32 = int32; Int64 = int64; Rune = rune; String = string; Uint = uint; Uint8 = uint8; Uint16 = uint16
	Uint32 = uint32; Uint64 = uint64; Any = any
)
`

// libSource are the types of every package that is imported, under whatever name.
const libSource = `
import (
	"errors"
	"time"
)

type (
	Ref    struct {
		Kind string
		N    int ` + "`json:\"n,omitempty\"`" + `
		Next *Ref
		hidden int
	}
	Base   struct {
		By string ` + "`json:\"by\"`" + `
		At time.Time
	}
	Pair[K comparable, V any] struct {
		Key   K
		Value V
		All   map[K][]V ` + "`json:\",omitempty\"`" + `
	}
	Amount int64
	Names  []string
	Codes  map[string]uint16
	ID     [4]byte
	Level  uint8
	Text   struct{ s string }
	Bin    struct{ b byte }
	Raw    struct{ b byte }
	Forest []Forest
	Known  = secret
	hidden = Amount
	secret struct{ A string; B []hidden }
	Deep   struct {
		Refs  []hidden
		Other Known
		Pairs [2]Pair[hidden, Known]
		Inner struct{ X, Y float64; inner hidden }
	}
)

func (t Text) MarshalText() ([]byte, error)  { return []byte(t.s), nil }
func (t *Text) UnmarshalText(b []byte) error { t.s = string(b); return nil }
func (t *Text) FillRandom(n uint64)          { t.s = string(rune('a' + n%26)) }

func (b *Bin) MarshalBinary() ([]byte, error) { return []byte{b.b}, nil }
func (b *Bin) UnmarshalBinary(d []byte) error {
	if len(d) != 1 {
		return errors.New("not a Bin")
	}
	b.b = d[0]
	return nil
}
func (b *Bin) FillRandom(n uint64) { b.b = byte(n) }

func (r Raw) MarshalCBOR() ([]byte, error) { return []byte{0x18, r.b | 0x18}, nil }
func (r *Raw) UnmarshalCBOR(d []byte) error {
	if len(d) != 2 {
		return errors.New("not a Raw")
	}
	r.b = d[1]
	return nil
}
func (r *Raw) FillRandom(n uint64) { r.b = byte(n) | 0x18 }

func (i ID) MarshalText() ([]byte, error)  { return []byte{'a' + i[0]&15, 'a' + i[1]&15, 'a' + i[2]&15, 'a' + i[3]&15}, nil }
func (i *ID) UnmarshalText(b []byte) error {
	if len(b) != 4 {
		return errors.New("not an ID")
	}
	for n := range b {
		i[n] = b[n] - 'a'
	}
	return nil
}
func (i *ID) FillRandom(n uint64) { i[0], i[3] = byte(n&15), byte(n>>4&15) }

func (l Level) String() string { return string(rune('a' + l%26)) }
`

// checkSource compares events with the same structs without methods.
const checkSource = `package check

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"time"

	"github.com/evento-go/evento"
)

type (
	String = string
	Any    = any
)

// Event is an event, and the same struct without its methods, if it has no encoding
// of its own.
type Event struct {
	Type, Plain reflect.Type
	Defaults    map[string]any          // of fields, by name
	Was         [][3]string             // of fields: name, former stored name, stored name
	Old         map[string]reflect.Type // what it is upcast from
}

var failed = map[string]bool{}

func fail(folder string, e Event, format string, args ...any) {
	if !failed[folder] {
		fmt.Printf("%s, event %s: %s\n", folder, e.Type.Name(), fmt.Sprintf(format, args...))
	}
	failed[folder] = true
}

// End ends the program with what was found.
func End() {
	if len(failed) > 0 {
		os.Exit(1)
	}
}

// Run checks the events of a package.
func Run(folder string, events []Event) {
	for _, e := range events {
		e := e
		func() {
			defer func() {
				if r := recover(); r != nil {
					fail(folder, e, "panic: %v", r)
				}
			}()
			for seed := range uint64(25) {
				one(folder, e, seed)
			}
			evolution(folder, e)
		}()
	}
}

// one checks a random value.
func one(folder string, e Event, seed uint64) {
	v := random(e.Type, seed)
	if t, ok := v.Interface().(interface{ Tags() []string }); ok {
		t.Tags()
	}
	if e.Plain == nil {
		data, err := evento.CBOR().Marshal(v.Elem().Interface())
		if err == nil {
			err = evento.CBOR().Unmarshal(data, reflect.New(e.Type).Interface())
		}
		if err != nil {
			fail(folder, e, "%+v: %v", v.Elem(), err)
		}
		return
	}
	plain := v.Elem().Convert(e.Plain)
	want, wantErr := evento.CBOR().Marshal(plain.Interface())
	got, err := evento.CBOR().Marshal(v.Elem().Interface())
	if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
		fail(folder, e, "%+v\nis %x (%v), want %x (%v)", plain, got, err, want, wantErr)
		return
	}
	if err != nil {
		return
	}
	if d, ok := reflect.New(e.Type).Interface().(evento.CBORDecoder); ok {
		if ok, err := d.DecodeCBOR(want); !ok || err != nil {
			fail(folder, e, "%+v\nis %x, which DecodeCBOR does not read: %t, %v", plain, want, ok, err)
		}
	}
	r := rand.New(rand.NewPCG(seed, 2))
	decode(folder, e, want, 0)
	decode(folder, e, want, seed+1)
	for range 4 {
		damaged := bytes.Clone(want)
		damaged[r.IntN(len(damaged))] = byte(r.IntN(256))
		decode(folder, e, damaged, 0)
		decode(folder, e, damaged[:r.IntN(len(damaged))], seed+1)
	}
}

// decode compares what data is decoded to, into values that are zero or filled.
func decode(folder string, e Event, data []byte, filled uint64) {
	event, plain := reflect.New(e.Type), reflect.New(e.Plain)
	if filled > 0 {
		event, plain = random(e.Type, filled), random(e.Plain, filled)
	}
	err, wantErr := evento.CBOR().Unmarshal(data, event.Interface()), evento.CBOR().Unmarshal(data, plain.Interface())
	if (err == nil) != (wantErr == nil) {
		fail(folder, e, "%x: error %v, want %v", data, err, wantErr)
	}
	if err == nil && wantErr == nil && !same(event.Elem().Convert(e.Plain), plain.Elem()) {
		fail(folder, e, "%x is\n%+v, want\n%+v", data, event.Elem(), plain.Elem())
	}
}

// same compares values of one type. NaN is not equal to itself.
func same(got, want reflect.Value) bool {
	if reflect.DeepEqual(got.Interface(), want.Interface()) {
		return true
	}
	a, errA := evento.CBOR().Marshal(got.Interface())
	b, errB := evento.CBOR().Marshal(want.Interface())
	return errA == nil && errB == nil && bytes.Equal(a, b) && bytes.Contains(a, []byte("\xf9\x7e\x00"))
}

// evolution checks defaults, former names of fields, and upcasts.
func evolution(folder string, e Event) {
	evolved, ok := reflect.New(e.Type).Interface().(evento.Evolved)
	if !ok {
		if len(e.Defaults)+len(e.Was)+len(e.Old) > 0 {
			fail(folder, e, "there is no DecodeEvent")
		}
		return
	}
	decode := func(name string, data []byte) reflect.Value {
		v := reflect.New(e.Type)
		evolved = v.Interface().(evento.Evolved)
		if err := evolved.DecodeEvent(name, evento.CBOR(), data); err != nil {
			fail(folder, e, "DecodeEvent of %s %x: %v", name, data, err)
		}
		return v.Elem()
	}
	var empty reflect.Value
	if len(e.Defaults) > 0 {
		empty = decode("Nothing", []byte{0xa0})
	}
	for name, want := range e.Defaults {
		got := empty.FieldByName(name)
		if got.Kind() == reflect.Pointer {
			got = got.Elem()
		}
		if !reflect.DeepEqual(got.Interface(), want) {
			fail(folder, e, "the default of %s is %v, want %v", name, got, want)
		}
	}
	for i, was := range e.Was {
		f, _ := e.Type.FieldByName(was[0])
		value := random(f.Type, uint64(i)+5).Elem().Interface()
		old, err := evento.CBOR().Marshal(map[string]any{was[1]: value})
		now, err2 := evento.CBOR().Marshal(map[string]any{was[2]: value})
		if err != nil || err2 != nil {
			continue
		}
		got, want := decode("Nothing", old).FieldByName(was[0]), decode("Nothing", now).FieldByName(was[0])
		if value != nil && !same(got, want) {
			fail(folder, e, "%s, stored as %s, is %+v, want %+v", was[0], was[1], got, want)
		}
	}
	for name, t := range e.Old {
		data, err := evento.CBOR().Marshal(random(t, 3).Elem().Interface())
		if err == nil && !decode(name, data).IsZero() {
			fail(folder, e, "what was %s is not what its upcast makes of it", name)
		}
	}
}

func random(t reflect.Type, seed uint64) reflect.Value {
	v := reflect.New(t)
	fill(rand.New(rand.NewPCG(seed, 1)), v.Elem(), 0)
	return v
}

func fill(r *rand.Rand, v reflect.Value, depth int) {
	if r.IntN(5) == 0 || depth > 6 || !v.CanSet() {
		return // zero
	}
	switch p := v.Addr().Interface().(type) {
	case interface{ FillRandom(uint64) }:
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface && !promoted(v.Type()) {
			p.FillRandom(r.Uint64())
			return
		}
	case *time.Time:
		*p = time.Unix(r.Int64N(1<<35), r.Int64N(1e9)).In(time.FixedZone("", 3600))
		return
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{1, 2, 3, byte(r.IntN(256))})
		return
	case *big.Int:
		p.SetInt64(r.Int64())
		p.Mul(p, big.NewInt(r.Int64()))
		return
	}
	many := r.IntN(4)
	if depth > 3 {
		many = r.IntN(2)
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{math.Inf(1), 1.5, float64(math.Float32frombits(r.Uint32() &^ (1 << 30))), 1e300}[r.IntN(4)])
	case reflect.String:
		b := make([]byte, r.IntN(30))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		v.SetString(string(b))
	case reflect.Interface:
		v.Set(reflect.ValueOf([]any{"text", uint64(5), true, []any{"x"}}[r.IntN(4)]))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), many, 5))
		for i := range v.Len() {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.Pointer {
			return // it is not stored, and two of them are not the same
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range many * 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(r, key, depth+1)
			fill(r, value, depth+1)
			if key.Comparable() && key.Equal(key) {
				v.SetMapIndex(key, value)
			}
		}
	case reflect.Struct:
		fields(r, v, depth)
	}
}

// fields fills the fields of a struct, and those of structs that it embeds though they
// are not exported.
func fields(r *rand.Rand, v reflect.Value, depth int) {
	for i := range v.NumField() {
		if t := v.Type().Field(i); t.Anonymous && !t.IsExported() && t.Type.Kind() == reflect.Struct {
			fields(r, v.Field(i), depth+1)
			continue
		}
		fill(r, v.Field(i), depth+1)
	}
}

// promoted reports whether a struct has FillRandom from what it embeds.
func promoted(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			if _, ok := reflect.PointerTo(f.Type).MethodByName("FillRandom"); ok {
				return true
			}
		}
	}
	return false
}
`
