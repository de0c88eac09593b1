package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/evento-go/evento"
)

// lines reads an export line by line, and checks it against its last line.
type lines struct {
	r      *bufio.Reader
	buf    []byte
	sum    hash.Hash
	no     uint64 // number of the last line read
	events uint64
}

func newLines(r io.Reader) (*lines, error) {
	l := &lines{r: bufio.NewReaderSize(r, 1<<18), sum: sha256.New()}
	line, err := l.line()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line 1: %w export: the input is empty", evento.ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	if err := checkHeader(line); err != nil {
		return nil, err
	}
	l.add(line)
	return l, nil
}

// Begin checks the first line of an export, so that nothing is made for what is none. It
// returns a reader of all of it.
func Begin(r io.Reader) (io.Reader, error) {
	l, err := newLines(r)
	if err != nil {
		return nil, err
	}
	return io.MultiReader(bytes.NewReader(l.buf), l.r), nil
}

func (l *lines) add(line []byte) {
	l.sum.Write(line)
	l.sum.Write([]byte{'\n'})
}

// next returns the line of the next event, valid until the next call. After the
// last event it returns nil if the export agrees with its last line.
func (l *lines) next() ([]byte, error) {
	line, err := l.line()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("line %d: %w export: it ends here and has no last line: it was cut off", l.no, evento.ErrInvalid)
	case err != nil:
		return nil, err
	case !isOwn(line):
		l.add(line)
		l.events++
		return line, nil
	}
	if err := checkFooter(line, l.no, l.events, l.sum); err != nil {
		return nil, err
	}
	switch _, err := l.r.ReadByte(); {
	case err == nil:
		return nil, fmt.Errorf("line %d: %w export: something comes after its last line", l.no+1, evento.ErrInvalid)
	case !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("line %d: %w", l.no+1, err)
	}
	return nil, nil
}

// line reads one line, without its end. io.EOF: there are no more.
func (l *lines) line() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.buf = append(l.buf, part...)
		switch {
		case err == nil:
			l.no++
			return l.buf[:len(l.buf)-1], nil
		case len(l.buf) > maxLine:
			return nil, fmt.Errorf("line %d: %w: longer than %d bytes, which no event needs", l.no+1, evento.ErrTooLarge, maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(l.buf) > 0:
			return nil, fmt.Errorf("line %d: %w export: it ends within the line: it was cut off", l.no+1, evento.ErrInvalid)
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		default:
			return nil, fmt.Errorf("line %d: %w", l.no+1, err)
		}
	}
}

// Verify reads an export several times, and returns an error if it was truncated, changed or
// damaged, or if no store takes its events with these options.
func Verify(ctx context.Context, r io.ReadSeeker, opts ImportOptions) error {
	whole := func(uint64, []byte) error { return nil }
	if err := verify(ctx, r, whole); err != nil {
		return err
	}
	d := &decoder{opts: opts}
	decode := func(no uint64, line []byte) error {
		_, err := d.decode(no, line)
		return err
	}
	for more := true; more; more = d.rules != nil && d.rules.Next() {
		if err := verify(ctx, r, decode); err != nil {
			return err
		}
	}
	return nil
}

// verify reads an export, and calls each for the lines of events with their numbers.
func verify(ctx context.Context, r io.ReadSeeker, each func(no uint64, line []byte) error) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	l, err := newLines(r)
	if err != nil {
		return err
	}
	for {
		line, err := l.next()
		if err != nil || line == nil {
			return err
		}
		if err := each(l.no, line); err != nil {
			return err
		}
		if l.no%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
