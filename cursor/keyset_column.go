// Columns of an order, and the cursors that contain their values: shared by Keyset
// and Reader.

package cursor

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Key is the set of types that can order a list: their values have one order, are
// equal only to themselves, and are never NULL. For another type, such as a UUID,
// use its bytes or its text.
type Key interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float64 | ~string | ~[]byte | ~bool | time.Time
}

// Column is one column of an order; [Asc] and [Desc] make it.
type Column[T any] struct {
	name       string
	kind       kind
	descending bool
	value      func(T) any // returns a value of the type that kind stands for
}

// Asc orders by a column, lowest first. The function returns an item's value of the
// column.
func Asc[T any, K Key](name string, value func(T) K) Column[T] {
	c := Column[T]{name: name, kind: kindOf(reflect.TypeFor[K]())}
	if value != nil {
		c.value = func(item T) any { return plain(c.kind, reflect.ValueOf(value(item))) }
	}
	return c
}

// Desc is [Asc] with the highest first.
func Desc[T any, K Key](name string, value func(T) K) Column[T] {
	c := Asc(name, value)
	c.descending = true
	return c
}

// kind is the type of a column's values, as a letter in its fingerprint.
type kind byte

const (
	kindInt    kind = 'i' // int64
	kindUint   kind = 'u' // uint64
	kindFloat  kind = 'f' // float64
	kindString kind = 's' // string
	kindBytes  kind = 'y' // []byte
	kindBool   kind = 'b' // bool
	kindTime   kind = 't' // time.Time
)

// kindOf accepts the types of [Key] only.
func kindOf(t reflect.Type) kind {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return kindInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return kindUint
	case reflect.Float64:
		return kindFloat
	case reflect.String:
		return kindString
	case reflect.Slice:
		return kindBytes
	case reflect.Bool:
		return kindBool
	default:
		return kindTime
	}
}

// plain converts a value of a user-defined type to the type of its kind.
func plain(k kind, v reflect.Value) any {
	switch k {
	case kindInt:
		return v.Int()
	case kindUint:
		return v.Uint()
	case kindFloat:
		return v.Float()
	case kindString:
		return v.String()
	case kindBytes:
		return v.Bytes()
	case kindBool:
		return v.Bool()
	default:
		return v.Interface()
	}
}

// order is a checked list of columns.
type order[T any] struct {
	columns []Column[T]
	// print identifies the cursors of this order.
	print [printLen]byte
}

const (
	placesVersion = 1
	keysetKind    = 'k'
	readerKind    = 'r'

	printLen = 8
	sumLen   = 4

	// maxColumns is more than anybody sorts by; the size of conditions grows with
	// it.
	maxColumns = 16
	// maxPlace limits the bytes of a cursor before base64, also for forged ones: it
	// is about what a database can hold in an index entry.
	maxPlace = 3072
)

func newOrder[T any](columns []Column[T]) (order[T], error) {
	if len(columns) == 0 || len(columns) > maxColumns {
		return order[T]{}, fmt.Errorf("cursor: an order has 1 to %d columns, not %d", maxColumns, len(columns))
	}
	h := sha256.New()
	for i, c := range columns {
		switch {
		case c.name == "":
			return order[T]{}, fmt.Errorf("cursor: column %d has no name", i+1)
		case !utf8.ValidString(c.name) || strings.ContainsRune(c.name, 0):
			return order[T]{}, fmt.Errorf("cursor: column %d: %q is not a name", i+1, c.name)
		case c.value == nil:
			return order[T]{}, fmt.Errorf("cursor: column %q has no function", c.name)
		}
		for _, other := range columns[:i] {
			if c.name == other.name {
				return order[T]{}, fmt.Errorf("cursor: column %q is in the order twice", c.name)
			}
		}
		direction := byte('+')
		if c.descending {
			direction = '-'
		}
		h.Write(binary.AppendUvarint(nil, uint64(len(c.name))))
		h.Write([]byte(c.name))
		h.Write([]byte{direction, byte(c.kind)})
	}
	return order[T]{columns: slices.Clone(columns), print: [printLen]byte(h.Sum(nil))}, nil
}

// key returns an item's values of the columns.
func (o *order[T]) key(item T) []any {
	key := make([]any, len(o.columns))
	for i, c := range o.columns {
		key[i] = c.value(item)
	}
	return key
}

