// Values of JSON, as pages show them.

package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/payload"
	"github.com/evento-go/evento/internal/printable"
)

// value is JSON in lines, of which each has an indent, a key, and a text.
type value struct{ Lines []valueLine }

type valueLine struct {
	Indent string
	Key    string // with its quotes; "": none
	Text   string
}

// valueOf lays out JSON. It is shown with what it has of control characters escaped.
func valueOf(text []byte) (*value, error) {
	v := &value{}
	var b bytes.Buffer
	if indentOf(text) > mostIndent { // most of it would be what is before deep lines
		if err := json.Compact(&b, text); err != nil {
			return nil, err
		}
		v.Lines = append(v.Lines, valueLine{Text: printable.JSON(b.String())})
		return v, nil
	}
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return nil, err
	}
	for line := range bytes.Lines(b.Bytes()) {
		line = bytes.TrimRight(line, "\n")
		rest := bytes.TrimLeft(line, " ")
		l := valueLine{Indent: string(line[:len(line)-len(rest)])}
		if key := keyOf(rest); key > 0 {
			l.Key, rest = printable.JSON(string(rest[:key])), rest[key:]
		}
		l.Text = printable.JSON(string(rest))
		v.Lines = append(v.Lines, l)
	}
	return v, nil
}

// payloadOf lays out a payload, of which as much as this is shown; wrong is why it cannot be.
func payloadOf(e *evento.RawEvent, most int) (v *value, cut bool, wrong string) {
	text, cut, err := payload.JSON(e, most)
	if err != nil {
		return nil, cut, err.Error()
	}
	if v, err = valueOf(text); err != nil { // it is cut
		return nil, cut, "it is too long to be shown whole"
	}
	return v, cut, ""
}

// mostIndent is how many bytes may stand before the lines of a value.
const mostIndent = 1 << 20

// indentOf is about how many bytes would stand before the lines of JSON.
func indentOf(text []byte) (n int) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			n += 2 * depth
		case c == '}' || c == ']':
			depth--
			n += 2 * depth
		case c == ',':
			n += 2 * depth
		}
	}
	return n
}

// keyOf is the length of the key that a line begins with, and of the colon; 0: it has none.
func keyOf(line []byte) int {
	if len(line) == 0 || line[0] != '"' {
		return 0
	}
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			if i+1 < len(line) && line[i+1] == ':' {
				return i + 2
			}
			return 0
		}
	}
	return 0
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
