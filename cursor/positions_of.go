package cursor

import (
	"encoding/base64"
	"fmt"
)

// PositionsOf returns the cursors of the store that v is of, for a program that
// knows positions and has one cursor of the store. The error is [ErrMalformed],
// for "" too.
func PositionsOf(v Value) (Positions, error) {
	var head [headLen]byte
	if len(v) == valueLen {
		if n, err := base64.RawURLEncoding.Decode(head[:], []byte(v[:prefixLen])); err == nil && n == headLen {
			p := NewPositions([16]byte(head[2:]))
			_, err := p.Position(v)
			return p, err
		}
	}
	return Positions{}, fmt.Errorf("%w: %s", ErrMalformed, quote(v))
}
