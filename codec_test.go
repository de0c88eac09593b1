package evento_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evento-go/evento"
)

type base struct{ Inherited string }

type inner struct {
	N int `json:"n,omitempty"`
}

// facts has a field of each sort that a payload may have.
type facts struct {
	base
	Text    string
	Bytes   []byte
	Int     int64
	Uint    uint64
	Float   float64
	Bool    bool
	When    time.Time
	Took    time.Duration
	Map     map[string]int
	List    []inner
	Pointer *inner
	Array   [2]int8
	Addr    netip.Addr // MarshalText, MarshalBinary
	Big     *big.Int   // MarshalText
	Level   level      // MarshalText alone
	Renamed string     `json:"other_name"`
	Left    string     `json:"-"`
}

// level is stored by its name.
type level int

func (l level) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "level %d", int(l)), nil }
func (l *level) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "level %d", (*int)(l))
	return err
}

func full() facts {
	return facts{
		base: base{"from below"}, Text: "zoë\u2028\ufffd", Bytes: []byte{0, 0xff}, Int: math.MinInt64, Uint: math.MaxUint64,
		Float: -0.1, Bool: true, When: time.Date(2024, 2, 29, 23, 59, 59, 123_456_789, time.FixedZone("", 2*3600)),
		Took: 3 * time.Nanosecond, Map: map[string]int{"b": 2, "a": 1, "aa": 3}, List: []inner{{1}, {}},
		Pointer: &inner{7}, Array: [2]int8{-1, 1}, Addr: netip.MustParseAddr("2001:db8::1"), Big: big.NewInt(-12345), Level: 3, Renamed: "r",
	}
}

var builtIn = []evento.Codec{evento.CBOR(), evento.JSON()}

func TestCodecsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, codec := range builtIn {
		for name, want := range map[string]facts{"full": full(), "zero": {Big: new(big.Int)}} {
			data, err := codec.Marshal(want)
			if err != nil {
				t.Errorf("%s: %s: %v", codec.Name(), name, err)
				continue
			}
			var got facts
			if err := codec.Unmarshal(data, &got); err != nil {
				t.Errorf("%s: %s: %v", codec.Name(), name, err)
			}
			// CBOR gives the moment, in UTC; JSON the offset too.
			if !got.When.Equal(want.When) || codec.Name() == "json" && zoneOf(got.When) != zoneOf(want.When) {
				t.Errorf("%s: %s: the time %s came back as %s", codec.Name(), name, want.When, got.When)
			}
			if got.Big.Cmp(want.Big) != 0 {
				t.Errorf("%s: %s: the number %s came back as %s", codec.Name(), name, want.Big, got.Big)
			}
			got.When, want.When, got.Big, want.Big = time.Time{}, time.Time{}, nil, nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s came back as\n%+v, want\n%+v", codec.Name(), name, got, want)
			}
		}
	}
}

func zoneOf(t time.Time) int {
	_, offset := t.Zone()
	return offset
}

// Payloads are stored for ever: what CBOR writes for a value may not change.
func TestCodecsGolden(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		codec evento.Codec
		value any
		want  string
	}{
		{evento.CBOR(), MoneyDeposited{Amount: 100}, "a166416d6f756e741864"},
		{evento.CBOR(), struct{}{}, "a0"},
		{evento.CBOR(), map[string]int{"b": 2, "a": 1, "aa": 3}, "a36161016162026261610" + "3"},
		{evento.CBOR(), time.Date(2024, 2, 29, 23, 59, 59, 120_000_000, time.UTC), "77323032342d30322d32395432333a35393a35392e31325a"},
		{evento.CBOR(), struct {
			A string  `json:"a"`
			B []byte  `json:"b"`
			C float64 `json:"c,omitempty"`
			D *int    `json:"d"`
			E bool    `cbor:"e"`
		}{A: "é", B: []byte{1}}, "a4616162c3a961624101616" + "4f66165f4"},
		{evento.CBOR(), level(3), "676c6576656c2033"},
		{evento.JSON(), MoneyDeposited{Amount: 100}, hex.EncodeToString([]byte(`{"Amount":100}`))},
		{evento.JSON(), map[string]int{"b": 2, "a": 1}, hex.EncodeToString([]byte(`{"a":1,"b":2}`))},
	} {
		for range 3 { // maps too are written in one way
			got, err := test.codec.Marshal(test.value)
			if err != nil || hex.EncodeToString(got) != test.want {
				t.Errorf("%s of %+v: %x, %v, want %s", test.codec.Name(), test.value, got, err, test.want)
			}
		}
	}
	if got := []string{evento.CBOR().Name(), evento.JSON().Name()}; !reflect.DeepEqual(got, []string{"cbor", "json"}) {
		t.Errorf("the names of the codecs are %q; they are stored with each event", got)
	}
}

