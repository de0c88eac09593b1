// Package payload shows payloads of events as JSON, within bounds: an event may have 16 MiB that
// stand for a hundred times as much. The command and the console share it.
package payload

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

// ErrCodec is the error of a payload that a codec of the application has written.
var ErrCodec = errors.New("the codec is the application's own")

// The most bytes of JSON that are made of a payload.
const (
	InLine = 4 << 10   // among other events
	Alone  = 256 << 10 // of one event
	Whole  = evento.MaxPayload
)

// JSON converts a payload to compact JSON, or the beginning of it to about as much as
// is wanted: then it is cut. What is cut for people is valid JSON too where it was CBOR. It converts
// what JSON does not have: bytes to a base64 text, NaN and infinities to texts, a tag to
// {"tag", "value"}, a map with keys of several kinds or with a key twice to a list of {"key",
// "value"}, and a text that is not valid UTF-8 to {"base64"}. JSON of more than twice what is wanted
// is not looked at beyond that: it may be broken further on.
func JSON(e *evento.RawEvent, most int) (text []byte, cut bool, err error) {
	if e.Codec == "json" && len(e.Data) > 2*most { // white space may be left out
		return bytes.ToValidUTF8(e.Data[:most], nil), true, nil
	}
	if err := Check(e); err != nil {
		return nil, false, err
	}
	if e.Codec == "cbor" {
		w := &cborWriter{most: most, all: most == Whole}
		w.value(e.Data)
		return w.out, w.cut, nil
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

// Check checks that a payload can be read by its codec.
func Check(e *evento.RawEvent) error {
	switch e.Codec {
	case "json":
		return evento.JSON().Unmarshal(e.Data, new(json.RawMessage))
	case "cbor":
		return evento.CBOR().Unmarshal(e.Data, new(cbor.RawMessage))
	}
	return ErrCodec
}

// Text is a payload in one line, for people.
func Text(e *evento.RawEvent, most int) string {
	text, cut, err := JSON(e, most)
	switch {
	case errors.Is(err, ErrCodec):
		return printable.Text(e.Codec) + ": " + base64Of(e.Data, most)
	case err != nil:
		return "undecodable " + printable.Text(e.Codec) + " (" + printable.Text(err.Error()) + "): " + base64Of(e.Data, most)
	case cut:
		return printable.JSON(string(text)) + CutNote(e.Data)
	}
	return printable.JSON(string(text))
}

// CutNote says that a payload is cut.
func CutNote(data []byte) string {
	return " … cut, the payload has " + printable.Thousands(uint64(len(data))) + " bytes"
}

// base64Of is the base64 of bytes, or of their beginning.
func base64Of(data []byte, most int) string {
	if base64.StdEncoding.EncodedLen(len(data)) <= most {
		return base64.StdEncoding.EncodeToString(data)
	}
	return base64.StdEncoding.EncodeToString(data[:most/4*3]) + CutNote(data)
}

// Indent prints JSON for people.
func Indent(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	if b.Len() > 8*Alone { // most of it is what is before deep lines
		b.Reset()
		b.Write(raw)
	}
	_, err := fmt.Fprintln(w, printable.JSON(b.String()))
	return err
}
