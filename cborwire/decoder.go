package cborwire

import (
	"encoding"
	"encoding/binary"
	"math"
	"math/bits"
	"time"

	"github.com/evento-go/evento"
)

// maxElements is the largest number of pairs or items of a map or array that is
// read here; the codec reads larger ones, up to its own limit.
const maxElements = 1 << 20

// IntSize is the size of int and uint in bits.
const IntSize = bits.UintSize

// Decoder reads one item after the other. [NewDecoder] makes it.
//
// At the first item that is not of the plain shape it gives up: from then on every
// method returns a zero value, and OK and End report false. So generated code
// checks once, at the end. The zero Decoder has nothing to read.
type Decoder struct {
	data []byte
	at   int  // how many bytes were read; all once the decoder has given up
	odd  bool // it has given up

	opened  int  // number of maps and arrays begun: at least the depth
	bounded bool // data was checked not to be nested too deep
}

// NewDecoder returns a decoder of data, which must not change while it is used.
func NewDecoder(data []byte) Decoder { return Decoder{data: data} }

// Unusual makes the decoder give up. Generated code calls it at input that it does
// not know, such as another field.
func (d *Decoder) Unusual() { d.at, d.odd = len(d.data), true }

// OK reports whether everything read so far had the plain shape.
func (d *Decoder) OK() bool { return !d.odd }

// End reports whether everything had the plain shape and no data is left.
func (d *Decoder) End() bool { return !d.odd && d.at == len(d.data) }

// Once notes in the bit set seen that field i of a struct was read, and gives up if
// it was already noted. i is 0 to 63; structs with more fields use several sets.
func (d *Decoder) Once(seen *uint64, i uint) {
	bit := uint64(1) << (i % 64)
	if *seen&bit != 0 {
		d.Unusual()
	}
	*seen |= bit
}

// next returns the first byte of the next item; noItem at the end of the data.
func (d *Decoder) next() byte {
	if d.at < len(d.data) {
		return d.data[d.at]
	}
	return noItem
}

// noItem is a byte that cannot begin a plain item: it ends items of indefinite
// length.
const noItem = 0xff

// head reads the head of an item, which must have this major type, and returns its
// argument.
func (d *Decoder) head(major byte) (n uint64, ok bool) {
	c := d.next()
	if c>>5 != major {
		d.Unusual()
		return 0, false
	}
	if c &= 31; c < 24 {
		d.at++
		return uint64(c), true
	}
	n, size := longHead(d.data[d.at:])
	if size == 0 {
		d.Unusual()
		return 0, false
	}
	d.at += size
	return n, true
}

// longHead reads a head whose argument is not in its first byte, and returns the
// head's size; 0: it is cut off, or the argument is invalid.
func longHead(b []byte) (n uint64, size int) {
	switch c := b[0] & 31; {
	case c == 24 && len(b) >= 2:
		return uint64(b[1]), 2
	case c == 25 && len(b) >= 3:
		return uint64(binary.BigEndian.Uint16(b[1:])), 3
	case c == 26 && len(b) >= 5:
		return uint64(binary.BigEndian.Uint32(b[1:])), 5
	case c == 27 && len(b) >= 9:
		return binary.BigEndian.Uint64(b[1:]), 9
	}
	return 0, 0
}

// Map begins a map or struct and returns the number of its pairs. The data has
// enough bytes for so many.
func (d *Decoder) Map() int { return d.open(majorMap, 2) }

// Array begins an array and returns the number of its items. The data has enough
// bytes for so many.
func (d *Decoder) Array() int { return d.open(majorArray, 1) }

func (d *Decoder) open(major byte, each uint64) int {
	n, ok := d.head(major)
	if !ok {
		return 0
	}
	if n > maxElements || n*each > uint64(len(d.data)-d.at) {
		d.Unusual()
		return 0
	}
	if d.opened++; d.opened > evento.MaxDepth && !d.bound() {
		return 0
	}
	return int(n)
}

// bound checks all data for items that are nested too deep. It is called when that
// is possible, before the caller recurses so deep.
func (d *Decoder) bound() bool {
	if d.bounded || d.odd {
		return !d.odd
	}
	rest, ok := skip(d.data, evento.MaxDepth)
	if !ok || len(rest) > 0 {
		d.Unusual()
		return false
	}
	d.bounded = true
	return true
}

// text reads a byte string or text string, without copying it.
func (d *Decoder) text(major byte) []byte {
	n, ok := d.head(major)
	if !ok {
		return nil
	}
	if n > uint64(len(d.data)-d.at) {
		d.Unusual()
		return nil
	}
	from := d.at
	d.at += int(n)
	return d.data[from:d.at:d.at]
}

// Key reads the name of a field, without copying it: it is a part of the data. A
// switch on string(d.Key()) does not copy it either.
func (d *Decoder) Key() []byte { return d.text(majorText) }

// String reads a string.
func (d *Decoder) String() string { return string(d.text(majorText)) }

// Bytes reads a byte string into a new slice, which is not nil when the string is
// empty.
func (d *Decoder) Bytes() []byte {
	s := d.text(majorBytes)
	if d.odd {
		return nil
	}
	own := make([]byte, len(s))
	copy(own, s)
	return own
}

// BytesInto reads a byte string into an array; its length must be that of the
// array.
func (d *Decoder) BytesInto(array []byte) {
	s := d.text(majorBytes)
	if len(s) != len(array) {
		d.Unusual()
		return
	}
	copy(array, s)
}

