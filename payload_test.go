package evento_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cborwire"
)

// counted is a payload that encodes itself. So that it shows who did it, its
// methods store the number as a negative one, and know nothing but that.
type counted struct{ N int64 }

func (counted) AggregateType() evento.AggregateType { return Account }
func (counted) EventName() string                   { return "Counted" }

var errUncountable = errors.New("uncountable")

func (e counted) AppendCBOR(b []byte) ([]byte, error) {
	switch e.N {
	case 13:
		return nil, errUncountable
	case 14:
		return cborwire.AppendMap(b, 2), nil // and nothing in it
	}
	b = cborwire.AppendMap(b, 1)
	b = cborwire.AppendString(b, "N")
	return cborwire.AppendInt(b, -e.N), nil
}

func (e *counted) DecodeCBOR(data []byte) (bool, error) {
	d := cborwire.NewDecoder(data)
	d.Map()
	d.Key()
	n := d.Int()
	switch {
	case !d.End() || n > 0:
		return false, nil
	case n == -99:
		return false, errUncountable
	}
	e.N = -n
	return true, nil
}

func TestPayloadsEncodeThemselves(t *testing.T) {
	t.Parallel()
	cbor := evento.CBOR()
	for range 2 { // the first is looked at
		for _, v := range []any{counted{5}, &counted{5}} {
			if data, err := cbor.Marshal(v); err != nil || hex.EncodeToString(data) != "a1614e24" {
				t.Errorf("%T: %x, %v, want its own bytes, a1614e24", v, data, err)
			}
		}
	}
	if data, err := cbor.Marshal((*counted)(nil)); err != nil || hex.EncodeToString(data) != "f6" {
		t.Errorf("a nil pointer: %x, %v, want f6", data, err)
	}
	if data, err := cbor.Marshal([]counted{{5}}); err != nil || hex.EncodeToString(data) != "81a1614e05" {
		t.Errorf("within another value: %x, %v, want it by its fields, 81a1614e05", data, err)
	}
	if data, err := cbor.Marshal(counted{13}); !errors.Is(err, errUncountable) {
		t.Errorf("a method that fails: %x, %v, want its error", data, err)
	}
	// What one call wrote must not change with the next.
	first, _ := cbor.Marshal(counted{1})
	second, _ := cbor.Marshal(counted{2})
	if hex.EncodeToString(first) != "a1614e20" || hex.EncodeToString(second) != "a1614e21" || cap(first) > 16 {
		t.Errorf("two after each other: %x, of capacity %d, and %x", first, cap(first), second)
	}
}

func TestPayloadsDecodeThemselves(t *testing.T) {
	t.Parallel()
	cbor := evento.CBOR()
	for _, test := range []struct {
		data string
		want int64
		err  string
	}{
		{"\xa1\x61N\x24", 5, ""},
		{"\xa1\x61N\x05", 5, ""}, // by its fields
		{"\xa1\x61n\x05", 5, ""},
		{"\xa0", 7, ""},
		{"\xf6", 7, ""},
		{"\xa1\x61N\x61a", 7, "cannot unmarshal UTF-8 text string"},
		{"\xa1\x61N\x38\x62", 7, "uncountable"},
		{"\xa1", 7, "EOF"},
	} {
		got := counted{7}
		if err := cbor.Unmarshal([]byte(test.data), &got); (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) || got.N != test.want {
			t.Errorf("%q: %+v, %v, want %d, %q", test.data, got, err, test.want, test.err)
		}
	}
	if err := cbor.Unmarshal([]byte("\xa1\x61N\x24"), (*counted)(nil)); err == nil {
		t.Error("a nil pointer was decoded into")
	}
	if err := cbor.Unmarshal([]byte("\xa1\x61N\x24"), counted{}); err == nil {
		t.Error("a value was decoded into that is no pointer")
	}
}

// around has the methods of the payload that it embeds, which know nothing of
// its own fields.
type around struct {
	counted
	More string
}

type (
	aroundPointer struct {
		*counted
		More string
	}
	// aroundAround has them through another.
	aroundAround struct {
		around
		Most string
	}
)

