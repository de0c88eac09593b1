// CBOR as JSON.

package payload

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// The major types of CBOR (RFC 8949, section 3.1).
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple
)

// mostDigits is the most bytes of a large number that are written as its digits: that takes
// more time than the number has bytes. Larger ones are written as the tags that they are.
const mostDigits = 1 << 10

// cborWriter writes well-formed CBOR as JSON. Once there are most bytes of it, it closes what
// it has begun, and the rest is cut. It needs the memory of what it writes, and goes through
// as much of the CBOR as it writes.
type cborWriter struct {
	out  []byte
	most int
	all  bool // a part is of no use: what is cut need not be JSON
	cut  bool
}

// cborHead is the head of an item.
type cborHead struct {
	major      byte
	info       byte // of the first byte
	arg        uint64
	indefinite bool // a text, bytes, an array or a map whose end is marked
}

func readHead(b []byte) (h cborHead, rest []byte) {
	h.major, h.info = b[0]>>5, b[0]&31
	b = b[1:]
	switch {
	case h.info < 24:
		h.arg = uint64(h.info)
	case h.info == 31:
		h.indefinite = true
	default:
		n := 1 << (h.info - 24)
		var room [8]byte
		copy(room[8-n:], b[:n])
		h.arg = binary.BigEndian.Uint64(room[:])
		b = b[n:]
	}
	return h, b
}

const cborBreak = 0xff

// full reports whether nothing more is to be written, and notes that something is cut.
func (w *cborWriter) full() bool {
	w.cut = w.cut || len(w.out) >= w.most
	return w.cut
}

// value writes an item and returns what is behind it; when something is cut, that is nothing.
func (w *cborWriter) value(b []byte) (rest []byte) {
	h, rest := readHead(b)
	switch h.major {
	case cborUint:
		w.out = strconv.AppendUint(w.out, h.arg, 10)
	case cborNegative:
		w.negative(h.arg)
	case cborBytes:
		var data []byte
		data, rest = stringOf(h, rest)
		w.base64(data)
	case cborText:
		var data []byte
		data, rest = stringOf(h, rest)
		w.text(data)
	case cborArray:
		rest = w.array(h, rest)
	case cborMap:
		rest = w.object(h, rest)
	case cborTag:
		rest = w.tag(h.arg, rest)
	case cborSimple:
		w.simple(h, b)
	}
	return rest
}

func (w *cborWriter) negative(arg uint64) {
	if arg <= math.MaxInt64 {
		w.out = strconv.AppendInt(w.out, -1-int64(arg), 10)
		return
	}
	n := new(big.Int).SetUint64(arg)
	w.out = n.Not(n).Append(w.out, 10)
}

// stringOf returns the bytes of a string, which may be in pieces.
func stringOf(h cborHead, b []byte) (data, rest []byte) {
	if !h.indefinite {
		return b[:h.arg], b[h.arg:]
	}
	for b[0] != cborBreak {
		var piece cborHead
		piece, b = readHead(b)
		data, b = append(data, b[:piece.arg]...), b[piece.arg:]
	}
	return data, b[1:]
}

func (w *cborWriter) base64(data []byte) {
	if most := max(w.most-len(w.out), 0) / 4 * 3; len(data) > most {
		data, w.cut = data[:most], true
	}
	w.out = append(w.out, '"')
	w.out = base64.StdEncoding.AppendEncode(w.out, data)
	w.out = append(w.out, '"')
}

func (w *cborWriter) text(data []byte) {
	if !utf8.Valid(data) {
		w.out = append(w.out, `{"base64":`...)
		w.base64(data)
		w.out = append(w.out, '}')
		return
	}
	if room := max(w.most-len(w.out), 0); len(data) > room {
		for room > 0 && !utf8.RuneStart(data[room]) {
			room--
		}
		data, w.cut = data[:room], true
	}
	if slices.ContainsFunc(data, escaped) {
		w.json(string(data))
		return
	}
	w.out = append(w.out, '"')
	w.out = append(w.out, data...)
	w.out = append(w.out, '"')
}

// escaped reports whether a byte of a text may have an escape in JSON.
func escaped(c byte) bool { return c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf }

// json writes a text or number as encoding/json does.
func (w *cborWriter) json(v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		w.out = append(w.out, "null"...) // texts and finite numbers are never an error
		return
	}
	w.out = append(w.out, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// items calls each for the items of an array or map until the rest is cut.
func (w *cborWriter) items(h cborHead, b []byte, each func([]byte) []byte) (rest []byte) {
	for n := h.arg; ; n-- {
		switch {
		case !h.indefinite && n == 0:
			return b
		case h.indefinite && b[0] == cborBreak:
			return b[1:]
		case w.full():
			return nil
		}
		if b = each(b); w.cut {
			return nil
		}
	}
}

func (w *cborWriter) array(h cborHead, b []byte) (rest []byte) {
	w.out = append(w.out, '[')
	start := len(w.out)
	rest = w.items(h, b, func(b []byte) []byte {
		if len(w.out) > start {
			w.out = append(w.out, ',')
		}
		return w.value(b)
	})
	w.out = append(w.out, ']')
	return rest
}

// mapEntry is where an entry of a map is, as JSON, behind the beginning of the map.
type mapEntry struct {
	kind            byte // of the key: its major type
	key, value, end int
}

// object writes a map, in the order of its keys.
func (w *cborWriter) object(h cborHead, b []byte) (rest []byte) {
	start := len(w.out)
	var entries []mapEntry
	rest = w.items(h, b, func(b []byte) []byte {
		e := mapEntry{kind: b[0] >> 5, key: len(w.out) - start}
		if b = w.value(b); w.cut {
			w.out = w.out[:start+e.key] // there is no room for its value
			return nil
		}
		e.value = len(w.out) - start
		b = w.value(b)
		e.end = len(w.out) - start
		entries = append(entries, e)
		return b
	})
	if !w.cut || !w.all {
		w.join(start, entries)
	}
	return rest
}

// join makes an object of the entries behind start whose keys are all texts, or all whole
// numbers, each once, and of others a list.
func (w *cborWriter) join(start int, entries []mapEntry) {
	written := slices.Clone(w.out[start:])
	key := func(e *mapEntry) []byte { return written[e.key:e.value] }
	texts, numbers := 0, 0
	for i := range entries {
		switch e := &entries[i]; {
		case e.kind == cborText && written[e.key] == '"':
			texts++
		case e.kind == cborUint, e.kind == cborNegative:
			numbers++
		}
	}
	slices.SortFunc(entries, func(a, b mapEntry) int {
		return cmp.Or(bytes.Compare(key(&a), key(&b)), cmp.Compare(a.key, b.key))
	})
	twice := false
	for i := range entries {
		twice = twice || i > 0 && bytes.Equal(key(&entries[i]), key(&entries[i-1]))
	}
	object := !twice && (texts == len(entries) || numbers == len(entries))
	begin, before, between, after, end := `[`, `{"key":`, `,"value":`, `}`, `]`
	switch {
	case object && numbers > 0:
		begin, before, between, after, end = `{`, `"`, `":`, ``, `}`
	case object:
		begin, before, between, after, end = `{`, ``, `:`, ``, `}`
	}
	w.out = append(w.out[:start], begin...)
	for i := range entries {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		e := &entries[i]
		w.out = append(append(append(w.out, before...), key(e)...), between...)
		w.out = append(append(w.out, written[e.value:e.end]...), after...)
	}
	w.out = append(w.out, end...)
}

// tag writes a tagged item.
func (w *cborWriter) tag(number uint64, b []byte) (rest []byte) {
	h, behind := readHead(b)
	switch {
	case number == 0 && h.major == cborText: // a time as text
		return w.value(b)
	case number == 1 && (h.major <= cborNegative || h.major == cborSimple):
		var seconds float64
		if err := cbor.Unmarshal(b[:len(b)-len(behind)], &seconds); err == nil && seconds >= -62135596800 && seconds < 253402300800 { // the years 1 to 9999
			whole, part := math.Modf(seconds)
			w.json(time.Unix(int64(whole), int64(part*1e9)).UTC().Format(time.RFC3339Nano))
			return behind
		}
	case (number == 2 || number == 3) && h.major == cborBytes && !h.indefinite && h.arg <= mostDigits:
		n := new(big.Int).SetBytes(behind[:h.arg])
		if number == 3 {
			n.Not(n)
		}
		w.out = n.Append(w.out, 10)
		return behind[h.arg:]
	}
	w.out = append(w.out, `{"tag":`...)
	w.out = strconv.AppendUint(w.out, number, 10)
	w.out = append(w.out, `,"value":`...)
	rest = w.value(b)
	w.out = append(w.out, '}')
	return rest
}

// simple writes a simple value or a real number.
func (w *cborWriter) simple(h cborHead, item []byte) {
	switch {
	case h.info >= 25:
		var f float64
		if err := cbor.Unmarshal(item[:1+1<<(h.info-24)], &f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			w.json(strconv.FormatFloat(f, 'g', -1, 64))
			return
		}
		w.json(f)
	case h.arg == 20, h.arg == 21:
		w.out = strconv.AppendBool(w.out, h.arg == 21)
	case h.arg == 22, h.arg == 23: // undefined is null
		w.out = append(w.out, "null"...)
	default:
		w.out = append(w.out, `{"simple":`...)
		w.out = strconv.AppendUint(w.out, h.arg, 10)
		w.out = append(w.out, '}')
	}
}