// compare compares two keys in the order.
func (o *order[T]) compare(a, b []any) int {
	for i, c := range o.columns {
		n := compareValues(a[i], b[i])
		if n == 0 {
			continue
		}
		if c.descending {
			return -n
		}
		return n
	}
	return 0
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case uint64:
		return cmp.Compare(a, b.(uint64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case string:
		return cmp.Compare(a, b.(string))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	case bool:
		switch {
		case a == b.(bool):
			return 0
		case a:
			return 1
		default:
			return -1
		}
	default:
		return a.(time.Time).Compare(b.(time.Time))
	}
}

// encode makes the cursor of a key.
//
// Format, before base64 (URL alphabet, no padding): a byte 1 for this version, a
// byte for the kind ('k' or 'r'), 8 bytes of the SHA-256 of the order's definition,
// the values (integers and floats as 8 bytes big-endian, texts with their length
// before them, times as seconds and nanoseconds), and a CRC-32 of all of it.
func (o *order[T]) encode(of byte, key []any) (Value, error) {
	b := append(make([]byte, 0, 64), placesVersion, of)
	b = append(b, o.print[:]...)
	for i, c := range o.columns {
		var err error
		if b, err = appendValue(b, key[i]); err != nil {
			return "", fmt.Errorf("cursor: column %q: %w", c.name, err)
		}
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	if len(b) > maxPlace {
		return "", fmt.Errorf("cursor: a key of %d bytes, at most %d are allowed", len(b), maxPlace)
	}
	return Value(base64.RawURLEncoding.EncodeToString(b)), nil
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case int64:
		return binary.BigEndian.AppendUint64(b, uint64(v)), nil
	case uint64:
		return binary.BigEndian.AppendUint64(b, v), nil
	case float64:
		if err := checkFloat(v); err != nil {
			return nil, err
		}
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v)), nil
	case string:
		if err := checkString(v); err != nil {
			return nil, err
		}
		b = binary.AppendUvarint(b, uint64(len(v)))
		return append(b, v...), nil
	case []byte:
		b = binary.AppendUvarint(b, uint64(len(v)))
		return append(b, v...), nil
	case bool:
		if v {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	default:
		t := v.(time.Time).UTC()
		if err := checkTime(t); err != nil {
			return nil, err
		}
		b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
		return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond())), nil
	}
}

// Values that a database would not accept, or would change, are refused in both
// directions: from rows, and from forged cursors.
func checkFloat(f float64) error {
	if math.IsNaN(f) {
		return errors.New("NaN has no place in an order")
	}
	return nil
}

func checkString(s string) error {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return errors.New("a string that is not valid UTF-8, or has NUL in it; use []byte")
	}
	return nil
}

func checkTime(t time.Time) error {
	if y := t.Year(); y < 1 || y > 9999 {
		return fmt.Errorf("the year %d is not 1 to 9999", y)
	}
	return nil
}

// decode reads the key from a cursor that is not "". Its errors are [ErrMalformed]
// and [ErrForeign].
func (o *order[T]) decode(of byte, v Value) ([]any, error) {
	malformed := func() ([]any, error) { return nil, fmt.Errorf("%w: %s", ErrMalformed, quote(v)) }
	if len(v) > base64.RawURLEncoding.EncodedLen(maxPlace) {
		return malformed()
	}
	// The base64 decoder ignores line breaks, but each cursor has only one text.
	if strings.ContainsAny(string(v), "\r\n") {
		return malformed()
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(v))
	if err != nil || len(b) < 2+printLen+sumLen || b[0] != placesVersion || b[1] != of {
		return malformed()
	}
	b, sum := b[:len(b)-sumLen], b[len(b)-sumLen:]
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(b) {
		return malformed()
	}
	if [printLen]byte(b[2:]) != o.print {
		return nil, fmt.Errorf("%w: %s", ErrForeign, quote(v))
	}
	b = b[2+printLen:]
	key := make([]any, len(o.columns))
	for i, c := range o.columns {
		var ok bool
		if key[i], b, ok = cutValue(c.kind, b); !ok {
			return malformed()
		}
	}
	if len(b) > 0 {
		return malformed()
	}
	return key, nil
}

// cutValue reads a value from the beginning of b.
func cutValue(k kind, b []byte) (v any, rest []byte, ok bool) {
	switch k {
	case kindInt, kindUint, kindFloat:
		if len(b) < 8 {
			return nil, nil, false
		}
		n, rest := binary.BigEndian.Uint64(b), b[8:]
		switch k {
		case kindInt:
			return int64(n), rest, true
		case kindUint:
			return n, rest, true
		default:
			f := math.Float64frombits(n)
			return f, rest, checkFloat(f) == nil
		}
	case kindString, kindBytes:
		n, used := binary.Uvarint(b)
		// The length must have its shortest form: each cursor has only one text.
		if used <= 0 || n > uint64(len(b)-used) || used > 1 && n < 1<<(7*(used-1)) {
			return nil, nil, false
		}
		text, rest := b[used:used+int(n)], b[used+int(n):]
		if k == kindString {
			return string(text), rest, checkString(string(text)) == nil
		}
		return append([]byte{}, text...), rest, true // never nil, which would be NULL
	case kindBool:
		if len(b) < 1 || b[0] > 1 {
			return nil, nil, false
		}
		return b[0] == 1, b[1:], true
	default:
		if len(b) < 12 {
			return nil, nil, false
		}
		nanos := binary.BigEndian.Uint32(b[8:])
		t := time.Unix(int64(binary.BigEndian.Uint64(b)), int64(nanos)).UTC()
		return t, b[12:], nanos < 1e9 && checkTime(t) == nil
	}
}
