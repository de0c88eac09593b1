package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// show makes a customer's text safe to print. It quotes and escapes a text that
// contains control characters or could be mistaken for something else.
func show(s string) string {
	if s == "" || strings.TrimSpace(s) != s || strings.HasPrefix(s, `"`) || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
