// The messages of the log.
//
//	"EV"  format  crc32c  session  counter  part  parts  base  check  body
//	2     1       4       8        8        4     4      8     8      bytes, big-endian
//
// The checksum is that of everything behind it. A session is a client's, and counts its
// groups: 1, 2, 3, … A group that is too large for a message is several parts. The sender
// had applied the log up to base, and check is what it has decided up to there, see decide.go.

package jetstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/evento-go/evento"
)

// format is the version of the messages and of the rules by which they are decided. It rises
// with any change of them: an older client refuses to go on.
const format = 1

const (
	magic     = "EV"
	crcAt     = len(magic) + 1
	headerLen = crcAt + 4 + 8 + 8 + 4 + 4 + 8 + 8
)

// message is a message of the log, or the header of one that is to be sent.
type message struct {
	session, counter uint64
	part, parts      uint32
	base, check      uint64
	crc              uint32
	body             []byte
}

// errForeign says that a message is none of a client's. It means nothing.
var errForeign = errors.New("jetstream: a message of somebody else")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of what is behind the place for it.
func checksum(b []byte) uint32 { return crc32.Checksum(b[crcAt+4:], castagnoli) }

func putChecksum(b []byte) { binary.BigEndian.PutUint32(b[crcAt:], checksum(b)) }

// seal writes the header of a message in front of its body: b has room for it.
func (m *message) seal(b []byte) {
	copy(b, magic)
	b[crcAt-1] = format
	h := binary.BigEndian.AppendUint64(b[:crcAt+4], m.session)
	h = binary.BigEndian.AppendUint64(h, m.counter)
	h = binary.BigEndian.AppendUint32(h, m.part)
	h = binary.BigEndian.AppendUint32(h, m.parts)
	h = binary.BigEndian.AppendUint64(h, m.base)
	binary.BigEndian.AppendUint64(h, m.check)
	putChecksum(b)
}

// errBroken says that the checksum of a message does not fit.
var errBroken = errors.New("jetstream: the checksum of a message does not fit")

// parseMessage parses a message, whose body is a part of data. In every format the checksum is
// where it is.
func parseMessage(data []byte) (m message, err error) {
	if len(data) < headerLen || string(data[:len(magic)]) != magic {
		return m, errForeign
	}
	m.crc = binary.BigEndian.Uint32(data[crcAt:])
	switch {
	case m.crc != checksum(data):
		return m, errBroken
	case data[crcAt-1] > format:
		return m, fmt.Errorf("%w: the log has messages of format %d, this client knows up to %d: all clients need a release that knows it",
			evento.ErrNewerStore, data[crcAt-1], format)
	}
	h := data[crcAt+4:]
	m.session, m.counter = binary.BigEndian.Uint64(h), binary.BigEndian.Uint64(h[8:])
	m.part, m.parts = binary.BigEndian.Uint32(h[16:]), binary.BigEndian.Uint32(h[20:])
	m.base, m.check = binary.BigEndian.Uint64(h[24:]), binary.BigEndian.Uint64(h[32:])
	m.body = data[headerLen:]
	return m, nil
}
