package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/printable"
)

// What JSON does not have is shown in a readable form, which is always the same.
func TestPayloadsAsJSON(t *testing.T) {
	t.Parallel()
	big1, ok := new(big.Int).SetString("123456789012345678901234567890", 10)
	if !ok {
		t.Fatal("the number")
	}
	for _, test := range []struct {
		value any
		want  string
	}{
		{map[string]any{"b": 1, "a": nil}, `{"a":null,"b":1}`},
		{map[int]string{2: "b", -1: "a"}, `{"-1":"a","2":"b"}`},
		{map[any]any{"1": "text", 1: "number"}, `[{"key":"1","value":"text"},{"key":1,"value":"number"}]`},
		{map[any]any{true: 1}, `[{"key":true,"value":1}]`},
		{[]byte{0, 255}, `"AP8="`},
		{[]any{1.5, float32(2.5), math.NaN(), math.Inf(-1)}, `[1.5,2.5,"NaN","-Inf"]`},
		{uint64(math.MaxUint64), `18446744073709551615`},
		{int64(math.MinInt64), `-9223372036854775808`},
		{*big1, `123456789012345678901234567890`},
		{cbor.Tag{Number: 99, Content: []any{"x"}}, `{"tag":99,"value":["x"]}`},
		{cbor.Tag{Number: 0, Content: "2026-03-01T09:00:00Z"}, `"2026-03-01T09:00:00Z"`},
		{"<&>\u2028", `"<&>\u2028"`},
		{"\xff", `{"base64":"/w=="}`},
		{cbor.SimpleValue(99), `{"simple":99}`},
	} {
		data, err := cbor.Marshal(test.value)
		if err != nil {
			t.Fatal(err)
		}
		got, cut, err := JSON(&evento.RawEvent{Codec: "cbor", Data: data}, Whole)
		if err != nil || cut || string(got) != test.want {
			t.Errorf("%v: %s, %v, want %s", test.value, got, err, test.want)
		}
	}
	for _, test := range []struct{ codec, data string }{
		{"cbor", ""}, {"cbor", "\xff"}, {"cbor", "\x01\x01"}, {"cbor", strings.Repeat("\x81", 100) + "\x01"}, {"cbor", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"json", ""}, {"json", "{"}, {"json", "1 2"}, {"json", strings.Repeat("[", 100) + strings.Repeat("]", 100)},
	} {
		e := &evento.RawEvent{Codec: test.codec, Data: []byte(test.data)}
		if got, _, err := JSON(e, Whole); err == nil || errors.Is(err, ErrCodec) || Check(e) == nil {
			t.Errorf("%s %q: %s, want an error", test.codec, test.data, got)
		}
	}
	if _, _, err := JSON(&evento.RawEvent{Codec: "proto"}, Whole); !errors.Is(err, ErrCodec) {
		t.Errorf("a codec of the application's own: %v, want %v", err, ErrCodec)
	}
}

// JSON for people has no control characters, and the same meaning.
func TestShowJSON(t *testing.T) {
	t.Parallel()
	text := "a\u009b\u202e\u200b\u2066\U000e0001é世\x7f\ufffd"
	in, err := json.Marshal(map[string]string{"t": text})
	if err != nil {
		t.Fatal(err)
	}
	got := printable.JSON(string(in))
	if want := `{"t":"a\u009b\u202e\u200b\u2066\udb40\udc01é世\u007f\ufffd"}`; got != want {
		t.Errorf("showJSON(%s) = %s, want %s", in, got, want)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(got), &back); err != nil || back["t"] != text {
		t.Errorf("%s means %q, want %q", got, back["t"], text)
	}
	var b bytes.Buffer
	if err := Indent(&b, json.RawMessage(`{"a":[1]}`)); err != nil || b.String() != "{\n  \"a\": [\n    1\n  ]\n}\n" {
		t.Errorf("indentJSON: %q, %v", b.String(), err)
	}
}
