// What a payload is: two methods, and those that it may have besides, which the
// generator writes; and the kinds of events that it stands for.

package evento

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fxamacker/cbor/v2"
)

// Payload is what an application says of one kind of event: a struct with the
// facts as exported fields, and these two methods, written by hand or by the
// generator. Both must return the same for every value of the type, its zero
// value included.
//
// It may have more methods, none of which it needs: see [CBORAppender],
// [CBORDecoder], [Evolved], [Renamed] and [Retired].
type Payload interface {
	AggregateType() AggregateType
	EventName() string
}

// CBORAppender is a payload that [CBOR] encodes without reflection. AppendCBOR
// adds to b the very bytes that CBOR would write for a struct with the same
// fields and without the method, or returns an error; it has a receiver that is
// not a pointer. The package cborwire has what it takes.
//
// The method of an embedded payload is not used for the struct around it, whose
// other fields it would lose. What it writes for the first value of a type is
// checked to be well-formed; when values of the type may be nested deeper than
// [MaxDepth], or have more elements than CBOR reads, each is checked. Values
// that contain themselves are not noticed before the method recurses into them,
// and are for it to leave to cborwire.AppendAny.
type CBORAppender interface {
	AppendCBOR(b []byte) ([]byte, error)
}

// CBORDecoder is a payload that [CBOR] decodes without reflection. DecodeCBOR
// has a pointer receiver. It reports true when it has decoded data just as CBOR
// would do it without the method. When data has a shape for which it was not
// made, or is broken, it reports false and leaves the receiver as it was: CBOR
// then decodes the same data by its fields, and says what is wrong with it. An
// error is final. It keeps no part of data.
//
// As with [CBORAppender], the method of an embedded payload is not used.
type CBORDecoder interface {
	DecodeCBOR(data []byte) (ok bool, err error)
}

// Evolved is a payload that decodes itself: because fields were renamed, or
// have defaults for events that were stored without them, or because it is made
// from older shapes. DecodeEvent has a pointer receiver. It gets what is stored:
// the name of the event, which is the EventName or one of the FormerNames, the
// codec that wrote it and the data. Its errors are wrapped in a [DecodeError],
// which names the event.
//
// Whatever reads events for handlers, and [Decode], uses it instead of the
// codec's Unmarshal. An embedded payload that is Evolved would decode itself
// alone, so that a payload which embeds one is refused with [ErrInvalid].
type Evolved interface {
	DecodeEvent(name string, codec Codec, data []byte) error
}

// Renamed is a payload whose events were once stored under other names, and
// which reads those as well: handlers of the payload are given them,
// [RawEvent].Name being the stored name; Skip, [HasEvent], [EventsOf] and
// [Decode] mean them too. They are of the payload's aggregate type. New events
// have the present name.
//
// FormerNames must return the same for every value of the type. A name that is
// there twice, or is the present one, is an error, [ErrInvalid].
type Renamed interface {
	FormerNames() []string
}

// Retired is a payload that can be read, and no longer committed: a commit
// fails with [ErrInvalid].
type Retired interface {
	Retired()
}

// kindsOf asks a payload for all kinds of events that it reads, its own first.
func kindsOf(p Payload) ([]eventKind, error) {
	k, err := kindOf(p)
	if err != nil {
		return nil, err
	}
	kinds := []eventKind{k}
	r, ok := p.(Renamed)
	if !ok {
		return kinds, nil
	}
	for _, name := range r.FormerNames() {
		if err := checkName("former event name", name); err != nil {
			return nil, wrap(err, "payload %T", p)
		}
		former := eventKind{k.aggregateType, name}
		if slices.Contains(kinds, former) {
			return nil, wrap(fmt.Errorf("%w former event name %q: it is named twice; leave it out of FormerNames once", ErrInvalid, name), "payload %T", p)
		}
		kinds = append(kinds, former)
	}
	return kinds, nil
}

// decodePayload reads a stored payload. Into points to what is decoded; payload
// is the same, or, for payloads that are pointers, what into points to.
func decodePayload(codec Codec, raw *RawEvent, payload, into any) error {
	if e, ok := payload.(Evolved); ok {
		return e.DecodeEvent(raw.Name, codec, raw.Data)
	}
	if _, ok := codec.(cborCodec); ok && payload != into {
		if ok, err := unmarshalDecoder(raw.Data, payload); ok || err != nil {
			return err
		}
	}
	return codec.Unmarshal(raw.Data, into)
}

// kindsFor is kindsOf a type of payload that is to be decoded.
func kindsFor[D Payload]() ([]eventKind, error) {
	if t := reflect.TypeFor[D](); t.Kind() == reflect.Interface {
		return nil, fmt.Errorf("%w event: %s is an interface, not a payload", ErrInvalid, t)
	}
	d := newPayload[D]()
	if t := reflect.TypeFor[D](); t.Kind() == reflect.Pointer {
		return kindsToDecode(d, d)
	}
	return kindsToDecode(d, &d)
}

// kindsToDecode is kindsOf a payload to whose pointer events are decoded.
func kindsToDecode(p Payload, pointer any) ([]eventKind, error) {
	if _, ok := pointer.(Evolved); ok {
		if f, ok := embeds[Evolved](reflect.TypeOf(pointer).Elem()); ok {
			return nil, fmt.Errorf("%w event: payload %T embeds %s, whose DecodeEvent would decode nothing else; make it a field with a name", ErrInvalid, p, f)
		}
	}
	return kindsOf(p)
}

