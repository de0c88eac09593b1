// Package predeclared has what Go predeclares, under names that a package cannot
// hide. The generator uses it in packages that declare such a name themselves: where
// there is a func new, generated code makes a pointer with predeclared.New, and where
// there is a type string, it writes predeclared.String for Go's.
//
// Elsewhere it is not needed: the types are aliases, and the functions are slower than
// Go's own.
//
// Why: docs/decisions.md, "Generated names are chosen, not reserved".
package predeclared

import "reflect"

// The types, by names of the same letters.
type (
	// Any is any.
	Any = any
	// Bool is bool.
	Bool = bool
	// Byte is byte.
	Byte = byte
	// Complex64 is complex64.
	Complex64 = complex64
	// Complex128 is complex128.
	Complex128 = complex128
	// Error is error.
	Error = error
	// Float32 is float32.
	Float32 = float32
	// Float64 is float64.
	Float64 = float64
	// Int is int.
	Int = int
	// Int8 is int8.
	Int8 = int8
	// Int16 is int16.
	Int16 = int16
	// Int32 is int32.
	Int32 = int32
	// Int64 is int64.
	Int64 = int64
	// Rune is rune.
	Rune = rune
	// String is string.
	String = string
	// Uint is uint.
	Uint = uint
	// Uint8 is uint8.
	Uint8 = uint8
	// Uint16 is uint16.
	Uint16 = uint16
	// Uint32 is uint32.
	Uint32 = uint32
	// Uint64 is uint64.
	Uint64 = uint64
	// Uintptr is uintptr.
	Uintptr = uintptr
)

// True and False are those of Go.
const (
	True  = true
	False = false
)

// NoError returns nil.
func NoError() error { return nil }

// Zero returns the zero value of a type: nil, of pointers, slices, maps, functions and
// interfaces.
func Zero[T any]() T { return *new(T) }

// IsNil reports whether v is nil. It panics if T has no nil.
func IsNil[T any](v T) bool { return reflect.ValueOf(&v).Elem().IsNil() }

// Append is append.
func Append[S ~[]E, E any](s S, values ...E) S { return append(s, values...) }

// Len is len of a string, a slice, an array or a map.
func Len[T any](v T) int { return reflect.ValueOf(&v).Elem().Len() }

// New is new.
func New[T any]() *T { return new(T) }

// MakeSlice is make of a slice.
func MakeSlice[S ~[]E, E any](size int) S { return make(S, size) }

// MakeMap is make of a map.
func MakeMap[M ~map[K]V, K comparable, V any](size int) M { return make(M, size) }
