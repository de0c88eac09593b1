// Texts of pages. What comes from a store is shown with what it has of control characters
// escaped, and html/template does the rest.

package console

import (
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/internal/payload"
	"github.com/evento-go/evento/internal/printable"
)

var functions = template.FuncMap{
	"text":       printable.Text,
	"title":      printable.Line, // it quotes what it names
	"short":      short,
	"number":     number,
	"line":       func(e *evento.RawEvent) string { return payload.Text(e, inLine) },
	"clock":      clock,
	"date":       func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"iso":        printable.Time,
	"ago":        ago,
	"first":      firstLine,
	"rest":       restOfLines,
	"escape":     escape,
	"plural":     plural,
	"named":      memberName,
	"causeIn":    causeIn,
	"parkedActs": parkedActs,
	"leftOut": func() string {
		return "The first " + plural(mostStatuses, "subscription") + " by key were looked at, and there are more: evento subscriptions list has all of them, and each has its page."
	},
}

// inLine is how many bytes of a payload stand in a row.
const inLine = 300

// short shortens an id: the whole is in the title.
func short(id string) string {
	if utf8.RuneCountInString(id) <= 14 {
		return printable.Text(id)
	}
	return printable.Text(string([]rune(id)[:8]) + "…")
}

func number(n any) string {
	switch n := n.(type) {
	case uint64:
		return printable.Thousands(n)
	case int:
		return printable.Thousands(uint64(max(n, 0)))
	}
	return ""
}

// clock is a time of day, with the date if it is not today.
func clock(t time.Time) string {
	t = t.UTC()
	if now := time.Now().UTC(); now.YearDay() != t.YearDay() || now.Year() != t.Year() {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format("15:04:05.000")
}

// ago is about how long something is ago, or how long it takes.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than a second"
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 2*time.Hour:
		return plural(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return plural(int(d.Hours()), "hour")
	}
	return plural(int(d.Hours()/24), "day")
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number(n) + " " + thing + "s"
}

// amount is how many there are, as far as they were counted.
type amount struct {
	N    int
	More bool // there are more
}

func (a amount) String() string {
	if a.More {
		return number(a.N) + " or more"
	}
	return number(a.N)
}

// Of is an amount of things.
func (a amount) Of(thing string) string {
	if a.More {
		return a.String() + " " + thing + "s"
	}
	return plural(a.N, thing)
}

// inForms is the amount as forms and links have it, and amountIn reads it.
func (a amount) inForms() string {
	if a.More {
		return strconv.Itoa(a.N) + "+"
	}
	return strconv.Itoa(a.N)
}

func amountIn(text string) (a amount, err error) {
	digits, more := strings.CutSuffix(text, "+")
	n, err := strconv.ParseUint(digits, 10, 31)
	return amount{int(n), more}, err
}

// firstLine and restOfLines are those of an error, of which the first says most.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return printable.OrDash(line)
}

func restOfLines(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	lines := strings.Split(strings.ReplaceAll(rest, "\t", "    "), "\n")
	for i, line := range lines {
		lines[i] = printable.Line(line)
	}
	return strings.Join(lines, "\n")
}

// escape makes a text a part of a path; in the query of a link html/template does it. Browsers
// take "." and ".." out of paths, even escaped, and the server takes "/" alone for the end of one.
func escape(text string) string {
	if isLost(text) {
		text = "~" + text
	}
	return url.PathEscape(text)
}

// unescape is the opposite of escape, for what the server has unescaped.
func unescape(part string) string {
	if rest, ok := strings.CutPrefix(part, "~"); ok && isLost(rest) {
		return rest
	}
	return part
}

// isLost reports whether a text cannot be a part of a path, or looks like what stands for one.
func isLost(text string) bool {
	rest := strings.TrimLeft(text, "~")
	return rest == "." || rest == ".." || rest == "/"
}
