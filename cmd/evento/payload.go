// Payloads as JSON, within bounds: an event may have 16 MiB that stand for a hundred times as
// much.

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
)

// errCodec: the payload was written by a codec of the application.
var errCodec = errors.New("the codec is the application's own")

// The most bytes of JSON that are made of a payload.
const (
	mostInLine  = 4 << 10   // among other events
	mostAlone   = 256 << 10 // of one event
	mostProgram = evento.MaxPayload
)

// payloadJSON converts a payload to compact JSON, or the beginning of it to about as much as
// is wanted: then it is cut. What is cut for people is valid JSON too where it was CBOR. It converts
// what JSON does not have: bytes to a base64 text, NaN and infinities to texts, a tag to
// {"tag", "value"}, a map with keys of several kinds or with a key twice to a list of {"key",
// "value"}, and a text that is not valid UTF-8 to {"base64"}.
func payloadJSON(e *evento.RawEvent, most int) (text []byte, cut bool, err error) {
	if err := checkPayload(e); err != nil {
		return nil, false, err
	}
	if e.Codec == "cbor" {
		w := &cborWriter{most: most, all: most == mostProgram}
		w.value(e.Data)
		return w.out, w.cut, nil
	}
	if len(e.Data) > 2*most { // white space may be left out
		return bytes.ToValidUTF8(e.Data[:most], nil), true, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, e.Data); err != nil {
		return nil, false, err
	}
	if b.Len() > most {
		return bytes.ToValidUTF8(b.Bytes()[:most], nil), true, nil
	}
	return b.Bytes(), false, nil
}

// checkPayload checks that a payload can be read by its codec.
func checkPayload(e *evento.RawEvent) error {
	switch e.Codec {
	case "json":
		return evento.JSON().Unmarshal(e.Data, new(json.RawMessage))
	case "cbor":
		return evento.CBOR().Unmarshal(e.Data, new(cbor.RawMessage))
	}
	return errCodec
}

// payloadText is a payload in one line, for people.
func payloadText(e *evento.RawEvent, most int) string {
	text, cut, err := payloadJSON(e, most)
	switch {
	case errors.Is(err, errCodec):
		return show(e.Codec) + ": " + base64Of(e.Data, most)
	case err != nil:
		return "undecodable " + show(e.Codec) + " (" + show(err.Error()) + "): " + base64Of(e.Data, most)
	case cut:
		return showJSON(string(text)) + cutNote(e.Data)
	}
	return showJSON(string(text))
}

// cutNote says that a payload is cut.
func cutNote(data []byte) string {
	return " … cut, the payload has " + thousands(uint64(len(data))) + " bytes"
}

// base64Of is the base64 of bytes, or of their beginning.
func base64Of(data []byte, most int) string {
	if base64.StdEncoding.EncodedLen(len(data)) <= most {
		return base64.StdEncoding.EncodeToString(data)
	}
	return base64.StdEncoding.EncodeToString(data[:most/4*3]) + cutNote(data)
}

// writePayload prints a payload for people, indented where it is JSON.
func writePayload(o *output, e *evento.RawEvent) error {
	text, cut, err := payloadJSON(e, mostAlone)
	if err != nil || cut && e.Codec == "json" { // which cannot be indented
		return o.printf("payload  %s\n", payloadText(e, mostAlone))
	}
	if err := o.printf("payload\n"); err != nil {
		return err
	}
	if err := indentJSON(o.w, text); err != nil || !cut {
		return err
	}
	return o.printf("%s; -o json has all of it\n", strings.TrimSpace(cutNote(e.Data)))
}

// indentJSON prints JSON for people.
func indentJSON(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	if b.Len() > 8*mostAlone { // most of it is what is before deep lines
		b.Reset()
		b.Write(raw)
	}
	_, err := fmt.Fprintln(w, showJSON(b.String()))
	return err
}
