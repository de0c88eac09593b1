// What a payload is: two methods, and optional ones, which the generator writes;
// and the kinds of events that a payload reads.

package evento

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fxamacker/cbor/v2"
)

// Payload describes one kind of event: a struct with the facts as exported fields,
// and these two methods, written by hand or by the generator. Both must return the
// same for every value of the type, its zero value included.
//
// Further methods are optional: see [CBORAppender], [CBORDecoder], [Evolved],
// [Renamed] and [Retired].
//
// Why: docs/decisions.md, "Methods on the payload, no registry".
type Payload interface {
	AggregateType() AggregateType
	EventName() string
}

// CBORAppender is a payload that [CBOR] encodes without reflection. AppendCBOR
// appends to b exactly the bytes that CBOR would write for a struct with the same
// fields and without the method, or returns an error. Its receiver is not a
// pointer. The package cborwire has the functions to write it with.
//
// When a struct embeds a payload, CBOR does not use the embedded payload's method
// for the struct: it would lose the other fields. CBOR checks that the first value
// of a type is well-formed. It checks each value if values of the type may be
// nested deeper than [MaxDepth] or have more elements than CBOR reads. It does not
// notice a value that contains itself before AppendCBOR recurses into it: encode
// fields that may contain themselves with cborwire.AppendAny.
//
// Why: docs/decisions.md, "What they write is not looked at every time".
type CBORAppender interface {
	AppendCBOR(b []byte) ([]byte, error)
}

// CBORDecoder is a payload that [CBOR] decodes without reflection. DecodeCBOR has a
// pointer receiver. It reports true when it has decoded data exactly as CBOR would
// without the method. When data is broken, or has a shape that the method does not
// know, it leaves the receiver unchanged and reports false: CBOR then decodes the
// same data by its fields, and returns the error if there is one. An error of
// DecodeCBOR is final. It must not keep any part of data.
//
// As with [CBORAppender], the method of an embedded payload is not used.
type CBORDecoder interface {
	DecodeCBOR(data []byte) (ok bool, err error)
}

// Evolved is a payload that decodes itself: because fields were renamed, have
// defaults for events that were stored without them, or are computed from older
// shapes. DecodeEvent has a pointer receiver. Its arguments are the stored name of
// the event (the EventName or one of the FormerNames), the codec that wrote the
// event, and the data. Its errors are wrapped in a [DecodeError], which names the
// event.
//
// [Decode], and everything that reads events for handlers, calls it instead of the
// codec's Unmarshal. A payload that embeds an Evolved payload is refused with
// [ErrInvalid], as DecodeEvent would decode the embedded one only.
//
// Why: docs/decisions.md, "Embedded ones are written by their fields".
type Evolved interface {
	DecodeEvent(name string, codec Codec, data []byte) error
}

// Renamed is a payload whose events were once stored under other names. It reads
// these events too: handlers of the payload are given them, with the stored name in
// [RawEvent].Name, and Skip, [HasEvent], [EventsOf] and [Decode] include them. They
// have the payload's aggregate type. New events have the present name.
//
// FormerNames must return the same for every value of the type. It is an error,
// [ErrInvalid], if it has a name twice, or the present name.
type Renamed interface {
	FormerNames() []string
}

// Retired is a payload that can still be read, but no longer committed: a commit
// fails with [ErrInvalid].
type Retired interface {
	Retired()
}

// kindsOf returns all kinds of events that a payload reads, its own first.
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

// decodePayload decodes a stored payload into what into points to. payload is into
// itself or, if the payload type is a pointer, the pointer that into points to.
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

// kindsFor is kindsOf for a payload type that is to be decoded.
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

// kindsToDecode is kindsOf for a payload whose events are decoded into pointer.
func kindsToDecode(p Payload, pointer any) ([]eventKind, error) {
	if _, ok := pointer.(Evolved); ok {
		if f, ok := embeds[Evolved](reflect.TypeOf(pointer).Elem()); ok {
			return nil, fmt.Errorf("%w event: payload %T embeds %s, whose DecodeEvent would decode nothing else; make it a field with a name", ErrInvalid, p, f)
		}
	}
	return kindsOf(p)
}

// embeds finds an embedded field that gives its methods of T to the struct around
// it.
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

// generatedType is what is known about a type with its own CBOR methods.
type generatedType struct {
	// byFields: the methods may be those of an embedded payload, so values are
	// written and read by their fields instead.
	byFields bool
	// checked: the output of AppendCBOR need not be checked any more.
	checked atomic.Bool
	// always: the output must be checked each time.
	always bool
}

// generatedTypes caches them.
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
		always:   isUnbounded(s) || nesting(s, map[reflect.Type]int{}) > MaxDepth,
	})
	return known.(*generatedType)
}

// nesting returns an upper bound of how deep maps and arrays are nested in values
// of a type that is not unbounded. For types that write their own CBOR it is over
// MaxDepth, as nothing is known about them.
func nesting(t reflect.Type, known map[reflect.Type]int) (deepest int) {
	if n, ok := known[t]; ok {
		return n
	}
	defer func() { known[t] = deepest }()
	if reflect.PointerTo(t).Implements(reflect.TypeFor[cbor.Marshaler]()) {
		return MaxDepth + 1
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nesting(t.Elem(), known)
	case reflect.Slice, reflect.Array:
		deepest = nesting(t.Elem(), known)
	case reflect.Map:
		deepest = max(nesting(t.Key(), known), nesting(t.Elem(), known))
	case reflect.Struct:
		for i := range t.NumField() {
			deepest = max(deepest, nesting(t.Field(i).Type, known))
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

// appendBuffers are reused by payloads that encode themselves.
var appendBuffers = sync.Pool{New: func() any { return new([]byte) }}

// mostKept is the capacity of the largest buffer that is kept for reuse.
const mostKept = 64 << 10

// unmarshalDecoder decodes into what v points to by v's own method. It reports
// false if v has none, or if the data must be decoded by its fields.
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

// eventKind is the key by which handlers are found.
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

// kindOf returns the kind of a payload. It refuses nil, and names that cannot be
// stored.
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

// newPayload returns a value of D that methods of Payload can be called on and that
// a codec can decode into: the zero value or, if D is a pointer type, a pointer to
// a new value.
func newPayload[D Payload]() D {
	var d D
	if t := reflect.TypeFor[D](); t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface().(D)
	}
	return d
}
