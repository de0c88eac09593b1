// Printing, in two formats.

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/evento-go/evento/internal/printable"
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
		return nil, usagef("--output %s: table or json", printable.Text(format))
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
	printable.WriteJSON(o.w, b.String())
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
