// Package cborwire encodes and decodes payloads for generated code: CBOR (RFC 8949)
// by plain function calls, without reflection, and with no allocation beyond the
// values themselves.
//
// Each Append function adds one item to a buffer, with exactly the bytes that
// [evento.CBOR] writes for the same value. The caller is responsible for the order:
// for a struct, call AppendMap with the number of its fields, and then append name
// and value of each field, with the names in the order of their encoding: shorter
// ones first, equally long ones bytewise.
//
// A [Decoder] reads values in the plain shape, which is what the Append functions
// write. At any other bytes, valid or not, it gives up, and its caller passes the
// same bytes to [evento.CBOR], which knows every shape and every error. So
// generated code need not know them, and what it reads is what the codec would
// read.
//
// A payload written by hand in the way of the generator:
//
//	func (e Renamed) AppendCBOR(b []byte) ([]byte, error) {
//		b = cborwire.AppendMap(b, 1)
//		b = cborwire.AppendString(b, "Name")
//		return cborwire.AppendString(b, e.Name), nil
//	}
//
//	func (e *Renamed) DecodeCBOR(data []byte) (bool, error) {
//		d, v, seen := cborwire.NewDecoder(data), *e, uint64(0)
//		for range d.Map() {
//			switch string(d.Key()) {
//			case "Name":
//				d.Once(&seen, 0)
//				v.Name = d.String()
//			default:
//				d.Unusual()
//			}
//		}
//		if !d.End() {
//			return false, nil
//		}
//		*e = v
//		return true, nil
//	}
//
// The copy v shares what the payload already holds behind a pointer, in a slice, a
// map or an interface: call Unusual if it is not nil. Also call it for shapes that
// have no method here, such as an array with the wrong number of items.
//
// It is not a general CBOR library: it neither writes nor reads tags or items of
// indefinite length. For types that may contain themselves use [AppendAny] and
// [Decoder.Any], which are safe with values that do.
//
// The functions are safe for concurrent use; a Decoder is for one goroutine.
//
// Why: docs/decisions.md, "The fast way reads the plain shape alone".
package cborwire

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/evento-go/evento"
)

// The major types of RFC 8949, section 3.1.
const (
	majorUint byte = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// Items of one byte, or of fixed bytes.
const (
	simpleFalse  = 0xf4
	simpleTrue   = 0xf5
	simpleNull   = 0xf6
	headFloat16  = 0xf9
	headFloat32  = 0xfa
	headFloat64  = 0xfb
	halfNaN      = 0x7e00
	halfInf      = 0x7c00
	halfMinusInf = 0xfc00
)

// appendHead begins an item with the shortest head for its argument. It is small
// enough to be inlined.
func appendHead(b []byte, major byte, n uint64) []byte {
	if n < 24 {
		return append(b, major<<5|byte(n))
	}
	return appendLongHead(b, major<<5, n)
}

func appendLongHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, major|27), n)
	}
}

// AppendMap begins a map, or a struct, of n pairs: 2n items follow, names and
// values in turn.
func AppendMap(b []byte, n int) []byte { return appendHead(b, majorMap, uint64(n)) }

// AppendArray begins an array of n items, which follow.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendNil writes nil, the item of nil pointers, slices and maps.
func AppendNil(b []byte) []byte { return append(b, simpleNull) }

// AppendBool writes a bool.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, simpleTrue)
	}
	return append(b, simpleFalse)
}

// AppendInt writes an integer of any signed type.
func AppendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorNegative, uint64(^v))
	}
	return appendHead(b, majorUint, uint64(v))
}

// AppendUint writes an integer of any unsigned type.
func AppendUint(b []byte, v uint64) []byte { return appendHead(b, majorUint, v) }

// AppendFloat32 writes a float32. Every NaN has the same encoding.
func AppendFloat32(b []byte, v float32) []byte {
	if short, ok := appendShort(b, float64(v)); ok {
		return short
	}
	return binary.BigEndian.AppendUint32(append(b, headFloat32), math.Float32bits(v))
}

