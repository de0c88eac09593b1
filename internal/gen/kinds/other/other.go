// Package other has types of another package, as fields of events.
package other

import (
	"errors"
	"strconv"
	"strings"
)

// Address is a struct of another package.
type Address struct {
	Street string `json:"street"`
	City   string `json:"city,omitempty"`
	hidden int
}

// Range is generic.
type Range[T any] struct{ From, To T }

// Decimal is stored by its text.
type Decimal struct{ units int64 }

// NewDecimal is so many hundredths.
func NewDecimal(units int64) Decimal { return Decimal{units} }

// MarshalText writes the hundredths.
func (d Decimal) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatInt(d.units, 10) + "/100"), nil
}

// UnmarshalText reads what MarshalText writes.
func (d *Decimal) UnmarshalText(text []byte) error {
	s, ok := strings.CutSuffix(string(text), "/100")
	if !ok {
		return errors.New("not a decimal")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return err
	}
	d.units = n
	return nil
}

// Token is stored as bytes, by methods of its pointer.
type Token struct{ b [3]byte }

// NewToken is a token of a byte.
func NewToken(b byte) Token { return Token{[3]byte{b, b, b}} }

// MarshalBinary writes the bytes.
func (t *Token) MarshalBinary() ([]byte, error) { return t.b[:], nil }

// UnmarshalBinary reads what MarshalBinary writes.
func (t *Token) UnmarshalBinary(data []byte) error {
	if len(data) != len(t.b) {
		return errors.New("not a token")
	}
	copy(t.b[:], data)
	return nil
}

// Sealed has fields whose types cannot be named elsewhere.
type Sealed struct {
	Kind  kind
	Kinds []kind
	Each  map[string]struct{ K kind }
}

type kind string

// Common is for embedding.
type Common struct {
	By     string
	Reason string `json:",omitempty"`
}

// Hidden has its hidden field set, to be lost.
func Hidden(a Address) Address {
	a.hidden = 0
	return a
}