func TestEmbeddedMethodsAreNotUsed(t *testing.T) {
	t.Parallel()
	cbor := evento.CBOR()
	for _, v := range []any{
		around{counted{5}, "m"}, &around{counted{5}, "m"}, aroundPointer{&counted{5}, "m"}, aroundAround{around{counted{5}, "m"}, "m"},
	} {
		data, err := cbor.Marshal(v)
		if err != nil || !strings.Contains(string(data), "dMoream") || !strings.Contains(string(data), "aN\x05") {
			t.Errorf("%T was written as %q, %v, want all of its fields", v, data, err)
			continue
		}
		if _, ok := v.(aroundPointer); ok {
			continue // the codec cannot make what an unexported pointer points to
		}
		got := reflect.New(reflect.Indirect(reflect.ValueOf(v)).Type())
		if err := cbor.Unmarshal(data, got.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), reflect.Indirect(reflect.ValueOf(v)).Interface()) {
			t.Errorf("%T came back as %+v, %v, want %+v", v, got.Elem(), err, v)
		}
	}
}

// The promoted method would read this, and give the number the other sign.
func TestEmbeddedMethodsDoNotDecode(t *testing.T) {
	t.Parallel()
	var got around
	if err := evento.CBOR().Unmarshal([]byte("\xa1\x61N\x24"), &got); err != nil || got.N != -5 {
		t.Errorf("%+v, %v, want -5", got, err)
	}
}

// ownBytes are CBOR already, of any depth.
type ownBytes []byte

func (b ownBytes) MarshalCBOR() ([]byte, error) { return b, nil }

// opaque is not nested by its type, and by what it holds.
type opaque struct{ Bytes ownBytes }

func (o opaque) AppendCBOR(b []byte) ([]byte, error) {
	b = cborwire.AppendMap(b, 1)
	b = cborwire.AppendString(b, "Bytes")
	return cborwire.AppendAny(b, o.Bytes)
}

// flags may have any number of elements.
type flags struct{ Set []bool }

func (f flags) AppendCBOR(b []byte) ([]byte, error) {
	b = cborwire.AppendMap(b, 1)
	b = cborwire.AppendString(b, "Set")
	b = cborwire.AppendArray(b, len(f.Set))
	for _, x := range f.Set {
		b = cborwire.AppendBool(b, x)
	}
	return b, nil
}

// boundless may be nested without bound, by what it writes for itself.
type boundless struct{ Next any }

func (b boundless) AppendCBOR(data []byte) ([]byte, error) {
	data = cborwire.AppendMap(data, 1)
	data = cborwire.AppendString(data, "Next")
	return cborwire.AppendAny(data, b.Next)
}

// broken has the methods wrong from the beginning.
type broken struct{ N int }

func (broken) AppendCBOR(b []byte) ([]byte, error) { return cborwire.AppendArray(b, 3), nil }

func TestOwnEncodingIsChecked(t *testing.T) {
	t.Parallel()
	if data, err := evento.CBOR().Marshal(broken{}); err == nil {
		t.Errorf("%x was written, which cannot be read", data)
	}
	next := func(depth int) (v any) {
		for range depth {
			v = []any{v}
		}
		return v
	}
	for range 2 {
		if _, err := evento.CBOR().Marshal(boundless{next(evento.MaxDepth - 1)}); err != nil {
			t.Errorf("a depth of %d: %v", evento.MaxDepth, err)
		}
		if data, err := evento.CBOR().Marshal(boundless{next(evento.MaxDepth)}); err == nil {
			t.Errorf("a depth of %d was written, in %d bytes, which cannot be read", evento.MaxDepth+1, len(data))
		}
		bytes := func(depth int) ownBytes { return ownBytes(strings.Repeat("\x81", depth) + "\x01") }
		if _, err := evento.CBOR().Marshal(opaque{bytes(evento.MaxDepth - 1)}); err != nil {
			t.Errorf("bytes of a depth of %d: %v", evento.MaxDepth, err)
		}
		if data, err := evento.CBOR().Marshal(opaque{bytes(evento.MaxDepth)}); err == nil {
			t.Errorf("bytes of a depth of %d were written, as %d bytes, which cannot be read", evento.MaxDepth+1, len(data))
		}
		if _, err := evento.CBOR().Marshal(flags{make([]bool, 10)}); err != nil {
			t.Errorf("10 elements: %v", err)
		}
		if data, err := evento.CBOR().Marshal(flags{make([]bool, 4<<20+1)}); err == nil {
			t.Errorf("too many elements were written, in %d bytes, which cannot be read", len(data))
		}
	}
}

// transferred had other names, and other fields: its amount was one of whole
// units under the first name, and its currency was not said.
type transferred struct {
	Cents    int64
	Currency string
}

func (transferred) AggregateType() evento.AggregateType { return Account }
func (transferred) EventName() string                   { return "Transferred" }
func (transferred) FormerNames() []string               { return []string{"Moved", "Sent"} }

