package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
)

// cborOf puts a head before what an item consists of.
func cborOf(major byte, n int, content []byte) []byte {
	return append([]byte{major<<5 | 26, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, content...)
}

// hugePayloads are as large as an event may have them, and stand for more.
func hugePayloads() map[string]evento.NewEvent {
	const n = evento.MaxPayload - 64
	const list = 4 << 20 // the most elements of one
	emptyMaps := bytes.Join([][]byte{
		{cborArray<<5 | 4}, cborOf(cborArray, list, bytes.Repeat([]byte{0xa0}, list)), cborOf(cborArray, list, bytes.Repeat([]byte{0xa0}, list)),
		cborOf(cborArray, list, bytes.Repeat([]byte{0xa0}, list)), cborOf(cborArray, list-100, bytes.Repeat([]byte{0xa0}, list-100)),
	}, nil)
	deep := bytes.Repeat([]byte{0x81}, 60)
	var keys []byte
	for i := range n / 6 {
		keys = append(keys, cborUint<<5|26, byte(i>>24), byte(i>>16), byte(i>>8), byte(i), 0xf6)
	}
	payloads := map[string]evento.NewEvent{}
	for name, data := range map[string][]byte{
		"a large number":     append([]byte{0xc2}, cborOf(cborBytes, n, bytes.Repeat([]byte{0x9f}, n))...),
		"a negative number":  append([]byte{0xc3}, cborOf(cborBytes, n, bytes.Repeat([]byte{0x9f}, n))...),
		"empty maps":         emptyMaps,
		"empty maps, deep":   append(deep, emptyMaps...),
		"half numbers":       append([]byte{cborArray<<5 | 2}, bytes.Repeat(cborOf(cborArray, n/6-5, bytes.Repeat([]byte{0xf9, 0x3c, 0x01}, n/6-5)), 2)...),
		"a map":              cborOf(cborMap, n/6, keys),
		"a text":             cborOf(cborText, n, bytes.Repeat([]byte("\x01"), n)),
		"a text of umlauts":  cborOf(cborText, n, bytes.Repeat([]byte("ü"), n/2)),
		"a text of no UTF-8": cborOf(cborText, n, bytes.Repeat([]byte{0xff}, n)),
		"bytes":              cborOf(cborBytes, n, make([]byte, n)),
		"bytes in pieces":    bytes.Join([][]byte{{0x5f}, cborOf(cborBytes, n/2, make([]byte, n/2)), cborOf(cborBytes, n/2, make([]byte, n/2)), {0xff}}, nil),
		"tags":               append(bytes.Repeat([]byte{0xd8, 0x63}, 60), cborOf(cborBytes, n-200, make([]byte, n-200))...),
	} {
		payloads[name] = evento.NewEvent{Codec: "cbor", Data: data}
	}
	payloads["a list in JSON"] = evento.NewEvent{Codec: "json", Data: []byte("[" + strings.Repeat("{},", n/3-1) + "{}]")}
	payloads["spaces in JSON"] = evento.NewEvent{Codec: "json", Data: []byte("[" + strings.Repeat(" ", n) + "7]")}
	payloads["a text in JSON"] = evento.NewEvent{Codec: "json", Data: []byte(`"` + strings.Repeat("\u2028", n/3) + `"`)}
	payloads["a codec of its own"] = evento.NewEvent{Codec: "own", Data: make([]byte, n)}
	payloads["no CBOR"] = evento.NewEvent{Codec: "cbor", Data: bytes.Repeat([]byte{0xff}, n)}
	return payloads
}

// What is shown of a payload is bounded, whatever the payload stands for, and says that it is
// cut.
func TestHugePayloads(t *testing.T) {
	t.Parallel()
	for name, n := range hugePayloads() {
		e := &evento.RawEvent{Codec: n.Codec, Data: n.Data}
		for _, most := range []int{InLine, Alone} {
			text := Text(e, most)
			if strings.Contains(name, "spaces") && most == Alone {
				continue // they could be left out, or not
			}
			if len(text) < most/8 || len(text) > 9*most || !strings.Contains(text, "… cut, the payload has 16,") {
				t.Errorf("%s: %d bytes are shown: %.100q…%q, want about %d, and that it is cut", name, len(text), text, text[max(len(text)-60, 0):], most)
			}
			part, cut, err := JSON(e, most)
			if e.Codec == "cbor" && err == nil && (!cut || !json.Valid(part)) {
				t.Errorf("%s: cut: %t, the part is valid JSON: %t: %.100s…", name, cut, json.Valid(part), part)
			}
		}
	}
}

// A payload that has room is shown whole, and as what it is.
func TestPayloadsAreShownWhole(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		want := randomJSON(r, 5)
		data, err := cbor.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		text, cut, err := JSON(&evento.RawEvent{Codec: "cbor", Data: data}, InLine*100)
		var got any
		if err == nil {
			err = json.Unmarshal(text, &got)
		}
		if err != nil || cut || !reflect.DeepEqual(got, want) {
			t.Errorf("%x is shown as %s, %t, %v, want %v", data, text, cut, err, want)
		}
		// Cut at any length, it is still JSON.
		for most := range min(len(text), 40) {
			part, cut, err := JSON(&evento.RawEvent{Codec: "cbor", Data: data}, most)
			if err != nil || !json.Valid(part) || !cut && !bytes.Equal(part, text) {
				t.Errorf("of %s, %d bytes: %s, %t, %v", text, most, part, cut, err)
			}
		}
	}
}