// A payload's type changes over the years; old events stay readable.
func TestCodecsEvolution(t *testing.T) {
	t.Parallel()
	type old struct {
		Kept    string
		Dropped int
		CASED   string
	}
	type renewed struct {
		Kept  string
		Added *string
		Cased string
	}
	for _, codec := range builtIn {
		data, err := codec.Marshal(old{"k", 1, "c"})
		if err != nil {
			t.Fatal(err)
		}
		got := renewed{Added: new(string)}
		if err := codec.Unmarshal(data, &got); err != nil || got.Kept != "k" || got.Cased != "c" || got.Added == nil {
			t.Errorf("%s: %+v, %v, want k and c, and Added as it was", codec.Name(), got, err)
		}
		var wrong struct{ Kept int }
		if err := codec.Unmarshal(data, &wrong); err == nil {
			t.Errorf("%s: a text was read into an int: %+v", codec.Name(), wrong)
		}
	}
}

func TestCodecsInvalidUTF8(t *testing.T) {
	t.Parallel()
	const text = "a\xff\x00b"
	var got struct{ Text string }
	data, err := evento.CBOR().Marshal(struct{ Text string }{text})
	if err == nil {
		err = evento.CBOR().Unmarshal(data, &got)
	}
	if err != nil || got.Text != text {
		t.Errorf("cbor: %q came back as %q, %v", text, got.Text, err)
	}
	for _, refused := range []any{text, []string{"\xff"}, map[string]int{"\xff": 1}, `\` + "\xff"} {
		if data, err := evento.JSON().Marshal(refused); err == nil {
			t.Errorf("json: %q was written as %s, which reads otherwise", refused, data)
		}
	}
	for _, taken := range []string{"\ufffd", `\ufffd`, `\\ufffd`, `\` + "\ufffd", ""} {
		data, err := evento.JSON().Marshal(taken)
		var got string
		if err == nil {
			err = evento.JSON().Unmarshal(data, &got)
		}
		if err != nil || got != taken {
			t.Errorf("json: %q came back as %q, %v", taken, got, err)
		}
	}
}

// chain is nested as deep as it is long.
type chain struct {
	Next *chain `json:"n"`
}

func chained(depth int) *chain {
	var c *chain
	for range depth {
		c = &chain{Next: c}
	}
	return c
}

func TestCodecsDepth(t *testing.T) {
	t.Parallel()
	for _, codec := range builtIn {
		data, err := codec.Marshal(chained(evento.MaxDepth))
		var got *chain
		if err == nil {
			err = codec.Unmarshal(data, &got)
		}
		if err != nil || !reflect.DeepEqual(got, chained(evento.MaxDepth)) {
			t.Errorf("%s: a depth of %d: %v", codec.Name(), evento.MaxDepth, err)
		}
		if data, err := codec.Marshal(chained(evento.MaxDepth + 1)); err == nil {
			t.Errorf("%s: a depth of %d was written, in %d bytes, which cannot be read", codec.Name(), evento.MaxDepth+1, len(data))
		}
	}
	for _, test := range []struct {
		codec evento.Codec
		open  string
	}{
		{evento.CBOR(), "\x81"},
		{evento.CBOR(), "\x9f"},
		{evento.CBOR(), "\xa1\x61n"},
		{evento.CBOR(), "\xc1"},
		{evento.JSON(), "["},
		{evento.JSON(), `{"n":`},
	} {
		for _, into := range []any{new(any), new(*chain)} {
			if err := test.codec.Unmarshal([]byte(strings.Repeat(test.open, 100_000)), into); err == nil {
				t.Errorf("%s: 100,000 times %q was read into %T", test.codec.Name(), test.open, into)
			}
		}
	}
	// Brackets in a text nest nothing.
	brackets := strings.Repeat(`[{"\`, 100)
	data, err := evento.JSON().Marshal(brackets)
	var got string
	if err == nil {
		err = evento.JSON().Unmarshal(data, &got)
	}
	if err != nil || got != brackets {
		t.Errorf("json: brackets within a text: %v", err)
	}
}

// A header that claims more than there is must not be believed: what it claims
// here is more than a machine has.
func TestCBORHugeClaims(t *testing.T) {
	t.Parallel()
	for _, claim := range []string{
		"\x5b\x00\x00\x7f\xff\xff\xff\xff\xff", // bytes
		"\x7b\x00\x00\x7f\xff\xff\xff\xff\xff", // text
		"\x9b\x00\x00\x7f\xff\xff\xff\xff\xff", // array
		"\x9a\x00\x40\x00\x00",                 // array within the limit
		"\xbb\x00\x00\x7f\xff\xff\xff\xff\xff", // map
		"\xba\x00\x40\x00\x00",                 // map within the limit
		"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		type large [1 << 30]byte
		for _, into := range []any{new(any), new(string), new([]byte), new([]large), new(map[int]large), new(MoneyDeposited)} {
			if err := evento.CBOR().Unmarshal([]byte(claim), into); err == nil {
				t.Errorf("%x was read into %T", claim, into)
			}
		}
	}
}

func TestCodecsRefuseOtherBytes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		codec evento.Codec
		data  string
	}{
		{evento.CBOR(), ""},
		{evento.CBOR(), "\xa1"},
		{evento.CBOR(), "\xa1\x66Amount\x18\x64\x00"},             // and more
		{evento.CBOR(), "\xa2\x66Amount\x01\x66Amount\x02"},       // a field twice
		{evento.CBOR(), "\xa1\x66Amount\x63abc"},                  // a text
		{evento.CBOR(), "\xa1\x66Amount\x1b\xff\xff\xff\xff\xff"}, // cut
		{evento.CBOR(), `{"Amount":100}`},
		{evento.JSON(), ""},
		{evento.JSON(), `{"Amount":100`},
		{evento.JSON(), `{"Amount":100}{}`},
		{evento.JSON(), `{"Amount":100} x`},
		{evento.JSON(), `{"Amount":"100"}`},
		{evento.JSON(), "]"},
	} {
		var got MoneyDeposited
		if err := test.codec.Unmarshal([]byte(test.data), &got); err == nil {
			t.Errorf("%s read %q as %+v", test.codec.Name(), test.data, got)
		}
	}
	var got MoneyDeposited
	if err := evento.JSON().Unmarshal([]byte(" {\"Amount\":100}\n"), &got); err != nil || got.Amount != 100 {
		t.Errorf("json with space around it: %+v, %v", got, err)
	}
}

func FuzzCBOR(f *testing.F) { fuzzCodec(f, evento.CBOR()) }
func FuzzJSON(f *testing.F) { fuzzCodec(f, evento.JSON()) }

// fuzzCodec wants whatever can be read to be written, and read again as the
// same.
func fuzzCodec(f *testing.F, codec evento.Codec) {
	for _, v := range []any{full(), facts{}, chained(10)} {
		data, err := codec.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\x9b\x00\x00\x7f\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c chain
		if codec.Unmarshal(data, &c) == nil {
			again, err := codec.Marshal(c)
			var got chain
			if err == nil {
				err = codec.Unmarshal(again, &got)
			}
			if err != nil || !reflect.DeepEqual(got, c) {
				t.Errorf("%x was read as %+v, and that again as %+v, %v", data, c, got, err)
			}
		}
		var v facts
		_ = codec.Unmarshal(data, &v) // it must come back, and not panic
		var a any
		_ = codec.Unmarshal(data, &a)
	})
}

// A payload that cannot be read is reported with the event that it is of, by
// projections and by subscriptions.
func TestDecodeErrorsNameTheEvent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ codec, data, want string }{
		{"cbor", "\xff", "cbor: "},
		{"json", "{", "unexpected EOF"},
		{"protobuf", "", "unknown codec"},
		{"CBOR", "\xa0", "unknown codec"},
	} {
		ex := newStore(t)
		commit(t, ex, evento.Aggregate("a").Event(AccountOpened{}))
		id := writeRaw(t, ex, "a", MoneyDeposited{}, test.codec, []byte(test.data))
		_, loadErr := balance.Load(t.Context(), ex, "a")
		handled := 0
		executeErr := evento.NewSubscription("s").Logger(silent).
			Handler(evento.Handle(func(_ context.Context, _ evento.Event[MoneyDeposited]) error { handled++; return nil })).
			Execute(t.Context(), ex)
		for name, err := range map[string]error{"Load": loadErr, "Execute": executeErr} {
			var d *evento.DecodeError
			if !errors.Is(err, evento.ErrDecode) || !errors.As(err, &d) {
				t.Errorf("%s of codec %q, %q: %v, want ErrDecode", name, test.codec, test.data, err)
				continue
			}
			want := evento.DecodeError{ID: id, Position: 2, AggregateType: Account, AggregateID: "a", Version: 2, Name: "MoneyDeposited", Codec: test.codec, Err: d.Err}
			if *d != want || !strings.Contains(fmt.Sprint(d.Err), test.want) || errors.Unwrap(d) == nil {
				t.Errorf("%s: %+v, want %+v because of %q", name, *d, want, test.want)
			}
			for _, part := range []string{"bank/Account MoneyDeposited", `"a"`, "version 2", "position 2", id.String(), fmt.Sprintf("%q", test.codec)} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q does not say %s", name, err, part)
				}
			}
		}
		var h *evento.HandlerError
		if !errors.As(executeErr, &h) || h.Attempts != 1 || handled != 0 {
			t.Errorf("the subscription ended with %v, want one attempt: the bytes do not get better", executeErr)
		}
	}
}

