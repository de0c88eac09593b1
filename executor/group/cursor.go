// Cursors with a place in each member.

package group

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/cursor"
)

// The format is described in docs/formats.md.
const (
	formatVersion = 1
	formatKind    = 'g'
	sumLen        = 4

	// maxValue is the longest cursor.
	maxValue = 16 << 10

	// A place whose text is base64 is stored as the bytes that it stands for, so
	// that it does not grow with each group within a group.
	formBytes, formText = 0, 1
)

// base64url accepts exactly one text for the same bytes.
var base64url = base64.RawURLEncoding.Strict()

// place is a member's cursor: every event up to it is before the group's
// cursor. The zero place is the beginning.
type place struct {
	value  cursor.Value
	packed []byte
}

func newPlace(v cursor.Value) place {
	if v == "" {
		return place{}
	}
	data, form := []byte(v), uint64(formText)
	if b, err := base64url.DecodeString(string(v)); err == nil && !strings.ContainsAny(string(v), "\r\n") {
		data, form = b, formBytes
	}
	p := place{value: v, packed: binary.AppendUvarint(nil, uint64(len(data))<<1|form)}
	p.packed = append(p.packed, data...)
	return p
}

// noEdge stands for no member.
const noEdge = -1

// encode makes a cursor. Edge is the member whose event the cursor is of, or noEdge.
func encode(places []place, edge int) (cursor.Value, error) {
	n := len(places)
	for n > 0 && places[n-1].value == "" {
		n-- // so that a new member changes no cursor before an event of it is read
	}
	size := 2 + binary.MaxVarintLen32 + sumLen
	for _, p := range places[:n] {
		size += max(1, len(p.packed))
	}
	b := append(make([]byte, 0, size), formatVersion, formatKind)
	b = binary.AppendUvarint(b, uint64(edge+1))
	for _, p := range places[:n] {
		if p.value == "" {
			b = append(b, 0)
		} else {
			b = append(b, p.packed...)
		}
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	v := base64url.EncodeToString(b)
	if len(v) > maxValue {
		return "", fmt.Errorf("%w: a cursor of %d members takes %d bytes, at most %d are allowed", evento.ErrTooLarge, n, len(v), maxValue)
	}
	return cursor.Value(v), nil
}

// decode reads a cursor, and returns a place for each member.
func decode(v cursor.Value, members int) (places []place, edge int, err error) {
	places, edge, ok := parse(v)
	switch {
	case !ok:
		const most = 64
		return nil, 0, fmt.Errorf("%w: %.*q (%d bytes)", cursor.ErrMalformed, most, string(v), len(v))
	case len(places) > members:
		return nil, 0, fmt.Errorf("%w: it has places in %d members, the group has %d", cursor.ErrForeign, len(places), members)
	}
	return append(places, make([]place, members-len(places))...), edge, nil
}

func parse(v cursor.Value) (places []place, edge int, ok bool) {
	if len(v) > maxValue || strings.ContainsAny(string(v), "\r\n") {
		return nil, 0, false // the decoder passes over line breaks
	}
	b, err := base64url.DecodeString(string(v))
	if err != nil || len(b) < 2+sumLen || b[0] != formatVersion || b[1] != formatKind {
		return nil, 0, false
	}
	b, sum := b[:len(b)-sumLen], b[len(b)-sumLen:]
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(b) {
		return nil, 0, false
	}
	b = b[2:]
	marked, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, 0, false
	}
	for b = b[n:]; len(b) > 0; {
		head, n := binary.Uvarint(b)
		if n <= 0 || head>>1 > uint64(len(b)-n) {
			return nil, 0, false
		}
		data := b[n : n+int(head>>1)]
		b = b[n+len(data):]
		text := string(data)
		if head&1 == formBytes {
			text = base64url.EncodeToString(data)
		}
		places = append(places, newPlace(cursor.Value(text)))
	}
	if marked > uint64(len(places)) || len(places) == 0 || places[len(places)-1].value == "" ||
		marked > 0 && places[marked-1].value == "" {
		return nil, 0, false
	}
	return places, int(marked) - 1, true
}
