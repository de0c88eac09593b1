// Cursors of a store with one total order of positions.

package cursor

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"unsafe"
)

// Positions encodes and decodes the cursors of one store, in which a place is a
// position: 1, 2, 3, … It is for authors of executors. The zero Positions is for
// the store whose identity is sixteen zero bytes. Safe for concurrent use.
//
// Format, before base64 (URL alphabet, no padding): a byte 1 for this version, a
// byte 'p', the 16 bytes of the store's identity, the position as 8 bytes
// big-endian, and a check byte. The first 18 bytes become 24 characters, which are
// the same for every cursor of a store.
type Positions struct {
	store  [16]byte
	prefix [prefixLen]byte
	seed   byte // of check
}

const (
	positionsVersion = 1
	positionsKind    = 'p'

	headLen   = 18 // version, kind and store, before base64
	prefixLen = headLen / 3 * 4
	placeLen  = 9 // position and check byte, before base64
	valueLen  = prefixLen + placeLen/3*4
)

// NewPositions returns the Positions of the store with this identity, which is
// created once, with the store.
func NewPositions(store [16]byte) Positions {
	p := Positions{store: store, seed: check(checkSeed, store[:])}
	head := [headLen]byte{positionsVersion, positionsKind}
	copy(head[2:], store[:])
	base64.RawURLEncoding.Encode(p.prefix[:], head[:])
	return p
}

// PositionsOf returns the Positions of the store that v is a cursor of, for
// programs that know a position in that store but have no cursor of it. The error
// is [ErrMalformed], also if v was not made by [Positions].
func PositionsOf(v Value) (Positions, error) {
	head, err := base64.RawURLEncoding.Strict().DecodeString(string(v[:min(len(v), prefixLen)]))
	if err != nil || len(head) != headLen {
		return Positions{}, fmt.Errorf("%w: %s", ErrMalformed, quote(v))
	}
	p := NewPositions([16]byte(head[2:]))
	if _, err := p.Position(v); err != nil {
		return Positions{}, err
	}
	return p, nil
}

// Store returns the identity given to [NewPositions].
func (p Positions) Store() [16]byte { return p.store }

// Value returns the cursor of a position.
func (p Positions) Value(position uint64) Value {
	return Value(p.AppendValue(make([]byte, 0, valueLen), position))
}

// AppendValue appends the cursor of a position to b, for making many: all cursors
// of a store have the same length.
func (p Positions) AppendValue(b []byte, position uint64) []byte {
	if p.prefix[0] == 0 {
		p = NewPositions(p.store)
	}
	b = append(b, p.prefix[:]...)
	var place [placeLen]byte
	binary.BigEndian.PutUint64(place[:], position)
	place[placeLen-1] = check(p.seed, place[:placeLen-1])
	return base64.RawURLEncoding.AppendEncode(b, place[:])
}

// Values returns the cursors of many positions with two allocations in total: the
// cursors share their bytes.
func (p Positions) Values(positions []uint64) []Value {
	if len(positions) == 0 {
		return nil
	}
	b := make([]byte, 0, len(positions)*valueLen)
	for _, pos := range positions {
		b = p.AppendValue(b, pos)
	}
	text := unsafe.String(&b[0], len(b)) // b is not written to any more
	vs := make([]Value, len(positions))
	for i := range vs {
		vs[i] = Value(text[i*valueLen : (i+1)*valueLen])
	}
	return vs
}

// Position decodes a cursor; "" is 0. The errors are [ErrMalformed] and
// [ErrForeign]. The caller must check whether the position exists.
func (p Positions) Position(v Value) (uint64, error) {
	if v == "" {
		return 0, nil
	}
	var b [headLen + placeLen]byte
	if len(v) != valueLen {
		return 0, fmt.Errorf("%w: %s", ErrMalformed, quote(v))
	}
	// The decoder ignores line breaks, so check the length too.
	if n, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(v)); err != nil || n != len(b) {
		return 0, fmt.Errorf("%w: %s", ErrMalformed, quote(v))
	}
	store, place := [16]byte(b[2:headLen]), b[headLen:]
	switch {
	case b[0] != positionsVersion || b[1] != positionsKind,
		place[placeLen-1] != check(check(checkSeed, store[:]), place[:placeLen-1]):
		return 0, fmt.Errorf("%w: %s", ErrMalformed, quote(v))
	case store != p.store:
		return 0, fmt.Errorf("%w: %s", ErrForeign, quote(v))
	}
	return binary.BigEndian.Uint64(place), nil
}

// At is Value, except that for position 0, the beginning, it returns "".
func (p Positions) At(position uint64) Value {
	if position == 0 {
		return ""
	}
	return p.Value(position)
}

// Earlier returns the cursor of the lower position; a if both are the same. The
// errors are those of [Positions.Position].
func (p Positions) Earlier(a, b Value) (Value, error) {
	atA, err := p.Position(a)
	if err != nil {
		return "", err
	}
	atB, err := p.Position(b)
	if err != nil {
		return "", err
	}
	if atB < atA {
		return b, nil
	}
	return a, nil
}

const checkSeed = 0xA7

// check continues the check byte h over more bytes: the store's identity, then the
// position. It detects a truncated or mistyped cursor; it is no signature.
func check(h byte, b []byte) byte {
	for _, c := range b {
		h = h<<1 ^ h>>7 ^ c
	}
	return h
}

// quote quotes a cursor for an error, cut to 64 bytes.
func quote(v Value) string {
	const most = 64
	if len(v) > most {
		return fmt.Sprintf("%q… (%d bytes)", v[:most], len(v))
	}
	return fmt.Sprintf("%q", v)
}