// A codec of one's own is found by its name, by readers that were given it.
func TestOwnCodec(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	own := namedCodec{evento.JSON(), "own"}
	commit(t, ex, evento.Aggregate("a").Event(MoneyDeposited{Amount: 3}).Codec(own))
	commit(t, ex, evento.Aggregate("a").OriginalVersion(1).Event(MoneyDeposited{Amount: 4}).Codec(evento.JSON()))
	if e := events(t, ex); e[0].Codec != "own" || string(e[0].Data) != `{"Amount":3}` || e[1].Codec != "json" {
		t.Errorf("stored %+v", e)
	}
	sum := func() *evento.Projection[Balance] {
		return evento.NewProjection[Balance]("sum", Account).Handler(evento.Apply(func(b *Balance, e evento.Event[MoneyDeposited]) error {
			b.Cents += e.Data.Amount
			return nil
		}))
	}
	if l, err := sum().Codecs(own).Load(t.Context(), ex, "a"); err != nil || l.State.Cents != 7 {
		t.Errorf("with the codec: %+v, %v, want 7", l, err)
	}
	if _, err := sum().Load(t.Context(), ex, "a"); !errors.Is(err, evento.ErrDecode) {
		t.Errorf("without the codec: %v, want ErrDecode", err)
	}
	got := int64(0)
	err := evento.NewSubscription("s").Codecs(own).Handler(evento.Handle(func(_ context.Context, e evento.Event[MoneyDeposited]) error {
		got += e.Data.Amount
		return nil
	})).Execute(t.Context(), ex)
	if err != nil || got != 7 {
		t.Errorf("subscription with the codec: %d, %v, want 7", got, err)
	}
	for _, test := range []struct {
		codecs []evento.Codec
		want   string
	}{
		{[]evento.Codec{own, nil}, "invalid codec: nil"},
		{[]evento.Codec{own, own}, `invalid codec: two are named "own"`},
		{[]evento.Codec{namedCodec{evento.JSON(), "a\n"}}, "invalid codec name"},
	} {
		if _, err := sum().Codecs(test.codecs...).Load(t.Context(), ex, "a"); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("projection with codecs %v: %v, want %q", test.codecs, err, test.want)
		}
		if err := evento.NewSubscription("s").Codecs(test.codecs...).Execute(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("subscription with codecs %v: %v, want %q", test.codecs, err, test.want)
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	own := namedCodec{evento.JSON(), "own"}
	commit(t, ex, evento.Aggregate("a").Event(MoneyDeposited{Amount: 3}))
	commit(t, ex, evento.Aggregate("b").Event(MoneyDeposited{Amount: 4}).Codec(own))
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "z"}))
	stored := events(t, ex)
	for i, raw := range stored[:2] {
		e, err := evento.Decode[MoneyDeposited](raw, own)
		if err != nil || e.Data.Amount != int64(3+i) || e.ID != raw.ID || e.Version != 1 {
			t.Errorf("event %d: %+v, %v, want the amount %d", i, e, err, 3+i)
		}
	}
	if e, err := evento.Decode[*renamed](stored[2]); err != nil || e.Data.Name != "z" {
		t.Errorf("a pointer: %+v, %v, want z", e, err)
	}
	if _, err := evento.Decode[MoneyDeposited](stored[1]); !errors.Is(err, evento.ErrDecode) {
		t.Errorf("without its codec: %v, want ErrDecode", err)
	}
	if _, err := evento.Decode[MoneyWithdrawn](stored[0]); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "bank/Account MoneyDeposited is not bank/Account MoneyWithdrawn") {
		t.Errorf("as another event: %v, want ErrInvalid and both kinds", err)
	}
	if _, err := evento.Decode[evento.Payload](stored[0]); !errors.Is(err, evento.ErrInvalid) {
		t.Errorf("as an interface: %v, want ErrInvalid", err)
	}
}

