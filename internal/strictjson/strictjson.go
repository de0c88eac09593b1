// Package strictjson reads JSON of which the shape is known: objects with given fields in a
// given order.
//
// encoding/json repairs what it reads. It replaces what is not UTF-8 by U+FFFD, takes the
// last of two fields of one name, and takes a field whose name has other capitals. What is
// moved from one store to another must not change on the way, so a [Reader] refuses all of
// this, and names the field:
//
//	r := strictjson.New(line)
//	r.Open()
//	r.Need("position")
//	position := r.Number()
//	if r.Next("tags") {
//		tags = r.Texts()
//	}
//	r.Close()
//	err := r.End()
//
// It is not for JSON of any shape.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Reader reads one value. After the first error it reads nothing more, and End returns
// that error.
type Reader struct {
	rest  []byte
	err   error
	field string     // that is being read; "": none
	began bool       // the object has had a field
	asked [24]string // fields that Next and Need have asked for
	count int        // of them
}

// New returns a reader of a text, which must not change until it is read.
func New(text []byte) *Reader { return &Reader{rest: text} }

// Failed reports whether there was an error.
func (r *Reader) Failed() bool { return r.err != nil }

// Fail makes err the error of the field that was read last, if there was none yet.
func (r *Reader) Fail(err error) {
	switch {
	case r.err != nil:
	case r.field == "":
		r.err = err
	default:
		r.err = fmt.Errorf("field %q: %w", r.field, err)
	}
}

// NotEmpty refuses the field that was read last if its value is empty: what is not set is left out.
func (r *Reader) NotEmpty(is bool) {
	if !is {
		r.Fail(errors.New("it is empty, and has to be left out"))
	}
}

// End returns the error; one is that something is behind the value.
func (r *Reader) End() error {
	r.field = ""
	if len(r.rest) > 0 && r.err == nil {
		r.err = fmt.Errorf("%s comes after its end", r.sight())
	}
	return r.err
}

// Open begins an object.
func (r *Reader) Open() {
	r.take('{', "an object")
	r.began = false
}

// Next reports whether the next field of the object has a name, and if so goes on to its
// value.
func (r *Reader) Next(name string) bool {
	if r.err != nil {
		return false
	}
	if r.count < len(r.asked) { // else an error is less exact
		r.asked[r.count] = name
		r.count++
	}
	rest := r.space()
	if r.began {
		if !bytes.HasPrefix(rest, []byte{','}) {
			return false
		}
		rest = trimSpace(rest[1:])
	}
	if len(rest) < len(name)+2 || rest[0] != '"' || rest[len(name)+1] != '"' || string(rest[1:len(name)+1]) != name {
		return false
	}
	r.rest, r.field, r.began = rest[len(name)+2:], name, true
	r.take(':', "a colon")
	return r.err == nil
}

// Need goes on to the value of a field, which has to be the next one.
func (r *Reader) Need(name string) {
	if !r.Next(name) {
		r.misplaced(name)
	}
}

// Close ends the object.
func (r *Reader) Close() {
	r.field = ""
	if rest := r.space(); r.err == nil && bytes.HasPrefix(rest, []byte{'}'}) {
		r.rest, r.began = rest[1:], true // it was a field of the object around it
		return
	}
	r.misplaced("")
}

// misplaced says which field is where another one, or the end, is expected.
func (r *Reader) misplaced(expected string) {
	if r.err != nil {
		return
	}
	r.field = ""
	if rest := r.space(); r.began && bytes.HasPrefix(rest, []byte{','}) {
		r.rest = rest[1:]
	} else if r.began || bytes.HasPrefix(rest, []byte{'}'}) {
		r.instead(orEnd(expected))
		return
	}
	name := r.Text()
	if r.err != nil {
		return
	}
	at := slices.IndexFunc(r.asked[:r.count], func(s string) bool { return strings.EqualFold(s, name) })
	switch {
	case at < 0:
		r.err = fmt.Errorf("field %q stands where %s is expected: the format has no such field there", name, orEnd(expected))
	case r.asked[at] != name:
		r.err = fmt.Errorf("field %q has to be written %q", name, r.asked[at])
	default:
		r.err = fmt.Errorf("field %q is there twice, or not in its place", name)
	}
}

func orEnd(field string) string {
	if field == "" {
		return "the end of the object"
	}
	return fmt.Sprintf("field %q", field)
}

// Number reads a whole number from 0 on.
func (r *Reader) Number() (n uint64) {
	rest := r.space()
	digits := 0
	for ; digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9'; digits++ {
		d := uint64(rest[digits] - '0')
		if n > (math.MaxUint64-d)/10 {
			r.Fail(errors.New("the number is too large"))
			return 0
		}
		n = n*10 + d
	}
	switch {
	case r.err != nil:
		return 0
	case digits == 0:
		r.instead("a whole number")
	case rest[0] == '0' && digits > 1:
		r.Fail(errors.New("the number begins with a zero"))
	case digits < len(rest) && bytes.IndexByte([]byte(".eE"), rest[digits]) >= 0:
		r.Fail(errors.New("a whole number has to be written without a fraction or an exponent"))
	}
	if r.err != nil {
		return 0
	}
	r.rest = rest[digits:]
	return n
}