// Nil reports whether the next item is nil, and if so reads it.
func (d *Decoder) Nil() bool {
	if d.next() != simpleNull {
		return false
	}
	d.at++
	return true
}

// Bool reads a bool.
func (d *Decoder) Bool() bool {
	switch d.next() {
	case simpleTrue:
		d.at++
		return true
	case simpleFalse:
		d.at++
	default:
		d.Unusual()
	}
	return false
}

// Int reads an integer that an int64 can hold.
func (d *Decoder) Int() int64 { return d.IntOf(64) }

// IntOf reads an integer that a signed type of so many bits can hold.
func (d *Decoder) IntOf(size int) int64 {
	major := majorUint
	if d.next()>>5 == majorNegative {
		major = majorNegative
	}
	n, ok := d.head(major)
	if !ok {
		return 0
	}
	if bits.Len64(n) >= size {
		d.Unusual()
		return 0
	}
	if major == majorNegative {
		return ^int64(n)
	}
	return int64(n)
}

// Uint reads an integer that a uint64 can hold.
func (d *Decoder) Uint() uint64 { return d.UintOf(64) }

// UintOf reads an integer that an unsigned type of so many bits can hold.
func (d *Decoder) UintOf(size int) uint64 {
	n, ok := d.head(majorUint)
	if !ok {
		return 0
	}
	if bits.Len64(n) > size {
		d.Unusual()
		return 0
	}
	return n
}

// Float32 reads a float32.
func (d *Decoder) Float32() float32 {
	if d.next() == headFloat32 && len(d.data)-d.at >= 5 {
		v := math.Float32frombits(binary.BigEndian.Uint32(d.data[d.at+1:]))
		if v == v { // the codec may change a NaN
			d.at += 5
			return v
		}
	}
	return float32(d.short())
}

// Float64 reads a float64.
func (d *Decoder) Float64() float64 {
	if d.next() == headFloat64 && len(d.data)-d.at >= 9 {
		v := math.Float64frombits(binary.BigEndian.Uint64(d.data[d.at+1:]))
		d.at += 9
		return v
	}
	return d.short()
}

// short reads a float that is encoded as a half float.
func (d *Decoder) short() float64 {
	if d.next() == headFloat16 && len(d.data)-d.at >= 3 {
		half := binary.BigEndian.Uint16(d.data[d.at+1:])
		d.at += 3
		switch half {
		case halfNaN:
			return math.Float64frombits(0x7ff8 << 48) // a widened half float NaN
		case halfInf:
			return math.Inf(1)
		case halfMinusInf:
			return math.Inf(-1)
		}
	}
	d.Unusual()
	return 0
}

// Time reads a time that is not zero. The zero time is encoded as nil, which leaves
// a field unchanged, so check for nil first:
//
//	if !d.Nil() {
//		v.When = d.Time()
//	}
func (d *Decoder) Time() time.Time {
	s := d.text(majorText)
	if d.odd {
		return time.Time{}
	}
	var t time.Time
	if err := t.UnmarshalText(s); err != nil {
		d.Unusual()
		return time.Time{}
	}
	return t
}

// Text reads a text string into a value of a type that has UnmarshalText.
func (d *Decoder) Text(v encoding.TextUnmarshaler) {
	s := d.text(majorText)
	if !d.odd && v.UnmarshalText(s) != nil {
		d.Unusual()
	}
}

// Binary reads a byte string into a value of a type that has UnmarshalBinary.
func (d *Decoder) Binary(v encoding.BinaryUnmarshaler) {
	s := d.text(majorBytes)
	if !d.odd && v.UnmarshalBinary(s) != nil {
		d.Unusual()
	}
}

// Any reads an item of any kind into what v points to, through [evento.CBOR].
func (d *Decoder) Any(v any) {
	// The codec counts the depth from the outermost item, so this does too.
	left := d.data[d.at:]
	rest, ok := skip(left, evento.MaxDepth-min(d.opened, evento.MaxDepth))
	if !ok {
		if !d.bound() {
			return
		}
		if rest, ok = skip(left, evento.MaxDepth); !ok {
			d.Unusual()
			return
		}
	}
	size := len(left) - len(rest)
	if evento.CBOR().Unmarshal(left[:size], v) != nil {
		d.Unusual()
		return
	}
	d.at += size
}

// skip returns what follows the first item of b; the item may be nested left levels
// deep. It does not know items of indefinite length.
func skip(b []byte, left int) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	major, n := b[0]>>5, uint64(b[0]&31)
	size := 1
	if n >= 24 {
		if n, size = longHead(b); size == 0 {
			return nil, false
		}
	}
	rest = b[size:]
	switch major {
	case majorBytes, majorText:
		if n > uint64(len(rest)) {
			return nil, false
		}
		return rest[n:], true
	case majorTag:
		if left == 0 {
			return nil, false
		}
		return skip(rest, left-1)
	case majorArray, majorMap:
		if left == 0 || n > maxElements {
			return nil, false
		}
		if major == majorMap {
			n *= 2
		}
		for range n {
			if rest, ok = skip(rest, left-1); !ok {
				return nil, false
			}
		}
		return rest, true
	case majorSimple:
		switch b[0] {
		case simpleFalse, simpleTrue, simpleNull, headFloat16, headFloat32, headFloat64:
		default:
			return nil, false
		}
	}
	return rest, true
}