// Payloads of pointer type are made before they are decoded into.
func TestPointerPayloads(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("o").Event(&renamed{Name: "Zoë"}, &renamed{}))
	var names []string
	p := evento.NewProjection[string]("name", ownerType).Handler(evento.Apply(func(name *string, e evento.Event[*renamed]) error {
		names = append(names, e.Data.Name)
		*name += e.Data.Name
		return nil
	}))
	if l, err := p.Load(t.Context(), ex, "o"); err != nil || l.State != "Zoë" {
		t.Errorf("Load: %+v, %v, want Zoë", l, err)
	}
	err := evento.NewSubscription("s").Handler(evento.Handle(func(_ context.Context, e evento.Event[*renamed]) error {
		names = append(names, e.Data.Name)
		return nil
	})).Execute(t.Context(), ex)
	if want := []string{"Zoë", "", "Zoë", ""}; err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("handlers saw %q, %v, want %q", names, err, want)
	}
}

// Times come back as the same moment, or are not stored.
func TestCodecsOddTimes(t *testing.T) {
	t.Parallel()
	for _, codec := range builtIn {
		times := []time.Time{
			time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(2024, 1, 1, 0, 0, 0, 0, time.FixedZone("", 30*3600)),
		}
		if codec.Name() == "cbor" { // encoding/json cuts the seconds of an offset
			times = append(times, time.Date(1880, 1, 1, 12, 0, 0, 0, time.FixedZone("LMT", 19*60+32)))
		}
		for _, when := range times {
			data, err := codec.Marshal(when)
			if err != nil {
				continue
			}
			var got time.Time
			if err := codec.Unmarshal(data, &got); err != nil || !got.Equal(when) {
				t.Errorf("%s: %s was written as %q and came back as %s, %v", codec.Name(), when, data, got, err)
			}
		}
	}
}

