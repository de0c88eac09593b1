package strictjson_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/evento-go/evento/internal/strictjson"
)

type value struct {
	number uint64
	text   string
	list   []string
	inner  map[string]string
}

func read(text string) (v value, err error) {
	r := strictjson.New([]byte(text))
	r.Open()
	r.Need("number")
	v.number = r.Number()
	if r.Next("text") {
		v.text = r.Text()
	}
	if r.Next("object") {
		r.Open()
		if r.Next("inner") {
			v.inner = r.Map()
		}
		r.Close()
	}
	if r.Next("list") {
		v.list = r.Texts()
	}
	r.Close()
	return v, r.End()
}

func TestReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want value
	}{
		{`{"number":0}`, value{}},
		{`{"number":18446744073709551615,"list":[]}`, value{number: 1<<64 - 1}},
		{` { "number" : 7 , "text" : "" , "object" : { } , "list" : [ ] }`, value{number: 7}},
		{`{"number":1,"object":{},"list":["a","b"]}`, value{number: 1, list: []string{"a", "b"}}},
		{`{"number":1,"object":{"inner":{}},"list":["\""]}`, value{number: 1, list: []string{`"`}}},
		{`{"number":1,"object":{"inner":{"":"a","b":"","ż":"c"}}}`, value{number: 1, inner: map[string]string{"": "a", "b": "", "ż": "c"}}},
		{`{"number":1,"text":"\"\\\/\b\f\n\r\t\u0000\u00e9\uD83D\udc22é🐢` + "\ufffd" + `"}`, value{number: 1, text: "\"\\/\b\f\n\r\t\x00é🐢é🐢\ufffd"}},
	} {
		got, err := read(tt.text)
		if err != nil || got.number != tt.want.number || got.text != tt.want.text || !slices.Equal(got.list, tt.want.list) || !maps.Equal(got.inner, tt.want.inner) {
			t.Errorf("%s is read as %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
}

// An error names the field, and what stands where something else is expected.
func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                 `cut off where an object`,
		`[]`:                               `"[]" stands where an object`,
		`null`:                             `"null" stands where an object`,
		"\xef\xbb\xbf{}":                   `a byte order mark`,
		`{}`:                               `where field "number" is expected`,
		`{"number"}`:                       `where a colon is expected`,
		`{"number":}`:                      `field "number": "}" stands where a whole number`,
		`{"number":1`:                      `cut off where the end of the object`,
		`{"number":1,}`:                    `where a text is expected`,
		`{"number":1 "text":""}`:           `stands where the end of the object`,
		`{"number":1,"number":2}`:          `field "number" is there twice`,
		`{"number":1,"Text":""}`:           `field "Text" has to be written "text"`,
		`{"number":1,"other":""}`:          `field "other" stands where the end of the object`,
		`{"number":1,"text":"a`:            `field "text": it is cut off`,
		`{"number":1,"text":"a\`:           `field "text": it is cut off`,
		`{"number":1,"text":"a\"`:          `field "text": it is cut off`,
		`{"number":1,"text":"\ud8"}`:       `without four hexadecimal digits`,
		`{"number":1,"text":"\ud83d\u`:     `cut off`,
		`{"number":1,"text":"\ud83d\udc"}`: `half of a pair`,
		`{"number":1,"object":{"inner":{"a":"1","a":"2"}}}`:         `field "inner": "a" comes after "a"`,
		`{"number":1,"object":{"inner":{"a":1}}}`:                   `field "inner.a": `,
		`{"number":1,"object":{"inner":{"a":"1",}}}`:                `where a text is expected`,
		`{"number":1,"object":{"inner":{"a":"1"},"number":1}}`:      `field "number" is there twice, or not in its place`,
		`{"number":1,"object":{},"text":"","list":[]}`:              `field "text" is there twice, or not in its place`,
		`{"number":1,"list":[` + strings.Repeat("[", 100_000) + `]`: `field "list": `,
		`{"number":1}{}`: `"{}" comes after its end`,
	} {
		if got, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s is read as %+v, %v, want an error with %s", text, got, err, want)
		}
	}
}
