// Records: the lines of a CSV file.

package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/evento-go/evento/examples/bank/bank"
)

// recordReader reads a CSV file record by record. A line that is not CSV is refused
// alone: a quote that is opened and never closed does not take the lines behind it
// along. A line break within quotes is read as "\n", whichever kind the file has.
type recordReader struct {
	in     *bufio.Reader
	begins func(line string) bool

	ahead  []string // lines that were read and not yet returned
	line   int      // the number of the last line that was returned
	text   strings.Reader
	parser *csv.Reader // of text, which is one record
}

// newRecordReader returns a reader to which begins tells whether a line is the first
// of a record for sure.
func newRecordReader(in *bufio.Reader, begins func(line string) bool) *recordReader {
	r := &recordReader{in: in, begins: begins}
	r.parser = csv.NewReader(&r.text)
	r.parser.FieldsPerRecord = -1
	r.parser.ReuseRecord = true
	return r
}

// maxQuoted is the most bytes behind an open quote in which its end is looked for: as
// many as a field may have, with each quote in it written twice.
const maxQuoted = 2*bank.MaxText + 2

// maxLine is the most bytes of a line. Of a longer one the rest is not kept.
const maxLine = 64 << 10

func tooLong(line string) bool { return len(line) > maxLine }

// next returns the fields of the next record and the number of its first line;
// [io.EOF] after the last. A [bank.RefusalError] is about this line alone, any other error
// about reading the file.
func (r *recordReader) next() (fields []string, line int, err error) {
	for {
		lines, err := r.record()
		if err != nil {
			return nil, 0, err
		}
		line = r.line + 1
		r.line += len(lines)
		r.ahead = r.ahead[len(lines):]
		if tooLong(lines[0]) {
			return nil, line, bank.RefusalError(fmt.Sprintf("a line of more than %d bytes", maxLine))
		}
		text := strings.Join(lines, "")
		if quoteOpen(text) >= 0 {
			return nil, line, bank.RefusalError("not CSV: a quote is opened and not closed")
		}
		r.text.Reset(text)
		fields, err = r.parser.Read()
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF): // an empty line
			continue
		case errors.As(err, &bad):
			return nil, line, bank.RefusalError("not CSV: " + bad.Err.Error())
		}
		return fields, line, err
	}
}

// record returns the lines of the next record, which stay ahead: several when a quote
// goes on over line breaks and is closed, else one.
func (r *recordReader) record() ([]string, error) {
	first, err := r.peek(0)
	if err != nil {
		return nil, err
	}
	if tooLong(first) {
		return r.ahead[:1], nil
	}
	text := first
	for n := 1; ; n++ {
		open := quoteOpen(text)
		if open < 0 {
			if n > 1 && !wellFormed(text) {
				n = 1 // the quote that closed it has opened another field
			}
			return r.ahead[:n], nil
		}
		more, err := r.peek(n)
		switch {
		case errors.Is(err, io.EOF), err == nil && (r.begins(more) || tooLong(more) || len(text)-open > maxQuoted):
			return r.ahead[:1], nil
		case err != nil:
			return nil, err
		}
		text += more
	}
}

// peek returns line n of those ahead, with its line break.
func (r *recordReader) peek(n int) (string, error) {
	for len(r.ahead) <= n {
		line, err := r.readLine()
		if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
			return "", err
		}
		r.ahead = append(r.ahead, line)
	}
	return r.ahead[n], nil
}

// readLine reads a line with its line break, or the beginning of one that is too long.
func (r *recordReader) readLine() (string, error) {
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		line = append(line, part[:min(len(part), maxLine+1-len(line))]...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
	}
}

// quoteOpen returns where the quote begins within which a text ends; -1: it ends
// outside of quotes, or is not CSV before.
func quoteOpen(text string) int {
	for at := 0; at < len(text); {
		if text[at] == '"' {
			end := closing(text, at+1)
			if end < 0 {
				return at
			}
			if at = end + 1; at < len(text) && !strings.ContainsRune(",\r\n", rune(text[at])) {
				return -1
			}
		}
		comma := strings.IndexByte(text[at:], ',')
		if comma < 0 {
			return -1
		}
		at += comma + 1
	}
	return -1
}

// closing returns where the quote is that closes a field; -1: nowhere. Two in a row
// are one of the field's text.
func closing(text string, at int) int {
	for {
		quote := strings.IndexByte(text[at:], '"')
		if quote < 0 {
			return -1
		}
		if at += quote; at+1 == len(text) || text[at+1] != '"' {
			return at
		}
		at += 2
	}
}

// wellFormed reports whether a text is CSV.
func wellFormed(text string) bool {
	_, err := csv.NewReader(strings.NewReader(text)).Read()
	return err == nil
}
