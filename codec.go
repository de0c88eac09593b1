// How payloads become bytes: CBOR and JSON, and how deep a value may be nested.

package evento

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Codec encodes and decodes payloads. Its name is stored with every event, so a
// store may hold events of several codecs, and old events stay readable when the
// default changes. Implementations are safe for concurrent use, limit the depth of
// what they decode, and on foreign input return an error and never panic.
type Codec interface {
	// Name is at most 32 bytes, and never changes.
	Name() string
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes into what v points to. It ignores fields of data that v
	// does not have; fields of v that data does not have keep their values.
	Unmarshal(data []byte, v any) error
}

// Limits of decoding with [CBOR] and [JSON].
const (
	// MaxDepth is how deep arrays and objects may be nested.
	MaxDepth = 64
	// maxElements bounds an array or map in CBOR, whose header can announce more
	// elements than there are.
	maxElements = 4 << 20
)

// CBOR is the default codec, named "cbor": compact and self-describing (RFC 8949).
// Fields are stored by the names that encoding/json would use (the same struct tags
// apply), so data stays readable when fields are added or dropped. Times are RFC
// 3339 with nanoseconds, and come back in UTC. Equal values give equal bytes (RFC
// 8949, section 4.2.1, core deterministic). Types with MarshalBinary or MarshalText
// are stored through these methods. A [CBORAppender] or [CBORDecoder] is faster,
// and stores the same bytes.
//
// Why: docs/decisions.md, "CBOR strings that are not UTF-8".
func CBOR() Codec { return cborCodec{} }

type cborCodec struct{}

// The modes are immutable and take a microsecond to make, so they are made once.
// States differ from payloads in what omitempty omits: a pointer to 0 is kept.
var cborEncoding, stateEncoding, cborDecoding = mustCBOR()

func mustCBOR() (payloads, states cbor.EncMode, decoding cbor.DecMode) {
	opts := cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		Time:          cbor.TimeRFC3339NanoUTC,
		TextMarshaler: cbor.TextMarshalerTextString,
	}
	payloads, err := opts.EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	opts.OmitEmpty = cbor.OmitEmptyGoValue
	if states, err = opts.EncMode(); err != nil {
		panic(err)
	}
	decoding, err = cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  MaxDepth,
		MaxArrayElements: maxElements,
		MaxMapPairs:      maxElements,
		TextUnmarshaler:  cbor.TextUnmarshalerTextString,
		// A Go string may hold any bytes, and gets them back unchanged.
		UTF8: cbor.UTF8DecodeInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return payloads, states, decoding
}

func (cborCodec) Name() string { return "cbor" }

// Marshal also checks the depth: what Unmarshal would refuse is not written.
func (cborCodec) Marshal(v any) ([]byte, error) {
	if data, ok, err := marshalAppender(v); ok || err != nil {
		return data, err
	}
	return marshalCBOR(cborEncoding, v)
}

func marshalCBOR(mode cbor.EncMode, v any) ([]byte, error) {
	// One level may be an interface, a pointer and what it points to.
	if err := checkNesting(reflect.ValueOf(v), 3*(MaxDepth+1)); err != nil {
		return nil, fmt.Errorf("cbor: %w", err)
	}
	data, err := mode.Marshal(v)
	if err != nil {
		return nil, err
	}
	if err := cborDecoding.Wellformed(data); err != nil {
		return nil, err
	}
	return data, nil
}

func (cborCodec) Unmarshal(data []byte, v any) error {
	if ok, err := unmarshalDecoder(data, v); ok || err != nil {
		return err
	}
	return cborDecoding.Unmarshal(data, v)
}

// JSON is encoding/json as a codec, named "json": larger and slower than [CBOR],
// for stores that other programs read. It loses what encoding/json loses: the
// seconds of a time zone's offset, which existed before 1930. It refuses strings
// that are not valid UTF-8.
func JSON() Codec { return jsonCodec{} }

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

