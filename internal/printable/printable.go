// Package printable makes texts of stores safe to show: they may have control characters, or
// change the direction of writing. The command and the console share it.
package printable

import (
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Text makes a text from a store safe to print. It quotes and escapes a text that
// contains control characters, changes the direction of writing, or could be
// mistaken for something else.
func Text(s string) string {
	if s == "" || strings.TrimSpace(s) != s || strings.HasPrefix(s, `"`) || !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
		return strconv.Quote(s)
	}
	return s
}

// OrDash is Text, and - for an empty one.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return Text(s)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// JSON makes JSON safe to print. It remains valid JSON: all unprintable
// characters are within its strings, where they can be escaped.
func JSON(text string) string {
	var b strings.Builder
	WriteJSON(&b, text)
	return b.String()
}

// WriteJSON writes what JSON returns to a [strings.Builder], or to a [bufio.Writer],
// which keeps its first error.
func WriteJSON(w io.StringWriter, text string) {
	printable := func(r rune) bool { return r == '\n' || unicode.IsPrint(r) && r != utf8.RuneError }
	for text != "" {
		end := strings.IndexFunc(text, func(r rune) bool { return !printable(r) })
		if end < 0 {
			_, _ = w.WriteString(text)
			return
		}
		_, _ = w.WriteString(text[:end])
		r, size := utf8.DecodeRuneInString(text[end:])
		text = text[end+size:]
		if r > 0xFFFF {
			r -= 0x10000
			_, _ = w.WriteString(escape(0xD800 + r>>10))
			r = 0xDC00 + r&0x3FF
		}
		_, _ = w.WriteString(escape(r))
	}
}

// escape is the escape of JSON for a unit of UTF-16.
func escape(unit rune) string {
	const digits = "0123456789abcdef"
	return string([]byte{'\\', 'u', digits[unit>>12&15], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15]})
}

// Time formats a time to the microsecond, the precision of the stores.
func Time(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// Err makes an error's text safe to print, on one line: it may quote texts from a store.
func Err(err error) string {
	text := ""
	for line := range strings.SplitSeq(err.Error(), "\n") {
		switch {
		case text == "":
		case strings.HasSuffix(text, ":"): // above a list, as in errors of pgx
			text += " "
		default:
			text += "; "
		}
		text += Line(strings.TrimSpace(line))
	}
	return text
}

// Line makes a line of a longer text safe to print: it escapes, and does not quote.
func Line(line string) string {
	if utf8.ValidString(line) && !strings.ContainsFunc(line, unprintable) {
		return line
	}
	quoted := strconv.Quote(line)
	return quoted[1 : len(quoted)-1]
}

// Thousands writes a number in groups of three digits.
func Thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