func (e *transferred) DecodeEvent(name string, codec evento.Codec, data []byte) error {
	if name == "Moved" {
		var old moved
		if err := codec.Unmarshal(data, &old); err != nil {
			return err
		}
		*e = transferred{Cents: 100 * old.Units, Currency: "EUR"}
		return nil
	}
	e.Currency = "EUR"
	type fields transferred
	return codec.Unmarshal(data, (*fields)(e))
}

// moved and sent are what was stored.
type (
	moved struct{ Units int64 }
	sent  struct{ Cents int64 }
)

func (moved) AggregateType() evento.AggregateType { return Account }
func (moved) EventName() string                   { return "Moved" }
func (moved) Retired()                            {}
func (sent) AggregateType() evento.AggregateType  { return Account }
func (sent) EventName() string                    { return "Sent" }

// transfers stores an event of each name, the first under codec.
func transfers(t *testing.T, codec evento.Codec) evento.Executor {
	t.Helper()
	ex := newStore(t)
	data, err := codec.Marshal(moved{3})
	if err != nil {
		t.Fatal(err)
	}
	writeRaw(t, ex, "a", moved{}, codec.Name(), data)
	commit(t, ex, evento.Aggregate("a").AnyVersion().Event(sent{Cents: 5}, transferred{Cents: 7, Currency: "USD"}).Codec(codec))
	return ex
}

func about(e evento.Event[transferred]) string {
	return fmt.Sprint(e.Version, e.Name, e.Data.Cents, e.Data.Currency)
}

var wantTransfers = []string{"1Moved300EUR", "2Sent5EUR", "3Transferred7USD"}

// Handlers of a payload are given the events of all its names, decoded by
// itself, whatever handler it is and whichever codec wrote them.
func TestRenamedAndEvolved(t *testing.T) {
	t.Parallel()
	for _, codec := range builtIn {
		ex := transfers(t, codec)
		for name, p := range map[string]*evento.Projection[[]string]{
			"Apply": evento.NewProjection[[]string]("p", Account).SafetyCheck().Handler(evento.Apply(func(s *[]string, e evento.Event[transferred]) error {
				*s = append(*s, about(e))
				return nil
			})),
			"ApplyContext": evento.NewProjection[[]string]("p", Account).SafetyCheck().Handler(evento.ApplyContext(func(_ context.Context, s *[]string, e evento.Event[*transferred]) error {
				*s = append(*s, about(evento.Event[transferred]{RawEvent: e.RawEvent, Data: *e.Data}))
				return nil
			})),
		} {
			l, err := p.Load(t.Context(), ex, "a")
			noErr(t, err)
			want(t, codec.Name()+" "+name, l.State, wantTransfers...)
		}
		var got []string
		for i, h := range []evento.SubscriptionHandler{
			evento.Handle(func(_ context.Context, e evento.Event[transferred]) error {
				got = append(got, about(e))
				return nil
			}),
			evento.HandleBatch(func(_ context.Context, es []evento.Event[transferred]) error {
				if len(es) != 3 {
					t.Errorf("a batch of %d, want 3: the names do not matter", len(es))
				}
				for _, e := range es {
					got = append(got, about(e))
				}
				return nil
			}),
		} {
			got = nil
			noErr(t, evento.NewSubscription(fmt.Sprint(i)).Handler(h).Execute(t.Context(), ex))
			want(t, fmt.Sprint(codec.Name(), " subscription ", i), got, wantTransfers...)
		}
		got = nil
		for _, raw := range events(t, ex) {
			e, err := evento.Decode[transferred](raw)
			noErr(t, err)
			got = append(got, about(e))
		}
		want(t, codec.Name()+" Decode", got, wantTransfers...)
	}
}

func TestFormerNamesAreSkipped(t *testing.T) {
	t.Parallel()
	ex := transfers(t, evento.CBOR())
	if l, err := evento.NewProjection[int]("p", Account).SafetyCheck().Skip(transferred{}).Load(t.Context(), ex, "a"); err != nil || l.Version != 3 {
		t.Errorf("projection: %+v, %v, want all skipped", l, err)
	}
	deposit := evento.Handle(func(context.Context, evento.Event[MoneyDeposited]) error { return nil })
	noErr(t, evento.NewSubscription("s").Handler(deposit).SafetyCheck().Skip(transferred{}).Execute(t.Context(), ex))
	if err := evento.NewSubscription("t").Handler(deposit).SafetyCheck().Skip(moved{}).Execute(t.Context(), ex); !errors.Is(err, evento.ErrUnhandledEvent) {
		t.Errorf("with one name skipped: %v, want ErrUnhandledEvent", err)
	}
}

