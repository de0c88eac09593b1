package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// show makes a customer's text safe to print. It is the text itself, or in
// quotes with escapes when it has in it what a terminal would act on, or what
// would be taken for something else.
func show(s string) string {
	if s == "" || strings.TrimSpace(s) != s || strings.HasPrefix(s, `"`) || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