// link may contain itself.
type link struct {
	Next *link
	Any  any
}

// A value that contains itself is refused, and does not end the process.
func TestCBORRefusesCycles(t *testing.T) {
	t.Parallel()
	self := &link{}
	self.Next = self
	through := map[string]any{}
	through["self"] = through
	long := &link{}
	for range 1_000_000 {
		long = &link{Next: long}
	}
	for name, v := range map[string]any{"pointer": self, "map": through, "long": long} {
		if data, err := evento.CBOR().Marshal(v); err == nil {
			t.Errorf("%s: written as %d bytes, want an error", name, len(data))
		}
	}
	fine := &link{Any: &link{Any: []any{1, "two"}}}
	if _, err := evento.CBOR().Marshal(fine); err != nil {
		t.Errorf("a link of two: %v", err)
	}
}

// Types of which each contains the next doubled.
type (
	doubled[T any]   struct{ A, B *T }
	doubled4[T any]  = doubled[doubled[doubled[doubled[T]]]]
	doubled16[T any] = doubled4[doubled4[doubled4[doubled4[T]]]]
	sharedTypes      struct {
		X doubled16[doubled16[doubled4[int]]]
	}
	sharedPayload    sharedTypes
	sharedFastValues struct{ sharedTypes }
)

func (sharedPayload) AggregateType() evento.AggregateType { return "shared" }
func (sharedPayload) EventName() string                   { return "Shared" }
func (sharedPayload) AppendCBOR(b []byte) ([]byte, error) { return append(b, 0xa0), nil }

// A type is looked at once, wherever it is used: otherwise these would take forever.
func TestCodecsSharedTypes(t *testing.T) {
	t.Parallel()
	for _, v := range []any{sharedTypes{}, sharedPayload{}, sharedFastValues{}} {
		data, err := evento.CBOR().Marshal(v)
		if err == nil {
			err = evento.CBOR().Unmarshal(data, reflect.New(reflect.TypeOf(v)).Interface())
		}
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
}