// Texts reads a list of texts.
func (r *Reader) Texts() (list []string) {
	r.take('[', "a list")
	for first := true; r.err == nil; first = false {
		if rest := r.space(); bytes.HasPrefix(rest, []byte{']'}) {
			r.rest = rest[1:]
			return list
		}
		if !first {
			r.take(',', "a comma or the end of the list")
			if rest := r.space(); bytes.HasPrefix(rest, []byte{']'}) {
				r.instead("a text")
			}
		}
		list = append(list, r.Text())
	}
	return nil
}

// Map reads an object of texts. Their names have to be in bytewise order, each once.
func (r *Reader) Map() map[string]string {
	field := r.field
	r.take('{', "an object")
	all, last := map[string]string{}, ""
	for r.err == nil {
		if rest := r.space(); bytes.HasPrefix(rest, []byte{'}'}) {
			r.rest = rest[1:]
			return all
		}
		first := len(all) == 0
		if !first {
			r.take(',', "a comma or the end of the object")
		}
		name := r.Text()
		if r.err == nil && !first && name <= last {
			r.Fail(fmt.Errorf("%q comes after %q: names are in bytewise order, each once", name, last))
		}
		r.take(':', "a colon")
		if r.err == nil {
			r.field = field + "." + name
			all[name] = r.Text()
			r.field, last = field, name
		}
	}
	return nil
}

// Text reads a text.
func (r *Reader) Text() string {
	raw, escaped := r.Raw()
	if !escaped {
		return string(raw)
	}
	text, err := unescape(raw)
	if err != nil {
		r.Fail(err)
	}
	return text
}

// Raw reads a text without a copy, and reports whether it has escapes, which are left as
// they are.
func (r *Reader) Raw() (text []byte, escaped bool) {
	r.take('"', "a text")
	if r.err != nil {
		return nil, false
	}
	end, ascii := 0, true
	for ; end < len(r.rest) && r.rest[end] != '"'; end++ {
		switch c := r.rest[end]; {
		case c < ' ':
			r.Fail(fmt.Errorf("the control character %q in a text", rune(c)))
			return nil, false
		case c == '\\':
			escaped = true
			end++
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if end >= len(r.rest) {
		r.Fail(errors.New("it is cut off within a text"))
		return nil, false
	}
	text, r.rest = r.rest[:end], r.rest[end+1:]
	if !ascii && !utf8.Valid(text) {
		r.Fail(fmt.Errorf("the text %.100q is not valid UTF-8", text))
		return nil, false
	}
	return text, escaped
}

// unescape replaces the escapes of a text.
func unescape(text []byte) (string, error) {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		i++ // Raw has seen to it that something comes
		if c := strings.IndexByte(`"\/bfnrt`, text[i]); c >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[c])
			continue
		}
		if text[i] != 'u' {
			return "", fmt.Errorf(`there is no escape \%c`, text[i])
		}
		one, ok := hex4(text[i+1:])
		if !ok {
			return "", errors.New(`\u without four hexadecimal digits`)
		}
		i += 4
		if utf16.IsSurrogate(one) {
			two := rune(0)
			if rest := text[i+1:]; bytes.HasPrefix(rest, []byte(`\u`)) {
				two, _ = hex4(rest[2:])
			}
			pair := utf16.DecodeRune(one, two)
			if pair == utf8.RuneError {
				return "", fmt.Errorf(`\u%04x is half of a pair of surrogates, which is no character`, one)
			}
			one = pair
			i += 6
		}
		out = utf8.AppendRune(out, one)
	}
	return string(out), nil
}

func hex4(b []byte) (n rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		digit := strings.IndexByte("0123456789abcdef", c|0x20)
		if digit < 0 {
			return 0, false
		}
		n = n<<4 | rune(digit)
	}
	return n, true
}

// take reads one character.
func (r *Reader) take(c byte, what string) {
	if r.err != nil {
		return
	}
	rest := r.space()
	if len(rest) == 0 || rest[0] != c {
		r.instead(what)
		return
	}
	r.rest = rest[1:]
}

// instead is the error of something else than what is expected.
func (r *Reader) instead(expected string) {
	if r.space(); len(r.rest) == 0 {
		r.Fail(fmt.Errorf("it is cut off where %s is expected", expected))
		return
	}
	r.Fail(fmt.Errorf("%s stands where %s is expected", r.sight(), expected))
}

// sight is the beginning of the rest, for an error.
func (r *Reader) sight() string {
	const most = 20
	if rest := r.rest; bytes.HasPrefix(rest, []byte("\xef\xbb\xbf")) {
		return "a byte order mark"
	} else if len(rest) > most {
		return fmt.Sprintf("%q…", rest[:most])
	}
	return fmt.Sprintf("%q", r.rest)
}

// space passes over the white space that JSON has between its parts.
func (r *Reader) space() []byte {
	r.rest = trimSpace(r.rest)
	return r.rest
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}