// randomJSON is a value as encoding/json decodes it.
func randomJSON(r *rand.Rand, depth int) any {
	switch n := r.IntN(8); {
	case n == 0:
		return nil
	case n == 1:
		return r.IntN(2) == 0
	case n == 2:
		return float64(r.IntN(100_000) - 50_000)
	case n == 3:
		return r.Float64()
	case n < 6 || depth == 0:
		return strings.Repeat(string(rune(r.IntN(0x800))), r.IntN(40))
	case n == 6:
		list := make([]any, r.IntN(6))
		for i := range list {
			list[i] = randomJSON(r, depth-1)
		}
		return list
	}
	m := map[string]any{}
	for range r.IntN(6) {
		m[fmt.Sprint(r.IntN(100))] = randomJSON(r, depth-1)
	}
	return m
}

// Every form of CBOR is read.
func TestFormsOfCBOR(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"\x9f\x01\x82\x02\x03\xff":                     `[1,[2,3]]`,
		"\xbf\x61b\x01\x61a\x9f\xff\xff":               `{"a":[],"b":1}`,
		"\x7f\x61a\x62bc\xff":                          `"abc"`,
		"\x5f\x41\x00\x42\x01\x02\xff":                 `"AAEC"`,
		"\x7f\xff":                                     `""`,
		"\x18\xff":                                     `255`,
		"\x1b\xff\xff\xff\xff\xff\xff\xff\xff":         `18446744073709551615`,
		"\x3b\xff\xff\xff\xff\xff\xff\xff\xff":         `-18446744073709551616`,
		"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff":         `-9223372036854775808`,
		"\x20":                                         `-1`,
		"\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00": `18446744073709551616`,
		"\xc3\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00": `-18446744073709551617`,
		"\xc2\x5f\x41\x01\xff":                         `{"tag":2,"value":"AQ=="}`,
		"\xc1\x1a\x51\x4b\x67\xb0":                     `"2013-03-21T20:04:00Z"`,
		"\xc1\xfb\x41\xd4\x52\xd9\xec\x20\x00\x00":     `"2013-03-21T20:04:00.5Z"`,
		"\xc1\x20":                                     `"1969-12-31T23:59:59Z"`,
		"\xc1\xfb\x7f\xef\xff\xff\xff\xff\xff\xff":     `{"tag":1,"value":1.7976931348623157e+308}`,
		"\xc0\x61x":                                    `"x"`,
		"\xf9\x3c\x00":                                 `1`,
		"\xf9\x7c\x00":                                 `"+Inf"`,
		"\xfa\x3f\xc0\x00\x00":                         `1.5`,
		"\xf7":                                         `null`,
		"\xf0":                                         `{"simple":16}`,
		"\xf8\xff":                                     `{"simple":255}`,
		"\xa2\x61a\x01\x61a\x02":                       `[{"key":"a","value":1},{"key":"a","value":2}]`,
		"\xa2\x01\x01\x01\x02":                         `[{"key":1,"value":1},{"key":1,"value":2}]`,
		"\xa1\x41\x00\x01":                             `[{"key":"AA==","value":1}]`,
		"\xa1\x61\xff\x01":                             `[{"key":{"base64":"/w=="},"value":1}]`,
		"\xa1\x80\xa0":                                 `[{"key":[],"value":{}}]`,
	} {
		got, cut, err := JSON(&evento.RawEvent{Codec: "cbor", Data: []byte(data)}, InLine)
		if err != nil || cut || string(got) != want {
			t.Errorf("%x is shown as %s, %t, %v, want %s", data, got, cut, err, want)
		}
	}
}
