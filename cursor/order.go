// Columns of an order, and what all cursors of an order have in common: shared by
// Keyset and Reader.

package cursor

import (
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

// newOrder checks the columns. Cursors of orders in different places are foreign to
// each other.
func newOrder[T any](in string, columns []Column[T]) (order[T], error) {
	if len(columns) == 0 || len(columns) > maxColumns {
		return order[T]{}, fmt.Errorf("cursor: an order has 1 to %d columns, not %d", maxColumns, len(columns))
	}
	h := sha256.New()
	h.Write([]byte(in))
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

// seal makes the cursor of values that are written already.
//
// Format, before base64 (URL alphabet, no padding): a byte 1 for this version, a
// byte for the kind ('k' or 'r'), 8 bytes of the SHA-256 of the order's definition,
// the values, and a CRC-32 of all of it.
func (o *order[T]) seal(of byte, values []byte) (Value, error) {
	b := append(make([]byte, 0, 2+printLen+len(values)+sumLen), placesVersion, of)
	b = append(b, o.print[:]...)
	b = append(b, values...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	if len(b) > maxPlace {
		return "", fmt.Errorf("cursor: a key of %d bytes, at most %d are allowed", len(b), maxPlace)
	}
	return Value(base64.RawURLEncoding.EncodeToString(b)), nil
}

// unseal returns the values in a cursor that is not "". Its errors are
// [ErrMalformed] and [ErrForeign].
func (o *order[T]) unseal(of byte, v Value) ([]byte, error) {
	if len(v) > base64.RawURLEncoding.EncodedLen(maxPlace) {
		return nil, malformed(v)
	}
	// The base64 decoder ignores line breaks, but each cursor has only one text.
	if strings.ContainsAny(string(v), "\r\n") {
		return nil, malformed(v)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(v))
	if err != nil || len(b) < 2+printLen+sumLen || b[0] != placesVersion || b[1] != of {
		return nil, malformed(v)
	}
	b, sum := b[:len(b)-sumLen], b[len(b)-sumLen:]
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(b) {
		return nil, malformed(v)
	}
	if [printLen]byte(b[2:]) != o.print {
		return nil, fmt.Errorf("%w: %s", ErrForeign, quote(v))
	}
	return b[2+printLen:], nil
}

func malformed(v Value) error { return fmt.Errorf("%w: %s", ErrMalformed, quote(v)) }

// appendText writes a text with its length before it.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutText reads what appendText wrote.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	// The length must have its shortest form: each cursor has only one text.
	if used <= 0 || n > uint64(len(b)-used) || used > 1 && n < 1<<(7*(used-1)) {
		return "", nil, false
	}
	return string(b[used : used+int(n)]), b[used+int(n):], true
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