// AppendFloat64 writes a float64. Every NaN has the same encoding.
func AppendFloat64(b []byte, v float64) []byte {
	if short, ok := appendShort(b, v); ok {
		return short
	}
	return binary.BigEndian.AppendUint64(append(b, headFloat64), math.Float64bits(v))
}

// appendShort writes a float that a half float represents exactly.
func appendShort(b []byte, v float64) ([]byte, bool) {
	var half uint16
	switch {
	case v != v:
		half = halfNaN
	case v > math.MaxFloat64:
		half = halfInf
	case v < -math.MaxFloat64:
		half = halfMinusInf
	default:
		return b, false
	}
	return binary.BigEndian.AppendUint16(append(b, headFloat16), half), true
}

// AppendString writes a string of any bytes.
func AppendString(b []byte, v string) []byte {
	return append(appendHead(b, majorText, uint64(len(v))), v...)
}

// AppendBytes writes a slice or an array of bytes; a nil slice as nil.
func AppendBytes(b, v []byte) []byte {
	if v == nil {
		return AppendNil(b)
	}
	return append(appendHead(b, majorBytes, uint64(len(v))), v...)
}

// AppendTime writes a time in UTC with nanoseconds; the zero time as nil. It fails
// for years that RFC 3339 cannot express: before 0 and after 9999.
func AppendTime(b []byte, v time.Time) ([]byte, error) {
	if v.IsZero() {
		return AppendNil(b), nil
	}
	v = v.UTC()
	year, month, day := v.Date()
	if year < 0 || year > 9999 {
		return b, fmt.Errorf("cbor: the year %d of a time is not 0 to 9999", year)
	}
	hour, minute, second := v.Clock()
	fraction, digits := v.Nanosecond(), 9
	for ; digits > 0 && fraction%10 == 0; digits-- {
		fraction /= 10
	}
	size := len("2006-01-02T15:04:05Z")
	if digits > 0 {
		size += 1 + digits
	}
	b = appendHead(b, majorText, uint64(size))
	b = append(b, digit(year/1000), digit(year/100), digit(year/10), digit(year), '-',
		digit(int(month)/10), digit(int(month)), '-', digit(day/10), digit(day), 'T',
		digit(hour/10), digit(hour), ':', digit(minute/10), digit(minute), ':', digit(second/10), digit(second))
	if digits > 0 {
		b = append(b, ".000000000"[:1+digits]...)
		for i := len(b) - 1; fraction > 0; i-- {
			b[i] = digit(fraction)
			fraction /= 10
		}
	}
	return append(b, 'Z'), nil
}

// digit returns the last decimal digit of n.
func digit(n int) byte { return byte('0' + n%10) }

// AppendText writes a value of a type that has MarshalText but not MarshalBinary.
// It returns the errors of MarshalText.
func AppendText(b []byte, v encoding.TextMarshaler) ([]byte, error) {
	s, err := v.MarshalText()
	if err != nil {
		return b, fmt.Errorf("cbor: %T: %w", v, err)
	}
	return append(appendHead(b, majorText, uint64(len(s))), s...), nil
}

// AppendBinary writes a value of a type that has MarshalBinary. It returns the
// errors of MarshalBinary.
func AppendBinary(b []byte, v encoding.BinaryMarshaler) ([]byte, error) {
	s, err := v.MarshalBinary()
	if err != nil {
		return b, fmt.Errorf("cbor: %T: %w", v, err)
	}
	return append(appendHead(b, majorBytes, uint64(len(s))), s...), nil
}

// AppendAny writes a value of any type through [evento.CBOR], and returns its
// errors: for fields whose type has no other function here.
func AppendAny(b []byte, v any) ([]byte, error) {
	data, err := evento.CBOR().Marshal(v)
	if err != nil {
		return b, err
	}
	return append(b, data...), nil
}

// AppendRaw appends bytes that are already encoded, such as a field name that was
// encoded when the code was generated.
func AppendRaw[T ~string | ~[]byte](b []byte, encoded T) []byte { return append(b, encoded...) }