func TestFormerNamesInQueries(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("old").Event(sent{Cents: 5}))
	commit(t, ex, evento.Aggregate("new").Event(transferred{Cents: 5}))
	commit(t, ex, evento.Aggregate("other").Event(MoneyDeposited{}))
	for id, want := range map[string]bool{"old": true, "new": true, "other": false} {
		if has, err := evento.HasEvent[transferred](t.Context(), ex, id); err != nil || has != want {
			t.Errorf("HasEvent of %s: %t, %v, want %t", id, has, err, want)
		}
	}
	if has, err := evento.HasEvent[sent](t.Context(), ex, "new"); err != nil || has {
		t.Errorf("HasEvent of the former payload alone: %t, %v, want false", has, err)
	}
	name := func(n string) evento.Filter { return evento.Filter{AggregateType: Account, Name: n} }
	if got, want := evento.EventsOf(transferred{}), []evento.Filter{name("Transferred"), name("Moved"), name("Sent")}; !reflect.DeepEqual(got, want) {
		t.Errorf("EventsOf: %+v, want %+v", got, want)
	}
	if got := evento.EventsOf(AccountOpened{}); !reflect.DeepEqual(got, []evento.Filter{name("AccountOpened")}) {
		t.Errorf("EventsOf a payload of one name: %+v", got)
	}
	if got := evento.ByEvent(transferred{}); !reflect.DeepEqual(got, name("Transferred")) {
		t.Errorf("ByEvent: %+v, want the present name", got)
	}
	for _, p := range []evento.Payload{nil, nameless{}, formerly{"Formerly"}} {
		if err := (evento.Query{Filters: evento.EventsOf(p)}).Check(); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("EventsOf %T: %v, want ErrInvalid", p, err)
		}
	}
	if _, err := evento.Decode[transferred](events(t, ex)[2]); !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), "bank/Account MoneyDeposited is not bank/Account Transferred") {
		t.Errorf("Decode of another event: %v, want ErrInvalid and both kinds", err)
	}
}

// formerly has the former names that it is given.
type formerly []string

func (formerly) AggregateType() evento.AggregateType { return Account }
func (formerly) EventName() string                   { return "Formerly" }
func (f formerly) FormerNames() []string             { return f }

// twice claims a name twice.
type twice struct{}

func (twice) AggregateType() evento.AggregateType { return Account }
func (twice) EventName() string                   { return "Twice" }
func (twice) FormerNames() []string               { return []string{"Once", "Once"} }

func TestNamesAreGivenOnce(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(sent{}))
	apply := evento.Apply(func(*int, evento.Event[transferred]) error { return nil })
	handle := evento.Handle(func(context.Context, evento.Event[transferred]) error { return nil })
	applySent := evento.Apply(func(*int, evento.Event[sent]) error { return nil })
	handleSent := evento.Handle(func(context.Context, evento.Event[sent]) error { return nil })
	for name, test := range map[string]struct {
		appliers []evento.Applier[int]
		handlers []evento.SubscriptionHandler
		want     string
	}{
		"a former name":      {[]evento.Applier[int]{apply, applySent}, []evento.SubscriptionHandler{handle, handleSent}, "two for bank/Account Sent"},
		"in the other order": {[]evento.Applier[int]{applySent, apply}, []evento.SubscriptionHandler{handleSent, handle}, "two for bank/Account Sent"},
		"by one payload": {
			[]evento.Applier[int]{evento.Apply(func(*int, evento.Event[twice]) error { return nil })},
			[]evento.SubscriptionHandler{evento.Handle(func(context.Context, evento.Event[twice]) error { return nil })},
			`payload evento_test.twice: invalid former event name "Once": it is named twice`,
		},
		"by what it embeds": {
			[]evento.Applier[int]{evento.Apply(func(*int, evento.Event[aroundEvolved]) error { return nil })},
			[]evento.SubscriptionHandler{evento.HandleBatch(func(context.Context, []evento.Event[*aroundEvolved]) error { return nil })},
			"embeds evento_test.transferred, whose DecodeEvent would decode nothing else",
		},
	} {
		_, err := evento.NewProjection[int]("p", Account).Handler(test.appliers...).Load(t.Context(), ex, "a")
		if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, projection: %v, want ErrInvalid and %q", name, err, test.want)
		}
		err = evento.NewSubscription("s").Handler(test.handlers...).Execute(t.Context(), ex)
		if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, subscription: %v, want ErrInvalid and %q", name, err, test.want)
		}
	}
	for _, p := range []formerly{{""}, {"a\n"}, {"Formerly"}, {"x", "y", "x"}} {
		if _, err := evento.NewProjection[int]("p", Account).Skip(p).Load(t.Context(), ex, "a"); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("former names %q in a projection: %v, want ErrInvalid", p, err)
		}
		if err := evento.NewSubscription("s").Handler(handle).Skip(p).Execute(t.Context(), ex); !errors.Is(err, evento.ErrInvalid) {
			t.Errorf("former names %q in a subscription: %v, want ErrInvalid", p, err)
		}
	}
}