// embeds finds an embedded field of a struct that has the methods of T, which
// the struct then has as well.
func embeds[T any](t reflect.Type) (field reflect.Type, ok bool) {
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	want := reflect.TypeFor[T]()
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.Anonymous {
			continue
		}
		if f.Type.Implements(want) || f.Type.Kind() != reflect.Pointer && reflect.PointerTo(f.Type).Implements(want) {
			return f.Type, true
		}
	}
	return nil, false
}

// generatedType is what is known of a type with methods of its own for CBOR.
type generatedType struct {
	// byFields: the methods may be those of an embedded payload, so that the
	// values are written and read by their fields all the same.
	byFields bool
	// checked: what AppendCBOR writes need not be looked at (any more).
	checked atomic.Bool
	// always: it is to be looked at each time.
	always bool
}

// generatedTypes remembers them.
var generatedTypes sync.Map // reflect.Type: *generatedType

func generatedTypeOf(t reflect.Type) *generatedType {
	if known, ok := generatedTypes.Load(t); ok {
		return known.(*generatedType)
	}
	s := t
	if s.Kind() == reflect.Pointer {
		s = s.Elem()
	}
	_, appends := embeds[CBORAppender](s)
	_, decodes := embeds[CBORDecoder](s)
	known, _ := generatedTypes.LoadOrStore(t, &generatedType{
		byFields: appends || decodes,
		always:   isUnbounded(s) || nesting(s) > MaxDepth,
	})
	return known.(*generatedType)
}

// nesting is how many maps and arrays the values of a type are nested, or more.
// The type is not unbounded by itself; of types that write CBOR themselves
// nothing is known.
func nesting(t reflect.Type) int {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[cbor.Marshaler]()) {
		return MaxDepth + 1
	}
	deepest := 0
	switch t.Kind() {
	case reflect.Pointer:
		return nesting(t.Elem())
	case reflect.Slice, reflect.Array:
		deepest = nesting(t.Elem())
	case reflect.Map:
		deepest = max(nesting(t.Key()), nesting(t.Elem()))
	case reflect.Struct:
		for i := range t.NumField() {
			deepest = max(deepest, nesting(t.Field(i).Type))
		}
	default:
		return 0
	}
	return deepest + 1
}

// marshalAppender encodes v by its own method, and reports false if it has none.
func marshalAppender(v any) (data []byte, ok bool, err error) {
	a, ok := v.(CBORAppender)
	if !ok {
		return nil, false, nil
	}
	t := reflect.TypeOf(v)
	known := generatedTypeOf(t)
	if known.byFields || t.Kind() == reflect.Pointer && reflect.ValueOf(v).IsNil() {
		return nil, false, nil
	}
	buf := appendBuffers.Get().(*[]byte)
	all, err := a.AppendCBOR((*buf)[:0])
	if err == nil && (known.always || !known.checked.Load() || len(all) > maxElements) {
		err = cborDecoding.Wellformed(all)
		known.checked.Store(err == nil)
	}
	if err == nil {
		data = make([]byte, len(all)) // the one allocation, of the right size
		copy(data, all)
	}
	if cap(all) <= mostKept {
		*buf = all
		appendBuffers.Put(buf)
	}
	return data, true, err
}

// appendBuffers are kept for payloads that encode themselves.
var appendBuffers = sync.Pool{New: func() any { return new([]byte) }}

// mostKept is the largest buffer that is kept for later payloads.
const mostKept = 64 << 10

// unmarshalDecoder decodes into what v points to, if that can decode itself,
// and reports false if the data is still to be decoded by its fields.
func unmarshalDecoder(data []byte, v any) (ok bool, err error) {
	d, ok := v.(CBORDecoder)
	if !ok {
		return false, nil
	}
	t := reflect.TypeOf(v)
	if t.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() || generatedTypeOf(t).byFields {
		return false, nil
	}
	return d.DecodeCBOR(data)
}

// eventKind is what handlers are found by.
type eventKind struct {
	aggregateType AggregateType
	name          string
}

func (k eventKind) String() string {
	switch {
	case k.aggregateType == "":
		return "every event"
	case k.name == "":
		return string(k.aggregateType)
	}
	return string(k.aggregateType) + " " + k.name
}

// kindOf asks a payload for its kind. There is none of nil, and its names must
// be fit to be stored.
func kindOf(p Payload) (eventKind, error) {
	if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return eventKind{}, fmt.Errorf("%w event: the payload is nil", ErrInvalid)
	}
	k := eventKind{p.AggregateType(), p.EventName()}
	if err := checkName("aggregate type", string(k.aggregateType)); err != nil {
		return k, wrap(err, "payload %T", p)
	}
	if err := checkName("event name", k.name); err != nil {
		return k, wrap(err, "payload %T", p)
	}
	return k, nil
}

// newPayload returns a value of D on which the methods of Payload can be
// called and into which a codec can decode: the zero value, or what a new
// pointer of the type points to.
func newPayload[D Payload]() D {
	var d D
	if t := reflect.TypeFor[D](); t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface().(D)
	}
	return d
}
