// Printing, in two formats.

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// output is the standard output of a command, in one of two formats.
type output struct {
	w    *bufio.Writer
	json bool
}

// outputFlag gives a command the flag -o.
func outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "`FORMAT`: table for people, or json for programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

func newOutput(cmd *cobra.Command) (*output, error) {
	o := &output{w: bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)}
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return nil, err
	}
	switch format {
	case "table":
	case "json":
		o.json = true
	default:
		return nil, usagef("--output %s: table or json", show(format))
	}
	return o, nil
}

func (o *output) flush() error { return o.w.Flush() }

// line writes a value as a line of JSON, with escapes for what a terminal would act on.
func (o *output) line(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	writeJSON(o.w, b.String())
	_, err := o.w.Write(nil) // the error of any write before
	return err
}

func (o *output) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(o.w, format, args...)
	return err
}

// table prints rows in columns. The cells must be safe to print.
func (o *output) table(rows [][]string) error {
	t := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', tabwriter.StripEscape)
	for _, row := range rows {
		if _, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// listing prints lines of JSON, or tables of limited length: there may be more rows than
// fit in memory.
type listing struct {
	out  *output
	rows [][]string
}

const tableRows = 1000

func (l *listing) add(v any, row ...string) error {
	if l.out.json {
		return l.out.line(v)
	}
	l.rows = append(l.rows, row)
	if len(l.rows) < tableRows {
		return nil
	}
	return l.end()
}

func (l *listing) end() error {
	if l.out.json {
		return nil
	}
	rows := l.rows
	l.rows = nil
	return l.out.table(rows)
}

// pipe is the standard output. It notes when its reader has gone, as head does, and
// any other error: not all that is printed, such as help, is checked by who prints it.
type pipe struct {
	w      io.Writer
	closed atomic.Bool
	failed error // one goroutine prints
}

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	switch {
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe):
		p.closed.Store(true)
	case p.failed == nil:
		p.failed = err
	}
	return n, err
}

// show makes a text from a store safe to print. It quotes and escapes a text that
// contains control characters, changes the direction of writing, or could be
// mistaken for something else.
func show(s string) string {
	if s == "" || strings.TrimSpace(s) != s || strings.HasPrefix(s, `"`) || !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
		return strconv.Quote(s)
	}
	return s
}

// shown is show, but leaves an empty text empty.
func shown(s string) string {
	if s == "" {
		return "-"
	}
	return show(s)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// showJSON makes JSON safe to print. It remains valid JSON: all unprintable
// characters are within its strings, where they can be escaped.
func showJSON(text string) string {
	var b strings.Builder
	writeJSON(&b, text)
	return b.String()
}

// writeJSON writes what showJSON returns to a [strings.Builder], or to a [bufio.Writer],
// which keeps its first error.
func writeJSON(w io.StringWriter, text string) {
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

// showTime formats a time to the microsecond, the precision of the stores.
func showTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// showErr makes an error's text safe to print: it may quote texts from a store.
func showErr(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		lines[i] = line
		if !utf8.ValidString(line) || strings.ContainsFunc(line, unprintable) {
			quoted := strconv.Quote(line)
			lines[i] = quoted[1 : len(quoted)-1]
		}
	}
	return strings.Join(lines, "; ")
}