// Marshal refuses what Unmarshal would not return unchanged: values nested too
// deep, and strings that are not valid UTF-8, which encoding/json would replace.
func (jsonCodec) Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if err := checkJSONDepth(data); err != nil {
		return nil, err
	}
	if replacedUTF8(data) {
		return nil, errors.New("json: a string is not valid UTF-8")
	}
	return data, nil
}

// replacedUTF8 finds the escape that encoding/json writes for an invalid byte.
// A valid U+FFFD is not escaped.
func replacedUTF8(data []byte) bool {
	for {
		i := bytes.Index(data, []byte(`\ufffd`))
		if i < 0 {
			return false
		}
		backslashes := 0
		for i-backslashes > 0 && data[i-backslashes-1] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return true
		}
		data = data[i+1:]
	}
}

func (jsonCodec) Unmarshal(data []byte, v any) error {
	if err := checkJSONDepth(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("json: text after the value")
	}
	return nil
}

// checkJSONDepth counts brackets outside strings; encoding/json has a limit
// of its own, but one of 10,000.
func checkJSONDepth(data []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("json: nested deeper than %d", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// codecs are the codecs that a reader knows besides the two built in.
type codecs []Codec

func (cs codecs) byName(name string) (Codec, bool) {
	for _, c := range cs {
		if c.Name() == name {
			return c, true
		}
	}
	switch name {
	case "cbor":
		return CBOR(), true
	case "json":
		return JSON(), true
	}
	return nil, false
}

// decode decodes a stored payload into what into points to: payload itself, or a
// variable that holds it. Its errors name the event.
func (cs codecs) decode(raw *RawEvent, payload, into any) (err error) {
	codec, ok := cs.byName(raw.Codec)
	if !ok {
		err = errors.New("unknown codec")
	} else {
		err = decodePayload(codec, raw, payload, into)
	}
	if err == nil {
		return nil
	}
	return &DecodeError{
		ID: raw.ID, Position: raw.Position, AggregateType: raw.AggregateType, AggregateID: raw.AggregateID,
		Version: raw.Version, Name: raw.Name, Codec: raw.Codec, Err: err,
	}
}

// check refuses codecs whose names cannot be stored or are not unique.
func (cs codecs) check() error {
	for i, c := range cs {
		if c == nil {
			return fmt.Errorf("%w codec: nil", ErrInvalid)
		}
		if err := checkCodecName(c.Name()); err != nil {
			return err
		}
		if slices.ContainsFunc(cs[:i], func(o Codec) bool { return o.Name() == c.Name() }) {
			return fmt.Errorf("%w codec: two are named %q", ErrInvalid, c.Name())
		}
	}
	return nil
}

func checkCodecName(name string) error {
	const most = 32
	if len(name) > most {
		return fmt.Errorf("%w codec name %s: %d bytes, at most %d are allowed", ErrInvalid, shorten(name), len(name), most)
	}
	return checkName("codec name", name)
}

// unbounded caches for each type whether its values may be nested without limit:
// the type contains itself, or an interface.
var unbounded sync.Map // reflect.Type: bool

func isUnbounded(t reflect.Type) bool {
	if known, ok := unbounded.Load(t); ok {
		return known.(bool)
	}
	found := contains(t, map[reflect.Type]bool{})
	unbounded.Store(t, found)
	return found
}

// contains reports whether a type contains itself or an interface. met are the types
// that were met: true for those around, false for those that are done.
func contains(t reflect.Type, met map[reflect.Type]bool) bool {
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
	default:
		return false
	}
	if around, known := met[t]; known {
		return around
	}
	met[t] = true
	defer func() { met[t] = false }()
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if contains(t.Field(i).Type, met) {
				return true
			}
		}
		return false
	case reflect.Map:
		return contains(t.Key(), met) || contains(t.Elem(), met)
	default:
		return contains(t.Elem(), met)
	}
}

// checkNesting protects an encoder that recurses as deep as a value is nested. On a
// value that contains itself, the encoder would overflow the stack and end the
// process.
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
