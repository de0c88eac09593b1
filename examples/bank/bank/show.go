package bank

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Show makes a customer's text safe to print. It quotes and escapes a text that
// contains control characters or could be mistaken for something else.
func Show(s string) string {
	if s == "" || strings.TrimSpace(s) != s || strings.HasPrefix(s, `"`) || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
