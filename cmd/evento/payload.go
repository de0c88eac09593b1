// Payloads as JSON.

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
)

// errCodec: the payload was written by a codec of the application.
var errCodec = errors.New("the codec is the application's own")

// payloadJSON converts a payload to compact JSON. It converts what JSON does not
// have: bytes to a base64 text, NaN and infinities to texts, a tag to {"tag",
// "value"}, a map with keys of several kinds to a list of {"key", "value"}, and a
// text that is not valid UTF-8 to {"base64"}.
func payloadJSON(e *evento.RawEvent) (json.RawMessage, error) {
	switch e.Codec {
	case "json":
		return compactJSON(e.Data)
	case "cbor":
		return cborJSON(e.Data)
	}
	return nil, errCodec
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

func compactJSON(data []byte) (json.RawMessage, error) {
	var raw json.RawMessage
	if err := evento.JSON().Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err := json.Compact(&b, raw)
	return b.Bytes(), err
}

func cborJSON(data []byte) (json.RawMessage, error) {
	// Check the library's own limits first.
	if err := evento.CBOR().Unmarshal(data, new(cbor.RawMessage)); err != nil {
		return nil, err
	}
	mode, err := cbor.DecOptions{
		MaxNestedLevels:  evento.MaxDepth,
		MaxArrayElements: maxElements,
		MaxMapPairs:      maxElements,
		UTF8:             cbor.UTF8DecodeInvalid,
		MapKeyByteString: cbor.MapKeyByteStringAllowed,
		TimeTag:          cbor.DecTagIgnored,
	}.DecMode()
	if err != nil {
		return nil, err
	}
	var v any
	if err := mode.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(jsonValue(v)); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// maxElements is more than a payload has room for.
const maxElements = evento.MaxPayload

// jsonValue converts a value decoded from CBOR for JSON.
func jsonValue(v any) any {
	switch v := v.(type) {
	case map[any]any:
		return jsonMap(v)
	case []any:
		for i := range v {
			v[i] = jsonValue(v[i])
		}
		return v
	case string:
		if !utf8.ValidString(v) {
			return map[string][]byte{"base64": []byte(v)}
		}
	case cbor.ByteString:
		return []byte(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case float32:
		return jsonValue(float64(v))
	case big.Int:
		return json.Number(v.String())
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case cbor.Tag:
		return map[string]any{"tag": v.Number, "value": jsonValue(v.Content)}
	case cbor.SimpleValue:
		return map[string]any{"simple": uint8(v)}
	}
	return v
}

func jsonMap(m map[any]any) any {
	object := make(map[string]any, len(m))
	texts := 0
	for k, v := range m {
		switch k := k.(type) {
		case string:
			texts++
			if !utf8.ValidString(k) {
				return jsonPairs(m)
			}
			object[k] = jsonValue(v)
		case int64, uint64:
			object[fmt.Sprint(k)] = jsonValue(v)
		default:
			return jsonPairs(m)
		}
	}
	if texts > 0 && texts < len(m) {
		return jsonPairs(m)
	}
	return object
}

func jsonPairs(m map[any]any) any {
	type pair struct {
		Key   any `json:"key"`
		Value any `json:"value"`
	}
	list := make([]pair, 0, len(m))
	for k, v := range m {
		list = append(list, pair{jsonValue(k), jsonValue(v)})
	}
	slices.SortFunc(list, func(a, b pair) int {
		return strings.Compare(fmt.Sprintf("%T %v", a.Key, a.Key), fmt.Sprintf("%T %v", b.Key, b.Key))
	})
	return list
}

// indentJSON prints JSON for people.
func indentJSON(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, showJSON(b.String()))
	return err
}