// aroundEvolved would be decoded as what it embeds.
type aroundEvolved struct {
	transferred
	More string
}

func (aroundEvolved) EventName() string { return "Around" }

// A payload that does not decode itself names the event, as any other.
func TestEvolvedErrors(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	id := writeRaw(t, ex, "a", moved{}, "cbor", []byte("\xa1\x65Units\x61x"))
	p := evento.NewProjection[int]("p", Account).Handler(evento.Apply(func(*int, evento.Event[transferred]) error { return nil }))
	_, err := p.Load(t.Context(), ex, "a")
	var d *evento.DecodeError
	if !errors.As(err, &d) || d.ID != id || d.Name != "Moved" || !strings.Contains(err.Error(), "bank/Account Moved") {
		t.Errorf("%v, want a DecodeError that names the event", err)
	}
	unknown := newStore(t)
	writeRaw(t, unknown, "a", moved{}, "protobuf", nil)
	if _, err := p.Load(t.Context(), unknown, "a"); !errors.Is(err, evento.ErrDecode) || !strings.Contains(err.Error(), "unknown codec") {
		t.Errorf("%v, want ErrDecode because of the codec", err)
	}
}

func TestRetired(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	for _, p := range []evento.Payload{moved{3}, &moved{3}} {
		_, err := evento.Aggregate("a").Event(MoneyDeposited{}, p).Commit(t.Context(), ex)
		if !errors.Is(err, evento.ErrInvalid) || !strings.Contains(err.Error(), `bank/Account Moved of aggregate "a" is retired`) {
			t.Errorf("%T: %v, want ErrInvalid that names it", p, err)
		}
	}
	if n := len(events(t, ex)); n != 0 {
		t.Errorf("%d events were stored, want none", n)
	}
	writeRaw(t, ex, "a", moved{}, "cbor", []byte("\xa1\x65Units\x03"))
	if e, err := evento.Decode[moved](events(t, ex)[0]); err != nil || e.Data.Units != 3 {
		t.Errorf("reading it: %+v, %v, want 3 units", e, err)
	}
}

// Payloads that encode themselves go through a store as any other, by value and
// by pointer.
func TestGeneratedPayloadsInAStore(t *testing.T) {
	t.Parallel()
	ex := newStore(t)
	commit(t, ex, evento.Aggregate("a").Event(counted{5}, &counted{6}))
	commit(t, ex, evento.Aggregate("a").AnyVersion().Event(counted{7}).Codec(evento.JSON()))
	writeRaw(t, ex, "a", counted{}, "cbor", []byte("\xa1\x61n\x08"))
	stored := events(t, ex)
	if got := hex.EncodeToString(stored[1].Data); got != "a1614e25" || string(stored[2].Data) != `{"N":7}` {
		t.Errorf("stored %s and %s, want a1614e25 and JSON", got, stored[2].Data)
	}
	for i, raw := range stored {
		value, err := evento.Decode[counted](raw)
		noErr(t, err)
		pointer, err := evento.Decode[*counted](raw)
		noErr(t, err)
		if want := int64(5 + i); value.Data.N != want || pointer.Data.N != want {
			t.Errorf("event %d: %d by value, %d by pointer, want %d", i, value.Data.N, pointer.Data.N, want)
		}
	}
	if _, err := evento.Aggregate("b").Event(counted{13}).Commit(t.Context(), ex); !errors.Is(err, errUncountable) {
		t.Errorf("a payload that cannot be encoded: %v, want its error", err)
	}
	writeRaw(t, ex, "n", counted{}, "cbor", []byte("\xf6"))
	stored = events(t, ex)
	if e, err := evento.Decode[*counted](stored[len(stored)-1]); err != nil || e.Data != nil {
		t.Errorf("nil as a pointer: %+v, %v, want nil", e, err)
	}
}
