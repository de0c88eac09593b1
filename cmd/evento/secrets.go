// Passwords in texts.

package main

import (
	"io"
	"os"
	"regexp"
	"strings"
)

// hidden stands where a password was.
const hidden = "…"

// Where passwords are, in what was meant to be a URL or DSN.
var (
	inURL     = regexp.MustCompile(`(://[^\s:@/?#]*:)[^\s\x00]*@`)
	inLogin   = regexp.MustCompile(`([^\s:@]+:)/?[^\s/\x00][^\s\x00]*@`)
	inSpaces  = regexp.MustCompile(`(://[^\s:@/?#]+:)[^\s@]*\s.*@`)
	inPort    = regexp.MustCompile(`(://(?:[^\s@/?#"\x00]*@)?[^\s:@/?#"]+:)[^\s,/?#"@]*(?:[^\s\d:,/?#"@][^\s"@]*|:[^\s"@]+)(\s|"|$)`)
	inToken   = regexp.MustCompile(`((?:nats|tls)://)[^\s:@/?#"\x00]+@`)
	inKind    = regexp.MustCompile(`((?:mysql|mariadb|postgres|postgresql):/?[^\s:@/"\x00]*:)[^\s"]+`)
	inKeyword = regexp.MustCompile(`(?i)((?:password|passwd|pwd|passphrase)\s*=\s*|\b(?:hex|text)?key\()(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\"[^"]*"|[^\s&;)]+)`)
)

// withoutPasswords hides what may be a password in a text that quotes what somebody
// has typed. Names of stores have none, see parseStore; arguments that are not stores,
// and what other programs say, may have.
func withoutPasswords(text string) string {
	const mark = "\x00@"
	text = strings.ReplaceAll(text, formLogin, mark)
	text = inURL.ReplaceAllString(text, "${1}"+hidden+"@")
	text = inLogin.ReplaceAllString(text, "${1}"+hidden+"@")
	text = inSpaces.ReplaceAllString(text, "${1}"+hidden+"@")
	text = inPort.ReplaceAllString(text, "${1}"+hidden+"${2}")
	text = inToken.ReplaceAllString(text, "${1}"+hidden+"@")
	text = inKind.ReplaceAllString(text, "${1}"+hidden)
	text = inKeyword.ReplaceAllString(text, "${1}"+hidden)
	return strings.ReplaceAll(text, mark, formLogin)
}

// careful is standard error, on which no password is printed.
type careful struct{ w io.Writer }

func (c careful) Write(b []byte) (int, error) {
	if _, err := io.WriteString(c.w, withoutPasswords(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Stat is for atTerminal.
func (c careful) Stat() (os.FileInfo, error) { return stat(c.w) }
